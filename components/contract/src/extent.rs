//! Extents (bytes in an arena) and segments (what DMA addresses).

use crate::few::Few;

/// Consecutive bytes of a memory type's arena.
///
/// Units: bytes. Bounds: never empty in an answer; `offset + bytes` fits in 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// First byte, from the start of the arena.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Extent {
    /// The first byte behind the extent, or `None` where the sum does not fit in 64 bits.
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.bytes)
    }
}

/// The extents of one allocation in the buffer's byte order; nearly always one.
pub type Extents = Few<Extent>;

/// The segments of one table in the buffer's byte order; nearly always one.
pub type Segments = Few<Segment>;

/// The sum of the extents' bytes, or `None` where it does not fit in 64 bits.
pub fn total(extents: &[Extent]) -> Option<u64> {
    extents
        .iter()
        .try_fold(0u64, |sum, e| sum.checked_add(e.bytes))
}

/// A piece of memory as the device's DMA addresses it.
///
/// Units: bytes. Bounds: `bytes` is at most the maximum segment size of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// DMA address: the memory type's base plus the offset in its arena.
    pub address: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// `value` rounded up to a multiple of `granule`, or `None` on overflow.
///
/// Bounds: `granule` is a power of two.
pub fn round_up(value: u64, granule: u64) -> Option<u64> {
    debug_assert!(granule.is_power_of_two());
    value.checked_add(granule - 1).map(|v| v & !(granule - 1))
}
