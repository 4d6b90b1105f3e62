//! What the test files share.

#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use gpumm_hw::sim::{Sim, SimConfig, SimControl};
use gpumm_hw::{
    Command, Device, EngineId, Kernel, Outcome, OutcomeValue, PatternKey, Point, Segment,
    Submission, SystemMemory, Timelines,
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

    pub(crate) fn sim(&self, name: &str) -> (Sim, SimControl) {
        let config = SimConfig::new(name, MEMORY);
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
