//! temporary
pub mod suites;
