//! Commands and answers as words.

use super::{Allocate, Allocator, Failure, Refusal};
use crate::extent::Extent;
use crate::id::AllocationId;
use crate::wire::{Item, Kind, Reader, WireError, Writer};
use alloc::vec::Vec;

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
            (1, &[bytes, alignment]) => Ok(Command::Allocate(Allocate {
                number,
                bytes,
                alignment,
                range: None,
            })),
            (1, &[bytes, alignment, start, end]) => Ok(Command::Allocate(Allocate {
                number,
                bytes,
                alignment,
                range: Some((start, end)),
            })),
            (2, &[]) => Ok(Command::Free(number)),
            (1 | 2, _) => Err(WireError::Length(item.number)),
            _ => Err(item.unknown()),
        }
    }
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
            Answer::NoSpace {
                number,
                largest_hole,
            } => out.item(2, number.0, |b| b.push(*largest_hole)),
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
            (2, &[largest_hole]) => Ok(Answer::NoSpace {
                number,
                largest_hole,
            }),
            (3, &[]) => Ok(Answer::Freed(number)),
            (4, &[code]) => Refusal::from_code(code)
                .map(|why| Answer::Refused(number, why))
                .ok_or(WireError::Value(item.number)),
            (1..=4, _) => Err(WireError::Length(item.number)),
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
pub fn encode_extents(number: AllocationId, extents: &[Extent], out: &mut Writer) -> bool {
    out.item(1, number.0, |body| {
        body.extend(extents.iter().flat_map(|e| [e.offset, e.bytes]))
    })
}

fn pairs(body: &[u64]) -> impl Iterator<Item = Extent> + '_ {
    body.chunks_exact(2).map(|p| Extent {
        offset: p[0],
        bytes: p[1],
    })
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
            let Ok(command) = Command::decode(&item) else {
                break;
            };
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

fn run(
    strategy: &mut impl Allocator,
    command: Command,
    extents: &mut Vec<Extent>,
    out: &mut Writer,
) {
    let (number, failure) = match command {
        Command::Allocate(wish) => {
            extents.clear();
            match strategy.allocate(&wish, extents) {
                Ok(()) if encode_extents(wish.number, extents, out) => return,
                // More pieces than one item holds: the caller cannot be told, so it gets none.
                Ok(()) => {
                    let _ = strategy.free(wish.number);
                    (
                        wish.number,
                        Failure::NoSpace {
                            largest_hole: strategy.statistics().largest_hole,
                        },
                    )
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
        Failure::NoSpace { largest_hole } => Answer::NoSpace {
            number,
            largest_hole,
        },
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
