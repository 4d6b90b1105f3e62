//! Every adversary in one strategy, which is told by its bytes which one to be.
//!
//! [`ADVERSARIES`] is the table: what each is called, does, needs and is reported as. Each has a file
//! in `deeds`; until its time comes it serves as `tlsf` does. A build is honest until
//! `trap::patch` writes a number of the table into it.
//!
//! Invariant: equal bytes and equal calls give equal answers.
#![forbid(unsafe_code)]

mod deed;
mod deeds;
mod serve;
mod table;

pub use deed::Deed;
pub use serve::Adversarial;
pub use table::{ADVERSARIES, Adversary, Expected, Fault, Kind, Wishes};

/// The trap site of the first adversary of the table; those before it are the shells'.
pub const FIRST: u64 = 1 << 16;
