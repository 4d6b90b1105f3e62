//! What a strategy answers: the [`Allocator`] trait and the packed commands and answers.
//!
//! Shape of a command list ([`Kind::Commands`](crate::wire::Kind::Commands)): `allocate` (operation 1, operand the allocation
//! number, body `bytes`, or `bytes, alignment` , or `bytes, alignment, start, end`) and `free`
//! (operation 2, operand the number, no body). Shape of an answer list ([`Kind::Answers`](crate::wire::Kind::Answers)): one
//! item per command in order: `extents` (1, body pairs `offset, bytes`), `no-space` (2, body
//! `largest hole`), `freed` (3), `refused` (4, body [`Refusal`] code).

mod packed;

pub use packed::{Answer, Command, encode_extents, execute, extents_of, restore_part};

use crate::extent::Extent;
use crate::id::AllocationId;
use alloc::vec::Vec;
use core::fmt;

/// What a strategy manages.
///
/// Units: bytes. Bounds: `granule` is a power of two; `size` is a multiple of it and not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The arena is `0..size`.
    pub size: u64,
    /// Every extent begins and ends on a multiple of it.
    pub granule: u64,
}

impl Geometry {
    /// The geometry itself when it is in bounds.
    ///
    /// Errors: [`Refusal::Geometry`].
    pub fn checked(self) -> Result<Self, Refusal> {
        let good = self.granule.is_power_of_two()
            && self.size != 0
            && self.size.is_multiple_of(self.granule);
        if good {
            Ok(self)
        } else {
            Err(Refusal::Geometry)
        }
    }
}

/// A wish for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocate {
    /// The number the allocation is filed under; unused.
    pub number: AllocationId,
    /// Bytes; a multiple of the granule, not 0.
    pub bytes: u64,
    /// Alignment of every extent's offset; a power of two, at least the granule; 0 = the granule.
    pub alignment: u64,
    /// Every extent lies in `start..end`; `None` = anywhere.
    pub range: Option<(u64, u64)>,
}

impl Allocate {
    /// A wish without alignment or range.
    pub const fn plain(number: AllocationId, bytes: u64) -> Self {
        Allocate {
            number,
            bytes,
            alignment: 0,
            range: None,
        }
    }

    /// Checks the wish against a geometry and returns the effective alignment.
    ///
    /// Errors: [`Refusal::Size`], [`Refusal::Alignment`], [`Refusal::Range`].
    pub fn checked(&self, geometry: Geometry) -> Result<u64, Refusal> {
        if self.bytes == 0 || !self.bytes.is_multiple_of(geometry.granule) {
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

/// Why a strategy does not do what a command asks; never "no space".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// The number is in use already.
    NumberInUse = 1,
    /// Nothing is filed under the number.
    NumberUnknown = 2,
    /// The size is 0 or no multiple of the granule.
    Size = 3,
    /// The alignment is no power of two.
    Alignment = 4,
    /// The range is empty or reaches beyond the arena.
    Range = 5,
    /// The strategy has no geometry yet, or the geometry is out of bounds.
    Geometry = 6,
    /// An extent to adopt is off the granule, outside the arena or taken.
    Extent = 7,
    /// The command is known but this strategy does not offer it.
    Unsupported = 8,
    /// A command or part could not be read.
    Malformed = 9,
}

impl Refusal {
    /// The refusal of a code.
    pub fn from_code(code: u64) -> Option<Self> {
        use Refusal::*;
        [
            NumberInUse,
            NumberUnknown,
            Size,
            Alignment,
            Range,
            Geometry,
            Extent,
            Unsupported,
            Malformed,
        ]
        .into_iter()
        .find(|r| *r as u64 == code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::NumberInUse => "the allocation number is in use",
            Refusal::NumberUnknown => "nothing is filed under the allocation number",
            Refusal::Size => "the size is 0 or no multiple of the granule",
            Refusal::Alignment => "the alignment is no power of two",
            Refusal::Range => "the range is empty or reaches beyond the arena",
            Refusal::Geometry => "the geometry is missing or out of bounds",
            Refusal::Extent => "an extent is off the granule, outside the arena or taken",
            Refusal::Unsupported => "this strategy does not offer that",
            Refusal::Malformed => "the words could not be read",
        })
    }
}

impl core::error::Error for Refusal {}

/// How an allocation ends, seen from the strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The arena has no room for it now.
    NoSpace {
        /// The largest hole in bytes.
        largest_hole: u64,
    },
    /// The wish itself is wrong.
    Refused(Refusal),
}

/// What a strategy tells about itself.
///
/// Units: bytes and counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes in extents handed out.
    pub used_bytes: u64,
    /// Bytes in holes.
    pub free_bytes: u64,
    /// The largest hole.
    pub largest_hole: u64,
    /// Allocations handed out.
    pub allocations: u64,
    /// Holes.
    pub holes: u64,
}

/// A piece of the arena as a strategy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where.
    pub extent: Extent,
    /// Whose; `None` for a hole.
    pub owner: Option<AllocationId>,
}

/// A strategy: decides which bytes of one arena an allocation gets.
///
/// Invariants: equal call sequences give equal answers; extents handed out never overlap; every
/// extent is on the granule and inside the arena; a failed call changes nothing.
pub trait Allocator {
    /// Begins with an empty arena, forgetting everything.
    ///
    /// Errors: [`Refusal::Geometry`].
    fn init(&mut self, geometry: Geometry) -> Result<(), Refusal>;

    /// Grows or shrinks the arena at its end.
    ///
    /// Errors: [`Refusal::Geometry`] when the granule differs or a live extent would be cut off.
    fn resize(&mut self, geometry: Geometry) -> Result<(), Refusal>;

    /// Takes memory and appends its extents, in the buffer's byte order, to `extents`.
    ///
    /// Errors: no space, or a wrong wish; then `extents` is as before.
    fn allocate(&mut self, wish: &Allocate, extents: &mut Vec<Extent>) -> Result<(), Failure>;

    /// Gives back what is filed under a number.
    ///
    /// Errors: [`Refusal::NumberUnknown`].
    fn free(&mut self, number: AllocationId) -> Result<(), Refusal>;

    /// Begins a restore: forgets everything and takes a geometry.
    ///
    /// Errors: [`Refusal::Geometry`].
    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal>;

    /// Files one live allocation with exactly these extents, which another strategy may have
    /// chosen.
    ///
    /// Errors: [`Refusal::Extent`], [`Refusal::NumberInUse`].
    fn restore_part(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal>;

    /// Ends a restore; afterwards the strategy serves.
    ///
    /// Errors: [`Refusal::Extent`] when extents overlap.
    fn restore_end(&mut self) -> Result<(), Refusal>;

    /// Sums over the arena.
    fn statistics(&self) -> Statistics;

    /// Blocks and holes in address order, from the first one that ends behind `from`.
    fn blocks(&self, from: u64, limit: usize) -> Vec<Block>;
}
