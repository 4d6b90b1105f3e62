//! The planner's part in replacing a strategy: what happens between two batches.

use super::{Desk, Planner};
use crate::error::{ComponentFault, Error};
use crate::parts::{Strategy, StrategySource};
use crate::slot::{Change, Part, Retired, ShadowReport, Slot, StrategyFault, StrategySwap, Ticket};
use gpumm_contract::Geometry;
use std::sync::Arc;
use std::time::Duration;

impl Planner {
    fn slot(&mut self) -> Result<&mut Slot, Error> {
        let vram = self.vram;
        let slot = self.desk()?.broker.slot(vram);
        slot.ok_or_else(no_strategy)
    }

    /// Does something to the slot that needs to know what lives.
    fn with_live<T>(
        &mut self,
        act: impl FnOnce(&mut Slot, &mut dyn FnMut() -> Part) -> T,
    ) -> Result<T, Error> {
        let vram = self.vram;
        let Desk { ledger, broker } = self.desk()?;
        let (slot, live) = broker.slot_and_live(ledger, vram);
        let slot = slot.ok_or_else(no_strategy)?;
        Ok(act(slot, &mut { live }))
    }

    /// What the strategy is called that serves.
    pub(super) fn strategy_name(&mut self) -> String {
        let name = |slot: &mut Slot| slot.source().name().to_owned();
        self.slot().map(name).unwrap_or_default()
    }

    /// Begins to prepare a newcomer, which needs a geometry first.
    ///
    /// Errors: another one is being prepared.
    pub(crate) fn begin_strategy(&mut self) -> Result<(Ticket, Geometry), Error> {
        let slot = self.slot()?;
        let ticket = slot.prepare().ok_or(Error::SwapInProgress)?;
        Ok((ticket, slot.geometry))
    }

    /// The next part of what lived when the preparation began; none when it is complete.
    pub(crate) fn strategy_part(
        &mut self,
        ticket: Ticket,
    ) -> Result<Result<Option<Part>, ComponentFault>, Error> {
        let vram = self.vram;
        let Desk { ledger, broker } = self.desk()?;
        let slot = broker.slot(vram).ok_or_else(no_strategy)?;
        Ok(slot.slice(ticket, ledger))
    }

    /// What came and went since the preparation began, or since the last time.
    pub(crate) fn strategy_changes(
        &mut self,
        ticket: Ticket,
    ) -> Result<Result<Vec<Change>, ComponentFault>, Error> {
        Ok(self.slot()?.missed(ticket))
    }

    /// Ends the preparation, if it has not ended.
    pub(crate) fn abandon_strategy(&mut self, ticket: Ticket) {
        if let Ok(slot) = self.slot() {
            slot.abandon(ticket);
        }
    }

    /// Makes a prepared newcomer serve.
    ///
    /// Errors: it does not take what it has missed; the old one goes on.
    pub(crate) fn switch_strategy(
        &mut self,
        ticket: Ticket,
        source: Arc<dyn StrategySource>,
        newcomer: Box<dyn Strategy>,
    ) -> Result<Result<Retired, ComponentFault>, Error> {
        Ok(self.slot()?.switch(ticket, source, newcomer))
    }

    /// Makes a newcomer serve that takes everything at once.
    ///
    /// Errors: as [`Planner::switch_strategy`].
    pub(crate) fn switch_strategy_whole(
        &mut self,
        source: Arc<dyn StrategySource>,
        newcomer: Box<dyn Strategy>,
    ) -> Result<Result<Retired, ComponentFault>, Error> {
        self.with_live(|slot, live| slot.switch_whole(source, newcomer, &live()))
    }

    /// Brings the strategy back that served before.
    ///
    /// Errors: there is none, or it does not start.
    pub(crate) fn roll_back_strategy(&mut self) -> Result<Retired, Error> {
        let back = self.with_live(|slot, live| slot.roll_back(live))?;
        let name = self.strategy_name();
        let failed = |fault| Error::Component { name, fault };
        back.ok_or(Error::NoWayBack)?.map_err(failed)
    }

    /// Says how long a swap has kept requests waiting, and returns it.
    pub(crate) fn strategy_paused(
        &mut self,
        swap: usize,
        pause: Duration,
    ) -> Result<StrategySwap, Error> {
        let swap = self.slot()?.paused(swap, pause);
        swap.ok_or_else(|| Error::System("no strategy was swapped".into()))
    }

    /// Swaps of the strategy so far, those that were rolled back among them.
    pub(crate) fn strategy_swaps(&mut self) -> Vec<StrategySwap> {
        self.slot()
            .map(|slot| slot.swaps().to_vec())
            .unwrap_or_default()
    }

    /// Faults of strategies so far.
    pub(crate) fn strategy_faults(&mut self) -> Vec<StrategyFault> {
        self.desk()
            .map(|desk| desk.broker.faults().cloned().collect())
            .unwrap_or_default()
    }

    /// Lets a strategy decide beside the serving one.
    ///
    /// Errors: it does not take what lives.
    pub(crate) fn begin_shadow(
        &mut self,
        source: Arc<dyn StrategySource>,
        newcomer: Box<dyn Strategy>,
    ) -> Result<Result<(), ComponentFault>, Error> {
        self.with_live(|slot, live| slot.begin_shadow(source, newcomer, live()))
    }

    /// What the shadow has decided so far.
    pub(crate) fn shadow_report(&mut self) -> Option<ShadowReport> {
        self.slot().ok()?.shadow_report()
    }

    /// Ends the shadow.
    pub(crate) fn end_shadow(&mut self) {
        if let Ok(slot) = self.slot() {
            slot.end_shadow();
        }
    }
}

fn no_strategy() -> Error {
    Error::System("the device has no strategy".into())
}
