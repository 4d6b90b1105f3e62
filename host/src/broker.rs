//! Answering the mechanism's strategy imports, and checking the strategies' answers.
//!
//! During a call of the mechanism the broker keeps an [`Overlay`]: what this call has allocated
//! and freed on top of the ledger. Each answer of a strategy is checked against ledger and overlay
//! before the mechanism sees it. A strategy that traps, overruns or lies is replaced, rebuilt from
//! ledger and overlay, and asked again within the same request.

use crate::error::ComponentFault;
use crate::ledger::Ledger;
use crate::slot::{Slot, StrategyFault};
use crate::system::SystemPool;
use gpumm_contract::allocator::{Allocate, Answer, Command, encode_extents};
use gpumm_contract::extent::total;
use gpumm_contract::wire::{Kind, Reader, Writer};
use gpumm_contract::{AllocationId, Extent, MemoryTypeId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the call in progress has allocated and freed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    granted: BTreeMap<AllocationId, (MemoryTypeId, Vec<Extent>)>,
    freed: BTreeMap<AllocationId, MemoryTypeId>,
    /// Extents of granted allocations that are not freed again: (memory type, offset) to end.
    taken: BTreeMap<(MemoryTypeId, u64), u64>,
    /// What the strategy call in progress has changed.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Took((MemoryTypeId, u64)),
    Granted(AllocationId),
    Freed(AllocationId),
}

impl Overlay {
    /// Whether exactly these extents were granted under the number in this call.
    pub(crate) fn granted(&self, number: AllocationId, memory: MemoryTypeId, extents: &[Extent]) -> bool {
        self.granted.get(&number).is_some_and(|(m, e)| *m == memory && e == extents)
    }

    /// Whether the number was freed in this call.
    pub(crate) fn freed(&self, number: AllocationId, memory: MemoryTypeId) -> bool {
        self.freed.get(&number) == Some(&memory)
    }

    /// A number that is live for the strategy but not for the plan, or the other way round.
    pub(crate) fn disagreement(
        &self,
        placed: impl Fn(AllocationId) -> bool,
        unplaced: impl Fn(AllocationId) -> bool,
    ) -> Option<AllocationId> {
        let kept = self.granted.keys().filter(|n| !self.freed.contains_key(n)).find(|&&n| !placed(n));
        let gone = self.freed.keys().find(|&&n| placed(n) && !unplaced(n));
        kept.or(gone).copied()
    }

    #[cfg(test)]
    pub(crate) fn granted_for_test(&mut self, number: AllocationId, memory: MemoryTypeId, extents: Vec<Extent>) {
        self.grant(number, memory, extents);
    }

    #[cfg(test)]
    pub(crate) fn freed_for_test(&mut self, number: AllocationId, memory: MemoryTypeId) {
        self.free(number, memory);
    }

    fn is_empty(&self) -> bool {
        self.granted.is_empty() && self.freed.is_empty()
    }

    fn take(&mut self, memory: MemoryTypeId, extent: Extent) {
        let key = (memory, extent.offset);
        self.taken.insert(key, extent.offset.saturating_add(extent.bytes));
        self.steps.push(Step::Took(key));
    }

    fn grant(&mut self, number: AllocationId, memory: MemoryTypeId, extents: Vec<Extent>) {
        self.granted.insert(number, (memory, extents));
        self.steps.push(Step::Granted(number));
    }

    fn free(&mut self, number: AllocationId, memory: MemoryTypeId) {
        if let Some((_, extents)) = self.granted.get(&number) {
            for extent in extents {
                self.taken.remove(&(memory, extent.offset));
            }
        }
        self.freed.insert(number, memory);
        self.steps.push(Step::Freed(number));
    }

    /// Takes back what one call of a strategy brought, the last step first.
    fn undo(&mut self) {
        while let Some(step) = self.steps.pop() {
            match step {
                Step::Took(key) => _ = self.taken.remove(&key),
                Step::Granted(number) => _ = self.granted.remove(&number),
                Step::Freed(number) => {
                    self.freed.remove(&number);
                    if let Some((memory, extents)) = self.granted.get(&number) {
                        for extent in extents {
                            self.taken.insert((*memory, extent.offset), extent.offset + extent.bytes);
                        }
                    }
                }
            }
        }
    }

    fn overlaps(&self, memory: MemoryTypeId, extent: Extent) -> bool {
        let end = extent.offset.saturating_add(extent.bytes);
        let last = self.taken.range((memory, 0)..(memory, end)).next_back();
        last.is_some_and(|(_, &to)| to > extent.offset)
    }

    /// Live for the strategy: granted here and not freed, or live in the ledger and not freed.
    fn is_live(&self, ledger: &Ledger, memory: MemoryTypeId, number: AllocationId) -> bool {
        !self.freed.contains_key(&number)
            && (self.granted.get(&number).is_some_and(|(m, _)| *m == memory) || ledger.is_live(memory, number))
    }
}

/// The slots of a device and the memory that the host answers for itself.
pub(crate) struct Broker {
    slots: BTreeMap<MemoryTypeId, Slot>,
    system: (MemoryTypeId, Arc<SystemPool>),
    pub(crate) overlay: Overlay,
}

impl Broker {
    pub(crate) fn new(slots: BTreeMap<MemoryTypeId, Slot>, system: (MemoryTypeId, Arc<SystemPool>)) -> Self {
        Broker { slots, system, overlay: Overlay::default() }
    }

    /// Answers one import call.
    ///
    /// Errors: the mechanism asks nonsense, or a strategy failed and no other could replace it;
    /// either ends the mechanism's call.
    pub(crate) fn allocate(
        &mut self,
        ledger: &Ledger,
        memory: MemoryTypeId,
        words: &[u64],
    ) -> Result<Vec<u64>, ComponentFault> {
        let commands = self.read(ledger, memory, words)?;
        if memory == self.system.0 {
            return Ok(self.answer_system(&commands));
        }
        let Broker { slots, overlay, .. } = self;
        let Some(slot) = slots.get_mut(&memory) else {
            return Err(ComponentFault::Nonsense(format!("memory type {memory} does not exist")));
        };
        let mut retries = 0;
        loop {
            let answers = slot.execute(words);
            let judged = answers.and_then(|answers| {
                judge(ledger, overlay, memory, &commands, &answers).map(|()| answers)
            });
            match judged {
                Ok(answers) => {
                    overlay.steps.clear();
                    return Ok(answers);
                }
                Err(fault) => {
                    overlay.undo();
                    retries += 1;
                    slot.replace(fault, retries, &live_now(ledger, overlay, memory))?;
                }
            }
        }
    }

    /// Reads the mechanism's commands and checks what only the mechanism can get wrong.
    fn read(&self, ledger: &Ledger, memory: MemoryTypeId, words: &[u64]) -> Result<Vec<Command>, ComponentFault> {
        let nonsense = |why: String| ComponentFault::Nonsense(why);
        let mut reader = Reader::new(words, Kind::Commands).map_err(|e| nonsense(e.to_string()))?;
        let mut commands = Vec::new();
        let mut fresh: Vec<AllocationId> = Vec::new();
        while let Some(item) = reader.next().map_err(|e| nonsense(e.to_string()))? {
            let command = Command::decode(&item).map_err(|e| nonsense(e.to_string()))?;
            match command {
                Command::Allocate(a) => {
                    if ledger.knows(a.number) || self.overlay.granted.contains_key(&a.number) {
                        return Err(nonsense(format!("allocation {} is in use", a.number)));
                    }
                    fresh.push(a.number);
                }
                Command::Free(number) => {
                    if !self.overlay.is_live(ledger, memory, number) && !fresh.contains(&number) {
                        return Err(nonsense(format!("allocation {number} is not live")));
                    }
                }
            }
            commands.push(command);
        }
        Ok(commands)
    }

    /// System memory needs no strategy: the pool is shared by every device of the Runtime.
    fn answer_system(&mut self, commands: &[Command]) -> Vec<u64> {
        let mut out = Writer::new(Kind::Answers);
        for command in commands {
            let fits = match *command {
                Command::Free(number) => {
                    self.overlay.free(number, self.system.0);
                    Answer::Freed(number).encode(&mut out)
                }
                Command::Allocate(wish) => match self.system.1.allocate(wish.bytes) {
                    Ok(extents) => {
                        let fits = encode_extents(wish.number, &extents, &mut out);
                        extents.iter().for_each(|&e| self.overlay.take(self.system.0, e));
                        self.overlay.grant(wish.number, self.system.0, extents);
                        fits
                    }
                    Err(largest_hole) => {
                        Answer::NoSpace { number: wish.number, largest_hole }.encode(&mut out)
                    }
                },
            };
            debug_assert!(fits, "the pool answers in few pieces");
        }
        self.overlay.steps.clear();
        out.finish()
    }

    /// The call's plan was accepted: what it placed is the ledger's from now on.
    pub(crate) fn commit(&mut self, placed: impl Fn(AllocationId) -> bool) {
        for (number, (memory, extents)) in std::mem::take(&mut self.overlay).granted {
            // What was placed comes back when its last user is done, the rest at once.
            if memory == self.system.0 && !placed(number) {
                self.system.1.free(&extents);
            }
        }
    }

    /// The call failed: strategies and pool go back to what the ledger says.
    ///
    /// Errors: no strategy could be rebuilt.
    pub(crate) fn rollback(&mut self, ledger: &Ledger) -> Result<(), ComponentFault> {
        let overlay = std::mem::take(&mut self.overlay);
        for (memory, extents) in overlay.granted.values() {
            if *memory == self.system.0 {
                self.system.1.free(extents);
            }
        }
        if overlay.is_empty() { Ok(()) } else { self.rebuild(ledger) }
    }

    /// Gives every strategy a fresh component with the ledger's live allocations.
    ///
    /// Errors: no strategy could be rebuilt.
    pub(crate) fn rebuild(&mut self, ledger: &Ledger) -> Result<(), ComponentFault> {
        let none = Overlay::default();
        self.slots.iter_mut().try_for_each(|(&memory, slot)| slot.rebuild(&live_now(ledger, &none, memory)))
    }

    /// Faults of strategies so far.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &StrategyFault> {
        self.slots.values().flat_map(|slot| slot.faults())
    }

    /// Replacements of strategies so far.
    pub(crate) fn restarts(&self) -> u64 {
        self.slots.values().map(|slot| slot.restarts()).sum()
    }
}

/// What is live for a strategy: the ledger's allocations and the overlay's, without the freed.
fn live_now(ledger: &Ledger, overlay: &Overlay, memory: MemoryTypeId) -> Vec<(AllocationId, Vec<Extent>)> {
    let old = ledger.live_allocations(memory).map(|(n, extents)| (n, extents.to_vec()));
    let new = overlay.granted.iter().filter(|(_, (m, _))| *m == memory);
    let all = old.chain(new.map(|(&n, (_, extents))| (n, extents.clone())));
    all.filter(|(n, _)| !overlay.freed.contains_key(n)).collect()
}

/// Judges a strategy's answers: in order, complete, and about bytes that are free.
///
/// Errors: [`ComponentFault::Lie`] with what is wrong.
fn judge(
    ledger: &Ledger,
    after: &mut Overlay,
    memory: MemoryTypeId,
    commands: &[Command],
    words: &[u64],
) -> Result<(), ComponentFault> {
    let lie = |why: String| ComponentFault::Lie(why);
    let mut reader = Reader::new(words, Kind::Answers).map_err(|e| lie(e.to_string()))?;
    for command in commands {
        let item = reader.next().map_err(|e| lie(e.to_string()))?;
        let item = item.ok_or_else(|| lie("fewer answers than commands".into()))?;
        let answer = Answer::decode(&item).map_err(|e| lie(e.to_string()))?;
        judge_one(ledger, after, memory, command, answer).map_err(lie)?;
    }
    match reader.next() {
        Ok(None) => Ok(()),
        _ => Err(lie("more answers than commands".into())),
    }
}

fn judge_one(
    ledger: &Ledger,
    after: &mut Overlay,
    memory: MemoryTypeId,
    command: &Command,
    answer: Answer,
) -> Result<(), String> {
    match (command, answer) {
        (Command::Free(number), Answer::Freed(freed)) if freed == *number => {
            after.free(*number, memory);
            Ok(())
        }
        (Command::Allocate(wish), Answer::NoSpace { number, .. }) if number == wish.number => Ok(()),
        (Command::Allocate(wish), Answer::Extents(number, extents)) if number == wish.number => {
            judge_extents(ledger, after, memory, wish, &extents)?;
            after.grant(number, memory, extents);
            Ok(())
        }
        // The broker sends only commands that every strategy must accept.
        (_, Answer::Refused(number, why)) => Err(format!("a good command for {number} was refused: {why}")),
        (_, answer) => Err(format!("an answer for {} where another was due", answer.number())),
    }
}

fn judge_extents(
    ledger: &Ledger,
    after: &mut Overlay,
    memory: MemoryTypeId,
    wish: &Allocate,
    extents: &[Extent],
) -> Result<(), String> {
    let facts = ledger.memory.get(&memory).ok_or("the memory type does not exist")?;
    if total(extents) != Some(wish.bytes) {
        return Err(format!("{:?} bytes for a wish of {}", total(extents), wish.bytes));
    }
    let alignment = wish.alignment.max(facts.kind.granule);
    let (low, high) = wish.range.unwrap_or((0, facts.kind.size));
    for &extent in extents {
        let Extent { offset, bytes } = extent;
        let place = || format!("{bytes} bytes at {offset:#x}");
        let inside = extent.end().is_some_and(|end| end <= high.min(facts.kind.size)) && offset >= low;
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
