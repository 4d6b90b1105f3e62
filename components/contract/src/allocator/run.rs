//! Packed lists in, packed lists out.

use super::packed::{ADOPT, adopted};
use super::{Allocate, Allocator, Answer, Command, Failure, Refusal, encode_extents, extents_of};
use crate::extent::Extent;
use crate::id::AllocationId;
use crate::wire::{Item, Kind, Reader, WireError, Writer};
use alloc::vec::Vec;

/// What the lower half of a head says of the commands that nearly every list is made of: operation
/// and length.
mod head {
    /// Allocate, with nothing but the bytes.
    pub(super) const PLAIN: u32 = 1 | 2 << 8;
    /// Allocate, with bytes and an alignment.
    pub(super) const ALIGNED: u32 = 1 | 3 << 8;
    /// Free, with nothing known of the bytes.
    pub(super) const FREE: u32 = 2 | 1 << 8;
}

/// Executes a packed command list and returns the packed answers.
///
/// Errors: a list that cannot be read executes nothing and gives one `refused(malformed)`.
pub fn execute(strategy: &mut (impl Allocator + ?Sized), words: &[u64]) -> Vec<u64> {
    let mut out = Writer::new(Kind::Answers);
    let Ok((mut rest, answers)) = check(words) else {
        let _ = Answer::Refused(AllocationId(u32::MAX), Refusal::Malformed).encode(&mut out);
        return out.finish();
    };
    out.reserve(answers);
    let mut extents = Vec::new();
    while let Some((&first, behind)) = rest.split_first() {
        let number = AllocationId((first >> 32) as u32);
        match (first as u32, behind) {
            (head::PLAIN, [bytes, behind @ ..]) => {
                rest = behind;
                match strategy.allocate_one(number, *bytes) {
                    Some(offset) => out.fixed(1, number.0, [0, offset, *bytes]),
                    None => {
                        let wish = Allocate::plain(number, *bytes);
                        allocate(strategy, &wish, &mut extents, &mut out);
                    }
                }
            }
            (head::FREE, _) => {
                rest = behind;
                free(strategy, number, false, &mut out);
            }
            (head::ALIGNED, [bytes, alignment, behind @ ..]) => {
                rest = behind;
                let wish = Allocate {
                    alignment: *alignment,
                    ..Allocate::plain(number, *bytes)
                };
                allocate(strategy, &wish, &mut extents, &mut out);
            }
            // Every item was read before.
            _ => match Item::split_off(&mut rest, 0) {
                Ok(item) if item.op == ADOPT => adopt(strategy, &item, &mut out),
                Ok(item) => match Command::decode(&item) {
                    Ok(command) => run(strategy, command, &mut extents, &mut out),
                    Err(_) => break,
                },
                Err(_) => break,
            },
        }
    }
    out.finish()
}

/// Whether every command can be read; returns them, and how many words the answers need if every
/// allocation is one extent.
#[inline]
fn check(words: &[u64]) -> Result<(&[u64], usize), WireError> {
    let reader = Reader::new(words, Kind::Commands)?;
    let (commands, mut rest) = (reader.rest(), reader.rest());
    let mut answers = 0;
    for number in 0..reader.count() {
        match rest {
            [first, _, behind @ ..] if *first as u32 == head::PLAIN => {
                (rest, answers) = (behind, answers + 3);
            }
            [first, behind @ ..] if *first as u32 == head::FREE => {
                (rest, answers) = (behind, answers + 1);
            }
            [first, _, _, behind @ ..] if *first as u32 == head::ALIGNED => {
                (rest, answers) = (behind, answers + 3);
            }
            _ => {
                let item = Item::split_off(&mut rest, number)?;
                match item.op {
                    ADOPT => _ = adopted(&item)?,
                    _ => _ = Command::decode(&item)?,
                }
                answers += 3;
            }
        }
    }
    match rest.is_empty() {
        true => Ok((commands, answers)),
        false => Err(WireError::Count),
    }
}

#[inline]
fn allocate(
    strategy: &mut (impl Allocator + ?Sized),
    wish: &Allocate,
    extents: &mut Vec<Extent>,
    out: &mut Writer,
) {
    let number = wish.number;
    extents.clear();
    let answer = match strategy.allocate(wish, extents) {
        Ok(()) if encode_extents(number, extents, out) => return,
        // More pieces than one item holds: the caller cannot be told, so it gets none.
        Ok(()) => {
            let _ = strategy.free(number);
            Answer::NoSpace {
                number,
                largest_hole: strategy.statistics().largest_hole,
            }
        }
        Err(Failure::NoSpace { largest_hole }) => Answer::NoSpace {
            number,
            largest_hole,
        },
        Err(Failure::Refused(why)) => Answer::Refused(number, why),
    };
    let _ = answer.encode(out);
}

#[inline]
fn free(
    strategy: &mut (impl Allocator + ?Sized),
    number: AllocationId,
    cleared: bool,
    out: &mut Writer,
) {
    match strategy.free_as(number, cleared) {
        Ok(()) => out.fixed(3, number.0, [0]),
        Err(why) => _ = Answer::Refused(number, why).encode(out),
    }
}

fn adopt(strategy: &mut (impl Allocator + ?Sized), item: &Item<'_>, out: &mut Writer) {
    let number = AllocationId(item.operand);
    // The list was checked before.
    let done = adopted(item).map_err(|_| Refusal::Malformed);
    let done = done.and_then(|extents| strategy.adopt(number, &extents.collect::<Vec<_>>()));
    let answer = match done {
        Ok(()) => Answer::Done(number, true),
        Err(why) => Answer::Refused(number, why),
    };
    let _ = answer.encode(out);
}

fn run(
    strategy: &mut (impl Allocator + ?Sized),
    command: Command,
    extents: &mut Vec<Extent>,
    out: &mut Writer,
) {
    extents.clear();
    let number = command.number();
    let done = |yes| Answer::Done(number, yes);
    let answer = match command {
        Command::Allocate(wish) => return allocate(strategy, &wish, extents, out),
        Command::Free { cleared, .. } => return free(strategy, number, cleared, out),
        Command::Trim { start, bytes, .. } => match strategy.trim(number, start, bytes, extents) {
            // What is left of one extent is at most a piece per bit of its bounds.
            Ok(()) if encode_extents(number, extents, out) => return,
            Ok(()) => Err(Refusal::Unsupported),
            Err(why) => Err(why),
        },
        Command::ResetClear { clear } => strategy.reset_clear(clear).map(|()| done(false)),
        Command::ScanBegin(scan) => strategy.scan_begin(&scan).map(|()| done(false)),
        Command::ScanAdd(number) => strategy.scan_add(number).map(done),
        Command::ScanRemove(number) => strategy.scan_remove(number).map(done),
        Command::ScanColour => strategy.scan_colour().map(|neighbour| match neighbour {
            Some(neighbour) => Answer::Done(neighbour, true),
            None => done(false),
        }),
    };
    let _ = answer
        .unwrap_or_else(|why| Answer::Refused(number, why))
        .encode(out);
}

/// Files every allocation of a packed restore part (an answer list of `extents` items).
///
/// Errors: the first refusal; [`Refusal::Malformed`] for anything but `extents`.
pub fn restore_part(
    strategy: &mut (impl Allocator + ?Sized),
    words: &[u64],
) -> Result<(), Refusal> {
    let mut reader = Reader::new(words, Kind::Answers).map_err(|_| Refusal::Malformed)?;
    let mut all = Vec::new();
    while let Some(item) = reader.next().map_err(|_| Refusal::Malformed)? {
        let (number, extents) = extents_of(&item).ok_or(Refusal::Malformed)?;
        all.clear();
        all.extend(extents);
        strategy.restore_part(number, &all)?;
    }
    Ok(())
}
