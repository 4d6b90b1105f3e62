//! What every device of this crate is made of, whatever moves its bytes.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::claim::Memory;
use crate::command::{Command, MemorySpace, Submission};
use crate::device::{
    DeviceProperties, EngineId, EngineKind, EngineProperties, Fault, MemoryTypeProperties,
};
use crate::engine::Engine;
use crate::error::DeviceError;
use crate::exec::Access;
use crate::footprint::{self, Footprint, Sizes};
use crate::iommu::Iommu;
use crate::mmu::Mmu;
use crate::outcome::OutcomeValue;
use crate::statistics::{Counters, DeviceStatistics};
use crate::sync::lock;
use crate::system::SystemMemory;
use crate::timeline::{Timelines, WaitError};
use crate::worker::{self, Worker};

/// How many faults the log keeps.
const FAULTS: usize = 4096;

/// What a base is made with: the part of a device's configuration that all devices have.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) vram_bytes: u64,
    /// What vram has from the start.
    pub(crate) initial_bytes: u64,
    /// See [`MemoryTypeProperties::chunk`].
    pub(crate) chunk_bytes: u64,
    pub(crate) granule: u64,
    pub(crate) engines: Vec<(String, EngineKind)>,
    pub(crate) iommu: bool,
    pub(crate) page_table_bytes: u64,
    /// Whether jobs walk page tables each time, and the device copies what changes.
    pub(crate) walked: bool,
}

/// Checks what all devices have.
///
/// # Errors
/// [`DeviceError::InvalidConfig`].
pub(crate) fn check(
    vram_bytes: u64,
    granule: u64,
    engines: &[(String, EngineKind)],
) -> Result<(), DeviceError> {
    let wrong = |why| Err(DeviceError::InvalidConfig(why));
    if vram_bytes == 0 {
        return wrong("a memory of 0 bytes");
    }
    if !granule.is_power_of_two() {
        return wrong("the granule is not a power of two");
    }
    if !vram_bytes.is_multiple_of(granule) {
        return wrong("the memory is not a multiple of its granule");
    }
    if engines.is_empty() || u32::try_from(engines.len()).is_err() {
        return wrong("a device needs engines, and not too many");
    }
    Ok(())
}

/// Memories and who uses which bytes of them, engines, tables of addresses, the log.
pub(crate) struct Base {
    pub(crate) properties: DeviceProperties,
    pub(crate) timelines: Arc<Timelines>,
    pub(crate) vram: Memory,
    pub(crate) system: Arc<SystemMemory>,
    pub(crate) engines: Vec<Engine>,
    log: Mutex<Vec<Fault>>,
    pub(crate) iommu: Iommu,
    pub(crate) mmu: Mmu,
    /// What the CPU does by its own way.
    pub(crate) cpu: Counters,
    /// One reset at a time.
    pub(crate) reset: Mutex<()>,
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base")
            .field("properties", &self.properties)
            .field("engines", &self.engines)
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}

impl Base {
    /// Creates a timeline for each engine.
    ///
    /// # Errors
    /// [`DeviceError::Reserve`].
    pub(crate) fn new(
        parts: Parts,
        timelines: Arc<Timelines>,
        system: Arc<SystemMemory>,
    ) -> Result<Base, DeviceError> {
        let vram = Memory::new(MemorySpace::Vram, parts.vram_bytes)?;
        let memory_type = |kind, size, granule| MemoryTypeProperties {
            kind,
            size,
            initial: size,
            granule,
            chunk: size,
            max_segment: size,
        };
        let own = MemoryTypeProperties {
            initial: parts.initial_bytes,
            chunk: parts.chunk_bytes,
            ..memory_type(MemorySpace::Vram, vram.size(), parts.granule)
        };
        let memory_types = vec![
            own,
            memory_type(MemorySpace::System, system.size(), SystemMemory::GRANULE),
        ];
        let engine_properties: Vec<_> = parts
            .engines
            .into_iter()
            .map(|(name, kind)| EngineProperties {
                timeline: timelines.create(&format!("{}/{name}", parts.name)),
                name,
                kind,
            })
            .collect();
        let engines = (0..)
            .map(EngineId)
            .zip(&engine_properties)
            .map(|(id, engine)| Engine::new(id, engine.kind, engine.timeline))
            .collect();
        Ok(Base {
            properties: DeviceProperties {
                name: parts.name,
                memory_types,
                engines: engine_properties,
            },
            timelines,
            vram,
            iommu: Iommu::new(parts.iommu, system.size()),
            mmu: Mmu::new(parts.page_table_bytes, parts.walked),
            system,
            engines,
            log: Mutex::default(),
            cpu: Counters::default(),
            reset: Mutex::new(()),
        })
    }

    pub(crate) fn engine(&self, engine: EngineId) -> Result<&Engine, DeviceError> {
        self.engines
            .get(engine.0 as usize)
            .ok_or(DeviceError::UnknownEngine(engine))
    }

    /// What the engines have done so far, on a device that so many faults were injected into.
    pub(crate) fn statistics(&self, faults_injected: u64) -> DeviceStatistics {
        DeviceStatistics {
            engines: self.engines.iter().map(|e| e.counters.snapshot()).collect(),
            cpu: self.cpu.snapshot(),
            faults_injected,
            dma_mapped: self.iommu.bytes(),
            mmu: self.mmu.statistics(),
        }
    }

    pub(crate) fn sizes(&self) -> Sizes {
        Sizes {
            vram: self.vram.size(),
            system: self.system.size(),
        }
    }

    /// Checks a submission, but for what its engine checks.
    pub(crate) fn check(&self, submission: &Submission) -> Result<Footprint, DeviceError> {
        let footprint = footprint::footprint(&submission.command, self.sizes())?;
        for point in &submission.waits {
            if !self.timelines.contains(point.timeline) {
                return Err(DeviceError::UnknownTimeline(point.timeline));
            }
        }
        Ok(footprint)
    }

    /// The claims that a command needs: both or, on an error, none.
    pub(crate) fn access(&self, footprint: &Footprint) -> Result<Access<'_>, DeviceError> {
        Ok(Access {
            vram: self.vram.claim_any(&footprint.vram)?,
            system: self.system.memory().claim_any(&footprint.system)?,
            #[cfg(feature = "wgpu")]
            shadow: None,
        })
    }

    /// See [`CpuAccess`](crate::CpuAccess); `lost` says whether the content of vram is. `move_bytes`
    /// does what moves bytes.
    pub(crate) fn cpu_command(
        &self,
        command: &Command,
        lost: bool,
        move_bytes: impl FnOnce(&Footprint, Access<'_>) -> Result<OutcomeValue, DeviceError>,
    ) -> Result<OutcomeValue, DeviceError> {
        match command {
            Command::Nop | Command::Run(_) | Command::Launch(_) => {
                return Err(DeviceError::CpuRefused);
            }
            Command::Copy { .. }
            | Command::Fill { .. }
            | Command::Read { .. }
            | Command::Write { .. }
            | Command::WritePtes { .. }
            | Command::InvalidateTlb { .. } => {}
        }
        let footprint = footprint::footprint(command, self.sizes())?;
        if let Command::WritePtes { vm, .. } | Command::InvalidateTlb { vm } = command {
            if lost {
                return Err(DeviceError::Lost);
            }
            let result = match command {
                Command::WritePtes { writes, .. } => self.mmu.write(*vm, writes),
                _ => self.mmu.invalidate(*vm),
            };
            return result.map(|()| OutcomeValue::Done);
        }
        if lost && !footprint.vram.is_empty() {
            return Err(DeviceError::Lost);
        }
        let access = self.access(&footprint)?;
        move_bytes(&footprint, access)
    }

    /// Notes the failure of a command that nobody owns.
    pub(crate) fn log(&self, fault: Fault) {
        let mut faults = lock(&self.log);
        // The first failures explain the later ones.
        if faults.len() < FAULTS {
            faults.push(fault);
        }
    }

    pub(crate) fn take_faults(&self) -> Vec<Fault> {
        std::mem::take(&mut lock(&self.log))
    }

    /// Waits until every engine has finished as many submissions as `ticket` says now.
    pub(crate) fn finished(
        &self,
        ticket: fn(&Engine) -> u64,
        timeout: Option<Duration>,
    ) -> Result<(), WaitError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let tickets: Vec<_> = self.engines.iter().map(ticket).collect();
        for (engine, ticket) in self.engines.iter().zip(tickets) {
            engine.wait_finished(ticket, deadline)?;
        }
        Ok(())
    }

    /// The first step of a reset: nothing that was submitted begins any more. What is running is to
    /// be waited for with [`Base::stand_still`].
    ///
    /// # Errors
    /// [`DeviceError::Stopped`].
    pub(crate) fn begin_reset(&self) -> Result<Vec<u64>, DeviceError> {
        let engines = self.engines.iter();
        let tickets = engines.map(|engine| engine.begin_reset(&self.timelines));
        tickets.collect::<Option<_>>().ok_or(DeviceError::Stopped)
    }

    /// Waits for what was running when a reset began.
    pub(crate) fn stand_still(&self, tickets: Vec<u64>) {
        for (engine, ticket) in self.engines.iter().zip(tickets) {
            // Without a deadline this does not fail.
            let _ = engine.wait_finished(ticket, None);
        }
    }

    /// The last step of a reset: engines begin again.
    pub(crate) fn end_reset(&self) {
        self.engines.iter().for_each(Engine::end_reset);
    }

    /// What has not begun is lost, and what comes.
    pub(crate) fn lose(&self) {
        for engine in &self.engines {
            engine.lose(&self.timelines);
        }
    }

    /// Ends what is queued, and then the engines' threads.
    pub(crate) fn stop(&self) {
        for engine in &self.engines {
            engine.stop(&self.timelines);
        }
    }
}

/// The threads of a device's engines. Dropped after [`Base::stop`], it waits for them.
#[derive(Debug, Default)]
pub(crate) struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    /// Starts a thread for each engine; on an error, those before it have started.
    ///
    /// # Errors
    /// [`DeviceError::Thread`].
    pub(crate) fn start<W: Worker + 'static>(
        &mut self,
        worker: &Arc<W>,
    ) -> Result<(), DeviceError> {
        let properties = &worker.base().properties;
        for (index, engine) in properties.engines.iter().enumerate() {
            let name = format!("{}/{}", properties.name, engine.name);
            let worker = Arc::clone(worker);
            let thread = thread::Builder::new()
                .name(name.replace('\0', ""))
                .spawn(move || worker::work(&*worker, &worker.base().engines[index]))
                .map_err(|error| DeviceError::Thread {
                    engine: EngineId(index as u32),
                    source: error.into(),
                })?;
            self.0.push(thread);
        }
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // A hook may have been the last one to know the device: its engine ends by itself.
            if thread.thread().id() == thread::current().id() {
                continue;
            }
            // An engine's thread catches what commands panic with; nothing to add here.
            let _ = thread.join();
        }
    }
}
