//! Building a Runtime: parts, devices, memory types.

use super::device::DeviceShared;
use super::memory::memory_types;
use super::{IMPORT, Inner, Runtime, SYSTEM, SYSTEM_BASE, VRAM};
use crate::broker::{Broker, Dma};
use crate::capture::{Captures, Limits};
use crate::error::{ComponentFault, Error};
use crate::executor::{Executor, Space, Spaces};
use crate::failsafe::{self, Failsafe};
use crate::jobs::{Gate, Ring, RingSite};
use crate::ledger::Ledger;
use crate::log::{LogHeader, LogWriter};
use crate::parts::Parts;
use crate::planner::{CpuTimelines, Desk, Pacing, Planner, Setup, start};
use crate::share::{Imports, Share, Sharing};
use crate::slot::Slot;
use crate::system::SystemPool;
use crate::wasm::{WasmMechanism, WasmStrategy};
use cap_std::fs::Dir;
use gpumm_contract::facts::Role;
use gpumm_contract::{DeviceId, Geometry, TimelineId};
use gpumm_hw as hw;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// How many accesses of the CPU of either kind may be open at once on a device.
const CPU_TIMELINES: usize = 4;

/// How long an importer has to end its use of a buffer that moves.
const SHARE_TIMEOUT: Duration = Duration::from_secs(2);

/// Hardware contexts of a device.
const CONTEXTS: usize = 8;

/// How long a job may take.
const JOB_TIMEOUT: Duration = Duration::from_secs(1);

/// How many jobs of queues a device has at once.
const CREDITS: u32 = 64;

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
    jobs: JobLimits,
}

/// What the queues of each device may do.
#[derive(Clone, Copy, Debug)]
struct JobLimits {
    contexts: usize,
    timeout: Duration,
    hangs: u32,
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

/// What one device is started with.
struct Site<'a> {
    index: usize,
    /// How many devices there are.
    count: usize,
    share: Option<&'a Arc<Share>>,
    timelines: &'a Arc<hw::Timelines>,
    pool: &'a Arc<SystemPool>,
    system_bytes: u64,
    gtt_bytes: u64,
    jobs: JobLimits,
}

impl Site<'_> {
    fn start(
        &self,
        device: Arc<dyn hw::Device>,
        parts: &Parts,
        pacing: Pacing,
        log: Option<Box<dyn Write + Send>>,
        captures: Option<(Dir, String)>,
    ) -> Result<DeviceShared, Error> {
        let properties = device.properties().clone();
        let missing = |what| Error::Device(hw::DeviceError::InvalidConfig(what));
        let vram = *properties
            .memory(hw::MemorySpace::Vram)
            .ok_or(missing("it has no device memory"))?;
        if vram.size > SYSTEM_BASE {
            return Err(missing(
                "its memory reaches into the addresses of system memory",
            ));
        }
        let engines = |kind| {
            let all = (0..).map(hw::EngineId).zip(&properties.engines);
            all.filter(move |(_, e)| e.kind == kind)
                .map(|(id, e)| (TimelineId(e.timeline.0), id))
        };
        let run = engines(hw::EngineKind::Compute)
            .next()
            .ok_or(missing("it has no compute engine"))?;
        let copies: Vec<_> = engines(hw::EngineKind::Copy).collect();
        let copy_engines = copies.len();
        if copy_engines == 0 {
            return Err(missing("it has no copy engine"));
        }
        let timelines = |kind: &str| -> Vec<TimelineId> {
            (0..CPU_TIMELINES)
                .map(|n| format!("{}/{kind}{n}", properties.name))
                .map(|name| TimelineId(self.timelines.create(&name).0))
                .collect()
        };
        let cpu = CpuTimelines {
            waiting: timelines("cpu"),
            revocable: timelines("revocable"),
        };
        let mut memory = memory_types(&vram, self.system_bytes, self.gtt_bytes);
        if self.share.is_none() {
            memory.retain(|m| m.id != IMPORT);
        }
        let mut roles: Vec<_> = copies.iter().map(|(at, _)| (*at, Role::Copy)).collect();
        roles.push((run.0, Role::Run));
        roles.extend(cpu.waiting.iter().map(|at| (*at, Role::Cpu)));
        roles.extend(cpu.revocable.iter().map(|at| (*at, Role::RevocableCpu)));
        let bind = engines(hw::EngineKind::Bind).next();
        let ring = engines(hw::EngineKind::Compute).nth(1);
        // Both or none: what is bound is for jobs of queues.
        let virtual_memory = bind.zip(ring).map(|(bind, (_, ring))| {
            let contexts: Vec<TimelineId> = (0..self.jobs.contexts)
                .map(|n| format!("{}/context{n}", properties.name))
                .map(|name| TimelineId(self.timelines.create(&name).0))
                .collect();
            (bind, ring, contexts)
        });
        let contexts = virtual_memory.as_ref().map_or(0, |(.., all)| all.len());
        if let Some((bind, _, contexts)) = &virtual_memory {
            roles.push((bind.0, Role::Bind));
            roles.extend(contexts.iter().map(|at| (*at, Role::Job)));
        }
        for other in (0..self.count).filter(|&other| other != self.index) {
            let name = format!("{}/gate{other}", properties.name);
            let gate = TimelineId(self.timelines.create(&name).0);
            roles.push((gate, Role::Gate(DeviceId(other as u32))));
        }
        let ledger = Ledger::new(&memory, &roles);
        let imports = Arc::new(Imports::default());
        let geometry = Geometry {
            size: vram.size,
            granule: vram.granule,
        };
        let failed = |fault: ComponentFault| Error::Component {
            name: parts.strategy.name().into(),
            fault,
        };
        let slot = Slot::new(
            VRAM,
            geometry,
            parts.strategy.clone(),
            parts.fallback.clone(),
        )
        .map_err(failed)?;
        let faults = slot.fault_count().clone();
        let broker = Broker::new(
            [(VRAM, slot)].into_iter().collect(),
            (SYSTEM, self.pool.clone()),
            Dma::new(device.clone()),
            imports.clone(),
        );
        let space = |space, base| Space { space, base };
        let spaces = Arc::new(Spaces {
            by_type: BTreeMap::from([
                (VRAM, space(hw::MemorySpace::Vram, 0)),
                (SYSTEM, space(hw::MemorySpace::System, SYSTEM_BASE)),
                (IMPORT, space(hw::MemorySpace::System, SYSTEM_BASE)),
            ]),
            host: SYSTEM,
        });
        let components = [
            parts.mechanism.component(),
            parts.strategy.component(),
            parts.fallback.component(),
        ];
        let site = failsafe::Site {
            device: properties.name.clone(),
            timelines: self.timelines.clone(),
            memories: vec![(VRAM, "vram"), (SYSTEM, "system"), (IMPORT, "import")],
            components: components.into_iter().flatten().collect(),
        };
        let gate = Arc::new(Gate::default());
        let captures = Captures::new(captures, Limits::default());
        let failsafe = Failsafe::new(site, captures, gate.clone());
        let failsafe = Arc::new(failsafe);
        let bind = virtual_memory.as_ref().map(|(bind, ..)| *bind);
        let ring = virtual_memory.map(|(_, engine, contexts)| {
            Ring::new(RingSite {
                device: device.clone(),
                engine,
                timelines: self.timelines.clone(),
                gate: gate.clone(),
                failsafe: failsafe.clone(),
                spaces: spaces.clone(),
                contexts,
                credits: CREDITS,
                timeout: self.jobs.timeout,
                hang_limit: self.jobs.hangs,
            })
        });
        let ring = ring.transpose()?;
        let engines = copies.into_iter().chain([run]).chain(bind).collect();
        let executor = Executor::new(
            device.clone(),
            engines,
            spaces,
            failsafe.clone(),
            self.timelines.clone(),
            Sharing {
                imports: imports.clone(),
                share: self.share.cloned(),
            },
            &cpu.all().collect::<Vec<_>>(),
        );
        let header = LogHeader {
            device: properties.name.clone(),
            vram_bytes: vram.size,
            granule: vram.granule,
            system_bytes: self.system_bytes,
            gtt_bytes: self.gtt_bytes,
            copy_engines: copy_engines as u32,
            contexts: contexts as u32,
            strategy: parts.strategy.name().into(),
        };
        let log = log.map(|out| LogWriter::new(out, &header)).transpose()?;
        let planner = Planner::new(Setup {
            desk: Desk { ledger, broker },
            parts: parts.clone(),
            executor,
            pool: self.pool.clone(),
            system: SYSTEM,
            vram: VRAM,
            run_timeline: run.0,
            timelines: self.timelines.clone(),
            pacing,
            log,
            failsafe,
            cpu,
            gate,
            ring: ring.clone(),
        })?;
        let thread = start(&format!("gpumm-planner-{}", self.index), planner);
        let thread =
            thread.map_err(|e| Error::System(format!("no thread for the planner: {e}")))?;
        Ok(DeviceShared::new(
            device,
            self.timelines.clone(),
            (DeviceId(self.index as u32), imports, self.share.cloned()),
            thread,
            faults,
            ring,
        ))
    }
}
