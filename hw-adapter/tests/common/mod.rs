//! What the test files share.

#![allow(dead_code, clippy::unwrap_used)]

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gpumm_hw::sim::{Sim, SimConfig, SimControl};
use gpumm_hw::{
    Access, Backing, Command, CpuAccess, Device, DeviceError, EngineId, Hooks, Kernel, Launch,
    Outcome, OutcomeValue, PatternKey, Point, PteWrite, Segment, Submission, SystemMemory,
    Timelines, VmFaultReason, VmId, VmKernel,
};

pub(crate) const MEMORY: u64 = 1 << 20;
pub(crate) const COPY: EngineId = EngineId(0);
pub(crate) const COMPUTE: EngineId = EngineId(1);
pub(crate) const TIME: Option<Duration> = Some(Duration::from_secs(20));

pub(crate) struct Machine {
    pub(crate) timelines: Arc<Timelines>,
    pub(crate) system: Arc<SystemMemory>,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine {
            timelines: Arc::new(Timelines::new()),
            system: Arc::new(SystemMemory::new(MEMORY).unwrap()),
        }
    }

    /// A device that reaches all system memory.
    pub(crate) fn sim(&self, name: &str) -> (Sim, SimControl) {
        self.sim_with(SimConfig::new(name, MEMORY))
    }

    /// A device of a kind, with all system memory mapped.
    pub(crate) fn sim_with(&self, config: SimConfig) -> (Sim, SimControl) {
        let (sim, control) = self.sim_unmapped(config);
        sim.map_dma(&[Segment::system(0, MEMORY)]).unwrap();
        (sim, control)
    }

    pub(crate) fn sim_unmapped(&self, config: SimConfig) -> (Sim, SimControl) {
        let timelines = Arc::clone(&self.timelines);
        let sim = Sim::new(config, timelines, Arc::clone(&self.system)).unwrap();
        let control = sim.control();
        (sim, control)
    }
}

pub(crate) fn point(sim: &dyn Device, engine: EngineId, value: u64) -> Point {
    Point {
        timeline: sim.properties().engines[engine.0 as usize].timeline,
        value,
    }
}

pub(crate) fn submit(sim: &dyn Device, engine: EngineId, command: Command) -> Arc<Outcome> {
    let outcome = Arc::new(Outcome::new());
    sim.submit(engine, Submission::new(command).outcome(&outcome))
        .unwrap();
    outcome
}

pub(crate) fn perform(sim: &dyn Device, engine: EngineId, command: Command) -> OutcomeValue {
    let outcome = submit(sim, engine, command);
    outcome.wait(TIME).unwrap().clone()
}

pub(crate) fn read(list: &[Segment]) -> Command {
    Command::Read {
        src: list.into(),
        offset: 0,
        bytes: list.iter().map(|segment| segment.bytes).sum(),
    }
}

pub(crate) fn fill(list: &[Segment], pattern: u64) -> Command {
    Command::Fill {
        dst: list.into(),
        offset: 0,
        bytes: list.iter().map(|segment| segment.bytes).sum(),
        pattern,
    }
}

pub(crate) fn copy(src: &[Segment], dst: &[Segment]) -> Command {
    Command::Copy {
        src: src.into(),
        dst: dst.into(),
        src_offset: 0,
        dst_offset: 0,
        bytes: src.iter().map(|segment| segment.bytes).sum(),
    }
}

pub(crate) fn write_pattern(list: &[Segment], key: PatternKey) -> Command {
    Command::Run(Kernel::WritePattern {
        dst: list.into(),
        bytes: list.iter().map(|segment| segment.bytes).sum(),
        key,
    })
}

pub(crate) fn corrupt(sim: &dyn Device, list: &[Segment], key: PatternKey) -> u64 {
    let kernel = Kernel::CheckPattern {
        src: list.into(),
        bytes: list.iter().map(|segment| segment.bytes).sum(),
        key,
    };
    match perform(sim, COMPUTE, Command::Run(kernel)) {
        OutcomeValue::Checked(report) => report.corrupt_bytes,
        other => panic!("{other:?}"),
    }
}

type Answer = Result<OutcomeValue, DeviceError>;
type Before = dyn Fn() -> Result<(), DeviceError> + Send + Sync;
type Failed = dyn Fn(DeviceError, &dyn CpuAccess) -> Answer + Send + Sync;

/// Hooks made of closures, which note what they were told.
pub(crate) struct Hook {
    before: Box<Before>,
    failed: Box<Failed>,
    begun: Mutex<u32>,
    errors: Mutex<Vec<DeviceError>>,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

impl Hook {
    pub(crate) fn new(
        before: impl Fn() -> Result<(), DeviceError> + Send + Sync + 'static,
        failed: impl Fn(DeviceError, &dyn CpuAccess) -> Answer + Send + Sync + 'static,
    ) -> Arc<Hook> {
        Arc::new(Hook {
            before: Box::new(before),
            failed: Box::new(failed),
            begun: Mutex::default(),
            errors: Mutex::default(),
        })
    }

    /// Leaves everything as it is.
    pub(crate) fn witness() -> Arc<Hook> {
        Hook::new(|| Ok(()), |error, _| Err(error))
    }

    /// Does the work of a failed command by CPU.
    pub(crate) fn redo(command: &Command) -> Arc<Hook> {
        let command = command.clone();
        Hook::new(|| Ok(()), move |_, cpu| cpu.perform(&command))
    }

    pub(crate) fn begun(&self) -> u32 {
        *self.begun.lock().unwrap()
    }

    pub(crate) fn errors(&self) -> Vec<DeviceError> {
        self.errors.lock().unwrap().clone()
    }
}

impl Hooks for Hook {
    fn before(&self) -> Result<(), DeviceError> {
        *self.begun.lock().unwrap() += 1;
        (self.before)()
    }

    fn failed(&self, error: DeviceError, cpu: &dyn CpuAccess) -> Answer {
        self.errors.lock().unwrap().push(error);
        (self.failed)(error, cpu)
    }
}

/// Submits with hooks.
pub(crate) fn submit_with(
    sim: &dyn Device,
    engine: EngineId,
    command: Command,
    hook: &Arc<Hook>,
) -> Arc<Outcome> {
    let outcome = Arc::new(Outcome::new());
    let hooks = Arc::clone(hook) as Arc<dyn Hooks>;
    let submission = Submission::new(command).outcome(&outcome).hooks(&hooks);
    sim.submit(engine, submission).unwrap();
    outcome
}

pub(crate) fn perform_with(
    sim: &dyn Device,
    engine: EngineId,
    command: Command,
    hook: &Arc<Hook>,
) -> OutcomeValue {
    let outcome = submit_with(sim, engine, command, hook);
    outcome.wait(TIME).unwrap().clone()
}

/// Waits for what must become true soon.
pub(crate) fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(Some(start.elapsed()) < TIME, "it did not become true");
        std::thread::yield_now();
    }
}

pub(crate) fn failed(error: DeviceError) -> OutcomeValue {
    OutcomeValue::Failed(error)
}

pub(crate) const PAGE: u64 = 4096;
pub(crate) const VM: VmId = VmId(7);
pub(crate) const JOB: u64 = 99;

/// Names memory behind addresses.
pub(crate) fn backed(address: u64, list: &[Segment], write: bool) -> PteWrite {
    PteWrite {
        address,
        bytes: list.iter().map(|segment| segment.bytes).sum(),
        backing: Backing::Memory {
            segments: list.into(),
            offset: 0,
            write,
        },
    }
}

pub(crate) fn ptes(address: u64, bytes: u64, backing: Backing) -> PteWrite {
    PteWrite {
        address,
        bytes,
        backing,
    }
}

pub(crate) fn write_ptes(writes: &[PteWrite]) -> Command {
    Command::WritePtes {
        vm: VM,
        writes: writes.into(),
    }
}

pub(crate) fn job(kernel: VmKernel) -> Command {
    Command::Launch(Launch {
        vm: VM,
        job: JOB,
        kernel,
    })
}

/// Maps, and forgets what was used before.
pub(crate) fn map(sim: &dyn Device, writes: &[PteWrite]) {
    assert_eq!(perform(sim, COPY, write_ptes(writes)), OutcomeValue::Done);
    let value = perform(sim, COPY, Command::InvalidateTlb { vm: VM });
    assert_eq!(value, OutcomeValue::Done);
}

pub(crate) fn run(sim: &dyn Device, kernel: VmKernel) -> OutcomeValue {
    perform(sim, COMPUTE, job(kernel))
}

pub(crate) fn vm_fault(address: u64, access: Access, why: VmFaultReason) -> OutcomeValue {
    failed(DeviceError::VmFault {
        vm: VM,
        job: JOB,
        address,
        access,
        why,
    })
}

pub(crate) fn bytes_of(sim: &dyn Device, list: &[Segment]) -> Vec<u8> {
    match perform(sim, COPY, read(list)) {
        OutcomeValue::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

pub(crate) const SPAN: u64 = 1 << 24;

pub(crate) fn device() -> Sim {
    let (sim, _) = Machine::new().sim("sim");
    sim.create_vm(VM, 0, SPAN).unwrap();
    sim
}

pub(crate) fn put(dst: u64, pattern: u64) -> VmKernel {
    VmKernel::Fill {
        dst,
        bytes: 8,
        pattern,
    }
}

pub(crate) fn get(sim: &dyn Device, src: u64) -> OutcomeValue {
    let sum = VmKernel::Checksum {
        src,
        bytes: 8,
        dst: SPAN - 8,
    };
    run(sim, sum)
}

pub(crate) fn unmapped(address: u64) -> OutcomeValue {
    vm_fault(address, Access::Read, VmFaultReason::Unmapped)
}

/// A page for what checksums write, and two pages with words of their own.
pub(crate) fn two_pages(sim: &dyn Device) -> [Segment; 2] {
    let pages = [Segment::vram(0, PAGE), Segment::vram(65536, PAGE)];
    map(
        sim,
        &[backed(SPAN - PAGE, &[Segment::vram(PAGE, PAGE)], true)],
    );
    for (word, page) in (1..).zip(pages) {
        perform(sim, COPY, fill(&[page], word));
    }
    pages
}

pub(crate) fn stale(sim: &Sim) -> u64 {
    sim.statistics().mmu.stale_accesses
}
