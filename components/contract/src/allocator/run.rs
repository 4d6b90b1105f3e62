//! Packed lists in, packed lists out.

use super::packed::{ADOPT, adopted};
use super::{Allocate, Allocator, Answer, Command, Failure, Refusal, encode_extents, extents_of};
use crate::extent::Extent;
use crate::id::AllocationId;
use crate::wire::{Item, Kind, Reader, WireError, Writer};
use alloc::vec::Vec;

/// Executes a packed command list and returns the packed answers.
///
/// Errors: a list that cannot be read executes nothing and gives one `refused(malformed)`.
pub fn execute(strategy: &mut (impl Allocator + ?Sized), words: &[u64]) -> Vec<u64> {
    let mut out = Writer::new(Kind::Answers);
    let Ok(answers) = check(words) else {
        let _ = Answer::Refused(AllocationId(u32::MAX), Refusal::Malformed).encode(&mut out);
        return out.finish();
    };
    out.reserve(answers);
    let mut extents = Vec::new();
    let mut plain = Allocate::plain(AllocationId(0), 0);
    if let Ok(mut reader) = Reader::new(words, Kind::Commands) {
        while let Ok(Some(item)) = reader.next() {
            match (item.op, item.body) {
                // What nearly every list holds, without the detour over a command.
                (1, &[bytes]) => {
                    (plain.number, plain.bytes) = (AllocationId(item.operand), bytes);
                    allocate(strategy, &plain, &mut extents, &mut out);
                }
                (2, []) => free(strategy, AllocationId(item.operand), false, &mut out),
                (ADOPT, _) => adopt(strategy, &item, &mut out),
                _ => match Command::decode(&item) {
                    Ok(command) => run(strategy, command, &mut extents, &mut out),
                    Err(_) => break,
                },
            }
        }
    }
    out.finish()
}

/// Whether every command can be read; returns how many words the answers need, if every
/// allocation is one extent.
fn check(words: &[u64]) -> Result<usize, WireError> {
    let mut reader = Reader::new(words, Kind::Commands)?;
    let mut answers = 0;
    while let Some(item) = reader.next()? {
        answers += if item.op == 2 { 1 } else { 3 };
        match (item.op, item.body) {
            (1, [_]) | (2, []) => {}
            (ADOPT, _) => _ = adopted(&item)?,
            _ => _ = Command::decode(&item)?,
        }
    }
    Ok(answers)
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
