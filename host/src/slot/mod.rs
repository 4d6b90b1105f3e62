//! A slot: a strategy that can be replaced while the device is busy.
//!
//! `change.rs` is what a strategy is told that does not decide, `prepare.rs` brings a newcomer up to
//! date while the old one serves, `swap.rs` makes it serve and keeps the old one for a way back,
//! `shadow.rs` lets one decide beside, without effect; `books.rs` notices refusals and statistics
//! that cannot be true.

mod books;
mod change;
mod prepare;
mod shadow;
mod swap;

pub(crate) use change::{Change, apply};
pub(crate) use prepare::{Part, Ticket};
pub use shadow::{Compared, ShadowReport};
pub(crate) use swap::Retired;
pub use swap::StrategySwap;

use crate::error::ComponentFault;
use crate::parts::{Strategy, StrategySource};
use books::Books;
use gpumm_contract::allocator::{Allocate, Answer, Command, encode_extents};
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{AllocationId, Extent, Extents, Geometry, MemoryTypeId};
use prepare::Preparation;
use shadow::Shadow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use swap::Previous;

/// What a strategy did wrong, and what came of it.
#[derive(Clone, Debug)]
pub struct StrategyFault {
    /// The strategy.
    pub name: String,
    /// What it did.
    pub fault: ComponentFault,
    /// Who answered in its place: the same component restarted, the one that it had replaced, or
    /// the built-in one.
    pub replaced_by: String,
}

/// How many faults are remembered with their text; all are counted.
const REMEMBERED: usize = 64;

/// The strategy of one memory type.
pub(crate) struct Slot {
    memory: MemoryTypeId,
    pub(crate) geometry: Geometry,
    source: Arc<dyn StrategySource>,
    fallback: Arc<dyn StrategySource>,
    /// Whether the fallback serves for good.
    quarantined: bool,
    running: Box<dyn Strategy>,
    pub(crate) books: Books,
    faults: Vec<StrategyFault>,
    /// All faults, also those without a text; read by whoever wants to know when one came.
    count: Arc<AtomicU64>,
    restarts: u64,
    swaps: Vec<StrategySwap>,
    preparing: Option<Preparation>,
    /// Preparations so far.
    prepared: u64,
    previous: Option<Previous>,
    shadow: Option<Shadow>,
    /// What the batch in progress has changed, with the extents of what went.
    pending: Vec<(Change, Option<Extents>)>,
}

impl Slot {
    /// Starts a strategy on an empty arena.
    ///
    /// Errors: it does not start.
    pub(crate) fn new(
        memory: MemoryTypeId,
        geometry: Geometry,
        source: Arc<dyn StrategySource>,
        fallback: Arc<dyn StrategySource>,
    ) -> Result<Self, ComponentFault> {
        let mut running = source.build()?;
        running.init(geometry)?;
        Ok(Slot {
            memory,
            geometry,
            source,
            fallback,
            quarantined: false,
            running,
            books: Books::default(),
            faults: Vec::new(),
            count: Arc::default(),
            restarts: 0,
            swaps: Vec::new(),
            preparing: None,
            prepared: 0,
            previous: None,
            shadow: None,
            pending: Vec::new(),
        })
    }

    /// Gives the strategy a larger arena, and all that may serve after it or decide beside it.
    ///
    /// Errors: it does not take it; a strategy that is restored from now on gets it all the same.
    pub(crate) fn grow(&mut self, size: u64) -> Result<(), ComponentFault> {
        self.geometry.size = size;
        let grown = Change::Grew(self.geometry);
        // Not as late as what the batch in progress changes: the memory is there, whatever becomes
        // of the batch.
        if let Some(preparing) = &mut self.preparing {
            preparing.note(grown.clone(), None);
        }
        if let Some(previous) = &mut self.previous {
            previous.note(grown);
        }
        self.grow_shadow();
        self.running.resize(self.geometry)
    }

    /// Has the strategy execute commands, which it gets as `words`.
    ///
    /// A single one goes without a list, where the strategy serves that.
    pub(crate) fn execute(
        &mut self,
        words: &[u64],
        commands: &[Command],
    ) -> Result<Vec<u64>, ComponentFault> {
        if let [command] = commands
            && let Some(answers) = self.execute_one(command)?
        {
            return Ok(answers);
        }
        self.running.execute(words)
    }

    fn execute_one(&mut self, command: &Command) -> Result<Option<Vec<u64>>, ComponentFault> {
        let mut out = Writer::new(Kind::Answers);
        let served = match *command {
            Command::Allocate(wish) if wish.is_plain() => {
                let Allocate { number, bytes, .. } = wish;
                let offset = self.running.allocate_one(number, bytes)?;
                let encode = |offset| encode_extents(number, &[Extent { offset, bytes }], &mut out);
                offset.is_some_and(encode)
            }
            Command::Free {
                number,
                cleared: false,
            } => self.running.free_one(number)? && Answer::Freed(number).encode(&mut out),
            _ => false,
        };
        Ok(served.then(|| out.finish()))
    }

    /// Compares what the strategy says of itself with the facts, now and then.
    ///
    /// Errors: the call fails, or it cannot be true.
    pub(crate) fn audit(&mut self) -> Result<(), ComponentFault> {
        self.books.audit(&mut *self.running, self.geometry.size)
    }

    /// Whose it is.
    pub(crate) fn memory(&self) -> MemoryTypeId {
        self.memory
    }

    /// Who serves.
    pub(crate) fn source(&self) -> &Arc<dyn StrategySource> {
        if self.quarantined {
            &self.fallback
        } else {
            &self.source
        }
    }

    /// Whether anybody but the serving strategy wants to know what comes and goes.
    pub(crate) fn is_followed(&self) -> bool {
        let follows = |previous: &Previous| previous.follows();
        self.preparing.is_some() || self.previous.as_ref().is_some_and(follows)
    }

    /// Takes note of what a judged answer has changed; it counts once the batch does.
    pub(crate) fn follow(&mut self, change: Change, extents: Option<Extents>) {
        self.pending.push((change, extents));
    }

    /// The batch in progress was accepted.
    pub(crate) fn commit(&mut self) {
        self.tell_shadow();
        for (change, extents) in std::mem::take(&mut self.pending) {
            if let Some(preparing) = &mut self.preparing {
                preparing.note(change.clone(), extents.as_ref());
            }
            if let Some(previous) = &mut self.previous {
                previous.note(change);
            }
        }
    }

    /// The batch in progress has changed nothing.
    pub(crate) fn forget(&mut self) {
        self.pending.clear();
        self.forget_decisions();
    }

    /// Replaces a strategy that failed on a command: one that was just swapped in by the one
    /// before it, any other the first time by a fresh instance of itself, then by the built-in
    /// one, which stays.
    ///
    /// Errors: [`ComponentFault::StrategyLost`] when the built-in one fails on the same command.
    pub(crate) fn replace(
        &mut self,
        mut fault: ComponentFault,
        attempt: u32,
        live: &[(AllocationId, Extents)],
    ) -> Result<(), ComponentFault> {
        if let Some(previous) = self.previous_on_probation() {
            match self.roll_back_after(previous, &fault, live) {
                Ok(()) => return Ok(()),
                Err(failed) => fault = failed,
            }
        }
        // Attempt 1 restarts the component, attempt 2 brings the built-in one, attempt 3 restarts that.
        for attempt in attempt..=3 {
            let name = self.source().name().to_owned();
            self.quarantined |= attempt >= 2;
            let next = self.source().clone();
            self.note(name, &fault, next.name());
            match self.restart(&next, live) {
                Ok(()) => return Ok(()),
                Err(failed) => fault = failed,
            }
        }
        Err(ComponentFault::StrategyLost {
            name: self.source.name().into(),
            last: fault.to_string(),
        })
    }

    fn note(&mut self, name: String, fault: &ComponentFault, by: &str) {
        tracing::warn!(memory = %self.memory, strategy = name, %fault, by, "strategy replaced");
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.faults.len() < REMEMBERED {
            self.faults.push(StrategyFault {
                name,
                fault: fault.clone(),
                replaced_by: by.into(),
            });
        }
    }

    fn restart(
        &mut self,
        source: &Arc<dyn StrategySource>,
        live: &[(AllocationId, Extents)],
    ) -> Result<(), ComponentFault> {
        self.restarts += 1;
        let mut fresh = source.build()?;
        fresh.restore(self.geometry, live)?;
        self.running = fresh;
        self.books.restored(live);
        Ok(())
    }

    /// Gives the slot a fresh component because a call around it failed, not because it did.
    ///
    /// Errors: as [`Slot::replace`].
    pub(crate) fn rebuild(
        &mut self,
        live: &[(AllocationId, Extents)],
    ) -> Result<(), ComponentFault> {
        let source = self.source().clone();
        self.restart(&source, live)
            .or_else(|fault| self.replace(fault, 1, live))
    }

    pub(crate) fn faults(&self) -> &[StrategyFault] {
        &self.faults
    }

    /// Counts every fault.
    pub(crate) fn fault_count(&self) -> &Arc<AtomicU64> {
        &self.count
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.restarts
    }

    pub(crate) fn swaps(&self) -> &[StrategySwap] {
        &self.swaps
    }
}
