//! Reference-counted scatter-gather tables.
//!
//! A table says which memory a buffer used at some moment. It outlives the buffer's move to
//! another place for as long as a queued operation, a capture or a mapping still needs to know.
//! A table does not reserve the memory it names: that is what points are for.
//!
//! [`SgTables`] keeps who holds which table until when; [`segments`] and [`segments_of`] make the
//! segments; [`entries`], [`pages`], [`addresses`], [`slice`](slice()) and [`sizes`] read them.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod build;
mod keeper;
mod walk;

pub use build::{MAX_SEGMENTS, segments, segments_of};
pub use keeper::SgTables;
pub use walk::{Addresses, Entries, Entry, Pages, Slice, addresses, entries, pages, sizes, slice};
