//! Bringing another strategy in while requests are served.
//!
//! The caller's thread does the work: it compiles the newcomer and feeds it with parts of the
//! snapshot and with changes; the planner only hands these out, between two batches. How long it
//! is kept from requests by one of these steps is the swap's pause.

use super::DeviceHandle;
use crate::error::{ComponentFault, Error};
use crate::parts::{Strategy, StrategySource};
use crate::planner::Planner;
use crate::slot::{Retired, ShadowReport, StrategyFault, StrategySwap, Ticket, apply};
use gpumm_contract::Geometry;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So few changes are left for the switch itself.
const FEW: usize = 32;
/// How often the newcomer may fall behind again before it is switched to all the same.
const ROUNDS: usize = 16;

/// A preparation, which ends with this at the latest.
struct Begun<'a>(&'a DeviceHandle, Ticket);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let ticket = self.1;
        // A planner that has ended has nothing to give up.
        let _ = self
            .0
            .control(move |planner| planner.abandon_strategy(ticket));
    }
}

/// The planner's longest step.
#[derive(Clone, Copy, Default)]
struct Pause(Duration);

impl Pause {
    /// Has the planner take a step.
    fn step<T: Send + 'static>(
        &mut self,
        device: &DeviceHandle,
        act: impl FnOnce(&mut Planner) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let timed = move |planner: &mut Planner| {
            let began = Instant::now();
            let done = act(planner);
            (done, began.elapsed())
        };
        let (done, took) = device.control(timed)?;
        self.0 = self.0.max(took);
        Ok(done)
    }
}

impl DeviceHandle {
    /// Replaces the strategy while requests are served: the newcomer is restored in slices from
    /// the facts and caught up, and serves from between two batches on. Live allocations stay
    /// where they are.
    ///
    /// The old one stays at hand: [`roll_back_strategy`](Self::roll_back_strategy) brings it back,
    /// and it comes back by itself when the newcomer traps or lies within its first 1,024
    /// decisions.
    ///
    /// Errors: [`Error::SwapInProgress`]; the newcomer does not start or does not take the facts;
    /// the old one goes on then.
    pub fn swap_strategy(&self, source: Arc<dyn StrategySource>) -> Result<StrategySwap, Error> {
        let mut pause = Pause::default();
        let failed = |fault| Error::Component {
            name: source.name().into(),
            fault,
        };
        let newcomer = source.build().map_err(failed)?;
        let (ticket, geometry) = pause.step(self, Planner::begin_strategy)??;
        let begun = Begun(self, ticket);
        let ended = match begun.caught_up(geometry, newcomer, &mut pause)? {
            Ok(newcomer) => {
                let source = source.clone();
                pause.step(self, move |p| p.switch_strategy(ticket, source, newcomer))??
            }
            Err(fault) => Err(fault),
        };
        let retired = match ended {
            Ok(retired) => retired,
            // What it cannot learn on the way, it may be able to take as a whole.
            Err(ComponentFault::Restore(_)) => {
                let (fresh, source) = (source.build().map_err(failed)?, source.clone());
                let whole = move |p: &mut Planner| p.switch_strategy_whole(source, fresh);
                pause.step(self, whole)??.map_err(failed)?
            }
            Err(fault) => return Err(failed(fault)),
        };
        self.ended(retired, pause)
    }

    /// Says how long a swap took. A strategy that was kept until now ends here, on this thread.
    fn ended(&self, retired: Retired, Pause(longest): Pause) -> Result<StrategySwap, Error> {
        let swap = retired.swap;
        drop(retired);
        self.control(move |planner| planner.strategy_paused(swap, longest))?
    }
}

impl Begun<'_> {
    /// Feeds a newcomer until little is left for it to learn.
    ///
    /// Errors: the planner has ended. Inside: the newcomer does not take something.
    fn caught_up(
        &self,
        geometry: Geometry,
        mut newcomer: Box<dyn Strategy>,
        pause: &mut Pause,
    ) -> Result<Result<Box<dyn Strategy>, ComponentFault>, Error> {
        let Begun(device, ticket) = *self;
        if let Err(fault) = newcomer.restore_begin(geometry) {
            return Ok(Err(fault));
        }
        let mut live = 0;
        loop {
            let part = match pause.step(device, move |p| p.strategy_part(ticket))?? {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(fault) => return Ok(Err(fault)),
            };
            live += part.len();
            if let Err(fault) = newcomer.restore_part(&part) {
                return Ok(Err(fault));
            }
        }
        if let Err(fault) = newcomer.restore_end(live) {
            return Ok(Err(fault));
        }
        for _ in 0..ROUNDS {
            let missed = pause.step(device, move |p| p.strategy_changes(ticket))??;
            let changes = match missed {
                Ok(changes) => changes,
                Err(fault) => return Ok(Err(fault)),
            };
            if let Err(fault) = apply(&mut *newcomer, &changes) {
                return Ok(Err(fault));
            }
            if changes.len() <= FEW {
                break;
            }
        }
        Ok(Ok(newcomer))
    }
}

impl DeviceHandle {
    /// Brings the strategy back that served before the last swap. A second call undoes the first.
    ///
    /// Errors: [`Error::NoWayBack`]; it does not start, then the present one goes on.
    pub fn roll_back_strategy(&self) -> Result<StrategySwap, Error> {
        let mut pause = Pause::default();
        let retired = pause.step(self, Planner::roll_back_strategy)??;
        self.ended(retired, pause)
    }

    /// Lets a strategy decide beside the serving one, without effect, until
    /// [`end_shadow`](Self::end_shadow). It begins with what lives now and lays out by itself what
    /// comes. Every request takes the time of both.
    ///
    /// Errors: it does not start or does not take what lives.
    pub fn shadow_strategy(&self, source: Arc<dyn StrategySource>) -> Result<(), Error> {
        let name = source.name().to_owned();
        let failed = |fault| Error::Component { name, fault };
        let begun = source
            .build()
            .map(|newcomer| self.control(move |planner| planner.begin_shadow(source, newcomer)));
        match begun {
            Ok(begun) => begun??.map_err(failed),
            Err(fault) => Err(failed(fault)),
        }
    }

    /// What the shadow has decided so far; none without one.
    ///
    /// Errors: the planner has ended.
    pub fn shadow_report(&self) -> Result<Option<ShadowReport>, Error> {
        self.control(Planner::shadow_report)
    }

    /// Ends the shadow.
    ///
    /// Errors: the planner has ended.
    pub fn end_shadow(&self) -> Result<(), Error> {
        self.control(Planner::end_shadow)
    }

    /// Swaps of the strategy so far, those that were rolled back among them.
    ///
    /// Errors: the planner has ended.
    pub fn strategy_swaps(&self) -> Result<Vec<StrategySwap>, Error> {
        self.control(Planner::strategy_swaps)
    }

    /// Strategies that failed and were replaced.
    ///
    /// Errors: the planner has ended.
    pub fn strategy_faults(&self) -> Result<Vec<StrategyFault>, Error> {
        self.control(Planner::strategy_faults)
    }
}
