//! A simulated device that gets its memory bit by bit, and refuses when a test says so.

use gpumm_hw::sim::{Sim, SimConfig};
use gpumm_hw::{
    Command, CpuAccess, Device, DeviceError, DeviceProperties, DeviceStatistics, EngineId, Fault,
    Kernel, MemorySpace, PteEntry, Segment, Submission, SystemMemory, Timelines, VmId, VmReport,
    WaitError,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a test says to the device, and sees of it.
#[derive(Debug, Default)]
pub struct Growth {
    /// It grows no further than this.
    pub limit: AtomicU64,
    /// What it has.
    pub has: AtomicU64,
    /// How often more was asked for, and how often that was refused.
    pub asked: AtomicU64,
    /// See [`Growth::asked`].
    pub refused: AtomicU64,
    /// Segments of submissions that left what there is.
    pub outside: AtomicU64,
    /// Segments, no longer than a chunk, that crossed a border between two.
    pub crossing: AtomicU64,
}

impl Growth {
    /// A figure now.
    pub fn get(figure: &AtomicU64) -> u64 {
        figure.load(Ordering::SeqCst)
    }
}

/// A device that begins with one chunk of its memory, and grows by at least one.
#[derive(Debug)]
pub struct Growing {
    sim: Sim,
    properties: DeviceProperties,
    chunk: u64,
    growth: Arc<Growth>,
}

impl Growing {
    /// A device with at most so much memory, in chunks.
    pub fn new(
        config: SimConfig,
        chunk: u64,
        growth: Arc<Growth>,
        timelines: Arc<Timelines>,
        system: Arc<SystemMemory>,
    ) -> Result<Growing, DeviceError> {
        let sim = Sim::new(config, timelines, system)?;
        let mut properties = sim.properties().clone();
        for memory in &mut properties.memory_types {
            if memory.kind == MemorySpace::Vram {
                (memory.initial, memory.chunk) = (chunk, chunk);
            }
        }
        growth.has.store(chunk, Ordering::SeqCst);
        Ok(Growing {
            sim,
            properties,
            chunk,
            growth,
        })
    }

    fn look(&self, list: &[Segment]) {
        let has = Growth::get(&self.growth.has);
        for segment in list.iter().filter(|s| s.memory == MemorySpace::Vram) {
            let last = segment.offset + segment.bytes.max(1) - 1;
            let outside = last >= has;
            let crosses = segment.offset / self.chunk != last / self.chunk;
            let crosses = crosses && segment.bytes <= self.chunk;
            self.growth
                .outside
                .fetch_add(outside.into(), Ordering::SeqCst);
            self.growth
                .crossing
                .fetch_add(crosses.into(), Ordering::SeqCst);
        }
    }
}

impl Device for Growing {
    fn properties(&self) -> &DeviceProperties {
        &self.properties
    }

    fn submit(&self, engine: EngineId, submission: Submission) -> Result<(), DeviceError> {
        match &submission.command {
            Command::Copy { src, dst, .. } => [src, dst].into_iter().for_each(|l| self.look(l)),
            Command::Fill { dst, .. } | Command::Write { dst, .. } => self.look(dst),
            Command::Read { src, .. } => self.look(src),
            Command::Run(
                Kernel::WritePattern { dst: list, .. }
                | Kernel::CheckPattern { src: list, .. }
                | Kernel::Rewrite { mem: list, .. },
            ) => self.look(list),
            _ => {}
        }
        self.sim.submit(engine, submission)
    }

    fn statistics(&self) -> DeviceStatistics {
        Device::statistics(&self.sim)
    }

    fn grow(&self, memory: MemorySpace, bytes: u64) -> Result<u64, DeviceError> {
        if memory != MemorySpace::Vram {
            return self.sim.grow(memory, bytes);
        }
        let growth = &self.growth;
        let has = Growth::get(&growth.has);
        if bytes == 0 {
            return Ok(has);
        }
        growth.asked.fetch_add(1, Ordering::SeqCst);
        let size = self.sim.grow(memory, 0)?;
        let wanted = (has + bytes).next_multiple_of(self.chunk).min(size);
        if wanted > Growth::get(&growth.limit) {
            growth.refused.fetch_add(1, Ordering::SeqCst);
            return Err(DeviceError::Injected);
        }
        growth.has.store(wanted, Ordering::SeqCst);
        Ok(wanted)
    }

    fn idle(&self, timeout: Option<Duration>) -> Result<(), WaitError> {
        self.sim.idle(timeout)
    }

    fn settle(&self, timeout: Option<Duration>) -> Result<(), WaitError> {
        self.sim.settle(timeout)
    }

    fn take_faults(&self) -> Vec<Fault> {
        self.sim.take_faults()
    }

    fn reset(&self) -> Result<(), DeviceError> {
        self.sim.reset()
    }

    fn reset_engine(&self, engine: EngineId) -> Result<(), DeviceError> {
        self.sim.reset_engine(engine)
    }

    fn is_hung(&self, engine: EngineId) -> bool {
        self.sim.is_hung(engine)
    }

    fn is_lost(&self) -> bool {
        self.sim.is_lost()
    }

    fn cpu(&self) -> &dyn CpuAccess {
        self.sim.cpu()
    }

    fn map_dma(&self, segments: &[Segment]) -> Result<(), DeviceError> {
        self.sim.map_dma(segments)
    }

    fn unmap_dma(&self, segments: &[Segment]) -> Result<(), DeviceError> {
        self.sim.unmap_dma(segments)
    }

    fn create_vm(&self, vm: VmId, start: u64, bytes: u64) -> Result<(), DeviceError> {
        self.sim.create_vm(vm, start, bytes)
    }

    fn destroy_vm(&self, vm: VmId) -> Result<(), DeviceError> {
        self.sim.destroy_vm(vm)
    }

    fn reserve_ptes(&self, vm: VmId, address: u64, bytes: u64) -> Result<(), DeviceError> {
        self.sim.reserve_ptes(vm, address, bytes)
    }

    fn vm_report(&self, vm: VmId) -> Result<VmReport, DeviceError> {
        self.sim.vm_report(vm)
    }

    fn page_table(&self, vm: VmId, limit: usize) -> Result<Vec<PteEntry>, DeviceError> {
        self.sim.page_table(vm, limit)
    }
}
