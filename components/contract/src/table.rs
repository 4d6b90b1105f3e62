//! What an sg-table keeper answers: the [`Tables`] trait.

use crate::extent::{Extent, Segment, Segments};
use crate::id::TableId;
use crate::point::Point;
use alloc::vec::Vec;
use core::fmt;

/// Who holds a table, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Holder {
    /// The buffer's current layout.
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
    /// Every holder, by code.
    pub const ALL: [Holder; 7] = [
        Holder::Layout,
        Holder::Access,
        Holder::Copy,
        Holder::CpuFallback,
        Holder::Bind,
        Holder::Mapping,
        Holder::Capture,
    ];

    /// The holder of a code.
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|h| *h as u64 == code)
    }
}

/// One *timed* hold: it ends by itself when a point is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold {
    /// Who.
    pub holder: Holder,
    /// Until when.
    pub until: Point,
}

/// The *untimed* holds of one holder: each ends by a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// Who.
    pub holder: Holder,
    /// How many holds; not 0.
    pub count: u32,
}

/// A live table with its holders.
///
/// Invariants: at least one of the lists has an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// The table.
    pub table: TableId,
    /// Holds that end by a call, by holder.
    pub untimed: Vec<Counted>,
    /// Holds that end by a point, by point, then by holder.
    pub timed: Vec<Hold>,
}

/// How extents are cut into the segments of a buffer.
///
/// Units: bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The buffer's size: what the extents hold behind it is left out.
    pub bytes: u64,
    /// The most a segment has; counted in whole pages.
    pub max_segment: u64,
    /// Begins of segments are multiples of it; a power of two.
    pub page: u64,
}

/// Why a table request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TableError {
    /// The table number is in use.
    InUse = 1,
    /// There is no such table: never built, or released.
    Unknown = 2,
    /// There are no extents, no bytes or no holder, or an extent is empty.
    Empty = 3,
    /// The maximum segment size is smaller than a page, or a page is no power of two.
    MaxSegment = 4,
    /// More segments than a table holds, or more holds than are counted.
    TooLarge = 5,
    /// An address does not fit in 64 bits.
    Overflow = 6,
    /// The holder has no untimed hold of the table.
    NotHeld = 7,
    /// The extents end before the buffer does.
    Short = 8,
    /// An extent does not begin or end on a page.
    Misaligned = 9,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TableError::InUse => "the table number is in use",
            TableError::Unknown => "there is no such table",
            TableError::Empty => "there are no extents, no bytes or no holder",
            TableError::MaxSegment => "the maximum segment size is out of bounds",
            TableError::TooLarge => "more segments or holds than a table has",
            TableError::Overflow => "an address does not fit in 64 bits",
            TableError::NotHeld => "the holder does not hold the table",
            TableError::Short => "the extents end before the buffer does",
            TableError::Misaligned => "an extent does not begin or end on a page",
        })
    }
}

impl core::error::Error for TableError {}

/// Keeps reference-counted sg-tables.
///
/// Holds are *timed* ([`Tables::hold`]; they end by [`Tables::retire`]) or *untimed*
/// ([`Tables::get`], [`Tables::put`]), for holders that have no point yet. Every holder may have
/// both, and any number of them.
///
/// Invariants: a table lives while it has a holder; its segments never change; two neighbouring
/// segments that touch are one unless that one would exceed the maximum segment size; a table is
/// released exactly once, and a released one is unknown; a refused request changes nothing.
pub trait Tables {
    /// Forgets every table.
    fn clear(&mut self);

    /// Builds a table over extents with one holder, the layout, and returns its segments.
    ///
    /// Units: `base` is the DMA address of the arena's first byte. Bounds: a segment has at most
    /// `max_segment` bytes.
    /// Errors: [`TableError::InUse`], [`TableError::Empty`], [`TableError::MaxSegment`] (0),
    /// [`TableError::TooLarge`], [`TableError::Overflow`].
    fn build(
        &mut self,
        table: TableId,
        extents: &[Extent],
        base: u64,
        max_segment: u64,
    ) -> Result<Segments, TableError>;

    /// Builds a table over the first `limits.bytes` bytes of extents, in whole pages, with one
    /// holder, the layout, and returns its segments.
    ///
    /// Units: `base` is the DMA address of the arena's first byte. Bounds: the last segment ends
    /// with the buffer, also inside a page.
    /// Errors: those of [`Tables::build`], [`TableError::Short`], [`TableError::Misaligned`].
    fn build_clamped(
        &mut self,
        table: TableId,
        extents: &[Extent],
        base: u64,
        limits: Limits,
    ) -> Result<Segments, TableError>;

    /// Takes over a live table of the ledger with exactly these segments and holders.
    ///
    /// Errors: [`TableError::InUse`], [`TableError::Empty`] (no segments, or nobody holds it),
    /// [`TableError::TooLarge`].
    fn adopt(
        &mut self,
        table: TableId,
        segments: &[Segment],
        layout: bool,
        holds: &[Hold],
    ) -> Result<(), TableError>;

    /// Adds a timed hold: it ends when its point is reached.
    ///
    /// Errors: [`TableError::Unknown`], [`TableError::TooLarge`].
    fn hold(&mut self, table: TableId, hold: Hold) -> Result<(), TableError>;

    /// Adds an untimed hold: it ends by [`Tables::put`].
    ///
    /// Errors: [`TableError::Unknown`], [`TableError::TooLarge`].
    fn get(&mut self, table: TableId, holder: Holder) -> Result<(), TableError>;

    /// Ends one untimed hold of a holder; `true` when it was the last one of all and the table is
    /// released.
    ///
    /// Errors: [`TableError::Unknown`], [`TableError::NotHeld`].
    fn put(&mut self, table: TableId, holder: Holder) -> Result<bool, TableError>;

    /// Ends an untimed hold of the layout; `true` when it was the last one of all and the table is
    /// released.
    ///
    /// Errors: [`TableError::Unknown`], also when the layout holds it no more.
    fn put_layout(&mut self, table: TableId) -> Result<bool, TableError>;

    /// Ends every hold whose point is reached, and returns the tables released by that, ordered.
    fn retire(&mut self, reached: Point) -> Vec<TableId>;

    /// The live tables with their holders, by number: what is left here when nothing should be
    /// left was leaked.
    ///
    /// Complexity: everything there is; it serves views and tests.
    fn dump(&self) -> Vec<TableState>;
}
