//! What every WIT shell needs.
//!
//! [`State`] holds the one logic value of a component instance; [`trap`] makes a build that fails
//! on purpose at a chosen place.
//!
//! Invariant: nothing here decides anything, and without the feature `trap` nothing here costs
//! anything.
#![forbid(unsafe_code)]

mod state;
pub mod trap;

pub use state::State;
