//! Judging a strategy's answers before the mechanism sees them.

use super::overlay::Overlay;
use crate::error::ComponentFault;
use crate::ledger::Ledger;
use gpumm_contract::allocator::{Allocate, Answer, Command, Refusal, extents_of};
use gpumm_contract::extent::total;
use gpumm_contract::wire::{Item, Kind, Reader};
use gpumm_contract::{AllocationId, Extent, Extents, MemoryTypeId};

/// What a strategy decides on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arena {
    pub(super) memory: MemoryTypeId,
    /// What there is, in bytes.
    pub(super) size: u64,
    /// Extents of wishes that are no larger do not cross a multiple of it.
    pub(super) chunk: u64,
}

/// Good answers.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// The sizes of the plain wishes that were refused and that no release behind them could have
    /// helped.
    pub(super) refused: Vec<u64>,
    /// The wishes that found no room, by their position.
    pub(super) left: Vec<usize>,
    /// Those that got what crosses a border, by their position: it is not in the overlay.
    pub(super) crossing: Vec<(usize, Allocate)>,
}

/// How a command was answered.
enum Ended {
    Done,
    NoRoom,
    Crossing,
}

/// Judges a strategy's answers: in order, complete, and about bytes that are free.
///
/// Errors: [`ComponentFault::Lie`] with what is wrong.
pub(super) fn judge(
    ledger: &Ledger,
    after: &mut Overlay,
    arena: Arena,
    commands: &[Command],
    words: &[u64],
) -> Result<Judged, ComponentFault> {
    let lie = |why: String| ComponentFault::Lie(why);
    let mut reader = Reader::new(words, Kind::Answers).map_err(|e| lie(e.to_string()))?;
    let mut judged = Judged::default();
    for (at, command) in commands.iter().enumerate() {
        let item = reader.next().map_err(|e| lie(e.to_string()))?;
        let item = item.ok_or_else(|| lie("fewer answers than commands".into()))?;
        let ended = judge_one(ledger, after, arena, command, &item).map_err(lie)?;
        match (command, ended) {
            (Command::Allocate(wish), Ended::NoRoom) => {
                judged.left.push(at);
                judged.refused.extend(wish.is_plain().then_some(wish.bytes));
            }
            (Command::Allocate(wish), Ended::Crossing) => judged.crossing.push((at, *wish)),
            // What it makes room for had none before.
            (Command::Free { .. }, _) => judged.refused.clear(),
            _ => {}
        }
    }
    match reader.next() {
        Ok(None) => Ok(judged),
        _ => Err(lie("more answers than commands".into())),
    }
}

fn judge_one(
    ledger: &Ledger,
    after: &mut Overlay,
    arena: Arena,
    command: &Command,
    item: &Item<'_>,
) -> Result<Ended, String> {
    let memory = arena.memory;
    if let (Command::Allocate(wish), Some((number, extents))) = (command, extents_of(item))
        && number == wish.number
    {
        let extents: Extents = extents.collect();
        judge_extents(ledger, after, arena, wish, &extents)?;
        let borders = arena.chunk < arena.size;
        if borders && wish.bytes <= arena.chunk && crosses(&extents, arena.chunk) {
            after.leave(extents.len());
            return Ok(Ended::Crossing);
        }
        after.grant(number, memory, extents);
        return Ok(Ended::Done);
    }
    let answer = Answer::decode(item).map_err(|e| e.to_string())?;
    match (command, answer) {
        (Command::Free { number, .. }, Answer::Freed(freed)) if freed == *number => {
            after.free(*number, memory);
            Ok(Ended::Done)
        }
        (Command::Allocate(wish), Answer::NoSpace { number, .. }) if number == wish.number => {
            Ok(Ended::NoRoom)
        }
        // A promise that a strategy cannot keep; the mechanism takes it for want of room.
        (Command::Allocate(wish), Answer::Refused(number, Refusal::Unsupported))
            if (wish.contiguous || wish.range.is_some()) && number == wish.number =>
        {
            Ok(Ended::NoRoom)
        }
        // The broker sends only commands that every strategy must accept.
        (_, Answer::Refused(number, why)) => {
            Err(format!("a good command for {number} was refused: {why}"))
        }
        (_, answer) => Err(format!(
            "an answer for {} where another was due",
            answer.number()
        )),
    }
}

/// Whether bytes that lie behind each other are on both sides of a border.
fn crosses(extents: &[Extent], chunk: u64) -> bool {
    let within = |e: &Extent| e.offset / chunk != (e.offset + e.bytes - 1) / chunk;
    let between = |pair: &[Extent]| {
        pair[0].end() == Some(pair[1].offset) && pair[1].offset.is_multiple_of(chunk)
    };
    extents.iter().any(within) || extents.windows(2).any(between)
}

fn judge_extents(
    ledger: &Ledger,
    after: &mut Overlay,
    arena: Arena,
    wish: &Allocate,
    extents: &[Extent],
) -> Result<(), String> {
    let memory = arena.memory;
    let facts = ledger
        .memory
        .get(&memory)
        .ok_or("the memory type does not exist")?;
    let sum = total(extents);
    let kept = wish.keep_rounding && sum.is_some_and(|sum| sum > wish.bytes);
    if sum != Some(wish.bytes) && !kept {
        return Err(format!("{sum:?} bytes for a wish of {}", wish.bytes));
    }
    let gap = |pair: &[Extent]| pair[0].end() != Some(pair[1].offset);
    if wish.contiguous && extents.windows(2).any(gap) {
        return Err(format!("pieces for a contiguous wish of {}", wish.bytes));
    }
    let alignment = wish.alignment.max(facts.kind.granule);
    let (low, high) = wish.range.unwrap_or((0, arena.size));
    for &extent in extents {
        let Extent { offset, bytes } = extent;
        let place = || format!("{bytes} bytes at {offset:#x}");
        let inside = extent.end().is_some_and(|end| end <= high.min(arena.size)) && offset >= low;
        if !inside {
            return Err(format!("{} leave the arena or the range", place()));
        }
        if bytes == 0 || offset % alignment != 0 || bytes % facts.kind.granule != 0 {
            return Err(format!("{} are off the granule or the alignment", place()));
        }
        let live = |n: AllocationId| !after.freed.contains_key(&n);
        if facts.overlapping(extent).any(live) || after.overlaps(memory, extent) {
            return Err(format!("{} are taken", place()));
        }
        // An extent that is in the answer twice is taken the second time.
        after.take(memory, extent);
    }
    Ok(())
}
