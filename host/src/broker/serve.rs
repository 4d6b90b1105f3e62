//! Having a strategy answer a list of commands, with all that is tried before a wish is refused.
//!
//! ```text
//! ask -> judge -> an extent crosses a border between two chunks -> given back, asked for again
//!                                                                  within each chunk in turn
//!              -> a wish finds no room -> the memory grows -> the wish is asked again
//! ```

use super::growth::Growth;
use super::judge::{Arena, judge};
use super::overlay::{Overlay, Step};
use super::{Broker, live_now, room};
use crate::error::ComponentFault;
use crate::ledger::Ledger;
use crate::slot::{Change, Slot};
use gpumm_contract::allocator::{Allocate, Answer, Command};
use gpumm_contract::extent::total;
use gpumm_contract::wire::{Kind, Reader, WireError, Writer};
use gpumm_contract::{AllocationId, Extent, Extents, MemoryTypeId};
use std::collections::BTreeMap;

/// How a strategy has answered a list.
struct Pass {
    words: Vec<u64>,
    /// Answers that stand in place of those in the words, by their position.
    instead: BTreeMap<usize, Answer>,
    /// Wishes without room, by their position.
    left: Vec<usize>,
}

impl Broker {
    /// Has the strategy of a memory type answer commands that were read.
    ///
    /// Errors: there is no strategy; one failed, and no other could replace it.
    pub(super) fn serve(
        &mut self,
        ledger: &Ledger,
        memory: MemoryTypeId,
        words: &[u64],
        commands: &[Command],
    ) -> Result<Vec<u64>, ComponentFault> {
        let Broker {
            slots,
            overlay,
            growth,
            ..
        } = self;
        let missing = || ComponentFault::Nonsense(format!("memory type {memory} does not exist"));
        let slot = slots.get_mut(&memory).ok_or_else(missing)?;
        let Pass {
            words,
            mut instead,
            mut left,
        } = pass(ledger, overlay, slot, growth, words, commands)?;
        while !left.is_empty() {
            let wanted = left.iter().map(|&at| wanted(&commands[at]));
            let wanted = wanted.fold(0, u64::saturating_add);
            let Some(size) = growth.ask(memory, wanted, slot.geometry.size) else {
                break;
            };
            if let Err(fault) = slot.grow(size) {
                slot.replace(fault, 1, &live_now(ledger, overlay, memory))?;
            }
            let again: Vec<Command> = left.iter().map(|&at| commands[at]).collect();
            let more = pass(ledger, overlay, slot, growth, &packed(&again), &again)?;
            let answers = more.answers()?.into_iter();
            instead.extend(left.iter().copied().zip(answers));
            left = more.left.iter().map(|&at| left[at]).collect();
        }
        if growth.may(memory, slot.geometry.size) {
            left.iter().for_each(|&at| slot.decided(commands[at], None));
        }
        let pass = Pass {
            words,
            instead,
            left,
        };
        pass.finish()
    }
}

impl Pass {
    /// The answers one by one.
    ///
    /// Errors: they cannot be read, though they were judged.
    fn answers(&self) -> Result<Vec<Answer>, ComponentFault> {
        let wrong = |e: WireError| ComponentFault::Lie(e.to_string());
        let mut reader = Reader::new(&self.words, Kind::Answers).map_err(wrong)?;
        let mut answers = Vec::new();
        while let Some(item) = reader.next().map_err(wrong)? {
            answers.push(Answer::decode(&item).map_err(wrong)?);
        }
        for (&at, answer) in &self.instead {
            if let Some(old) = answers.get_mut(at) {
                *old = answer.clone();
            }
        }
        Ok(answers)
    }

    /// The answers as a list.
    fn finish(self) -> Result<Vec<u64>, ComponentFault> {
        if self.instead.is_empty() {
            return Ok(self.words);
        }
        let mut out = Writer::new(Kind::Answers);
        let fits = self.answers()?.iter().all(|answer| answer.encode(&mut out));
        debug_assert!(fits, "each of them has come in a list");
        Ok(out.finish())
    }
}

/// Asks a strategy until its answers are good.
///
/// Errors: it failed, and no other could replace it.
fn pass(
    ledger: &Ledger,
    overlay: &mut Overlay,
    slot: &mut Slot,
    growth: &mut Growth,
    words: &[u64],
    commands: &[Command],
) -> Result<Pass, ComponentFault> {
    let memory = slot.memory();
    let mut retries = 0;
    loop {
        let arena = Arena {
            memory,
            size: slot.geometry.size,
            chunk: growth.chunk,
        };
        match once(ledger, overlay, slot, arena, words, commands) {
            Ok(pass) => {
                let freed = settled(ledger, overlay, slot, memory);
                growth.freed(freed);
                slot.books.decisions += commands.len() as u64;
                // What is asked again, or may be, is decided then.
                let later = growth.may(memory, slot.geometry.size);
                let later: &[usize] = if later { &pass.left } else { &[] };
                tell_shadow(overlay, slot, commands, later);
                overlay.steps.clear();
                if let Err(fault) = slot.audit() {
                    // The answers are good all the same; who counts wrong does so again.
                    slot.replace(fault, 2, &live_now(ledger, overlay, memory))?;
                }
                return Ok(pass);
            }
            Err(fault) => {
                overlay.undo();
                retries += 1;
                slot.replace(fault, retries, &live_now(ledger, overlay, memory))?;
            }
        }
    }
}

/// Asks a strategy and judges what it answers.
///
/// Errors: it failed, or its answer cannot be true; the overlay has steps to take back.
fn once(
    ledger: &Ledger,
    overlay: &mut Overlay,
    slot: &mut Slot,
    arena: Arena,
    words: &[u64],
    commands: &[Command],
) -> Result<Pass, ComponentFault> {
    let words = slot.execute(words, commands)?;
    let judged = judge(ledger, overlay, arena, commands, &words)?;
    room::refusals(ledger, overlay, slot, &judged.refused)?;
    let (mut instead, mut left) = (BTreeMap::new(), judged.left);
    for (at, wish) in judged.crossing {
        let answer = match within_a_chunk(ledger, overlay, slot, arena, &wish)? {
            Some(answer) => answer,
            None => {
                left.push(at);
                Answer::NoSpace {
                    number: wish.number,
                    // There is room, but not in one piece.
                    largest_hole: 0,
                }
            }
        };
        instead.insert(at, answer);
    }
    left.sort_unstable();
    Ok(Pass {
        words,
        instead,
        left,
    })
}

/// Gives back what crosses a border, and asks for it in one chunk after another.
///
/// Errors: the strategy failed, or its answer cannot be true.
fn within_a_chunk(
    ledger: &Ledger,
    overlay: &mut Overlay,
    slot: &mut Slot,
    arena: Arena,
    wish: &Allocate,
) -> Result<Option<Answer>, ComponentFault> {
    let free = [Command::free(wish.number)];
    let words = slot.execute(&packed(&free), &free)?;
    let read = |words| {
        let (instead, left) = (BTreeMap::new(), Vec::new());
        let pass = Pass {
            words,
            instead,
            left,
        };
        pass.answers()
    };
    if read(words)? != [Answer::Freed(wish.number)] {
        let text = format!("allocation {} was not given back", wish.number);
        return Err(ComponentFault::Lie(text));
    }
    let mut start = 0;
    while start < arena.size {
        let end = start.saturating_add(arena.chunk).min(arena.size);
        let range = Some((start, end));
        let ranged = [Command::Allocate(Allocate { range, ..*wish })];
        let words = slot.execute(&packed(&ranged), &ranged)?;
        if judge(ledger, overlay, arena, &ranged, &words)?
            .left
            .is_empty()
        {
            return Ok(read(words)?.pop());
        }
        start = end;
    }
    Ok(None)
}

fn wanted(command: &Command) -> u64 {
    match command {
        Command::Allocate(wish) => wish.bytes,
        _ => 0,
    }
}

fn packed(commands: &[Command]) -> Vec<u64> {
    let mut out = Writer::new(Kind::Commands);
    commands.iter().for_each(|command| command.encode(&mut out));
    out.finish()
}

/// Enters what a strategy's judged answers have changed into the slot's books; how many bytes were
/// given back.
fn settled(ledger: &Ledger, overlay: &Overlay, slot: &mut Slot, memory: MemoryTypeId) -> u64 {
    let followed = slot.is_followed();
    let extents_of = |number: AllocationId| {
        let here = overlay.granted.get(number).map(|(_, e)| &e[..]);
        here.or_else(|| ledger.live_extents(memory, number))
    };
    let mut freed = 0u64;
    for step in &overlay.steps {
        let (number, came) = match *step {
            Step::Took(_) => continue,
            Step::Granted(number) => (number, true),
            Step::Freed(number) => (number, false),
        };
        let Some(extents) = extents_of(number) else {
            continue;
        };
        let bytes = total(extents).unwrap_or(0);
        match came {
            true => slot.books.came(bytes),
            false => {
                slot.books.went(bytes);
                freed = freed.saturating_add(bytes);
            }
        }
        if followed {
            let extents: Extents = extents.into();
            match came {
                true => slot.follow(Change::Came(number, extents), None),
                false => slot.follow(Change::Went(number), Some(extents)),
            }
        }
    }
    freed
}

/// Tells the shadow of commands, but not of some, by their position.
fn tell_shadow(overlay: &Overlay, slot: &mut Slot, commands: &[Command], later: &[usize]) {
    if !slot.has_shadow() {
        return;
    }
    let now = commands.iter().enumerate();
    for (_, command) in now.filter(|(at, _)| later.binary_search(at).is_err()) {
        let granted = overlay.granted.get(command.number());
        let end = granted.and_then(|(_, e)| e.iter().filter_map(Extent::end).max());
        slot.decided(*command, end);
    }
}
