//! Loss of a device, and its way back.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::*;
use fastrand::Rng;
use gpumm_hw::sim::{FaultRule, Sim, SimConfig, SimControl};
use gpumm_hw::{
    Command, Device, DeviceError, EngineId, EngineKind, Hooks, Outcome, OutcomeValue, Point,
    Segment, Submission,
};

const LIST: [Segment; 1] = [Segment {
    memory: gpumm_hw::MemorySpace::Vram,
    offset: 0,
    bytes: 64,
}];

fn losing(machine: &Machine, after: u64) -> (Sim, SimControl) {
    let mut config = SimConfig::new("sim", MEMORY);
    config.faults = vec![FaultRule::LoseDevice { after }];
    machine.sim_with(config)
}

fn lost() -> OutcomeValue {
    failed(DeviceError::Lost)
}

#[test]
fn so_many_operations_still_run() {
    let machine = Machine::new();
    let (sim, control) = losing(&machine, 3);
    control.hold_all();
    // Commands that do nothing do not count, and those before the loss are not lost.
    let commands = [
        (COPY, fill(&LIST, 1), OutcomeValue::Done),
        (COMPUTE, Command::Nop, OutcomeValue::Done),
        (
            COMPUTE,
            fill(&[Segment::vram(64, 8)], 1),
            OutcomeValue::Done,
        ),
        (COPY, Command::Nop, OutcomeValue::Done),
        (COPY, fill(&LIST, 2), OutcomeValue::Done),
        (COPY, Command::Nop, lost()),
        (COMPUTE, fill(&LIST, 3), lost()),
        (COPY, read(&LIST), lost()),
    ];
    let outcomes: Vec<_> = (1..)
        .zip(&commands)
        .map(|(n, (engine, command, _))| {
            assert_eq!(sim.is_lost(), n > 5, "{n}");
            submit(&sim, *engine, command.clone())
        })
        .collect();
    control.release_all();
    sim.idle(TIME).unwrap();
    for (outcome, (.., expected)) in outcomes.iter().zip(&commands) {
        assert_eq!(outcome.get(), Some(expected));
    }
    assert_eq!(control.faults_injected(), 1);
    let total = sim.statistics().total();
    assert_eq!((total.commands, total.cancelled), (5, 3));
    let errors: Vec<_> = sim.take_faults().iter().map(|f| f.error).collect();
    assert_eq!(errors, [DeviceError::Lost; 3]);
}

#[test]
fn a_device_can_be_lost_from_the_start() {
    let machine = Machine::new();
    let (sim, _) = losing(&machine, 0);
    assert!(sim.is_lost());
    assert_eq!(perform(&sim, COPY, fill(&LIST, 1)), lost());
    sim.reset().unwrap();
    assert!(!sim.is_lost());
    // It happens once.
    assert_eq!(perform(&sim, COPY, fill(&LIST, 1)), OutcomeValue::Done);
}

#[test]
fn a_lost_device_waits_for_nobody_and_keeps_the_order() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    let never = Point {
        timeline: machine.timelines.create("never"),
        value: 1,
    };
    let waiting = Submission::default().after(never);
    sim.submit(COPY, waiting.clone().signal(1)).unwrap();
    control.hold(COMPUTE).unwrap();
    sim.submit(COMPUTE, Submission::default().signal(1))
        .unwrap();
    control.lose();
    for value in 2..=50 {
        sim.submit(COPY, waiting.clone().signal(value)).unwrap();
    }
    // Neither waits, nor a hold, keep what is lost from ending.
    let after = waiting.after(point(&sim, COPY, 50)).signal(2);
    sim.submit(COMPUTE, after).unwrap();
    assert_eq!(sim.idle(TIME), Ok(()));
    assert_eq!(
        machine.timelines.wait(point(&sim, COMPUTE, 2), TIME),
        Ok(())
    );
    let faults = sim.take_faults();
    let values: Vec<_> = faults
        .iter()
        .filter(|fault| fault.engine == COPY)
        .map(|fault| fault.signal)
        .collect();
    assert_eq!(values, (1..=50).map(Some).collect::<Vec<_>>());
    assert_eq!(faults.len(), 52);
    assert!(faults.iter().all(|f| f.error == DeviceError::Lost));
}

#[test]
fn a_reset_brings_a_lost_device_back() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    let both = [Segment::vram(0, 64), Segment::system(0, 64)];
    perform(&sim, COPY, fill(&both, u64::MAX));
    control.lose();
    let hook = Hook::new(
        || Ok(()),
        |error, cpu| {
            let gone = cpu.perform(&read(&LIST));
            assert_eq!(gone, Err(DeviceError::Lost));
            assert!(cpu.perform(&read(&[Segment::system(0, 64)])).is_ok());
            Err(error)
        },
    );
    let value = perform_with(&sim, COPY, copy(&LIST, &[Segment::system(0, 64)]), &hook);
    assert_eq!((value, hook.begun()), (lost(), 0));
    // What is still queued is lost, not reset.
    control.hold(COPY).unwrap();
    let queued = submit(&sim, COPY, fill(&LIST, 1));
    sim.reset().unwrap();
    assert_eq!(queued.get(), Some(&lost()));
    assert!(!sim.is_lost());
    control.release(COPY).unwrap();
    let mut expected = vec![0; 64];
    expected.extend([0xff; 64]);
    // System memory keeps its bytes and its mappings.
    let value = perform(&sim, COPY, read(&both));
    assert_eq!(value, OutcomeValue::Bytes(expected));
    assert_eq!(sim.statistics().dma_mapped, MEMORY);
    // And it can be lost again.
    control.inject(FaultRule::LoseDevice { after: 1 });
    assert_eq!(perform(&sim, COPY, fill(&LIST, 1)), OutcomeValue::Done);
    assert_eq!(perform(&sim, COPY, fill(&LIST, 1)), lost());
    sim.reset().unwrap();
    assert_eq!(perform(&sim, COPY, fill(&LIST, 1)), OutcomeValue::Done);
}

/// However early the device is stopped or reset: what was submitted to a lost one is lost.
#[test]
fn what_is_submitted_after_a_loss_is_lost_in_any_case() {
    for stop in [true, false] {
        let machine = Machine::new();
        let (sim, control) = losing(&machine, 1);
        control.hold(COPY).unwrap();
        let before = submit(&sim, COPY, fill(&LIST, 1));
        let after = submit(&sim, COPY, fill(&LIST, 1));
        let error = if stop {
            control.stop();
            DeviceError::Stopped
        } else {
            sim.reset().unwrap();
            DeviceError::Reset
        };
        assert_eq!(before.wait(TIME), Some(&failed(error)));
        assert_eq!(after.wait(TIME), Some(&lost()));
    }
}

/// A loss while a reset is at work outlives it.
#[test]
fn a_loss_during_a_reset_is_not_forgotten() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    let hook = {
        let control = control.clone();
        Hook::new(
            || Ok(()),
            move |error, _| {
                control.lose();
                Err(error)
            },
        )
    };
    control.hold(COPY).unwrap();
    submit_with(&sim, COPY, fill(&LIST, 1), &hook);
    sim.reset().unwrap();
    assert_eq!(hook.errors(), [DeviceError::Reset]);
    assert!(sim.is_lost());
    assert_eq!(perform(&sim, COPY, fill(&LIST, 1)), lost());
    sim.reset().unwrap();
    control.release(COPY).unwrap();
    assert_eq!(perform(&sim, COPY, fill(&LIST, 1)), OutcomeValue::Done);
}

#[test]
fn what_runs_finishes_when_the_device_gets_lost() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    let hook = {
        let control = control.clone();
        Hook::new(
            move || {
                control.lose();
                Ok(())
            },
            |error, _| Err(error),
        )
    };
    control.hold(COPY).unwrap();
    let running = submit_with(&sim, COPY, fill(&LIST, 1), &hook);
    let next = submit(&sim, COPY, fill(&LIST, 1));
    control.release(COPY).unwrap();
    assert_eq!(running.wait(TIME), Some(&OutcomeValue::Done));
    assert_eq!(next.wait(TIME), Some(&lost()));
}

/// What was submitted before the loss is repaired with the content that it had, however late.
#[test]
fn a_rescue_of_something_older_than_the_loss_reaches_its_bytes() {
    let machine = Machine::new();
    let mut config = SimConfig::new("sim", MEMORY);
    config.faults = vec![
        "fail copy 1".parse().unwrap(),
        "lose device after 2 ops".parse().unwrap(),
    ];
    let (sim, control) = machine.sim_with(config);
    control.hold(COPY).unwrap();
    let save = copy(&LIST, &[Segment::system(0, 64)]);
    let hook = Hook::redo(&save);
    let filled = submit(&sim, COPY, fill(&LIST, u64::MAX));
    let saved = submit_with(&sim, COPY, save.clone(), &hook);
    let late = submit_with(&sim, COPY, save, &hook);
    assert!(sim.is_lost());
    control.release(COPY).unwrap();
    assert_eq!(filled.wait(TIME), Some(&OutcomeValue::Done));
    assert_eq!(saved.wait(TIME), Some(&OutcomeValue::Done));
    assert_eq!(late.wait(TIME), Some(&lost()));
    assert_eq!(hook.errors(), [DeviceError::Injected, DeviceError::Lost]);
    let mut bytes = [0; 64];
    machine.system.read(0, &mut bytes).unwrap();
    assert_eq!(bytes, [0xff; 64]);
}

/// Two copy engines and a compute engine that wait for each other, disturbed in ever other
/// ways: the first operations complete, in any case, and nothing else does.
#[test]
fn timing_does_not_choose_what_a_loss_spares() {
    for noise in 0..12 {
        let machine = Machine::new();
        let mut config = SimConfig::new("sim", MEMORY).copy_engines(2);
        let engines: Vec<_> = config.engines.iter().map(|e| (e.0.as_str(), e.1)).collect();
        let expected = [
            ("copy0", EngineKind::Copy),
            ("copy1", EngineKind::Copy),
            ("compute", EngineKind::Compute),
        ];
        assert_eq!(engines, expected);
        config.faults = vec![FaultRule::LoseDevice { after: 150 }];
        let (sim, control) = machine.sim_with(config);
        let mut random = Rng::with_seed(4);
        let mut shake = Rng::with_seed(noise);
        let mut values = [0; 3];
        let jitter = Hook::new(
            || {
                if fastrand::u8(0..4) == 0 {
                    thread::sleep(Duration::from_micros(fastrand::u64(0..100)));
                }
                Ok(())
            },
            |error, _| Err(error),
        );
        let hooks = jitter as Arc<dyn Hooks>;
        let mut outcomes = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Rng::with_seed(noise + 100);
                for _ in 0..30 {
                    let engine = EngineId(random.u32(0..3));
                    control.hold(engine).unwrap();
                    thread::sleep(Duration::from_micros(random.u64(0..200)));
                    control.release(engine).unwrap();
                }
            });
            for n in 0..300_u64 {
                let engine = random.usize(0..3);
                let other = random.usize(0..3);
                values[engine] += 1;
                let outcome = Arc::new(Outcome::new());
                let command = fill(&[Segment::vram(n * 64, 64)], n);
                let mut submission = Submission::new(command)
                    .signal(values[engine])
                    .outcome(&outcome)
                    .hooks(&hooks);
                if random.bool() && other != engine {
                    submission =
                        submission.after(point(&sim, EngineId(other as u32), values[other]));
                }
                sim.submit(EngineId(engine as u32), submission).unwrap();
                outcomes.push(outcome);
                if shake.u8(0..30) == 0 {
                    thread::sleep(Duration::from_micros(shake.u64(0..300)));
                }
            }
        });
        sim.idle(TIME).unwrap();
        for (n, outcome) in outcomes.iter().enumerate() {
            let expected = match n < 150 {
                true => OutcomeValue::Done,
                false => lost(),
            };
            assert_eq!(outcome.get(), Some(&expected), "{n}");
        }
    }
}
