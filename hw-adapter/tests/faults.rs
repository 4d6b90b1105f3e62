//! Fault rules on a device: what they do, to whom, and that timing has no say.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use fastrand::Rng;
use gpumm_hw::sim::{FaultRule, Sim, SimConfig, SimControl};
use gpumm_hw::{
    Command, Device, DeviceError, EngineId, Hooks, OutcomeValue, PatternKey, Segment, Submission,
};

const KEY: PatternKey = PatternKey {
    buffer: 3,
    generation: 4,
};

fn rules(texts: &[&str]) -> Vec<FaultRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn sim(machine: &Machine, texts: &[&str]) -> (Sim, SimControl) {
    let mut config = SimConfig::new("sim", MEMORY);
    config.faults = rules(texts);
    machine.sim_with(config)
}

/// The numbers, from 1, of the commands that fail.
fn failing(sim: &Sim, engine: EngineId, command: &Command, count: u32) -> Vec<u32> {
    let fails = |_: &u32| match perform(sim, engine, command.clone()) {
        OutcomeValue::Failed(error) => {
            assert_eq!(error, DeviceError::Injected);
            true
        }
        _ => false,
    };
    (1..=count).filter(fails).collect()
}

fn small_copy() -> Command {
    copy(&[Segment::vram(0, 64)], &[Segment::system(64, 64)])
}

#[test]
fn copies_are_counted_where_copies_belong() {
    let machine = Machine::new();
    let (sim, control) = sim(&machine, &["fail copy every 3", "fail copy 4"]);
    assert_eq!(failing(&sim, COPY, &small_copy(), 7), [3, 4, 6]);
    // Neither counted nor hit: other commands, and copies elsewhere.
    assert_eq!(failing(&sim, COPY, &fill(&[Segment::vram(0, 8)], 0), 5), []);
    assert_eq!(failing(&sim, COPY, &Command::Nop, 5), []);
    assert_eq!(failing(&sim, COMPUTE, &small_copy(), 5), []);
    // A rule that comes later counts from then on.
    control.inject("fail copy 2".parse().unwrap());
    assert_eq!(failing(&sim, COPY, &small_copy(), 5), [2, 5]);
    assert_eq!(control.faults_injected(), 5);
    assert_eq!(sim.statistics().faults_injected, 5);
    assert_eq!(sim.statistics().total().failed, 5);
}

#[test]
fn jobs_are_what_compute_engines_do() {
    let machine = Machine::new();
    let (sim, _) = sim(&machine, &["fail job every 2"]);
    let list = [Segment::vram(0, 64)];
    assert_eq!(failing(&sim, COMPUTE, &fill(&list, 0), 3), [2]);
    assert_eq!(failing(&sim, COMPUTE, &Command::Nop, 3), []);
    assert_eq!(failing(&sim, COPY, &write_pattern(&list, KEY), 3), []);
    assert_eq!(failing(&sim, COMPUTE, &small_copy(), 3), [1, 3]);
    assert_eq!(failing(&sim, COMPUTE, &read(&list), 3), [2]);
}

#[test]
fn chance_repeats_with_its_seed() {
    let run = |seed| {
        let machine = Machine::new();
        let mut config = SimConfig::new("sim", MEMORY);
        config.faults = rules(&["fail copy 20%"]);
        config.fault_seed = seed;
        let (sim, _) = machine.sim_with(config);
        failing(&sim, COPY, &small_copy(), 200)
    };
    let first = run(5);
    assert!((20..60).contains(&first.len()), "{first:?}");
    assert_eq!(first, run(5));
    assert_ne!(first, run(6));
}

#[test]
fn a_failed_command_has_damaged_half() {
    let machine = Machine::new();
    let (sim, _) = sim(&machine, &["fail copy", "fail job"]);
    let dst = [Segment::vram(8192, 10), Segment::system(8192, 11)];
    let src = [Segment::vram(100, 21)];
    let commands = [
        (COPY, copy(&src, &dst)),
        (COMPUTE, copy(&src, &dst)),
        (COMPUTE, fill(&dst, u64::MAX)),
        (COMPUTE, write_pattern(&dst, KEY)),
    ];
    for (engine, command) in commands {
        perform(&sim, COPY, fill(&dst, 0));
        let value = perform(&sim, engine, command);
        assert_eq!(value, failed(DeviceError::Injected));
        let mut expected = vec![0; 21];
        expected[..11].fill(0xdb);
        let found = perform(&sim, COPY, read(&dst));
        assert_eq!(found, OutcomeValue::Bytes(expected));
    }
    // What only reads damages nothing, and what is wrong anyway is not touched.
    perform(&sim, COPY, fill(&dst, 0));
    assert_eq!(
        perform(&sim, COMPUTE, read(&dst)),
        failed(DeviceError::Injected)
    );
    let zero = OutcomeValue::Bytes(vec![0; 21]);
    assert_eq!(perform(&sim, COPY, read(&dst)), zero);
    sim.unmap_dma(&[Segment::system(8192 + 10, 1)]).unwrap();
    let fault = DeviceError::IommuFault {
        offset: 8202,
        bytes: 1,
    };
    assert_eq!(perform(&sim, COPY, copy(&src, &dst)), failed(fault));
    assert_eq!(sim.cpu().perform(&read(&dst)), Ok(zero));
}

#[test]
fn memory_for_a_rescue_can_be_refused() {
    let machine = Machine::new();
    let texts = ["fail allocation of fallback every 2", "fail copy 3"];
    let (sim, control) = sim(&machine, &texts);
    let hook = Hook::redo(&small_copy());
    let hooks = hook as Arc<dyn Hooks>;
    let with = |value| Submission::new(small_copy()).signal(value).hooks(&hooks);
    let refused = Err(DeviceError::NoRescueMemory);
    assert_eq!(sim.submit(COPY, with(1)), Ok(()));
    assert_eq!(sim.submit(COPY, with(7)), refused);
    // Nothing changed: the value is free, and it was no copy.
    let without = Submission::new(small_copy()).signal(2);
    assert_eq!(sim.submit(COPY, without), Ok(()));
    sim.idle(TIME).unwrap();
    assert_eq!(sim.statistics().total().commands, 2);
    assert_eq!(sim.statistics().total().failed, 0);
    // The third accepted copy is the one that fails, whoever was refused in between.
    assert_eq!(sim.submit(COPY, with(3)), Ok(()));
    assert_eq!(sim.submit(COPY, with(4)), refused);
    sim.idle(TIME).unwrap();
    let total = sim.statistics().total();
    assert_eq!((total.commands, total.failed, total.rescued), (3, 1, 1));
    assert_eq!(control.faults_injected(), 3);
    // A submission that is refused for another reason is not asked about.
    assert!(matches!(
        sim.submit(COPY, with(3)),
        Err(DeviceError::ValueNotIncreasing { .. })
    ));
    assert_eq!(sim.submit(COPY, with(5)), Ok(()));
    // Only copies need such memory.
    for value in 6..10 {
        let fill = Submission::new(fill(&[Segment::vram(0, 8)], 0));
        assert_eq!(sim.submit(COPY, fill.signal(value).hooks(&hooks)), Ok(()));
    }
    assert_eq!(sim.submit(COPY, with(10)), refused);
}

#[test]
fn mapping_can_fail() {
    let machine = Machine::new();
    let mut config = SimConfig::new("sim", MEMORY);
    config.faults = rules(&["fail dma map every 2"]);
    let (sim, control) = machine.sim_unmapped(config);
    let page = |n: u64| [Segment::system(n * 4096, 4096)];
    for n in 0..6 {
        let expected = if n % 2 == 1 {
            Err(DeviceError::DmaMap)
        } else {
            Ok(())
        };
        assert_eq!(sim.map_dma(&page(n)), expected);
    }
    assert_eq!(sim.statistics().dma_mapped, 3 * 4096);
    assert_eq!(sim.unmap_dma(&page(0)), Ok(()));
    assert!(sim.unmap_dma(&page(1)).is_err());
    assert_eq!(control.faults_injected(), 3);
}

#[test]
fn a_hang_ends_in_time_and_has_touched_nothing() {
    let machine = Machine::new();
    let mut config = SimConfig::new("sim", MEMORY);
    config.faults = rules(&["hang copy 1", "hang job 2"]);
    config.timeout = Duration::from_millis(30);
    let (sim, control) = machine.sim_with(config);
    let (src, dst) = ([Segment::vram(0, 64)], [Segment::vram(64, 64)]);
    perform(&sim, COPY, fill(&src, 5));
    let start = Instant::now();
    let hook = Hook::witness();
    let value = perform_with(&sim, COPY, copy(&src, &dst), &hook);
    assert_eq!(value, failed(DeviceError::TimedOut));
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(hook.errors(), [DeviceError::TimedOut]);
    assert_eq!(control.hung(COPY), Ok(false));
    let zero = OutcomeValue::Bytes(vec![0; 64]);
    assert_eq!(perform(&sim, COPY, read(&dst)), zero);
    assert_eq!(perform(&sim, COMPUTE, fill(&dst, 1)), OutcomeValue::Done);
    let value = perform(&sim, COMPUTE, fill(&dst, 2));
    assert_eq!(value, failed(DeviceError::TimedOut));
    assert_eq!(perform(&sim, COMPUTE, fill(&dst, 3)), OutcomeValue::Done);
    assert_eq!(control.faults_injected(), 2);
}

/// Work and waits may take as long as they take.
#[test]
fn what_works_is_never_timed_out() {
    let machine = Machine::new();
    let mut config = SimConfig::new("sim", MEMORY);
    config.timeout = Duration::ZERO;
    let (sim, _) = machine.sim_with(config);
    let slow = Hook::new(
        || {
            thread::sleep(Duration::from_millis(10));
            Ok(())
        },
        |error, _| Err(error),
    );
    let list = [Segment::vram(0, MEMORY)];
    let value = perform_with(&sim, COPY, fill(&list, 1), &slow);
    assert_eq!(value, OutcomeValue::Done);
}

#[test]
fn a_hang_is_ended_from_outside() {
    let never = Duration::from_secs(10_000);
    for end in ["time_out", "reset", "lose", "stop", "drop"] {
        let machine = Machine::new();
        let mut config = SimConfig::new("sim", MEMORY);
        config.faults = rules(&["hang copy 1"]);
        config.timeout = if end == "stop" { Duration::MAX } else { never };
        let (sim, control) = machine.sim_with(config);
        // Without effect: nothing hangs yet.
        control.time_out(COPY).unwrap();
        let hook = Hook::witness();
        let outcome = submit_with(&sim, COPY, small_copy(), &hook);
        let next = submit(&sim, COPY, small_copy());
        until(|| control.hung(COPY) == Ok(true));
        // The bytes are free, and the other engine goes on.
        assert!(sim.cpu().perform(&small_copy()).is_ok());
        assert_eq!(perform(&sim, COMPUTE, small_copy()), OutcomeValue::Done);
        thread::sleep(Duration::from_millis(2));
        assert_eq!((outcome.get(), next.get()), (None, None));
        let (error, after) = match end {
            "time_out" => {
                control.time_out(COPY).unwrap();
                (DeviceError::TimedOut, OutcomeValue::Done)
            }
            "reset" => {
                sim.reset().unwrap();
                (DeviceError::Reset, failed(DeviceError::Reset))
            }
            "lose" => {
                control.lose();
                (DeviceError::Lost, failed(DeviceError::Lost))
            }
            "stop" => {
                control.stop();
                (DeviceError::Stopped, failed(DeviceError::Stopped))
            }
            _ => {
                drop(sim);
                (DeviceError::Stopped, failed(DeviceError::Stopped))
            }
        };
        assert_eq!(outcome.wait(TIME), Some(&failed(error)), "{end}");
        assert_eq!(hook.errors(), [error], "{end}");
        assert_eq!(next.wait(TIME), Some(&after), "{end}");
    }
}

#[test]
fn a_hang_in_a_held_engine_takes_its_step() {
    let machine = Machine::new();
    let (sim, control) = sim(&machine, &["hang copy 1"]);
    control.hold(COPY).unwrap();
    let first = submit(&sim, COPY, small_copy());
    let second = submit(&sim, COPY, small_copy());
    control.step(COPY, 1).unwrap();
    until(|| control.hung(COPY) == Ok(true));
    control.release(COPY).unwrap();
    control.hold(COPY).unwrap();
    control.time_out(COPY).unwrap();
    assert_eq!(first.wait(TIME), Some(&failed(DeviceError::TimedOut)));
    thread::sleep(Duration::from_millis(2));
    assert_eq!(second.get(), None);
    control.release(COPY).unwrap();
    assert_eq!(second.wait(TIME), Some(&OutcomeValue::Done));
}

/// The same submissions in the same order, on engines that are disturbed in ever other ways,
/// suffer the same.
#[test]
fn timing_does_not_choose_the_victims() {
    let run = |noise: u64| {
        let machine = Machine::new();
        let mut config = SimConfig::new("sim", MEMORY).copy_engines(3);
        config.faults = rules(&["fail copy 10%", "fail job every 7", "hang copy 33"]);
        config.fault_seed = 1;
        config.timeout = Duration::from_millis(1);
        let (sim, control) = machine.sim_with(config);
        let mut random = Rng::with_seed(9);
        let outcomes: Vec<_> = thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Rng::with_seed(noise);
                for _ in 0..40 {
                    let engine = EngineId(random.u32(0..4));
                    control.hold(engine).unwrap();
                    thread::sleep(Duration::from_micros(random.u64(0..300)));
                    control.release(engine).unwrap();
                }
            });
            let mut wait = Rng::with_seed(noise + 1);
            (0..400_u64)
                .map(|n| {
                    if wait.u8(0..20) == 0 {
                        thread::sleep(Duration::from_micros(wait.u64(0..200)));
                    }
                    let at = |base: u64| [Segment::vram(base + n * 64, 64)];
                    let command = copy(&at(0), &at(65536));
                    submit(&sim, EngineId(random.u32(0..4)), command)
                })
                .collect()
        });
        let ends: Vec<_> = outcomes
            .iter()
            .map(|outcome| outcome.wait(TIME).unwrap().clone())
            .collect();
        (ends, control.faults_injected())
    };
    let first = run(0);
    let failures = first.0.iter().filter(|end| **end != OutcomeValue::Done);
    assert_eq!(failures.count() as u64, first.1);
    assert!(first.1 > 20);
    for noise in 1..8 {
        assert!(run(noise * 10) == first);
    }
}
