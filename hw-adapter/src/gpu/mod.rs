//! A device on a GPU, by way of wgpu: Vulkan, Metal or Direct3D 12.
//!
//! - *Memory*: vram is made of GPU buffers of one size, each created when it is first touched.
//!   System memory is the host memory that all devices of a runtime share; its bytes pass
//!   through staging buffers.
//! - *Engines*: each has a thread and a queue of its own. They share the one queue of the GPU, so
//!   commands overlap where they wait for different things, not in the GPU itself. A point is
//!   reached when the GPU is done.
//! - *Copies and fills* are done by the GPU, many in one submit, merged where they go on. The
//!   GPU copies words of 4 bytes: pieces that lie in their words as their destination does are
//!   fast, words at the ends of others are read, changed and written back, and what is shifted
//!   within its words goes through host memory.
//! - *Kernels and jobs* run on the CPU in this version: what they use is copied to host memory,
//!   and what they wrote is copied back. Page tables are the host's, as in
//!   [`sim`](crate::sim); jobs go through them piece by piece.
//! - *Failure*: what wgpu reports is a [`DeviceError`], never a panic: [`DeviceError::GpuMemory`],
//!   [`DeviceError::Driver`], [`DeviceError::Lost`]. A GPU that takes longer than the device is
//!   patient ends the command with [`DeviceError::TimedOut`], and counts as lost.

mod adapters;
mod config;
mod context;
mod device;
mod exec;
mod host;
mod jobs;
mod loss;
mod staging;
mod transfer;
mod window;
mod work;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use adapters::{AdapterChoice, AdapterEntry, list};
pub use config::WgpuConfig;

use crate::claim::Memory;
use crate::command::MemorySpace;
use crate::device::{DeviceProperties, EngineId, EngineProperties, Fault, MemoryTypeProperties};
use crate::engine::Engine;
use crate::error::DeviceError;
use crate::footprint::{Footprint, Sizes};
use crate::sim::exec::Access;
use crate::sim::iommu::Iommu;
use crate::sim::mmu::Mmu;
use crate::sim::statistics::Counters;
use crate::system::SystemMemory;
use crate::timeline::Timelines;
use crate::worker;
use context::Context;

/// How many faults the log keeps.
const FAULTS: usize = 4096;

/// A device on a GPU. Dropping it ends what is queued with [`DeviceError::Stopped`], reaches
/// all its points, and waits for its threads; it never waits for points of others.
#[derive(Debug)]
pub struct WgpuDevice {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the engines and the device share.
pub(crate) struct Shared {
    properties: DeviceProperties,
    timelines: Arc<Timelines>,
    /// Who uses which bytes of vram. The bytes themselves are in the chunks of the context.
    vram: Memory,
    system: Arc<SystemMemory>,
    engines: Vec<Engine>,
    /// Copies of vram for jobs, one per engine.
    stages: Vec<Memory>,
    context: RwLock<Arc<Context>>,
    /// What a lost device is made of again; an embedder's device is not made again.
    adapter: Option<wgpu::Adapter>,
    chunk_bytes: u64,
    timeout: Duration,
    log: Mutex<Vec<Fault>>,
    iommu: Iommu,
    mmu: Mmu,
    lost: AtomicBool,
    /// What the CPU does by its own way.
    cpu: Counters,
    /// One reset at a time.
    reset: Mutex<()>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("properties", &self.properties)
            .field("engines", &self.engines)
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}

impl WgpuDevice {
    /// Takes a GPU and starts the device's engines. Its timelines are created in `timelines`.
    ///
    /// # Errors
    /// [`DeviceError::InvalidConfig`], [`DeviceError::NoAdapter`],
    /// [`DeviceError::LimitTooSmall`], [`DeviceError::Driver`], [`DeviceError::Reserve`],
    /// [`DeviceError::Thread`].
    pub fn new(
        choice: &AdapterChoice,
        config: WgpuConfig,
        timelines: Arc<Timelines>,
        system: Arc<SystemMemory>,
    ) -> Result<WgpuDevice, DeviceError> {
        config.check()?;
        let adapter = adapters::choose(choice)?;
        config.chunk(&adapter.limits())?;
        let opened = adapters::open(&adapter)?;
        WgpuDevice::with(opened, Some(adapter), config, timelines, system)
    }

    /// Makes a device of a wgpu device that an embedder has, and starts its engines.
    ///
    /// The embedder may use the wgpu device and its queue as well. Its callback for the loss of
    /// the device is replaced; that for errors that nobody captured is not, and hears of none of
    /// this device. After a loss, [`Device::reset`](crate::Device::reset) cannot bring this one
    /// back.
    ///
    /// # Errors
    /// Those of [`WgpuDevice::new`], but for those of adapters.
    pub fn from_existing(
        device: wgpu::Device,
        queue: wgpu::Queue,
        config: WgpuConfig,
        timelines: Arc<Timelines>,
        system: Arc<SystemMemory>,
    ) -> Result<WgpuDevice, DeviceError> {
        config.check()?;
        WgpuDevice::with((device, queue), None, config, timelines, system)
    }

    fn with(
        opened: (wgpu::Device, wgpu::Queue),
        adapter: Option<wgpu::Adapter>,
        config: WgpuConfig,
        timelines: Arc<Timelines>,
        system: Arc<SystemMemory>,
    ) -> Result<WgpuDevice, DeviceError> {
        let chunk_bytes = config.chunk(&opened.0.limits())?;
        let vram = Memory::new(MemorySpace::Vram, config.vram_bytes)?;
        let stage = |_: &_| Memory::scratch(MemorySpace::Vram, config.vram_bytes);
        let stages = config.engines.iter().map(stage).collect::<Result<_, _>>()?;
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
        let context = Context::new(opened, config.vram_bytes, chunk_bytes, config.timeout);
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
            stages,
            context: RwLock::new(Arc::new(context)),
            adapter,
            chunk_bytes,
            timeout: config.timeout,
            log: Mutex::default(),
            lost: AtomicBool::new(false),
            cpu: Counters::default(),
            reset: Mutex::new(()),
        });
        shared.context().signal.tell(Arc::downgrade(&shared));
        WgpuDevice::start(shared)
    }

    fn start(shared: Arc<Shared>) -> Result<WgpuDevice, DeviceError> {
        // Dropped on an error below, it joins the threads that did start.
        let mut device = WgpuDevice {
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
            device.threads.push(thread);
        }
        Ok(device)
    }

    /// The wgpu device and its queue in use now, for an embedder's own work beside this device's;
    /// a reset after a loss makes others.
    pub fn wgpu(&self) -> (wgpu::Device, wgpu::Queue) {
        let context = self.shared.context();
        (context.device.clone(), context.queue.clone())
    }

    /// The size of the GPU buffers that vram is made of, in bytes.
    pub fn chunk_bytes(&self) -> u64 {
        self.shared.chunk_bytes
    }

    /// How much GPU memory vram has by now, in bytes.
    pub fn chunk_memory(&self) -> u64 {
        self.shared.context().chunk_memory()
    }

    /// What wgpu last said about work that it refused, for people; the command's error has it in
    /// a few words.
    pub fn last_message(&self) -> Option<String> {
        self.shared.context().said()
    }
}

impl Drop for WgpuDevice {
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

    fn context(&self) -> Arc<Context> {
        let context = self.context.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&context)
    }

    fn stop(&self) {
        for engine in &self.engines {
            engine.stop(&self.timelines);
        }
    }

    /// The claims that a command needs: both or, on an error, none. That of vram stands for
    /// bytes in the GPU, and is not to be read or written.
    fn access(&self, footprint: &Footprint) -> Result<Access<'_>, DeviceError> {
        Ok(Access {
            vram: self.vram.claim_any(&footprint.vram)?,
            system: self.system.memory().claim_any(&footprint.system)?,
            shadow: None,
        })
    }
}

#[cfg(test)]
mod tests;
