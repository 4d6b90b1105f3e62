//! The simulated device: arenas of host memory, and one thread per engine.
//!
//! It does what hardware does (moves bytes, works in queues, reaches points later, faults on
//! memory that is not mapped for it), and what hardware does when it fails: by [`FaultRule`]s it
//! damages, hangs and gets lost. It can be held, stepped and sabotaged through a [`SimControl`].

mod config;
mod control;
mod cpu;
mod device;
pub(crate) mod exec;
pub(crate) mod faults;
pub(crate) mod iommu;
pub(crate) mod mmu;
mod sabotage;
pub(crate) mod statistics;
mod work;

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use config::SimConfig;
pub use control::SimControl;
pub use faults::{FAULT_HELP, FaultRule, FaultRuleError, Which};
pub use mmu::MmuStatistics;
pub use sabotage::Sabotage;
pub use statistics::{EngineStatistics, SimStatistics};

use crate::claim::Memory;
use crate::command::MemorySpace;
use crate::device::{DeviceProperties, EngineId, EngineProperties, Fault, MemoryTypeProperties};
use crate::engine::Engine;
use crate::error::DeviceError;
use crate::footprint::{Footprint, Sizes, Spans};
use crate::sync::lock;
use crate::system::SystemMemory;
use crate::timeline::Timelines;
use crate::worker;
use exec::Access;
use faults::{Faults, Rules};
use iommu::Iommu;
use mmu::Mmu;
use statistics::Counters;

/// How many faults the log keeps.
const FAULTS: usize = 4096;

/// A simulated device. Dropping it ends what is queued with [`DeviceError::Stopped`], reaches
/// all its points, and waits for its threads; it never waits for points of others.
#[derive(Debug)]
pub struct Sim {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What engines, the device and its controls share.
pub(crate) struct Shared {
    properties: DeviceProperties,
    timelines: Arc<Timelines>,
    vram: Memory,
    system: Arc<SystemMemory>,
    engines: Vec<Engine>,
    log: Mutex<Vec<Fault>>,
    sabotage: sabotage::Plans,
    faults: Faults,
    iommu: Iommu,
    mmu: Mmu,
    /// How long a hung command is left alone.
    timeout: Duration,
    /// What the CPU does by its own way.
    cpu: Counters,
    /// One reset at a time.
    reset: Mutex<()>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("properties", &self.properties)
            .field("engines", &self.engines)
            .field("system", &self.system)
            .finish_non_exhaustive()
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
        let vram = Memory::new(MemorySpace::Vram, config.vram_bytes)?;
        let memory_type = |kind, size, granule| MemoryTypeProperties {
            kind,
            size,
            granule,
            max_segment: size,
        };
        let memory_types = vec![
            memory_type(MemorySpace::Vram, vram.size(), config.granule),
            memory_type(MemorySpace::System, system.size(), SystemMemory::GRANULE),
        ];
        let engine_properties: Vec<_> = config
            .engines
            .into_iter()
            .map(|(name, kind)| EngineProperties {
                timeline: timelines.create(&format!("{}/{name}", config.name)),
                name,
                kind,
            })
            .collect();
        let engines = (0..)
            .map(EngineId)
            .zip(&engine_properties)
            .map(|(id, engine)| Engine::new(id, engine.kind, engine.timeline))
            .collect();
        let shared = Arc::new(Shared {
            properties: DeviceProperties {
                name: config.name,
                memory_types,
                engines: engine_properties,
            },
            timelines,
            vram,
            iommu: Iommu::new(config.iommu, system.size()),
            mmu: Mmu::new(config.page_table_bytes),
            system,
            engines,
            log: Mutex::default(),
            sabotage: sabotage::Plans::default(),
            faults: Faults::new(config.fault_seed),
            timeout: config.timeout,
            cpu: Counters::default(),
            reset: Mutex::new(()),
        });
        for rule in config.faults {
            shared.inject(rule);
        }
        // Dropped on an error below, it joins the threads that did start.
        let mut sim = Sim {
            shared: Arc::clone(&shared),
            threads: Vec::new(),
        };
        for (index, engine) in shared.properties.engines.iter().enumerate() {
            let name = format!("{}/{}", shared.properties.name, engine.name);
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new()
                .name(name.replace('\0', ""))
                .spawn(move || worker::work(&*shared, &shared.engines[index]))
                .map_err(|error| DeviceError::Thread {
                    engine: EngineId(index as u32),
                    source: error.into(),
                })?;
            sim.threads.push(thread);
        }
        Ok(sim)
    }

    /// A handle to hold, step and sabotage the device.
    pub fn control(&self) -> SimControl {
        SimControl::new(Arc::clone(&self.shared))
    }

    /// What the engines have done so far.
    pub fn statistics(&self) -> SimStatistics {
        self.shared.statistics()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            // A hook may have been the last one to know the device: its engine ends by itself.
            if thread.thread().id() == thread::current().id() {
                continue;
            }
            // An engine's thread catches what commands panic with; nothing to add here.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn engine(&self, engine: EngineId) -> Result<&Engine, DeviceError> {
        self.engines
            .get(engine.0 as usize)
            .ok_or(DeviceError::UnknownEngine(engine))
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            vram: self.vram.size(),
            system: self.system.size(),
        }
    }

    fn statistics(&self) -> SimStatistics {
        SimStatistics {
            engines: self.engines.iter().map(|e| e.counters.snapshot()).collect(),
            cpu: self.cpu.snapshot(),
            faults_injected: self.faults.injected(),
            dma_mapped: self.iommu.bytes(),
            mmu: self.mmu.statistics(),
        }
    }

    fn stop(&self) {
        for engine in &self.engines {
            engine.stop(&self.timelines);
        }
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
        for engine in &self.engines {
            engine.lose(&self.timelines);
        }
    }

    fn reset(&self) -> Result<(), DeviceError> {
        let _one_at_a_time = lock(&self.reset);
        let rules = self.faults.rules();
        let losses = rules.losses;
        let tickets: Vec<_> = self
            .engines
            .iter()
            .map(|engine| engine.begin_reset(&self.timelines))
            .collect::<Option<_>>()
            .ok_or(DeviceError::Stopped)?;
        drop(rules);
        for (engine, ticket) in self.engines.iter().zip(tickets) {
            // Without a deadline this does not fail.
            let _ = engine.wait_finished(ticket, None);
        }
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
        for engine in &self.engines {
            engine.end_reset();
        }
        cleared
    }

    /// The claims that a command needs: both or, on an error, none.
    fn access(&self, footprint: &Footprint) -> Result<Access<'_>, DeviceError> {
        Ok(Access {
            vram: self.vram.claim_any(&footprint.vram)?,
            system: self.system.memory().claim_any(&footprint.system)?,
            #[cfg(feature = "wgpu")]
            shadow: None,
        })
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
        Shared::access(self, footprint)
    }

    fn release(&self, claimed: Access<'_>) -> Result<(), DeviceError> {
        drop(claimed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
