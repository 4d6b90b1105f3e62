#![allow(clippy::unwrap_used)]

use std::time::Instant;

use super::*;
use crate::command::{Command, MemorySpace, Segment, Submission};
use crate::device::{Device, EngineId, Fault};
use crate::footprint::{self, Spans};
use crate::outcome::{Outcome, OutcomeValue};
use crate::timeline::WaitError;
use crate::vm::{Backing, Launch, PteWrite, VmId, VmKernel};

const TIME: Option<Duration> = Some(Duration::from_secs(20));

fn fill(memory: MemorySpace, offset: u64, bytes: u64) -> (Submission, Arc<Outcome>) {
    let outcome = Arc::new(Outcome::new());
    let segment = Segment {
        memory,
        offset,
        bytes,
    };
    let command = Command::Fill {
        dst: [segment].into(),
        offset: 0,
        bytes,
        pattern: 1,
    };
    (Submission::new(command).outcome(&outcome), outcome)
}

#[test]
fn a_command_that_meets_another_fails_and_touches_nothing() {
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(1 << 16).unwrap());
    let config = SimConfig::new("sim", 1 << 16);
    let sim = Sim::new(config, Arc::clone(&timelines), Arc::clone(&system)).unwrap();
    sim.map_dma(&[Segment::system(0, 1 << 16)]).unwrap();
    let timeline = sim.properties().engines[0].timeline;
    for (value, memory) in [(1, MemorySpace::Vram), (2, MemorySpace::System)] {
        // Stands for a command of another engine or device that runs just now.
        let running = match memory {
            MemorySpace::Vram => sim.shared.vram.claim_range(100, 100, false),
            MemorySpace::System => system.memory().claim_range(100, 100, false),
        };
        let (submission, outcome) = fill(memory, 0, 101);
        sim.submit(EngineId(0), submission.signal(value)).unwrap();
        assert_eq!(
            timelines.wait(crate::Point { timeline, value }, TIME),
            Ok(())
        );
        let error = DeviceError::Conflict {
            memory,
            offset: 100,
            bytes: 1,
        };
        assert_eq!(outcome.get(), Some(&OutcomeValue::Failed(error)));
        let fault = Fault {
            engine: EngineId(0),
            submission: (value - 1) * 2,
            signal: Some(value),
            error,
        };
        assert_eq!(sim.take_faults(), [fault]);
        drop(running);
        let memory = match memory {
            MemorySpace::Vram => &sim.shared.vram,
            MemorySpace::System => system.memory(),
        };
        let claim = memory.claim_range(0, 200, false).unwrap();
        assert_eq!(claim.read(0, 200), Ok(&[0; 200][..]));
        drop(claim);
        let (submission, outcome) = fill(MemorySpace::Vram, 0, 101);
        sim.submit(EngineId(0), submission).unwrap();
        assert_eq!(outcome.wait(TIME), Some(&OutcomeValue::Done));
    }
    assert_eq!(system.conflicts(), 1);
    let statistics = sim.statistics().total();
    assert_eq!((statistics.failed, statistics.conflicts), (2, 2));
    assert_eq!(sim.take_faults(), []);
}

#[test]
fn bytes_that_are_not_claimed_are_not_touched() {
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(1 << 16).unwrap());
    let sim = Sim::new(SimConfig::new("sim", 1 << 16), timelines, system).unwrap();
    let (submission, outcome) = fill(MemorySpace::Vram, 0, 8);
    // What `submit` would have refused: the claim does not cover the command.
    let mut footprint = footprint::footprint(&submission.command, sim.shared.sizes()).unwrap();
    footprint.vram = Spans::one(0, 7, true);
    sim.shared.engines[0]
        .push(submission, footprint, None)
        .unwrap();
    let value = outcome.wait(TIME).unwrap();
    assert!(matches!(value, OutcomeValue::Failed(DeviceError::Bug(_))));
}

#[test]
fn what_has_begun_is_waited_for_and_what_is_queued_is_not() {
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(1 << 16).unwrap());
    let mut config = SimConfig::new("sim", 1 << 16);
    config.timeout = Duration::from_secs(3600);
    let sim = Sim::new(config, timelines, system).unwrap();
    let control = sim.control();
    control.inject("hang job 1".parse().unwrap());
    control.hold(EngineId(0)).unwrap();
    for engine in [0, 1] {
        let (submission, _) = fill(MemorySpace::Vram, u64::from(engine) * 64, 8);
        sim.submit(EngineId(engine), submission).unwrap();
    }
    while !control.hung(EngineId(1)).unwrap() {
        thread::yield_now();
    }
    let at_once = Some(Duration::from_millis(1));
    assert_eq!(sim.settle(at_once), Err(WaitError::TimedOut));
    control.time_out(EngineId(1)).unwrap();
    assert_eq!(sim.settle(TIME), Ok(()));
    assert_eq!(control.queued(EngineId(0)), Ok(1));
    control.release_all();
    assert_eq!(sim.idle(TIME), Ok(()));
}

#[test]
fn an_interrupted_engine_sleeps_again() {
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(1 << 16).unwrap());
    let sim = Sim::new(
        SimConfig::new("sim", 1 << 16),
        Arc::clone(&timelines),
        system,
    )
    .unwrap();
    let gate = crate::Point {
        timeline: timelines.create("gate"),
        value: 1,
    };
    sim.reset().unwrap();
    let waiting = Submission::default().after(gate).signal(1);
    sim.submit(EngineId(0), waiting).unwrap();
    // Otherwise it would look at the point again and again.
    let start = Instant::now();
    while sim.shared.engines[0].interrupt.is_raised() {
        assert!(start.elapsed() < Duration::from_secs(20));
        thread::yield_now();
    }
    timelines.advance(gate.timeline, 1).unwrap();
    assert_eq!(sim.idle(TIME), Ok(()));
}

#[test]
fn a_job_that_meets_a_command_fails_at_its_piece() {
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(1 << 16).unwrap());
    let sim = Sim::new(SimConfig::new("sim", 4 << 20), timelines, system).unwrap();
    let vm = VmId(1);
    sim.create_vm(vm, 0, 4 << 20).unwrap();
    let bytes = 3 << 20;
    let write = PteWrite {
        address: 0,
        bytes,
        backing: Backing::Memory {
            segments: [Segment::vram(0, bytes)].into(),
            offset: 0,
            write: true,
        },
    };
    let writes = [write].into();
    let run = |command| {
        let outcome = Arc::new(Outcome::new());
        let submission = Submission::new(command).outcome(&outcome);
        sim.submit(EngineId(0), submission).unwrap();
        outcome.wait(TIME).unwrap().clone()
    };
    assert_eq!(run(Command::WritePtes { vm, writes }), OutcomeValue::Done);
    let running = sim.shared.vram.claim_range((2 << 20) + 100, 8, false);
    let launch = |dst, bytes| {
        let pattern = 1;
        let kernel = VmKernel::Fill {
            dst,
            bytes,
            pattern,
        };
        run(Command::Launch(Launch { vm, job: 1, kernel }))
    };
    let error = DeviceError::Conflict {
        memory: MemorySpace::Vram,
        offset: (2 << 20) + 100,
        bytes: 8,
    };
    assert_eq!(launch(0, bytes), OutcomeValue::Failed(error));
    assert_eq!(launch(0, (2 << 20) + 100), OutcomeValue::Done);
    assert_eq!(sim.statistics().total().conflicts, 1);
    drop(running);
    let claim = sim.shared.vram.claim_range(0, bytes, false).unwrap();
    let bytes = claim.read((2 << 20) + 88, 16).unwrap();
    assert_eq!(bytes, [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
}
