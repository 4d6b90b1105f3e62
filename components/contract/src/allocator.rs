//! What a strategy answers: the [`Allocator`] trait and the packed commands and answers.
//!
//! Shape of a command list ([`Kind::Commands`]): `allocate` (operation 1, operand the allocation
//! number, body `bytes`, or `bytes, alignment` , or `bytes, alignment, start, end`) and `free`
//! (operation 2, operand the number, no body). Shape of an answer list ([`Kind::Answers`]): one
//! item per command in order: `extents` (1, body pairs `offset, bytes`), `no-space` (2, body
//! `largest hole`), `freed` (3), `refused` (4, body [`Refusal`] code).

use crate::extent::Extent;
use crate::id::AllocationId;
use crate::wire::{Item, Kind, Reader, WireError, Writer};
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
        let good = self.granule.is_power_of_two() && self.size != 0 && self.size.is_multiple_of(self.granule);
        if good { Ok(self) } else { Err(Refusal::Geometry) }
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
        Allocate { number, bytes, alignment: 0, range: None }
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

/// A command to a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Take memory.
    Allocate(Allocate),
    /// Give back what is filed under the number.
    Free(AllocationId),
}

impl Command {
    /// Appends the command to a command list.
    pub fn encode(&self, out: &mut Writer) {
        // Command bodies are at most four words: far below the item limit.
        let _ = match *self {
            Command::Allocate(a) => out.item(1, a.number.0, |body| match (a.range, a.alignment) {
                (Some((start, end)), alignment) => body.extend([a.bytes, alignment, start, end]),
                (None, 0) => body.push(a.bytes),
                (None, alignment) => body.extend([a.bytes, alignment]),
            }),
            Command::Free(number) => out.item(2, number.0, |_| ()),
        };
    }

    /// Reads one command.
    pub fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let number = AllocationId(item.operand);
        match (item.op, item.body) {
            (1, &[bytes]) => Ok(Command::Allocate(Allocate::plain(number, bytes))),
            (1, &[bytes, alignment]) => {
                Ok(Command::Allocate(Allocate { number, bytes, alignment, range: None }))
            }
            (1, &[bytes, alignment, start, end]) => {
                Ok(Command::Allocate(Allocate { number, bytes, alignment, range: Some((start, end)) }))
            }
            (2, &[]) => Ok(Command::Free(number)),
            (1 | 2, _) => Err(WireError::Length(item.number)),
            _ => Err(item.unknown()),
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
        [NumberInUse, NumberUnknown, Size, Alignment, Range, Geometry, Extent, Unsupported, Malformed]
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

/// One answer of a strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The allocation's extents, in the buffer's byte order.
    Extents(AllocationId, Vec<Extent>),
    /// No room.
    NoSpace {
        /// The command's number.
        number: AllocationId,
        /// The largest hole in bytes.
        largest_hole: u64,
    },
    /// Given back.
    Freed(AllocationId),
    /// The command is wrong.
    Refused(AllocationId, Refusal),
}

impl Answer {
    /// The number the answer is for.
    pub fn number(&self) -> AllocationId {
        match *self {
            Answer::Extents(number, _)
            | Answer::NoSpace { number, .. }
            | Answer::Freed(number)
            | Answer::Refused(number, _) => number,
        }
    }

    /// Appends the answer to an answer list.
    ///
    /// Errors: `false` when the extents do not fit in one item.
    #[must_use]
    pub fn encode(&self, out: &mut Writer) -> bool {
        match self {
            Answer::Extents(number, extents) => encode_extents(*number, extents, out),
            Answer::NoSpace { number, largest_hole } => out.item(2, number.0, |b| b.push(*largest_hole)),
            Answer::Freed(number) => out.item(3, number.0, |_| ()),
            Answer::Refused(number, why) => out.item(4, number.0, |b| b.push(*why as u64)),
        }
    }

    /// Reads one answer.
    pub fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let number = AllocationId(item.operand);
        match (item.op, item.body) {
            (1, body) if body.len() % 2 == 0 && !body.is_empty() => {
                Ok(Answer::Extents(number, pairs(body).collect()))
            }
            (2, &[largest_hole]) => Ok(Answer::NoSpace { number, largest_hole }),
            (3, &[]) => Ok(Answer::Freed(number)),
            (4, &[code]) => Refusal::from_code(code)
                .map(|why| Answer::Refused(number, why))
                .ok_or(WireError::Value(item.number)),
            (1..=4, _) => Err(WireError::Length(item.number)),
            _ => Err(item.unknown()),
        }
    }
}

/// Appends an `extents` item: an answer, or one allocation of a restore part.
#[must_use]
pub fn encode_extents(number: AllocationId, extents: &[Extent], out: &mut Writer) -> bool {
    out.item(1, number.0, |body| body.extend(extents.iter().flat_map(|e| [e.offset, e.bytes])))
}

fn pairs(body: &[u64]) -> impl Iterator<Item = Extent> + '_ {
    body.chunks_exact(2).map(|p| Extent { offset: p[0], bytes: p[1] })
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

/// Executes a packed command list and returns the packed answers.
///
/// Errors: a list that cannot be read executes nothing and gives one `refused(malformed)`.
pub fn execute(strategy: &mut impl Allocator, words: &[u64]) -> Vec<u64> {
    let mut out = Writer::new(Kind::Answers);
    if check(words).is_err() {
        let _ = Answer::Refused(AllocationId(u32::MAX), Refusal::Malformed).encode(&mut out);
        return out.finish();
    }
    let mut extents = Vec::new();
    if let Ok(mut reader) = Reader::new(words, Kind::Commands) {
        while let Ok(Some(item)) = reader.next() {
            let Ok(command) = Command::decode(&item) else { break };
            run(strategy, command, &mut extents, &mut out);
        }
    }
    out.finish()
}

fn check(words: &[u64]) -> Result<(), WireError> {
    let mut reader = Reader::new(words, Kind::Commands)?;
    while let Some(item) = reader.next()? {
        Command::decode(&item)?;
    }
    Ok(())
}

fn run(strategy: &mut impl Allocator, command: Command, extents: &mut Vec<Extent>, out: &mut Writer) {
    let (number, failure) = match command {
        Command::Allocate(wish) => {
            extents.clear();
            match strategy.allocate(&wish, extents) {
                Ok(()) if encode_extents(wish.number, extents, out) => return,
                // More pieces than one item holds: the caller cannot be told, so it gets none.
                Ok(()) => {
                    let _ = strategy.free(wish.number);
                    (wish.number, Failure::NoSpace { largest_hole: strategy.statistics().largest_hole })
                }
                Err(failure) => (wish.number, failure),
            }
        }
        Command::Free(number) => match strategy.free(number) {
            Ok(()) => {
                let _ = Answer::Freed(number).encode(out);
                return;
            }
            Err(why) => (number, Failure::Refused(why)),
        },
    };
    let _ = match failure {
        Failure::NoSpace { largest_hole } => Answer::NoSpace { number, largest_hole },
        Failure::Refused(why) => Answer::Refused(number, why),
    }
    .encode(out);
}

/// Files every allocation of a packed restore part (an answer list of `extents` items).
///
/// Errors: the first refusal; [`Refusal::Malformed`] for anything but `extents`.
pub fn restore_part(strategy: &mut impl Allocator, words: &[u64]) -> Result<(), Refusal> {
    let mut reader = Reader::new(words, Kind::Answers).map_err(|_| Refusal::Malformed)?;
    while let Some(item) = reader.next().map_err(|_| Refusal::Malformed)? {
        match Answer::decode(&item).map_err(|_| Refusal::Malformed)? {
            Answer::Extents(number, extents) => strategy.restore_part(number, &extents)?,
            _ => return Err(Refusal::Malformed),
        }
    }
    Ok(())
}
