//! The simulated device: arenas of host memory, and one thread per engine.
//!
//! It does what hardware does (moves bytes, works in queues, reaches points later), and it can
//! be held, stepped and sabotaged through a [`SimControl`].

mod control;
mod engine;
mod exec;
mod sabotage;
mod statistics;

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use control::SimControl;
pub use sabotage::Sabotage;
pub use statistics::{EngineStatistics, SimStatistics};

use crate::claim::Memory;
use crate::command::{MemorySpace, Submission};
use crate::device::{
    Device, DeviceProperties, EngineId, EngineKind, EngineProperties, Fault, MemoryTypeProperties,
};
use crate::error::DeviceError;
use crate::footprint::{self, Footprint, Sizes};
use crate::sync::lock;
use crate::system::SystemMemory;
use crate::timeline::{Timelines, WaitError};
use engine::Engine;
use exec::Access;

/// How many faults the log keeps.
const FAULTS: usize = 4096;

/// What kind of simulated device to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimConfig {
    /// For people; timelines are called `name/engine`.
    pub name: String,
    /// Size of the device's own memory in bytes: a multiple of the granule, not 0.
    pub vram_bytes: u64,
    /// What allocations in it should be multiples of, in bytes; a power of two.
    pub granule: u64,
    /// Name and kind of each engine; at least one.
    pub engines: Vec<(String, EngineKind)>,
}

impl SimConfig {
    /// A device with a granule of 4096 bytes, a copy engine and a compute engine.
    pub fn new(name: &str, vram_bytes: u64) -> SimConfig {
        SimConfig {
            name: name.to_owned(),
            vram_bytes,
            granule: 4096,
            engines: vec![
                ("copy".to_owned(), EngineKind::Copy),
                ("compute".to_owned(), EngineKind::Compute),
            ],
        }
    }

    fn check(&self) -> Result<(), DeviceError> {
        let wrong = |why| Err(DeviceError::InvalidConfig(why));
        if self.vram_bytes == 0 {
            return wrong("a memory of 0 bytes");
        }
        if !self.granule.is_power_of_two() {
            return wrong("the granule is not a power of two");
        }
        if !self.vram_bytes.is_multiple_of(self.granule) {
            return wrong("the memory is not a multiple of its granule");
        }
        if self.engines.is_empty() || u32::try_from(self.engines.len()).is_err() {
            return wrong("a device needs engines, and not too many");
        }
        Ok(())
    }
}

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
    faults: Mutex<Vec<Fault>>,
    sabotage: sabotage::Plans,
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
            .map(|(id, engine)| Engine::new(id, engine.timeline))
            .collect();
        let shared = Arc::new(Shared {
            properties: DeviceProperties {
                name: config.name,
                memory_types,
                engines: engine_properties,
            },
            timelines,
            vram,
            system,
            engines,
            faults: Mutex::default(),
            sabotage: sabotage::Plans::default(),
            reset: Mutex::new(()),
        });
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
                .spawn(move || engine::work(&shared, &shared.engines[index]))
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
            // An engine's thread catches what commands panic with; nothing to add here.
            let _ = thread.join();
        }
    }
}

impl Device for Sim {
    fn properties(&self) -> &DeviceProperties {
        &self.shared.properties
    }

    fn submit(&self, engine: EngineId, submission: Submission) -> Result<(), DeviceError> {
        let shared = &*self.shared;
        let queue = shared.engine(engine)?;
        let footprint = footprint::footprint(&submission.command, shared.sizes())?;
        for point in &submission.waits {
            if !shared.timelines.contains(point.timeline) {
                return Err(DeviceError::UnknownTimeline(point.timeline));
            }
        }
        queue.push(submission, footprint)
    }

    fn idle(&self, timeout: Option<Duration>) -> Result<(), WaitError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let tickets: Vec<_> = self.shared.engines.iter().map(Engine::submitted).collect();
        for (engine, ticket) in self.shared.engines.iter().zip(tickets) {
            engine.wait_finished(ticket, deadline)?;
        }
        Ok(())
    }

    fn take_faults(&self) -> Vec<Fault> {
        std::mem::take(&mut lock(&self.shared.faults))
    }

    fn reset(&self) -> Result<(), DeviceError> {
        self.shared.reset()
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
        }
    }

    fn log(&self, fault: Fault) {
        let mut faults = lock(&self.faults);
        // The first failures explain the later ones.
        if faults.len() < FAULTS {
            faults.push(fault);
        }
    }

    fn stop(&self) {
        for engine in &self.engines {
            engine.stop(&self.timelines);
        }
    }

    fn reset(&self) -> Result<(), DeviceError> {
        let _one_at_a_time = lock(&self.reset);
        let tickets: Vec<_> = self
            .engines
            .iter()
            .map(|engine| engine.begin_reset(&self.timelines))
            .collect::<Option<_>>()
            .ok_or(DeviceError::Stopped)?;
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
        })
    }
}

#[cfg(test)]
mod tests;
