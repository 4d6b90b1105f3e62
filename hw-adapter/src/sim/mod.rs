//! The simulated device: arenas of host memory, and one thread per engine.
//!
//! It does what hardware does (moves bytes, works in queues, reaches points later, faults on
//! memory that is not mapped for it), and what hardware does when it fails: by [`FaultRule`]s it
//! damages, hangs and gets lost. It can be held, stepped and sabotaged through a [`SimControl`].

mod config;
mod control;
mod cpu;
mod device;
pub(crate) mod faults;
mod sabotage;
mod work;

use std::ops::Deref;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub use config::SimConfig;
pub use control::SimControl;
pub use faults::{FAULT_HELP, FaultRule, FaultRuleError, Which};
pub use sabotage::Sabotage;

use crate::base::{Base, Parts, Threads};
use crate::engine::Engine;
use crate::error::DeviceError;
use crate::exec::Access;
use crate::footprint::{Footprint, Spans};
use crate::mmu::{self, Mmu};
use crate::statistics::DeviceStatistics;
use crate::sync::lock;
use crate::system::SystemMemory;
use crate::timeline::Timelines;
use faults::{Faults, Rules};

/// A simulated device. Dropping it ends what is queued with [`DeviceError::Stopped`], reaches
/// all its points, and waits for its threads; it never waits for points of others.
#[derive(Debug)]
pub struct Sim {
    shared: Arc<Shared>,
    threads: Threads,
}

/// What engines, the device and its controls share.
pub(crate) struct Shared {
    base: Base,
    sabotage: sabotage::Plans,
    faults: Faults,
    /// How long a hung command is left alone.
    timeout: Duration,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Deref for Shared {
    type Target = Base;

    fn deref(&self) -> &Base {
        &self.base
    }
}

impl Sim {
    /// Makes the device and starts its engines. Its timelines are created in `timelines`.
    ///
    /// # Errors
    /// [`DeviceError::InvalidConfig`], [`DeviceError::Reserve`], [`DeviceError::Thread`].
    pub fn new(
        config: SimConfig,
        timelines: Arc<Timelines>,
        system: Arc<SystemMemory>,
    ) -> Result<Sim, DeviceError> {
        config.check()?;
        let parts = Parts {
            name: config.name,
            vram_bytes: config.vram_bytes,
            initial_bytes: config.vram_bytes,
            chunk_bytes: config.vram_bytes,
            granule: config.granule,
            engines: config.engines,
            iommu: config.iommu,
            page_table_bytes: config.page_table_bytes,
            walked: false,
        };
        let shared = Arc::new(Shared {
            base: Base::new(parts, timelines, system)?,
            sabotage: sabotage::Plans::default(),
            faults: Faults::new(config.fault_seed),
            timeout: config.timeout,
        });
        for rule in config.faults {
            shared.inject(rule);
        }
        // Dropped on an error below, it joins the threads that did start.
        let mut sim = Sim {
            shared: Arc::clone(&shared),
            threads: Threads::default(),
        };
        sim.threads.start(&shared)?;
        Ok(sim)
    }

    /// A handle to hold, step and sabotage the device.
    pub fn control(&self) -> SimControl {
        SimControl::new(Arc::clone(&self.shared))
    }

    /// What the engines have done so far.
    pub fn statistics(&self) -> DeviceStatistics {
        self.shared.statistics()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn statistics(&self) -> DeviceStatistics {
        self.base.statistics(self.faults.injected())
    }

    fn inject(&self, rule: FaultRule) {
        let mut rules = self.faults.rules();
        self.faults.arm(&mut rules, rule);
        self.lose_if_due(&mut rules);
    }

    /// Loses the device for what comes later, if a rule says so after a submission.
    fn lose_if_due(&self, rules: &mut Rules) {
        if rules.take_loss() {
            self.faults.inject();
            rules.losses += 1;
            self.engines.iter().for_each(Engine::lose_later);
            self.faults.set_lost(true);
        }
    }

    fn lose(&self) {
        let mut rules = self.faults.rules();
        rules.losses += 1;
        self.faults.set_lost(true);
        self.base.lose();
    }

    fn reset(&self) -> Result<(), DeviceError> {
        let _one_at_a_time = lock(&self.base.reset);
        let rules = self.faults.rules();
        let losses = rules.losses;
        let tickets = self.begin_reset()?;
        drop(rules);
        self.stand_still(tickets);
        let cleared = loop {
            match self.vram.decommit(0, self.vram.size()) {
                // A control flips a bit just now; engines are still.
                Err(DeviceError::Conflict { .. }) => thread::yield_now(),
                result => break result,
            }
        };
        self.mmu.clear();
        let rules = self.faults.rules();
        if rules.losses == losses {
            self.faults.set_lost(false);
        }
        drop(rules);
        self.end_reset();
        cleared
    }
}

impl mmu::Host for Shared {
    fn mmu(&self) -> &Mmu {
        &self.mmu
    }

    fn reaches(&self, system: &Spans) -> Result<(), DeviceError> {
        self.iommu.check(system)
    }

    fn access(&self, footprint: &Footprint) -> Result<Access<'_>, DeviceError> {
        self.base.access(footprint)
    }

    fn release(&self, claimed: Access<'_>) -> Result<(), DeviceError> {
        drop(claimed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
