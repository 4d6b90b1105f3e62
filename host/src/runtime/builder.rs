//! Building a Runtime: parts, devices, memory types.

use super::device::DeviceShared;
use super::{Inner, Runtime, SYSTEM, SYSTEM_BASE, VRAM};
use crate::broker::Broker;
use crate::error::{ComponentFault, Error};
use crate::executor::{Executor, Space};
use crate::ledger::Ledger;
use crate::log::{LogHeader, LogWriter};
use crate::parts::Parts;
use crate::planner::{Desk, Pacing, Planner, Setup, start};
use crate::slot::Slot;
use crate::system::{SYSTEM_GRANULE, SystemPool};
use crate::wasm::{WasmMechanism, WasmStrategy};
use gpumm_contract::facts::{MemoryType, Role};
use gpumm_contract::{Geometry, TimelineId};
use gpumm_hw as hw;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

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
        }
    }

    /// Bytes of system memory that all devices share; 1 GiB unless said otherwise.
    pub fn system_memory(mut self, bytes: u64) -> Self {
        self.system_bytes = bytes;
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
                hw::sim::SimConfig::new("sim", vram_bytes),
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
        let mut devices = Vec::new();
        for (index, make) in self.devices.into_iter().enumerate() {
            let device = make(timelines.clone(), memory.clone())?;
            let site = Site {
                index,
                timelines: &timelines,
                pool: &pool,
                system_bytes: memory.size(),
            };
            devices.push(Arc::new(site.start(
                device,
                &parts,
                self.pacing,
                log.take(),
            )?));
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
    timelines: &'a Arc<hw::Timelines>,
    pool: &'a Arc<SystemPool>,
    system_bytes: u64,
}

impl Site<'_> {
    fn start(
        &self,
        device: Arc<dyn hw::Device>,
        parts: &Parts,
        pacing: Pacing,
        log: Option<Box<dyn Write + Send>>,
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
        let copy = properties
            .engine(hw::EngineKind::Copy)
            .ok_or(missing("it has no copy engine"))?;
        let run = properties
            .engine(hw::EngineKind::Compute)
            .ok_or(missing("it has no compute engine"))?;
        let (copy_at, run_at) = (TimelineId(copy.1.timeline.0), TimelineId(run.1.timeline.0));
        let memory = memory_types(&vram, self.system_bytes);
        let ledger = Ledger::new(&memory, &[(copy_at, Role::Copy), (run_at, Role::Run)]);
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
        let broker = Broker::new(
            [(VRAM, slot)].into_iter().collect(),
            (SYSTEM, self.pool.clone()),
        );
        let spaces: BTreeMap<_, _> = [
            (
                VRAM,
                Space {
                    space: hw::MemorySpace::Vram,
                    base: 0,
                },
            ),
            (
                SYSTEM,
                Space {
                    space: hw::MemorySpace::System,
                    base: SYSTEM_BASE,
                },
            ),
        ]
        .into_iter()
        .collect();
        let engines = [(copy_at, copy.0), (run_at, run.0)].into_iter().collect();
        let header = LogHeader {
            device: properties.name.clone(),
            vram_bytes: vram.size,
            granule: vram.granule,
            system_bytes: self.system_bytes,
            strategy: parts.strategy.name().into(),
        };
        let log = log.map(|out| LogWriter::new(out, &header)).transpose()?;
        let planner = Planner::new(Setup {
            desk: Desk { ledger, broker },
            parts: parts.clone(),
            executor: Executor::new(device.clone(), engines, spaces),
            pool: self.pool.clone(),
            system: SYSTEM,
            vram: VRAM,
            run_timeline: run_at,
            timelines: self.timelines.clone(),
            pacing,
            log,
        })?;
        let thread = start(&format!("gpumm-planner-{}", self.index), planner);
        let (sender, thread) =
            thread.map_err(|e| Error::System(format!("no thread for the planner: {e}")))?;
        Ok(DeviceShared::new(
            device,
            self.timelines.clone(),
            sender,
            thread,
        ))
    }
}

fn memory_types(vram: &hw::MemoryTypeProperties, system_bytes: u64) -> [MemoryType; 2] {
    let system = MemoryType {
        id: SYSTEM,
        size: system_bytes / SYSTEM_GRANULE * SYSTEM_GRANULE,
        granule: SYSTEM_GRANULE,
        evict_to: None,
        base: SYSTEM_BASE,
        max_segment: u64::from(u32::MAX) / SYSTEM_GRANULE * SYSTEM_GRANULE,
    };
    let vram = MemoryType {
        id: VRAM,
        size: vram.size,
        granule: vram.granule,
        evict_to: Some(SYSTEM),
        base: 0,
        max_segment: vram.max_segment,
    };
    [system, vram]
}
