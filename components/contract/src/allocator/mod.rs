//! What a strategy answers: the [`Allocator`] trait and the packed commands and answers.
//!
//! Shape of a command list ([`Kind::Commands`](crate::wire::Kind::Commands)); the operand is the
//! allocation number, or 0 where there is none:
//!
//! | operation | body |
//! |---|---|
//! | 1 allocate | `bytes`, or `bytes, alignment`, or `bytes, alignment, start, end`, then, where needed, `flags`, then, where needed, `colour` |
//! | 2 free | nothing, or `1` when the memory is zeroed |
//! | 3 trim | `bytes`, or `bytes, start` |
//! | 4 reset-clear | `0` or `1` |
//! | 5 scan-begin | `bytes, alignment, start, end, flags, colour` |
//! | 6 scan-add, 7 scan-remove, 8 scan-colour | nothing |
//! | 9 adopt | pairs `offset, bytes`: read and written by [`encode_adopt`], not a [`Command`] |
//!
//! Bits of `flags`: 0..3 [`Mode`], 3 `start..end` is meant (both are 0 otherwise), and for
//! `allocate` 4 once, 5 contiguous, 6 clear, 7 keep rounding. Every command has one encoding, the
//! shortest; a longer one, or an unknown bit, is an error. (`bytes, 0` is read as `bytes`.)
//!
//! Shape of an answer list ([`Kind::Answers`](crate::wire::Kind::Answers)): one item per command
//! in order: `extents` (1, body pairs `offset, bytes`), `no-space` (2, body `largest hole`),
//! `freed` (3), `refused` (4, body [`Refusal`] code), `done` (5, body a value).

mod adopted;
mod packed;
mod run;
mod wish;

pub use adopted::{Adopted, Piece};
pub use packed::{Answer, Command, encode_adopt, encode_extents, extents_of};
pub use run::{execute, restore_part};
pub use wish::{Allocate, Mode, Scan};

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
    /// An eviction scan forbids that, or its order was not kept.
    Scan = 10,
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
            Scan,
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
            Refusal::Scan => "an eviction scan forbids that, or its order was not kept",
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

    /// Takes memory for a plain wish as [`allocate`](Self::allocate) would, where that is quick and
    /// gives one extent; its offset.
    ///
    /// `None`: nothing has changed, and `allocate` knows more. A strategy need not have this.
    fn allocate_one(&mut self, number: AllocationId, bytes: u64) -> Option<u64> {
        let _ = (number, bytes);
        None
    }

    /// Gives back what is filed under a number.
    ///
    /// Errors: [`Refusal::NumberUnknown`].
    fn free(&mut self, number: AllocationId) -> Result<(), Refusal>;

    /// Gives back what is filed under a number, and says whether its memory is zeroed.
    ///
    /// Errors: as [`free`](Self::free), which a strategy without a use for that leaves it to.
    fn free_as(&mut self, number: AllocationId, cleared: bool) -> Result<(), Refusal> {
        let _ = cleared;
        self.free(number)
    }

    /// Cuts an allocation of one extent down to `bytes` from `start` on (`None` = its first
    /// byte), gives back the rest, and appends its extents to `extents`.
    ///
    /// Bounds: `bytes` is a multiple of the granule and not 0; `start..start + bytes` lies in the
    /// allocation, on the granule.
    /// Errors: [`Refusal::NumberUnknown`]; [`Refusal::Size`]; [`Refusal::Range`] for a start out
    /// of bounds; [`Refusal::Extent`] for an allocation of several extents;
    /// [`Refusal::Unsupported`].
    fn trim(
        &mut self,
        number: AllocationId,
        start: Option<u64>,
        bytes: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<(), Refusal> {
        let _ = (number, start, bytes, extents);
        Err(Refusal::Unsupported)
    }

    /// Takes all free memory for zeroed, or for not zeroed.
    ///
    /// Errors: [`Refusal::Unsupported`] where that is not tracked.
    fn reset_clear(&mut self, clear: bool) -> Result<(), Refusal> {
        let _ = clear;
        Err(Refusal::Unsupported)
    }

    /// Begins an eviction scan: which allocations would have to go for a wish to be served?
    ///
    /// The caller then adds allocations, oldest first, until one completes a hole; removes all
    /// of them in reverse order, which tells the victims from the rest; frees the victims; asks
    /// [`scan_colour`](Self::scan_colour) for more until there are none; and allocates with
    /// [`Mode::Evict`].
    ///
    /// Errors: those of the wish; [`Refusal::Range`] also for a range shorter than the wish;
    /// [`Refusal::Scan`] while allocations of another scan are added; [`Refusal::Unsupported`].
    fn scan_begin(&mut self, scan: &Scan) -> Result<(), Refusal> {
        let _ = scan;
        Err(Refusal::Unsupported)
    }

    /// Regards an allocation as gone; says whether the hole around it now holds the wish.
    ///
    /// Until it is removed again, nothing may be allocated, freed, trimmed or resized.
    ///
    /// Errors: [`Refusal::NumberUnknown`]; [`Refusal::Scan`] without a scan, or when it is added
    /// already; [`Refusal::Unsupported`].
    fn scan_add(&mut self, number: AllocationId) -> Result<bool, Refusal> {
        let _ = number;
        Err(Refusal::Unsupported)
    }

    /// Regards the allocation that was added last as live again; says whether it must go, since
    /// it lies in the place that the scan found last.
    ///
    /// Errors: [`Refusal::Scan`] when another one was added last; [`Refusal::Unsupported`].
    fn scan_remove(&mut self, number: AllocationId) -> Result<bool, Refusal> {
        let _ = number;
        Err(Refusal::Unsupported)
    }

    /// A neighbour of the freed hole that must go too, for its colour is too near; `None` when
    /// there is none.
    ///
    /// Errors: [`Refusal::Scan`] while allocations are added; [`Refusal::Unsupported`].
    fn scan_colour(&mut self) -> Result<Option<AllocationId>, Refusal> {
        Err(Refusal::Unsupported)
    }

    /// Files a live allocation with exactly these extents, which another strategy has chosen and
    /// which are free here; what [`restore_part`](Self::restore_part) does, while serving.
    ///
    /// A strategy that is brought in beside another one learns so what came about meanwhile. One
    /// that keeps an allocation in one extent needs nothing of its own.
    ///
    /// Errors: [`Refusal::Extent`], [`Refusal::NumberInUse`], [`Refusal::Unsupported`]; then
    /// nothing is filed.
    fn adopt(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        let &[extent] = extents else {
            return Err(Refusal::Unsupported);
        };
        let end = extent.end().ok_or(Refusal::Extent)?;
        let wish = Allocate {
            range: Some((extent.offset, end)),
            ..Allocate::plain(number, extent.bytes)
        };
        let mut found = Vec::new();
        match self.allocate(&wish, &mut found) {
            Ok(()) if found == extents => Ok(()),
            Ok(()) => self.free(number).and(Err(Refusal::Extent)),
            Err(Failure::Refused(why @ (Refusal::NumberInUse | Refusal::Unsupported))) => Err(why),
            Err(Failure::Refused(Refusal::Geometry)) => Err(Refusal::Geometry),
            Err(_) => Err(Refusal::Extent),
        }
    }

    /// Begins a restore: forgets everything and takes a geometry.
    ///
    /// Errors: [`Refusal::Geometry`].
    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal>;

    /// Files one live allocation with exactly these extents, which another strategy may have
    /// chosen.
    ///
    /// Errors: [`Refusal::Extent`], [`Refusal::NumberInUse`]. That extents overlap may be said here
    /// or at the end.
    fn restore_part(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal>;

    /// Ends a restore; afterwards the strategy serves.
    ///
    /// Errors: [`Refusal::Extent`] when extents overlap; then the strategy serves nothing.
    fn restore_end(&mut self) -> Result<(), Refusal>;

    /// Sums over the arena.
    fn statistics(&self) -> Statistics;

    /// Blocks and holes in address order, from the first one that ends behind `from`.
    fn blocks(&self, from: u64, limit: usize) -> Vec<Block>;

    /// Checks every structural invariant from scratch; right where there is nothing to check.
    ///
    /// Errors: the first invariant that does not hold. Complexity: whatever it takes; for tests.
    fn validate(&self) -> Result<(), &'static str> {
        Ok(())
    }
}
