//! Commands and answers as words.

use super::{Allocate, Mode, Refusal, Scan};
use crate::extent::Extent;
use crate::id::AllocationId;
use crate::wire::{Item, WireError, Writer};
use alloc::vec::Vec;

/// A command to a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Take memory.
    Allocate(Allocate),
    /// Give back what is filed under the number.
    Free {
        /// Whose.
        number: AllocationId,
        /// Whether the memory is zeroed.
        cleared: bool,
    },
    /// Cut an allocation down.
    Trim {
        /// Which.
        number: AllocationId,
        /// Where what stays begins; `None` = at its first byte.
        start: Option<u64>,
        /// How much stays, in bytes.
        bytes: u64,
    },
    /// Take all free memory for zeroed, or for not zeroed.
    ResetClear {
        /// Whether it is.
        clear: bool,
    },
    /// Begin an eviction scan.
    ScanBegin(Scan),
    /// Regard an allocation as gone.
    ScanAdd(AllocationId),
    /// Regard the allocation that was added last as live again.
    ScanRemove(AllocationId),
    /// Name a neighbour of the freed hole that must go for its colour.
    ScanColour,
}

/// Bits of a flags word; the mode is below them.
mod flag {
    pub(super) const MODE: u64 = 7;
    pub(super) const RANGE: u64 = 1 << 3;
    pub(super) const ONCE: u64 = 1 << 4;
    pub(super) const CONTIGUOUS: u64 = 1 << 5;
    pub(super) const CLEAR: u64 = 1 << 6;
    pub(super) const KEEP_ROUNDING: u64 = 1 << 7;
    /// Those that only an allocation has.
    pub(super) const HINTS: u64 = ONCE | CONTIGUOUS | CLEAR | KEEP_ROUNDING;
}

/// The three words `start, end, flags` of a range and a mode.
fn bounds(range: Option<(u64, u64)>, mode: Mode) -> [u64; 3] {
    match range {
        Some((start, end)) => [start, end, flag::RANGE | mode as u64],
        None => [0, 0, mode as u64],
    }
}

/// The range and the mode of three words; `None` for bits that are not known, and for a range
/// that is not meant.
fn range_and_mode([start, end, flags]: [u64; 3]) -> Option<(Option<(u64, u64)>, Mode)> {
    let mode = Mode::from_code(flags & flag::MODE)?;
    match flags & !flag::MODE {
        flag::RANGE => Some((Some((start, end)), mode)),
        0 if (start, end) == (0, 0) => Some((None, mode)),
        _ => None,
    }
}

impl Command {
    /// Give back what is filed under the number, about whose bytes nothing is known.
    pub const fn free(number: AllocationId) -> Self {
        let cleared = false;
        Command::Free { number, cleared }
    }

    /// The number the command is about; 0 where it is about none.
    pub fn number(&self) -> AllocationId {
        match *self {
            Command::Allocate(Allocate { number, .. })
            | Command::Free { number, .. }
            | Command::Trim { number, .. }
            | Command::ScanAdd(number)
            | Command::ScanRemove(number) => number,
            Command::ResetClear { .. } | Command::ScanBegin(_) | Command::ScanColour => {
                AllocationId(0)
            }
        }
    }

    /// Appends the command to a command list.
    #[inline]
    pub fn encode(&self, out: &mut Writer) {
        match self {
            Command::Allocate(wish) if wish.is_plain() => {
                out.fixed(1, wish.number.0, [0, wish.bytes]);
            }
            Command::Free {
                number,
                cleared: false,
            } => out.fixed(2, number.0, [0]),
            _ => self.encode_any(out),
        }
    }

    fn encode_any(&self, out: &mut Writer) {
        let number = self.number().0;
        // Command bodies are at most six words: far below the item limit.
        let _ = match *self {
            Command::Allocate(wish) => out.item(1, number, |body| encode_wish(&wish, body)),
            Command::Free { cleared, .. } => {
                out.item(2, number, |body| body.extend(cleared.then_some(1)))
            }
            Command::Trim { start, bytes, .. } => out.item(3, number, |body| {
                body.push(bytes);
                body.extend(start);
            }),
            Command::ResetClear { clear } => out.item(4, number, |body| body.push(clear.into())),
            Command::ScanBegin(scan) => out.item(5, number, |body| {
                body.extend([scan.bytes, scan.alignment]);
                body.extend(bounds(scan.range, scan.mode));
                body.push(scan.colour);
            }),
            Command::ScanAdd(_) => out.item(6, number, |_| ()),
            Command::ScanRemove(_) => out.item(7, number, |_| ()),
            Command::ScanColour => out.item(8, number, |_| ()),
        };
    }

    /// Reads one command.
    pub fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let number = AllocationId(item.operand);
        let value = WireError::Value(item.number);
        let about_none = || if number.0 == 0 { Ok(()) } else { Err(value) };
        match (item.op, item.body) {
            (1, body) => decode_wish(number, item, body).map(Command::Allocate),
            (2, &[]) => Ok(Command::free(number)),
            (2, &[1]) => {
                let cleared = true;
                Ok(Command::Free { number, cleared })
            }
            (2, &[_]) => Err(value),
            (3, &[bytes]) => Ok(Command::Trim {
                number,
                start: None,
                bytes,
            }),
            (3, &[bytes, start]) => Ok(Command::Trim {
                number,
                start: Some(start),
                bytes,
            }),
            (4, &[clear @ (0 | 1)]) => {
                about_none().map(|()| Command::ResetClear { clear: clear == 1 })
            }
            (4, &[_]) => Err(value),
            (5, &[bytes, alignment, start, end, flags, colour]) => {
                about_none()?;
                let (range, mode) = range_and_mode([start, end, flags]).ok_or(value)?;
                Ok(Command::ScanBegin(Scan {
                    bytes,
                    alignment,
                    range,
                    mode,
                    colour,
                }))
            }
            (6, &[]) => Ok(Command::ScanAdd(number)),
            (7, &[]) => Ok(Command::ScanRemove(number)),
            (8, &[]) => about_none().map(|()| Command::ScanColour),
            (2..=8, _) => Err(WireError::Length(item.number)),
            _ => Err(item.unknown()),
        }
    }
}

fn encode_wish(wish: &Allocate, body: &mut Vec<u64>) {
    let [start, end, flags] = bounds(wish.range, wish.mode);
    let bit = |set: bool, bit: u64| if set { bit } else { 0 };
    let flags = flags
        | bit(wish.once, flag::ONCE)
        | bit(wish.contiguous, flag::CONTIGUOUS)
        | bit(wish.clear, flag::CLEAR)
        | bit(wish.keep_rounding, flag::KEEP_ROUNDING);
    let words = [wish.bytes, wish.alignment, start, end, flags, wish.colour];
    let used = match (wish.colour, flags, wish.alignment) {
        (0, 0, 0) => 1,
        (0, 0, _) => 2,
        (0, flag::RANGE, _) => 4,
        (0, ..) => 5,
        _ => 6,
    };
    body.extend_from_slice(&words[..used]);
}

fn decode_wish(number: AllocationId, item: &Item<'_>, body: &[u64]) -> Result<Allocate, WireError> {
    let plain = |bytes| Allocate::plain(number, bytes);
    let (words, flags, colour) = match *body {
        [bytes] => return Ok(plain(bytes)),
        [bytes, alignment] => {
            return Ok(Allocate {
                alignment,
                ..plain(bytes)
            });
        }
        [bytes, alignment, start, end] => ([bytes, alignment, start, end], flag::RANGE, 0),
        // A shorter form would have said the same.
        [_, _, _, _, 0 | flag::RANGE] | [_, _, _, _, _, 0] => {
            return Err(WireError::Value(item.number));
        }
        [bytes, alignment, start, end, flags] => ([bytes, alignment, start, end], flags, 0),
        [bytes, alignment, start, end, flags, colour] => {
            ([bytes, alignment, start, end], flags, colour)
        }
        _ => return Err(WireError::Length(item.number)),
    };
    let [bytes, alignment, start, end] = words;
    let (range, mode) =
        range_and_mode([start, end, flags & !flag::HINTS]).ok_or(WireError::Value(item.number))?;
    Ok(Allocate {
        alignment,
        range,
        mode,
        once: flags & flag::ONCE != 0,
        contiguous: flags & flag::CONTIGUOUS != 0,
        clear: flags & flag::CLEAR != 0,
        keep_rounding: flags & flag::KEEP_ROUNDING != 0,
        colour,
        ..plain(bytes)
    })
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
    /// What was asked for is done, or is so; the value is 0 or 1.
    ///
    /// `adopt`: its number, and 1. `reset-clear` and `scan-begin`: number 0, value 0. `scan-add` and `scan-remove`: their
    /// number, and 1 for yes. `scan-colour`: the neighbour and 1, or 0 and 0 for none.
    Done(AllocationId, bool),
}

impl Answer {
    /// The number the answer is for.
    pub fn number(&self) -> AllocationId {
        match *self {
            Answer::Extents(number, _)
            | Answer::NoSpace { number, .. }
            | Answer::Freed(number)
            | Answer::Refused(number, _)
            | Answer::Done(number, _) => number,
        }
    }

    /// Appends the answer to an answer list.
    ///
    /// Errors: `false` when the extents do not fit in one item.
    #[must_use]
    pub fn encode(&self, out: &mut Writer) -> bool {
        match self {
            Answer::Extents(number, extents) => encode_extents(*number, extents, out),
            Answer::NoSpace {
                number,
                largest_hole,
            } => out.item(2, number.0, |b| b.push(*largest_hole)),
            Answer::Freed(number) => out.item(3, number.0, |_| ()),
            Answer::Refused(number, why) => out.item(4, number.0, |b| b.push(*why as u64)),
            Answer::Done(number, yes) => out.item(5, number.0, |b| b.push((*yes).into())),
        }
    }

    /// Reads one answer.
    pub fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let number = AllocationId(item.operand);
        match (item.op, item.body) {
            (1, body) if body.len() % 2 == 0 && !body.is_empty() => {
                Ok(Answer::Extents(number, pairs(body).collect()))
            }
            (2, &[largest_hole]) => Ok(Answer::NoSpace {
                number,
                largest_hole,
            }),
            (3, &[]) => Ok(Answer::Freed(number)),
            (4, &[code]) => Refusal::from_code(code)
                .map(|why| Answer::Refused(number, why))
                .ok_or(WireError::Value(item.number)),
            (5, &[yes @ (0 | 1)]) => Ok(Answer::Done(number, yes == 1)),
            (5, &[_]) => Err(WireError::Value(item.number)),
            (1..=5, _) => Err(WireError::Length(item.number)),
            _ => Err(item.unknown()),
        }
    }
}

/// The extents of an `extents` answer, without taking memory for them; `None` for any other item.
pub fn extents_of<'a>(
    item: &Item<'a>,
) -> Option<(AllocationId, impl Iterator<Item = Extent> + 'a)> {
    let whole = item.op == 1 && item.body.len().is_multiple_of(2) && !item.body.is_empty();
    whole.then(|| (AllocationId(item.operand), pairs(item.body)))
}

/// Appends an `extents` item: an answer, or one allocation of a restore part.
#[must_use]
#[inline]
pub fn encode_extents(number: AllocationId, extents: &[Extent], out: &mut Writer) -> bool {
    if let [one] = extents {
        out.fixed(1, number.0, [0, one.offset, one.bytes]);
        return true;
    }
    out.item(1, number.0, |body| {
        body.extend(extents.iter().flat_map(|e| [e.offset, e.bytes]))
    })
}

/// The operation of the command `adopt`, which no mechanism sends: the host speaks it to a strategy
/// that is to take over from another one.
pub(super) const ADOPT: u8 = 9;

/// Appends the command to file a live allocation with exactly these extents
/// ([`Allocator::adopt`](super::Allocator::adopt)).
///
/// Errors: `false` when the extents do not fit in one item.
#[must_use]
pub fn encode_adopt(number: AllocationId, extents: &[Extent], out: &mut Writer) -> bool {
    out.item(ADOPT, number.0, |body| {
        body.extend(extents.iter().flat_map(|e| [e.offset, e.bytes]))
    })
}

/// The extents of an `adopt` command.
///
/// Errors: there are none, or half a pair.
pub(super) fn adopted<'a>(
    item: &Item<'a>,
) -> Result<impl Iterator<Item = Extent> + use<'a>, WireError> {
    if item.body.is_empty() || !item.body.len().is_multiple_of(2) {
        return Err(WireError::Length(item.number));
    }
    Ok(pairs(item.body))
}

fn pairs(body: &[u64]) -> impl Iterator<Item = Extent> + '_ {
    body.chunks_exact(2).map(|p| Extent {
        offset: p[0],
        bytes: p[1],
    })
}
