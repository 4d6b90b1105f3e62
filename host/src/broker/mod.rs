//! Answering the mechanism's strategy imports, and checking the strategies' answers.
//!
//! During a call of the mechanism the broker keeps an [`Overlay`]: what this call has allocated
//! and freed on top of the ledger. Each answer of a strategy is checked against ledger and overlay
//! before the mechanism sees it. A strategy that traps, overruns or lies is replaced, rebuilt from
//! ledger and overlay, and asked again within the same request.

mod dma;
mod growth;
mod import;
mod judge;
mod overlay;
mod room;
mod serve;
mod sorted;

pub(crate) use dma::Dma;
pub(crate) use growth::Growth;
pub(crate) use overlay::Overlay;

use crate::error::ComponentFault;
use crate::ledger::Ledger;
use crate::runtime::IMPORT;
use crate::share::Imports;
use crate::slot::{Slot, StrategyFault};
use crate::system::SystemPool;
use gpumm_contract::allocator::{Answer, Command, Refusal, encode_extents};
use gpumm_contract::wire::{Kind, Reader, Writer};
use gpumm_contract::{AllocationId, Extent, Extents, Geometry, MemoryTypeId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The slots of a device and the memory that the host answers for itself.
pub(crate) struct Broker {
    slots: BTreeMap<MemoryTypeId, Slot>,
    system: (MemoryTypeId, Arc<SystemPool>),
    pub(crate) dma: Dma,
    pub(crate) growth: Growth,
    pub(crate) overlay: Overlay,
    pub(crate) imports: Arc<Imports>,
    /// What the import is that the batch in progress makes.
    offered: Option<Vec<Extent>>,
}

impl Broker {
    pub(crate) fn new(
        slots: BTreeMap<MemoryTypeId, Slot>,
        system: (MemoryTypeId, Arc<SystemPool>),
        (dma, growth): (Dma, Growth),
        imports: Arc<Imports>,
    ) -> Self {
        Broker {
            slots,
            system,
            dma,
            growth,
            overlay: Overlay::default(),
            imports,
            offered: None,
        }
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
        if memory == IMPORT {
            return Ok(self.answer_import(ledger, &commands));
        }
        self.serve(ledger, memory, words, &commands)
    }

    /// Reads the mechanism's commands and checks what only the mechanism can get wrong.
    fn read(
        &self,
        ledger: &Ledger,
        memory: MemoryTypeId,
        words: &[u64],
    ) -> Result<Vec<Command>, ComponentFault> {
        let nonsense = |why: String| ComponentFault::Nonsense(why);
        let mut reader = Reader::new(words, Kind::Commands).map_err(|e| nonsense(e.to_string()))?;
        let kind = ledger.memory.get(&memory).map(|m| m.kind);
        let kind = kind.ok_or_else(|| nonsense(format!("memory type {memory} does not exist")))?;
        // A range has to lie in what there is; a size may be more, and memory may grow to it.
        let size = self.arena_size(memory).unwrap_or(kind.size);
        let geometry = Geometry {
            size,
            granule: kind.granule,
        };
        let mut commands = Vec::with_capacity(reader.count() as usize);
        let (mut taken, mut freed) = (Vec::with_capacity(commands.capacity()), Vec::new());
        while let Some(item) = reader.next().map_err(|e| nonsense(e.to_string()))? {
            let command = Command::decode(&item).map_err(|e| nonsense(e.to_string()))?;
            match command {
                Command::Allocate(a) => {
                    if ledger.knows(a.number) || self.overlay.granted.contains(a.number) {
                        return Err(nonsense(format!("allocation {} is in use", a.number)));
                    }
                    taken.push(a.number);
                    let checked = a.checked(geometry);
                    checked.map_err(|why| nonsense(format!("a wish of {}: {why}", a.bytes)))?;
                }
                Command::Free { number, .. } => {
                    // What this list asks for may be refused, so it cannot be freed in it.
                    if !self.overlay.is_live(ledger, memory, number) {
                        return Err(nonsense(format!("allocation {number} is not live")));
                    }
                    freed.push(number);
                }
                // What these change is not yet kept in the overlay.
                other => return Err(nonsense(format!("a slot is not asked for {other:?}"))),
            }
            commands.push(command);
        }
        if let Some(number) = doubled(&mut taken) {
            return Err(nonsense(format!("allocation {number} is in use")));
        }
        match doubled(&mut freed) {
            Some(number) => Err(nonsense(format!("allocation {number} is not live"))),
            None => Ok(commands),
        }
    }

    /// System memory needs no strategy: the pool is shared by every device of the Runtime.
    fn answer_system(&mut self, commands: &[Command]) -> Vec<u64> {
        let mut out = Writer::new(Kind::Answers);
        for command in commands {
            let fits = match *command {
                Command::Free { number, .. } => {
                    self.overlay.free(number, self.system.0);
                    Answer::Freed(number).encode(&mut out)
                }
                Command::Allocate(wish) => match self.system.1.allocate(wish.bytes) {
                    Ok(extents) => {
                        let fits = encode_extents(wish.number, &extents, &mut out);
                        extents
                            .iter()
                            .for_each(|&e| self.overlay.take(self.system.0, e));
                        self.overlay
                            .grant(wish.number, self.system.0, extents.into());
                        fits
                    }
                    Err(largest_hole) => Answer::NoSpace {
                        number: wish.number,
                        largest_hole,
                    }
                    .encode(&mut out),
                },
                other => Answer::Refused(other.number(), Refusal::Unsupported).encode(&mut out),
            };
            debug_assert!(fits, "the pool answers in few pieces");
        }
        self.overlay.steps.clear();
        out.finish()
    }

    /// The call's plan was accepted: what it placed and mapped is the ledger's from now on.
    pub(crate) fn commit(
        &mut self,
        ledger: &Ledger,
        placed: impl Fn(AllocationId) -> bool,
        mapped: impl Fn(AllocationId) -> bool,
    ) {
        let overlay = std::mem::take(&mut self.overlay);
        self.slots.values_mut().for_each(Slot::commit);
        self.unmap(ledger, &overlay, mapped);
        for (number, (memory, extents)) in overlay.granted.into_iter() {
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
        self.slots.values_mut().for_each(Slot::forget);
        self.unmap(ledger, &overlay, |_| false);
        for (_, (memory, extents)) in overlay.granted.iter() {
            if *memory == self.system.0 {
                self.system.1.free(extents);
            }
        }
        if overlay.is_empty() {
            Ok(())
        } else {
            self.rebuild(ledger)
        }
    }

    /// Gives every strategy a fresh component with the ledger's live allocations.
    ///
    /// Errors: no strategy could be rebuilt.
    pub(crate) fn rebuild(&mut self, ledger: &Ledger) -> Result<(), ComponentFault> {
        let none = Overlay::default();
        self.slots
            .iter_mut()
            .try_for_each(|(&memory, slot)| slot.rebuild(&live_now(ledger, &none, memory)))
    }

    /// What the memory of a strategy has by now, in bytes.
    pub(crate) fn arena_size(&self, memory: MemoryTypeId) -> Option<u64> {
        self.slots.get(&memory).map(|slot| slot.geometry.size)
    }

    /// The slot of a memory type.
    pub(crate) fn slot(&mut self, memory: MemoryTypeId) -> Option<&mut Slot> {
        self.slots.get_mut(&memory)
    }

    /// The slot of a memory type, and what lives for its strategy for whoever asks, between two
    /// batches.
    pub(crate) fn slot_and_live<'a>(
        &'a mut self,
        ledger: &'a Ledger,
        memory: MemoryTypeId,
    ) -> (Option<&'a mut Slot>, impl FnMut() -> Live + 'a) {
        let overlay = &self.overlay;
        let live = move || live_now(ledger, overlay, memory);
        (self.slots.get_mut(&memory), live)
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

/// What lives for a strategy.
type Live = Vec<(AllocationId, Extents)>;

/// A number that is there twice.
fn doubled(numbers: &mut [AllocationId]) -> Option<AllocationId> {
    numbers.sort_unstable();
    let pair = numbers.windows(2).find(|pair| pair[0] == pair[1]);
    pair.map(|pair| pair[0])
}

/// What is live for a strategy: the ledger's allocations and the overlay's, without the freed.
fn live_now(ledger: &Ledger, overlay: &Overlay, memory: MemoryTypeId) -> Live {
    let old = ledger
        .live_allocations(memory)
        .map(|(n, extents)| (n, extents.into()));
    let new = overlay.granted.iter().filter(|(_, (m, _))| *m == memory);
    let all = old.chain(new.map(|(n, (_, extents))| (n, extents.clone())));
    all.filter(|(n, _)| !overlay.freed.contains_key(n))
        .collect()
}
