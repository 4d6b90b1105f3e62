//! A device on a GPU, by way of wgpu: Vulkan, Metal or Direct3D 12.
//!
//! - *Memory*: vram is made of GPU buffers of one size, the chunks. It has one at first, and
//!   [`Device::grow`](crate::Device::grow) makes more; what is touched behind those makes its own.
//!   A program that uses the GPU as well binds them: [`WgpuDevice::slices`].
//!   System memory is the host memory that all devices of a runtime share; its bytes pass
//!   through staging buffers.
//! - *Engines*: each has a thread and a queue of its own. They share the one queue of the GPU, so
//!   commands overlap where they wait for different things, not in the GPU itself. While the GPU
//!   is at work on copies and fills, their engine begins the next ones that use other bytes
//!   (module `worker`). A point is reached when wgpu calls back that the GPU is done; since wgpu
//!   calls back only those who ask, an engine with nothing to begin waits, and one with more to
//!   begin looks in between.
//! - *Copies and fills* are done by the GPU, many in one submit, merged where they go on; large
//!   ones in several submits, so that CPU and GPU are at work at once. The
//!   GPU copies words of 4 bytes: pieces that lie in their words as their destination does are
//!   fast, words at the ends of others are read, changed and written back, and what is shifted
//!   within its words goes through host memory.
//! - *Kernels and jobs* are shaders (module `kernels`). A job's shader walks the page table of its
//!   address space, of which the GPU has a copy; ranges that are contiguous in one buffer are
//!   bound directly. The host walks the table first: it brings what a job uses of system memory
//!   to the GPU and back, and registers who uses which bytes. What shaders do not do (elements
//!   across words, a copy onto what it reads, lists cut inside of pages) the CPU does by staging.
//! - *Translations* are not kept between jobs, so that none is ever stale.
//! - *Failure*: what wgpu reports is a [`DeviceError`], never a panic: [`DeviceError::GpuMemory`],
//!   [`DeviceError::Driver`], [`DeviceError::Lost`]. A GPU that takes longer than the device is
//!   patient ends the command with [`DeviceError::TimedOut`], and counts as lost.

mod adapters;
mod config;
mod context;
mod device;
mod exec;
mod flight;
mod grow;
mod host;
mod jobs;
mod kernels;
mod loss;
mod slice;
mod staging;
mod transfer;
mod window;
mod work;

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

pub use adapters::{AdapterChoice, AdapterEntry, list};
pub use config::WgpuConfig;
pub use slice::BufferSlice;

use crate::base::{Base, Parts, Threads};
use crate::claim::Memory;
use crate::command::MemorySpace;
use crate::error::DeviceError;
use crate::statistics::DeviceStatistics;
use crate::system::SystemMemory;
use crate::timeline::Timelines;
use context::Context;

/// A device on a GPU. Dropping it ends what is queued with [`DeviceError::Stopped`], reaches
/// all its points, and waits for its threads; it never waits for points of others.
#[derive(Debug)]
pub struct WgpuDevice {
    shared: Arc<Shared>,
    threads: Threads,
}

/// What the engines and the device share.
pub(crate) struct Shared {
    /// Its vram says who uses which bytes; the bytes themselves are in the chunks of the context.
    base: Base,
    /// Copies of vram for jobs, one per engine.
    stages: Vec<Memory>,
    context: RwLock<Arc<Context>>,
    /// What a lost device is made of again; an embedder's device is not made again.
    adapter: Option<wgpu::Adapter>,
    shaders: kernels::Shaders,
    chunk_bytes: u64,
    /// Whether what is contiguous in a chunk is bound without a walk.
    bind_direct: bool,
    /// How many chunks vram has for good.
    grown: Mutex<u64>,
    timeout: Duration,
    lost: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

impl WgpuDevice {
    /// Takes a GPU and starts the device's engines. Its timelines are created in `timelines`.
    ///
    /// # Errors
    /// [`DeviceError::InvalidConfig`], [`DeviceError::NoAdapter`],
    /// [`DeviceError::LimitTooSmall`], [`DeviceError::Driver`], [`DeviceError::GpuMemory`],
    /// [`DeviceError::Reserve`], [`DeviceError::Thread`].
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
        let stage = |_: &_| Memory::scratch(MemorySpace::Vram, config.vram_bytes);
        let stages = config.engines.iter().map(stage).collect::<Result<_, _>>()?;
        let kind = opened.0.adapter_info().device_type;
        let mut context = Context::new(opened, config.vram_bytes, chunk_bytes, config.timeout);
        let slow = kind == wgpu::DeviceType::Cpu;
        context.lists_by_cpu = config.lists_by_cpu.unwrap_or(slow);
        let parts = Parts {
            name: config.name,
            vram_bytes: config.vram_bytes,
            initial_bytes: grow::initial(config.granule, chunk_bytes, config.vram_bytes),
            chunk_bytes: grow::border(config.granule, chunk_bytes, config.vram_bytes),
            granule: config.granule,
            engines: config.engines,
            iommu: config.iommu,
            page_table_bytes: config.page_table_bytes,
            walked: true,
        };
        let shared = Arc::new(Shared {
            base: Base::new(parts, timelines, system)?,
            stages,
            context: RwLock::new(Arc::new(context)),
            adapter,
            shaders: kernels::Shaders::default(),
            chunk_bytes,
            bind_direct: config.bind_direct,
            grown: Mutex::new(0),
            timeout: config.timeout,
            lost: AtomicBool::new(false),
        });
        shared.context().signal.tell(Arc::downgrade(&shared));
        shared.begin()?;
        // Dropped on an error below, it ends the threads that did start.
        let mut device = WgpuDevice {
            shared: Arc::clone(&shared),
            threads: Threads::default(),
        };
        device.threads.start(&shared)?;
        Ok(device)
    }

    /// The wgpu device and its queue in use now, for an embedder's own work beside this device's;
    /// a reset after a loss makes others.
    pub fn wgpu(&self) -> (wgpu::Device, wgpu::Queue) {
        let context = self.shared.context();
        (context.device.clone(), context.queue.clone())
    }

    /// The GPU; `None` for a device that an embedder made.
    pub fn adapter(&self) -> Option<AdapterEntry> {
        self.shared.adapter.as_ref().map(AdapterEntry::of)
    }

    /// What the engines have done so far.
    pub fn statistics(&self) -> DeviceStatistics {
        // Nobody makes a GPU fail on purpose.
        self.shared.statistics(0)
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
    }
}

impl Shared {
    fn context(&self) -> Arc<Context> {
        let context = self.context.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&context)
    }
}

#[cfg(test)]
mod tests;
