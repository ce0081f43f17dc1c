//! The laboratory: what demo and tests share. Nothing of it is in the shipped program.

pub mod real;
