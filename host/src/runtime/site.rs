//! Starting one device: memory types, timelines, ledger, slots, planner.

use super::builder::JobLimits;
use super::device::DeviceShared;
use super::memory::memory_types;
use super::{IMPORT, SYSTEM, SYSTEM_BASE, VRAM};
use crate::broker::{Broker, Dma, Growth};
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
use cap_std::fs::Dir;
use gpumm_contract::facts::Role;
use gpumm_contract::{DeviceId, Geometry, TimelineId};
use gpumm_hw as hw;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

/// How many accesses of the CPU of either kind may be open at once on a device.
const CPU_TIMELINES: usize = 4;

/// How many jobs of queues a device has at once.
const CREDITS: u32 = 64;

/// What one device is started with.
pub(super) struct Site<'a> {
    pub(super) index: usize,
    /// How many devices there are.
    pub(super) count: usize,
    pub(super) share: Option<&'a Arc<Share>>,
    pub(super) timelines: &'a Arc<hw::Timelines>,
    pub(super) pool: &'a Arc<SystemPool>,
    pub(super) system_bytes: u64,
    pub(super) gtt_bytes: u64,
    /// What device memory has at first and what its chunks are, if that is not the device's to say.
    pub(super) arena: Option<(u64, u64)>,
    pub(super) jobs: JobLimits,
}

impl Site<'_> {
    pub(super) fn start(
        &self,
        device: Arc<dyn hw::Device>,
        parts: &Parts,
        pacing: Pacing,
        log: Option<Box<dyn Write + Send>>,
        captures: Option<(Dir, String)>,
    ) -> Result<DeviceShared, Error> {
        let properties = device.properties().clone();
        let missing = |what| Error::Device(hw::DeviceError::InvalidConfig(what));
        let mut vram = *properties
            .memory(hw::MemorySpace::Vram)
            .ok_or(missing("it has no device memory"))?;
        if let Some(arena) = self.arena {
            (vram.initial, vram.chunk) = arena;
        }
        let whole =
            |bytes: u64| bytes > 0 && bytes <= vram.size && bytes.is_multiple_of(vram.granule);
        if !whole(vram.initial) || !whole(vram.chunk) {
            return Err(missing(
                "what its memory has at first, or its chunks, are not in it",
            ));
        }
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
            size: vram.initial,
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
            (
                Dma::new(device.clone()),
                Growth::new(device.clone(), VRAM, &vram),
            ),
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
            initial_bytes: (vram.initial != vram.size).then_some(vram.initial),
            chunk_bytes: (vram.chunk != vram.size).then_some(vram.chunk),
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
