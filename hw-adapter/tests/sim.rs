//! What only the simulated device does: holding, stepping, stopping, sharing memory.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::*;
use gpumm_hw::sim::{Sim, SimConfig};
use gpumm_hw::{
    Command, Device, DeviceError, EngineId, OutcomeValue, Point, Segment, Submission, SystemMemory,
    WaitError,
};

#[test]
fn held_submissions_reach_nothing_and_released_ones_all() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    control.hold(COPY).unwrap();
    let list = [Segment::vram(0, 8)];
    for value in 1..=100 {
        let submission = Submission::new(fill(&list, value)).signal(value);
        sim.submit(COPY, submission).unwrap();
    }
    assert_eq!(
        sim.idle(Some(Duration::from_millis(20))),
        Err(WaitError::TimedOut)
    );
    assert_eq!(
        machine.timelines.completed(point(&sim, COPY, 0).timeline),
        0
    );
    assert_eq!(control.queued(COPY), Ok(100));
    assert_eq!(control.executed(COPY), Ok(0));
    control.release(COPY).unwrap();
    let mut before = 0;
    while before < 100 {
        let now = machine.timelines.completed(point(&sim, COPY, 0).timeline);
        assert!(now >= before);
        before = now;
    }
    assert_eq!(sim.idle(TIME), Ok(()));
    assert_eq!(control.executed(COPY), Ok(100));
    let value = perform(&sim, COPY, read(&list));
    assert_eq!(value, OutcomeValue::Bytes(100_u64.to_le_bytes().to_vec()));
}

#[test]
fn steps_let_so_many_commands_run() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    // Without effect: the engine is not held.
    control.step(COPY, 50).unwrap();
    control.hold_all();
    for value in 1..=10 {
        let submission = Submission::default().signal(value);
        sim.submit(COPY, submission).unwrap();
    }
    for (steps, reached) in [(1, 1), (0, 1), (4, 5), (2, 7)] {
        control.step(COPY, steps).unwrap();
        let wait = machine.timelines.wait(point(&sim, COPY, reached), TIME);
        assert_eq!(wait, Ok(()));
        thread::sleep(Duration::from_millis(2));
        assert!(!machine.timelines.reached(point(&sim, COPY, reached + 1)));
        assert_eq!(control.queued(COPY), Ok(10 - reached as usize));
    }
    // Steps given in advance are kept for what comes, and forgotten on release.
    control.step(COPY, 9).unwrap();
    sim.idle(TIME).unwrap();
    control.release_all();
    control.hold_all();
    sim.submit(COPY, Submission::default().signal(11)).unwrap();
    assert_eq!(
        sim.idle(Some(Duration::from_millis(10))),
        Err(WaitError::TimedOut)
    );
    control.release_all();
    assert_eq!(sim.idle(TIME), Ok(()));
}

#[test]
fn a_hold_during_a_wait_is_obeyed() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    let gate = machine.timelines.create("gate");
    let open = Point {
        timeline: gate,
        value: 1,
    };
    sim.submit(COPY, Submission::default().after(open).signal(1))
        .unwrap();
    thread::sleep(Duration::from_millis(5));
    control.hold(COPY).unwrap();
    machine.timelines.advance(gate, 1).unwrap();
    thread::sleep(Duration::from_millis(5));
    assert!(!machine.timelines.reached(point(&sim, COPY, 1)));
    control.release(COPY).unwrap();
    let wait = machine.timelines.wait(point(&sim, COPY, 1), TIME);
    assert_eq!(wait, Ok(()));
}

#[test]
fn dropping_never_hangs_and_reaches_every_point() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    let never = Point {
        timeline: machine.timelines.create("never"),
        value: 1,
    };
    control.hold(COPY).unwrap();
    let held = submit(&sim, COPY, fill(&[Segment::vram(0, 8)], 1));
    sim.submit(COPY, Submission::default().signal(7)).unwrap();
    sim.submit(COMPUTE, Submission::default().after(never).signal(9))
        .unwrap();
    // Another device waits for this one, and must go on.
    let (other, _) = machine.sim("other");
    let submission = Submission::default()
        .after(point(&sim, COPY, 7))
        .after(point(&sim, COMPUTE, 9));
    other.submit(COPY, submission.signal(1)).unwrap();
    thread::sleep(Duration::from_millis(5));
    drop(sim);
    assert_eq!(
        held.get(),
        Some(&OutcomeValue::Failed(DeviceError::Stopped))
    );
    let wait = machine.timelines.wait(point(&other, COPY, 1), TIME);
    assert_eq!(wait, Ok(()));
    assert_eq!(control.statistics().total().cancelled, 3);
}

#[test]
fn a_stopped_device_refuses() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    control.hold_all();
    sim.submit(COPY, Submission::default().signal(1)).unwrap();
    control.stop();
    assert_eq!(sim.idle(TIME), Ok(()));
    assert!(machine.timelines.reached(point(&sim, COPY, 1)));
    let refused = sim.submit(COPY, Submission::default());
    assert_eq!(refused, Err(DeviceError::Stopped));
    assert_eq!(sim.reset(), Err(DeviceError::Stopped));
    let errors: Vec<_> = sim.take_faults().iter().map(|f| f.error).collect();
    assert_eq!(errors, [DeviceError::Stopped]);
}

#[test]
fn a_reset_empties_a_held_device_which_stays_held() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    control.hold_all();
    sim.submit(COPY, Submission::default().signal(1)).unwrap();
    assert_eq!(sim.reset(), Ok(()));
    assert!(machine.timelines.reached(point(&sim, COPY, 1)));
    sim.submit(COPY, Submission::default().signal(2)).unwrap();
    thread::sleep(Duration::from_millis(5));
    assert!(!machine.timelines.reached(point(&sim, COPY, 2)));
    control.release_all();
    assert_eq!(sim.idle(TIME), Ok(()));
}

#[test]
fn resets_amid_work_end() {
    let machine = Machine::new();
    let (sim, _) = machine.sim("sim");
    thread::scope(|scope| {
        for engine in [COPY, COMPUTE] {
            let sim = &sim;
            scope.spawn(move || {
                for value in 1..=2000 {
                    let list = [Segment::vram(u64::from(engine.0) * 65536, 4096)];
                    let other = EngineId(1 - engine.0);
                    let mut submission = Submission::new(fill(&list, value)).signal(value);
                    if engine == COPY && value % 3 == 0 {
                        submission = submission.after(point(sim, other, value));
                    }
                    sim.submit(engine, submission).unwrap();
                }
            });
        }
        for _ in 0..50 {
            assert_eq!(sim.reset(), Ok(()));
        }
    });
    assert_eq!(sim.idle(TIME), Ok(()));
    assert!(machine.timelines.reached(point(&sim, COPY, 2000)));
    let total = sim.statistics().total();
    assert_eq!((total.commands + total.cancelled, total.failed), (4000, 0));
}

#[test]
fn devices_share_system_memory_and_wait_for_each_other() {
    let machine = Machine::new();
    let sims: Vec<_> = (0..3).map(|n| machine.sim(&format!("sim{n}")).0).collect();
    let shared = [Segment::system(4096, 100_000)];
    let own = [Segment::vram(0, 100_000)];
    perform(&sims[0], COPY, fill(&own, 0x0123_4567_89ab_cdef));
    let mut last = None;
    for (value, sim) in (1..).zip(&sims) {
        let mut first = Submission::new(copy(&own, &shared));
        if let Some(last) = last {
            first = Submission::new(copy(&shared, &own)).after(last);
        }
        sim.submit(COPY, first.signal(value)).unwrap();
        last = Some(point(sim, COPY, value));
    }
    assert_eq!(machine.timelines.wait(last.unwrap(), TIME), Ok(()));
    let expected: Vec<u8> = 0x0123_4567_89ab_cdef_u64
        .to_le_bytes()
        .into_iter()
        .cycle()
        .take(100_000)
        .collect();
    let found = perform(&sims[2], COPY, read(&own));
    assert!(found == OutcomeValue::Bytes(expected.clone()));
    let mut client = vec![0; 100_000];
    machine.system.read(4096, &mut client).unwrap();
    assert!(client == expected);
    machine.system.decommit(4096, 100_000).unwrap();
    machine.system.write(5000, &[1]).unwrap();
    assert!(machine.system.commit(0, MEMORY).is_ok());
    machine.system.read(4096, &mut client).unwrap();
    assert_eq!(client.iter().filter(|byte| **byte != 0).count(), 1);
    assert!(machine.system.read(MEMORY, &mut [0]).is_err());
}

/// Two devices and a client write the same bytes without any order. Whatever happens, who
/// reads sees the bytes of one writer.
#[test]
fn races_are_refused_not_run() {
    let machine = Machine::new();
    let a = machine.sim("a").0;
    let b = machine.sim("b").0;
    let list = [Segment::system(64, 30_000), Segment::system(40_000, 30_001)];
    let whole = |bytes: &[u8]| bytes.iter().all(|byte| *byte == bytes[0]);
    thread::scope(|scope| {
        for (tag, sim) in [(1, &a), (2, &b)] {
            for engine in [COPY, COMPUTE] {
                scope.spawn(move || {
                    for round in 0..300 {
                        let value = (tag * 100 + engine.0 * 50 + round % 50) as u8;
                        let wrote =
                            submit(sim, engine, fill(&list, u64::from_ne_bytes([value; 8])));
                        let saw = submit(sim, engine, read(&list));
                        match saw.wait(TIME).unwrap() {
                            OutcomeValue::Bytes(bytes) => assert!(whole(bytes)),
                            OutcomeValue::Failed(DeviceError::Conflict { .. }) => {}
                            other => panic!("{other:?}"),
                        }
                        let wrote = wrote.get().unwrap();
                        let conflict =
                            matches!(wrote, OutcomeValue::Failed(DeviceError::Conflict { .. }));
                        assert!(conflict || *wrote == OutcomeValue::Done);
                    }
                });
            }
        }
        for _ in 0..300 {
            let mut bytes = [0; 1000];
            if machine.system.read(64, &mut bytes).is_ok() {
                assert!(whole(&bytes));
            }
        }
    });
    let refused = a.statistics().total().conflicts + b.statistics().total().conflicts;
    assert!(machine.system.conflicts() >= refused);
    assert_eq!(
        a.take_faults().len() + b.take_faults().len(),
        refused as usize
    );
}

#[test]
fn impossible_devices_are_refused() {
    let machine = Machine::new();
    let refused = |change: &dyn Fn(&mut SimConfig)| {
        let mut config = SimConfig::new("sim", MEMORY);
        change(&mut config);
        let timelines = Arc::clone(&machine.timelines);
        Sim::new(config, timelines, Arc::clone(&machine.system)).unwrap_err()
    };
    use DeviceError::InvalidConfig;
    assert!(matches!(refused(&|c| c.vram_bytes = 0), InvalidConfig(_)));
    assert!(matches!(
        refused(&|c| c.vram_bytes = 5000),
        InvalidConfig(_)
    ));
    assert!(matches!(refused(&|c| c.granule = 0), InvalidConfig(_)));
    assert!(matches!(refused(&|c| c.granule = 96), InvalidConfig(_)));
    assert!(matches!(refused(&|c| c.engines.clear()), InvalidConfig(_)));
    let error = refused(&|c| c.vram_bytes = 1 << 62);
    assert!(matches!(error, DeviceError::Reserve { .. }));
    assert!(matches!(SystemMemory::new(0), Err(InvalidConfig(_))));
}

#[test]
fn statistics_count_bytes() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    let (a, b) = ([Segment::vram(0, 100)], [Segment::vram(200, 100)]);
    perform(&sim, COPY, fill(&a, 3));
    perform(&sim, COPY, copy(&a, &b));
    perform(&sim, COMPUTE, read(&b));
    perform(&sim, COMPUTE, Command::Nop);
    sim.idle(TIME).unwrap();
    let [copy, compute] = control.statistics().engines[..] else {
        panic!()
    };
    assert_eq!((copy.commands, compute.commands), (2, 2));
    assert_eq!((copy.bytes_filled, copy.bytes_copied), (100, 100));
    assert_eq!((copy.bytes_read, compute.bytes_read), (0, 100));
    assert!(!copy.busy.is_zero());
    let unknown = DeviceError::UnknownEngine(EngineId(2));
    assert_eq!(control.hold(EngineId(2)), Err(unknown));
    assert_eq!(control.queued(EngineId(2)), Err(unknown));
}
