//! What the test files share.

#![allow(dead_code, clippy::unwrap_used)]

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gpumm_hw::sim::{Sim, SimConfig, SimControl};
use gpumm_hw::{
    Command, CpuAccess, Device, DeviceError, EngineId, Hooks, Kernel, Outcome, OutcomeValue,
    PatternKey, Point, Segment, Submission, SystemMemory, Timelines,
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

pub(crate) fn point(sim: &Sim, engine: EngineId, value: u64) -> Point {
    Point {
        timeline: sim.properties().engines[engine.0 as usize].timeline,
        value,
    }
}

pub(crate) fn submit(sim: &Sim, engine: EngineId, command: Command) -> Arc<Outcome> {
    let outcome = Arc::new(Outcome::new());
    sim.submit(engine, Submission::new(command).outcome(&outcome))
        .unwrap();
    outcome
}

pub(crate) fn perform(sim: &Sim, engine: EngineId, command: Command) -> OutcomeValue {
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

pub(crate) fn corrupt(sim: &Sim, list: &[Segment], key: PatternKey) -> u64 {
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
    sim: &Sim,
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
    sim: &Sim,
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
