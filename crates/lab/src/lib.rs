//! The laboratory: what demo and tests share. Nothing of it is in the shipped program.

pub mod measure;
pub mod real;
pub mod sound;
pub mod wav;
