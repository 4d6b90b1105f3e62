//! A slot: a strategy that can be replaced while the device is busy.

use crate::error::ComponentFault;
use crate::parts::{Strategy, StrategySource};
use gpumm_contract::{AllocationId, Extent, Geometry, MemoryTypeId};
use std::sync::Arc;

/// What a strategy did wrong, and what came of it.
#[derive(Clone, Debug)]
pub struct StrategyFault {
    /// The strategy.
    pub name: String,
    /// What it did.
    pub fault: ComponentFault,
    /// Who answered in its place: the same component restarted, or the built-in one.
    pub replaced_by: String,
}

/// How many faults are remembered with their text; all are counted.
const REMEMBERED: usize = 64;

/// The strategy of one memory type.
pub(crate) struct Slot {
    memory: MemoryTypeId,
    geometry: Geometry,
    source: Arc<dyn StrategySource>,
    fallback: Arc<dyn StrategySource>,
    /// Whether the fallback serves for good.
    quarantined: bool,
    running: Box<dyn Strategy>,
    faults: Vec<StrategyFault>,
    restarts: u64,
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
        running.restore(geometry, &[])?;
        let (faults, quarantined) = (Vec::new(), false);
        Ok(Slot {
            memory,
            geometry,
            source,
            fallback,
            quarantined,
            running,
            faults,
            restarts: 0,
        })
    }

    pub(crate) fn execute(&mut self, commands: &[u64]) -> Result<Vec<u64>, ComponentFault> {
        self.running.execute(commands)
    }

    fn source(&self) -> &Arc<dyn StrategySource> {
        if self.quarantined {
            &self.fallback
        } else {
            &self.source
        }
    }

    /// Replaces a strategy that failed on a command: the first time by a fresh instance of
    /// itself, then by the built-in one, which stays.
    ///
    /// Errors: [`ComponentFault::StrategyLost`] when the built-in one fails on the same command.
    pub(crate) fn replace(
        &mut self,
        mut fault: ComponentFault,
        attempt: u32,
        live: &[(AllocationId, Vec<Extent>)],
    ) -> Result<(), ComponentFault> {
        // Attempt 1 restarts the component, attempt 2 brings the built-in one, attempt 3 restarts that.
        for attempt in attempt..=3 {
            self.quarantined |= attempt >= 2;
            let next = self.source().clone();
            self.note(&fault, next.name());
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

    fn note(&mut self, fault: &ComponentFault, by: &str) {
        tracing::warn!(memory = %self.memory, strategy = self.source.name(), %fault, by, "strategy replaced");
        if self.faults.len() < REMEMBERED {
            let name = self.source.name().into();
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
        live: &[(AllocationId, Vec<Extent>)],
    ) -> Result<(), ComponentFault> {
        self.restarts += 1;
        let mut fresh = source.build()?;
        fresh.restore(self.geometry, live)?;
        self.running = fresh;
        Ok(())
    }

    /// Gives the slot a fresh component because a call around it failed, not because it did.
    ///
    /// Errors: as [`Slot::replace`].
    pub(crate) fn rebuild(
        &mut self,
        live: &[(AllocationId, Vec<Extent>)],
    ) -> Result<(), ComponentFault> {
        let source = self.source().clone();
        self.restart(&source, live)
            .or_else(|fault| self.replace(fault, 1, live))
    }

    pub(crate) fn faults(&self) -> &[StrategyFault] {
        &self.faults
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.restarts
    }
}
