//! What is asked of a strategy: a wish for memory, and a wish that an eviction scan serves.

use super::{Geometry, Refusal};
use crate::id::AllocationId;

/// Which hole a wish prefers. A strategy that has no such choice ignores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    /// The smallest hole that fits, of equal ones the newest; the strategy's own choice.
    #[default]
    Best = 0,
    /// The lowest hole that fits.
    Low = 1,
    /// The highest hole that fits, and of it the upper end.
    High = 2,
    /// The newest hole that fits: the one that an eviction has just made.
    Evict = 3,
    /// The smallest hole that fits, of equal ones the lowest.
    BestLow = 4,
}

impl Mode {
    /// Every mode, by code.
    pub const ALL: [Mode; 5] = [
        Mode::Best,
        Mode::Low,
        Mode::High,
        Mode::Evict,
        Mode::BestLow,
    ];

    /// The mode of a code.
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|&mode| mode as u64 == code)
    }
}

/// A wish for memory.
///
/// Invariants: `mode`, `once`, `clear`, `keep_rounding` and `colour` are hints, which a strategy
/// may have no meaning for; the rest is obeyed or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Allocate {
    /// The number the allocation is filed under; unused.
    pub number: AllocationId,
    /// Bytes; a multiple of the granule, not 0.
    pub bytes: u64,
    /// Alignment of every extent's offset; a power of two, at least the granule; 0 = the granule.
    pub alignment: u64,
    /// Every extent lies in `start..end`; `None` = anywhere.
    pub range: Option<(u64, u64)>,
    /// Which hole is preferred.
    pub mode: Mode,
    /// Whether only the mode's first hole of sufficient size is tried.
    pub once: bool,
    /// Whether the extents must follow each other without a gap; always so where an allocation
    /// is one extent.
    pub contiguous: bool,
    /// Whether memory that is known to be zeroed is preferred.
    pub clear: bool,
    /// Whether what a strategy took above `bytes` stays with the allocation; then the extents'
    /// sum may exceed `bytes`.
    pub keep_rounding: bool,
    /// What the memory is used for; a strategy may keep a distance between different colours.
    pub colour: u64,
}

impl Allocate {
    /// A wish without alignment, range or hints.
    pub const fn plain(number: AllocationId, bytes: u64) -> Self {
        Allocate {
            number,
            bytes,
            alignment: 0,
            range: None,
            mode: Mode::Best,
            once: false,
            contiguous: false,
            clear: false,
            keep_rounding: false,
            colour: 0,
        }
    }

    /// Whether the wish is one of [`plain`](Self::plain).
    #[inline]
    pub fn is_plain(&self) -> bool {
        let flags = self.once | self.contiguous | self.clear | self.keep_rounding;
        let words = self.alignment | self.colour;
        self.range.is_none() & (self.mode == Mode::Best) & !flags & (words == 0)
    }

    /// Checks the wish against a geometry and returns the effective alignment.
    ///
    /// Errors: [`Refusal::Size`], [`Refusal::Alignment`], [`Refusal::Range`].
    pub fn checked(&self, geometry: Geometry) -> Result<u64, Refusal> {
        if self.bytes == 0 || self.bytes & geometry.granule.wrapping_sub(1) != 0 {
            return Err(Refusal::Size);
        }
        let alignment = self.alignment.max(geometry.granule);
        if !alignment.is_power_of_two() {
            return Err(Refusal::Alignment);
        }
        match self.range {
            Some((start, end)) if start >= end || end > geometry.size => Err(Refusal::Range),
            _ => Ok(alignment),
        }
    }
}

/// A wish that an eviction scan looks for victims for.
///
/// Units and bounds: as in [`Allocate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scan {
    /// Bytes that are to be made free in one piece.
    pub bytes: u64,
    /// Alignment of the piece.
    pub alignment: u64,
    /// The piece lies in `start..end`; `None` = anywhere.
    pub range: Option<(u64, u64)>,
    /// Which end of a fused hole the piece is taken from.
    pub mode: Mode,
    /// The colour the piece is wanted for.
    pub colour: u64,
}

impl Scan {
    /// The wish that is served once the victims are gone.
    pub const fn wish(&self, number: AllocationId) -> Allocate {
        Allocate {
            alignment: self.alignment,
            range: self.range,
            mode: self.mode,
            colour: self.colour,
            ..Allocate::plain(number, self.bytes)
        }
    }
}
