//! Building a Runtime: parts, devices, memory types.

use super::site::Site;
use super::{Inner, Runtime};
use crate::error::Error;
use crate::log::LogHeader;
use crate::parts::Parts;
use crate::planner::Pacing;
use crate::share::Share;
use crate::system::SystemPool;
use crate::wasm::{WasmMechanism, WasmStrategy};
use cap_std::fs::Dir;
use gpumm_hw as hw;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// How long an importer has to end its use of a buffer that moves.
const SHARE_TIMEOUT: Duration = Duration::from_secs(2);

/// Hardware contexts of a device.
const CONTEXTS: usize = 8;

/// How long a job may take.
const JOB_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes a device when the Runtime's timelines and system memory exist.
type DeviceMaker = Box<
    dyn FnOnce(
        Arc<hw::Timelines>,
        Arc<hw::SystemMemory>,
    ) -> Result<Arc<dyn hw::Device>, hw::DeviceError>,
>;

/// Builds a [`Runtime`].
pub struct RuntimeBuilder {
    system_bytes: u64,
    devices: Vec<DeviceMaker>,
    parts: Option<Parts>,
    strategy: String,
    pacing: Pacing,
    log: Option<Box<dyn Write + Send>>,
    gtt_bytes: Option<u64>,
    captures: Option<(Dir, String)>,
    share_timeout: Duration,
    arena: Option<(u64, u64)>,
    jobs: JobLimits,
}

/// What the queues of each device may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobLimits {
    pub(super) contexts: usize,
    pub(super) timeout: Duration,
    pub(super) hangs: u32,
}

impl std::fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuntimeBuilder")
            .field("strategy", &self.strategy)
            .finish_non_exhaustive()
    }
}

impl RuntimeBuilder {
    pub(super) fn new() -> Self {
        RuntimeBuilder {
            system_bytes: 1 << 30,
            devices: Vec::new(),
            parts: None,
            strategy: "tlsf".into(),
            pacing: Pacing::Eager,
            log: None,
            gtt_bytes: None,
            captures: None,
            share_timeout: SHARE_TIMEOUT,
            arena: None,
            jobs: JobLimits {
                contexts: CONTEXTS,
                timeout: JOB_TIMEOUT,
                hangs: 1,
            },
        }
    }

    /// Bytes of system memory that all devices share; 1 GiB unless said otherwise.
    pub fn system_memory(mut self, bytes: u64) -> Self {
        self.system_bytes = bytes;
        self
    }

    /// How many bytes of system memory each device's DMA reaches at once; all unless said
    /// otherwise. Buffers that wait in system memory beyond that are unmapped while idle.
    pub fn gtt(mut self, bytes: u64) -> Self {
        self.gtt_bytes = Some(bytes);
        self
    }

    /// Keeps error captures of the first device in a directory; the name is what reports call it.
    pub fn captures(mut self, directory: Dir, name: &str) -> Self {
        self.captures = Some((directory, name.into()));
        self
    }

    /// How long a device has to end its use of a buffer that another device wants to move, before
    /// it is ended by force; 2 seconds unless said otherwise. Force means that jobs which have not
    /// begun fail, so the device needs an IOMMU for it.
    pub fn share_timeout(mut self, timeout: Duration) -> Self {
        self.share_timeout = timeout;
        self
    }

    /// How many queues each device may have at once; 8 unless said otherwise.
    pub fn contexts(mut self, count: usize) -> Self {
        self.jobs.contexts = count;
        self
    }

    /// How long a job of a queue may take before it counts as hanging and is ended; 1 second
    /// unless said otherwise.
    pub fn job_timeout(mut self, timeout: Duration) -> Self {
        self.jobs.timeout = timeout;
        self
    }

    /// After how many jobs that hang a queue's other jobs are cancelled; 1 unless said otherwise.
    pub fn hang_limit(mut self, hangs: u32) -> Self {
        self.jobs.hangs = hangs;
        self
    }

    /// Adds a device; devices are numbered in this order.
    pub fn device<D: hw::Device + 'static>(
        mut self,
        make: impl FnOnce(Arc<hw::Timelines>, Arc<hw::SystemMemory>) -> Result<D, hw::DeviceError>
        + 'static,
    ) -> Self {
        let make: DeviceMaker =
            Box::new(|t, s| make(t, s).map(|d| Arc::new(d) as Arc<dyn hw::Device>));
        self.devices.push(make);
        self
    }

    /// Adds a simulated device with this much device memory.
    pub fn sim(self, vram_bytes: u64) -> Self {
        self.device(move |timelines, system| {
            hw::sim::Sim::new(
                hw::sim::SimConfig::new("sim", vram_bytes)
                    .rings(1)
                    .bind_engine(),
                timelines,
                system,
            )
        })
    }

    /// Adds a device on a GPU, with at most this much device memory.
    #[cfg(feature = "wgpu")]
    pub fn wgpu(self, choice: hw::wgpu::AdapterChoice, vram_bytes: u64) -> Self {
        let config = on_gpu(vram_bytes);
        self.device(move |timelines, system| {
            hw::wgpu::WgpuDevice::new(&choice, config, timelines, system)
        })
    }

    /// Adds a device on a GPU that the caller uses as well, with at most this much device memory;
    /// see [`hw::wgpu::WgpuDevice::from_existing`].
    #[cfg(feature = "wgpu")]
    pub fn wgpu_existing(
        self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        vram_bytes: u64,
    ) -> Self {
        let (device, queue, config) = (device.clone(), queue.clone(), on_gpu(vram_bytes));
        self.device(move |timelines, system| {
            hw::wgpu::WgpuDevice::from_existing(device, queue, config, timelines, system)
        })
    }

    /// The built-in strategy of device memory, `tlsf` unless said otherwise.
    pub fn strategy(mut self, name: &str) -> Self {
        self.strategy = name.into();
        self
    }

    /// Other parts than the built-in components.
    pub fn parts(mut self, parts: Parts) -> Self {
        self.parts = Some(parts);
        self
    }

    /// When reached points are delivered; [`Pacing::Eager`] unless said otherwise.
    pub fn pacing(mut self, pacing: Pacing) -> Self {
        self.pacing = pacing;
        self
    }

    /// Writes the first device's request log.
    pub fn log(mut self, out: impl Write + Send + 'static) -> Self {
        self.log = Some(Box::new(out));
        self
    }

    /// Has device memory begin and grow as that of the device that a log was written for, whatever
    /// the device would do: how a request log is replayed.
    pub fn grown_as(mut self, header: &LogHeader) -> Self {
        let size = header.vram_bytes;
        let of = |bytes: Option<u64>| bytes.unwrap_or(size);
        self.arena = Some((of(header.initial_bytes), of(header.chunk_bytes)));
        self
    }

    /// Starts everything.
    ///
    /// Errors: no device; a device, a component or a thread does not start.
    pub fn build(self) -> Result<Runtime, Error> {
        if self.devices.is_empty() {
            return Err(Error::Argument(
                "a Runtime needs at least one device".into(),
            ));
        }
        let parts = match self.parts {
            Some(parts) => parts,
            None => built_in(&self.strategy)?,
        };
        let timelines = Arc::new(hw::Timelines::new());
        let memory = Arc::new(hw::SystemMemory::new(self.system_bytes)?);
        let pool = Arc::new(SystemPool::new(memory.clone()));
        let mut log = self.log;
        let mut captures = self.captures;
        let count = self.devices.len();
        let several = (count > 1).then(|| Share::new(count, self.share_timeout, &timelines));
        let share = several.transpose()?.map(Arc::new);
        let mut devices = Vec::new();
        for (index, make) in self.devices.into_iter().enumerate() {
            let device = make(timelines.clone(), memory.clone())?;
            let site = Site {
                index,
                count,
                share: share.as_ref(),
                timelines: &timelines,
                pool: &pool,
                system_bytes: memory.size(),
                gtt_bytes: self.gtt_bytes.unwrap_or(memory.size()),
                arena: self.arena,
                jobs: self.jobs,
            };
            devices.push(Arc::new(site.start(
                device,
                &parts,
                self.pacing,
                log.take(),
                captures.take(),
            )?));
        }
        if let Some(share) = &share {
            share.begin(&devices);
        }
        Ok(Runtime {
            inner: Arc::new(Inner {
                timelines,
                pool,
                devices,
                tenants: AtomicU32::new(1),
            }),
        })
    }
}

/// A device on a GPU that also runs jobs on addresses.
#[cfg(feature = "wgpu")]
fn on_gpu(vram_bytes: u64) -> hw::wgpu::WgpuConfig {
    hw::wgpu::WgpuConfig::new("wgpu", vram_bytes)
        .rings(1)
        .bind_engine()
}

fn built_in(strategy: &str) -> Result<Parts, Error> {
    let known = || {
        gpumm_components::strategies()
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let find = |name: &str| {
        WasmStrategy::built_in(name).ok_or_else(|| Error::UnknownStrategy {
            name: name.into(),
            known: known(),
        })
    };
    Ok(Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy: Arc::new(find(strategy)?),
        fallback: Arc::new(find("tlsf")?),
    })
}
