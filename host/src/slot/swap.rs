//! Making a newcomer serve, and the way back.

use super::change::{Change, apply};
use super::prepare::{Part, Preparation, Ticket};
use super::{Slot, StrategyFault};
use crate::error::ComponentFault;
use crate::ledger::Ledger;
use crate::parts::{Strategy, StrategySource};
use gpumm_contract::{AllocationId, Extents};
use std::sync::Arc;
use std::time::Duration;

/// How many decisions of a newcomer may still send it back.
const PROBATION: u64 = 1024;
/// How many changes are kept for the strategy that served before; behind that the way back is a
/// restore from the facts.
const KEPT: usize = 1 << 14;

/// A strategy took over from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrategySwap {
    /// Who decided before.
    pub from: String,
    /// Who was brought in.
    pub to: String,
    /// Live allocations carried over.
    pub live: u64,
    /// The longest that any request had to wait for the swap.
    pub pause: Duration,
    /// Whether the newcomer was sent back because it failed soon after.
    pub rolled_back: bool,
    /// Why it was.
    pub reason: Option<String>,
}

/// The strategy that served before a swap.
pub(super) struct Previous {
    source: Arc<dyn StrategySource>,
    /// None when it has missed too much.
    instance: Option<Box<dyn Strategy>>,
    /// What it has missed.
    changes: Vec<Change>,
    /// Whether it was the built-in one in place of another that failed.
    quarantined: bool,
    /// Which of the slot's swaps it made way in.
    swap: usize,
    /// How many decisions had been made before.
    since: u64,
}

/// A strategy that was kept until another one took its place. Giving back its memory takes long,
/// so whoever asked for the swap does that, not the planner.
#[must_use = "dropping it here keeps requests waiting"]
pub(crate) struct Retired {
    _kept: Option<Previous>,
    /// Which of the slot's swaps it was.
    pub(crate) swap: usize,
}

impl Previous {
    /// Whether it still learns what it misses.
    pub(super) fn follows(&self) -> bool {
        self.instance.is_some()
    }

    pub(super) fn note(&mut self, change: Change) {
        if self.follows() {
            self.changes.push(change);
            if self.changes.len() > KEPT {
                (self.instance, self.changes) = (None, Vec::new());
            }
        }
    }
}

impl Slot {
    /// Begins to bring a newcomer up to date; `None` when another one is being prepared.
    pub(crate) fn prepare(&mut self) -> Option<Ticket> {
        if self.preparing.is_some() {
            return None;
        }
        self.prepared += 1;
        let ticket = Ticket(self.prepared);
        self.preparing = Some(Preparation::new(ticket));
        Some(ticket)
    }

    fn preparing(&mut self, ticket: Ticket) -> Result<&mut Preparation, ComponentFault> {
        let mine = self.preparing.as_mut().filter(|p| p.ticket == ticket);
        mine.ok_or_else(|| ComponentFault::Nonsense("its preparation has ended".into()))
    }

    /// The next part of the snapshot for the newcomer; none when it is complete.
    ///
    /// Errors: its preparation has ended.
    pub(crate) fn slice(
        &mut self,
        ticket: Ticket,
        ledger: &Ledger,
    ) -> Result<Option<Part>, ComponentFault> {
        let memory = self.memory;
        Ok(self.preparing(ticket)?.slice(ledger, memory))
    }

    /// What the newcomer has missed since the last time.
    ///
    /// Errors: its preparation has ended.
    pub(crate) fn missed(&mut self, ticket: Ticket) -> Result<Vec<Change>, ComponentFault> {
        Ok(self.preparing(ticket)?.changes())
    }

    /// Ends a preparation, if it has not ended.
    pub(crate) fn abandon(&mut self, ticket: Ticket) {
        self.preparing.take_if(|p| p.ticket == ticket);
    }

    /// Makes a prepared newcomer serve, once it knows the rest; the old one stays at hand.
    ///
    /// Errors: it does not take what it has missed; the old one goes on.
    pub(crate) fn switch(
        &mut self,
        ticket: Ticket,
        source: Arc<dyn StrategySource>,
        mut newcomer: Box<dyn Strategy>,
    ) -> Result<Retired, ComponentFault> {
        let missed = self.missed(ticket)?;
        apply(&mut *newcomer, &missed)?;
        self.abandon(ticket);
        Ok(self.take_over(source, newcomer, false))
    }

    /// Makes a newcomer serve that takes everything that lives at once.
    ///
    /// Errors: it does not take it; the old one goes on.
    pub(crate) fn switch_whole(
        &mut self,
        source: Arc<dyn StrategySource>,
        mut newcomer: Box<dyn Strategy>,
        live: &[(AllocationId, Extents)],
    ) -> Result<Retired, ComponentFault> {
        newcomer.restore(self.geometry, live)?;
        Ok(self.take_over(source, newcomer, false))
    }

    /// Brings the strategy back that served before the last swap; `None` when there is none.
    ///
    /// Errors: it does not take what came since; the present one goes on.
    pub(crate) fn roll_back(
        &mut self,
        live: &mut dyn FnMut() -> Part,
    ) -> Option<Result<Retired, ComponentFault>> {
        let previous = self.previous.take()?;
        let (source, quarantined) = (previous.source.clone(), previous.quarantined);
        let instance = self.revived(previous, live);
        Some(instance.map(|instance| self.take_over(source, instance, quarantined)))
    }

    fn take_over(
        &mut self,
        source: Arc<dyn StrategySource>,
        instance: Box<dyn Strategy>,
        quarantined: bool,
    ) -> Retired {
        let swap = StrategySwap {
            from: self.source().name().into(),
            to: source.name().into(),
            live: self.books.allocations,
            pause: Duration::ZERO,
            rolled_back: false,
            reason: None,
        };
        let kept = Previous {
            source: self.source().clone(),
            instance: Some(std::mem::replace(&mut self.running, instance)),
            changes: Vec::new(),
            quarantined: self.quarantined,
            swap: self.swaps.len(),
            since: self.books.decisions,
        };
        let retired = Retired {
            swap: kept.swap,
            _kept: self.previous.replace(kept),
        };
        self.swaps.push(swap);
        self.source = source;
        self.quarantined = quarantined;
        self.books.newcomer();
        retired
    }

    /// Says how long requests have waited for a swap.
    pub(crate) fn paused(&mut self, swap: usize, pause: Duration) -> Option<StrategySwap> {
        let swap = self.swaps.get_mut(swap)?;
        swap.pause = pause;
        Some(swap.clone())
    }

    /// The strategy before the last swap, if the newcomer is still on probation.
    pub(super) fn previous_on_probation(&mut self) -> Option<Previous> {
        let decisions = self.books.decisions;
        let early = |p: &mut Previous| decisions - p.since < PROBATION && !self.quarantined;
        self.previous.take_if(early)
    }

    /// Sends a newcomer back that has failed.
    ///
    /// Errors: the old one does not take what came since.
    pub(super) fn roll_back_after(
        &mut self,
        previous: Previous,
        fault: &ComponentFault,
        live: &[(AllocationId, Extents)],
    ) -> Result<(), ComponentFault> {
        let (source, quarantined) = (previous.source.clone(), previous.quarantined);
        let name = self.source().name().to_owned();
        self.note(name, fault, source.name());
        if let Some(swap) = self.swaps.get_mut(previous.swap) {
            swap.rolled_back = true;
            swap.reason = Some(fault.to_string());
        }
        self.restarts += 1;
        (self.source, self.quarantined) = (source, quarantined);
        self.running = self.revived(previous, &mut || live.to_vec())?;
        self.books.newcomer();
        Ok(())
    }

    /// An instance of an earlier strategy that knows what lives now: what it has missed is told
    /// to it, and where that does not work, a fresh one gets everything.
    fn revived(
        &self,
        previous: Previous,
        live: &mut dyn FnMut() -> Part,
    ) -> Result<Box<dyn Strategy>, ComponentFault> {
        if let Some(mut instance) = previous.instance {
            let pending = self.pending.iter().map(|(change, _)| change.clone());
            let mut missed = previous.changes;
            missed.extend(pending);
            if apply(&mut *instance, &missed).is_ok() {
                return Ok(instance);
            }
        }
        let mut fresh = previous.source.build()?;
        fresh.restore(self.geometry, &live())?;
        Ok(fresh)
    }
}

impl StrategyFault {
    /// What happened, in one sentence.
    pub fn sentence(&self) -> String {
        format!(
            "strategy {} failed ({}), {} took over",
            self.name, self.fault, self.replaced_by
        )
    }
}
