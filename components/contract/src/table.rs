//! What an sg-table keeper answers: the [`Tables`] trait.

use crate::extent::{Extent, Segment};
use crate::id::TableId;
use crate::point::Point;
use alloc::vec::Vec;
use core::fmt;

/// Who holds a table, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Holder {
    /// The buffer's current layout; ends with an explicit put.
    Layout = 0,
    /// A job, or a fill, that uses the memory.
    Access = 1,
    /// A queued copy.
    Copy = 2,
    /// The redo by CPU of a queued copy.
    CpuFallback = 3,
    /// An asynchronous bind.
    Bind = 4,
    /// A dma-buf mapping.
    Mapping = 5,
    /// An error capture.
    Capture = 6,
}

impl Holder {
    /// The holder of a code.
    pub fn from_code(code: u64) -> Option<Self> {
        use Holder::*;
        [Layout, Access, Copy, CpuFallback, Bind, Mapping, Capture]
            .into_iter()
            .find(|h| *h as u64 == code)
    }
}

/// One hold that ends by itself when a point is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold {
    /// Who.
    pub holder: Holder,
    /// Until when.
    pub until: Point,
}

/// Why a table request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TableError {
    /// The table number is in use.
    InUse = 1,
    /// There is no such table: never built, or released.
    Unknown = 2,
    /// There are no extents, or one is empty.
    Empty = 3,
    /// The maximum segment size is 0 or smaller than the alignment.
    MaxSegment = 4,
    /// More segments than a table holds.
    TooLarge = 5,
    /// An address does not fit in 64 bits.
    Overflow = 6,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TableError::InUse => "the table number is in use",
            TableError::Unknown => "there is no such table",
            TableError::Empty => "an extent is empty or there is none",
            TableError::MaxSegment => "the maximum segment size is out of bounds",
            TableError::TooLarge => "more segments than a table holds",
            TableError::Overflow => "an address does not fit in 64 bits",
        })
    }
}

impl core::error::Error for TableError {}

/// Keeps reference-counted sg-tables.
///
/// Invariants: a table lives while it has a holder; its segments never change; two neighbouring
/// segments that touch are one unless that one would exceed the maximum segment size; a table is
/// released exactly once.
pub trait Tables {
    /// Forgets every table.
    fn clear(&mut self);

    /// Builds a table over extents with one holder, the layout, and returns its segments.
    ///
    /// Units: `base` is the DMA address of the arena's first byte. Bounds: a segment has at most
    /// `max_segment` bytes.
    /// Errors: nothing is built.
    fn build(
        &mut self,
        table: TableId,
        extents: &[Extent],
        base: u64,
        max_segment: u64,
    ) -> Result<Vec<Segment>, TableError>;

    /// Takes over a live table of the ledger with exactly these segments and holders.
    ///
    /// Errors: [`TableError::InUse`], [`TableError::Empty`].
    fn adopt(
        &mut self,
        table: TableId,
        segments: &[Segment],
        layout: bool,
        holds: &[Hold],
    ) -> Result<(), TableError>;

    /// Adds a holder that ends when its point is reached.
    ///
    /// Errors: [`TableError::Unknown`].
    fn hold(&mut self, table: TableId, hold: Hold) -> Result<(), TableError>;

    /// Ends the layout's hold; `true` when it was the last one and the table is released.
    ///
    /// Errors: [`TableError::Unknown`], also when the layout holds it no more.
    fn put_layout(&mut self, table: TableId) -> Result<bool, TableError>;

    /// Ends every hold whose point is reached, and returns the tables released by that, ordered.
    fn retire(&mut self, reached: Point) -> Vec<TableId>;
}
