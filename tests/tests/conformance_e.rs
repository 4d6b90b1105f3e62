//! Part E of the reference: a fence is a point on a timeline, a chain of fences is a timeline, an
//! array is a set of points; what a buffer's users wait for is in the plan.
#![allow(clippy::unwrap_used)]

use gpumm::contract::request::{Intent, Request};
use gpumm::contract::{BufferId, Point as Contract, PointSet, TimelineId as Id};
use gpumm_hw::{
    Device, DeviceError, Outcome, OutcomeValue, Point, Submission, SystemMemory, TimelineError,
    TimelineId, Timelines, WaitError,
};
use gpumm_tests::planning::{self, COPY, RUN, memory, waits};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const SOON: Option<Duration> = Some(Duration::from_millis(1));
const LONG: Option<Duration> = Some(Duration::from_secs(20));
const NOW: Option<Duration> = Some(Duration::ZERO);

fn point(timeline: TimelineId, value: u64) -> Point {
    Point { timeline, value }
}

/// A timeline, and its first point.
fn fence() -> (Timelines, TimelineId, Point) {
    let timelines = Timelines::new();
    let t = timelines.create("t");
    (timelines, t, point(t, 1))
}

#[test]
fn e_1_sanity() {
    let (timelines, t, first) = fence();
    assert!(timelines.contains(t) && !timelines.reached(first));
}

#[test]
fn e_2_signal() {
    let (timelines, t, first) = fence();
    assert!(!timelines.reached(first));
    timelines.advance(t, 1).unwrap();
    assert!(timelines.reached(first));
    let again = timelines.advance(t, 1);
    assert!(matches!(again, Err(TimelineError::NotIncreasing { .. })));
    assert!(timelines.reached(first));
}

#[test]
fn e_7_status() {
    let (timelines, t, _) = fence();
    assert_eq!(timelines.completed(t), 0);
    timelines.advance(t, 1).unwrap();
    assert_eq!(timelines.completed(t), 1);
}

#[test]
fn e_8_an_error_is_beside_the_point_and_there_before_it() {
    let (timelines, t, first) = fence();
    let outcome = Outcome::new();
    assert_eq!(outcome.get(), None);
    assert!(outcome.fill(OutcomeValue::Failed(DeviceError::Injected)));
    timelines.advance(t, 1).unwrap();
    assert!(timelines.reached(first));
    assert_eq!(
        outcome.get(),
        Some(&OutcomeValue::Failed(DeviceError::Injected))
    );
}

#[test]
fn e_9_a_wait_without_time_is_a_look() {
    let (timelines, t, first) = fence();
    assert_eq!(timelines.wait(first, NOW), Err(WaitError::TimedOut));
    timelines.advance(t, 1).unwrap();
    assert_eq!(timelines.wait(first, NOW), Ok(()));
}

#[test]
fn e_10_a_wait_ends_in_time() {
    let (timelines, t, first) = fence();
    assert_eq!(timelines.wait(first, SOON), Err(WaitError::TimedOut));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(1));
            timelines.advance(t, 1).unwrap();
        });
        assert_eq!(timelines.wait(first, LONG), Ok(()));
    });
}

#[test]
fn e_11_value_0_is_reached_from_the_beginning() {
    let timelines = Timelines::new();
    for n in 0..64 {
        let t = timelines.create(&n.to_string());
        assert!(timelines.reached(point(t, 0)));
        assert_eq!(timelines.wait(point(t, 0), NOW), Ok(()));
    }
}

#[test]
fn e_12_nobody_misses_a_point_that_is_reached_meanwhile() {
    let timelines = Timelines::new();
    let [a, b] = [timelines.create("a"), timelines.create("b")];
    // Each thread reaches its own point and waits for the other's, before or after.
    thread::scope(|scope| {
        for (own, other) in [(a, b), (b, a)] {
            let timelines = &timelines;
            scope.spawn(move || {
                for value in 1..=2000 {
                    // Every second time b is reached only after a was waited for.
                    let first = own == a || value % 2 == 0;
                    if first {
                        timelines.advance(own, value).unwrap();
                    }
                    timelines.wait(point(other, value), LONG).unwrap();
                    if !first {
                        timelines.advance(own, value).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(
        (timelines.completed(a), timelines.completed(b)),
        (2000, 2000)
    );
}

#[test]
fn e_13_a_chain_of_one() {
    let (timelines, t, first) = fence();
    timelines.advance(t, 1).unwrap();
    assert!(timelines.reached(first) && !timelines.reached(point(t, 2)));
}

#[test]
fn e_14_any_value_of_a_chain_can_be_named() {
    let (timelines, t, _) = fence();
    for value in 1..=64 {
        assert!((value..=64).all(|later| !timelines.reached(point(t, later))));
        timelines.advance(t, value).unwrap();
        assert!((0..=value).all(|earlier| timelines.reached(point(t, earlier))));
    }
    let nobody = point(TimelineId(7), 1);
    assert_eq!(
        timelines.wait(nobody, NOW),
        Err(WaitError::UnknownTimeline(TimelineId(7)))
    );
}

#[test]
fn e_15_a_reached_value_is_reached_for_whoever_comes_later() {
    let (timelines, t, first) = fence();
    timelines.advance(t, 1).unwrap();
    assert_eq!(timelines.wait(first, NOW), Ok(()));
    assert_eq!(timelines.wait(point(t, 2), NOW), Err(WaitError::TimedOut));
}

#[test]
fn e_17_a_value_in_a_gap_is_reached_by_the_next_one() {
    let (timelines, t, _) = fence();
    for i in 0..64 {
        assert!(!timelines.reached(point(t, 2 * i + 1)));
        timelines.advance(t, 2 * i + 2).unwrap();
        assert!(timelines.reached(point(t, 2 * i + 1)));
        assert!(!timelines.reached(point(t, 2 * i + 3)));
    }
}

#[test]
fn e_18_looking_while_values_are_reached() {
    let (timelines, t, _) = fence();
    let reached = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for value in 1..=4096 {
                reached.store(value, Ordering::SeqCst);
                timelines.advance(t, value).unwrap();
            }
        });
        scope.spawn(|| {
            let mut rng = fastrand::Rng::with_seed(1);
            while timelines.completed(t) < 4096 {
                let value = rng.u64(1..=4096);
                let seen = timelines.reached(point(t, value));
                assert!(!seen || value <= reached.load(Ordering::SeqCst));
            }
        });
    });
}

#[test]
fn e_19_forward() {
    let (timelines, t, _) = fence();
    for value in 1..=64 {
        timelines.advance(t, value).unwrap();
        assert!(timelines.reached(point(t, value)));
        assert!(!timelines.reached(point(t, value + 1)));
    }
}

#[test]
fn e_20_backward_is_refused() {
    let (timelines, t, _) = fence();
    timelines.advance(t, 64).unwrap();
    for value in (1..=64).rev() {
        assert!(timelines.advance(t, value).is_err());
        assert!(timelines.reached(point(t, value)));
    }
}

#[test]
fn e_21_waiters_of_the_end_return_after_all() {
    let (timelines, t, _) = fence();
    let mut order: Vec<u64> = (1..=256).collect();
    fastrand::Rng::with_seed(3).shuffle(&mut order);
    thread::scope(|scope| {
        let last = scope.spawn(|| {
            timelines.wait(point(t, 256), LONG).unwrap();
            timelines.completed(t)
        });
        for chunk in order.chunks(32) {
            let timelines = &timelines;
            scope.spawn(move || {
                for &value in chunk {
                    timelines.wait(point(t, value), LONG).unwrap();
                    assert!(timelines.completed(t) >= value);
                }
            });
        }
        for value in 1..=256 {
            timelines.advance(t, value).unwrap();
        }
        assert_eq!(last.join().unwrap(), 256);
    });
}

fn at(timeline: u32, value: u64) -> Contract {
    let timeline = Id(timeline);
    Contract { timeline, value }
}

fn set(points: &[Contract]) -> PointSet {
    points.iter().copied().collect()
}

fn merged(sets: &[PointSet]) -> Vec<Contract> {
    let mut all = PointSet::new();
    sets.iter().for_each(|s| all.join(s));
    all.iter().collect()
}

#[test]
fn e_22_a_set_names_every_timeline_once() {
    let all = set(&[at(3, 1), at(1, 2), at(2, 7)]);
    assert!(all.iter().eq([at(1, 2), at(2, 7), at(3, 1)]));
}

#[test]
fn e_23_merging_two() {
    assert_eq!(
        merged(&[set(&[at(1, 1)]), set(&[at(2, 1)])]),
        [at(1, 1), at(2, 1)]
    );
}

#[test]
fn e_24_merging_one_with_itself() {
    assert_eq!(merged(&[set(&[at(1, 1)]), set(&[at(1, 1)])]), [at(1, 1)]);
}

#[test]
fn e_25_of_a_timeline_the_later_one_stays() {
    let one = [set(&[at(1, 1)]), set(&[at(1, 2)]), set(&[at(0, 1)])];
    assert_eq!(merged(&one), [at(0, 1), at(1, 2)]);
}

#[test]
fn e_26_merging_a_set_with_what_it_has() {
    let pair = set(&[at(1, 1), at(2, 1)]);
    assert_eq!(
        merged(&[pair.clone(), set(&[at(2, 1)]), set(&[at(1, 1)])]),
        merged(&[pair])
    );
}

#[test]
fn e_27_merging_a_merge_and_nothing() {
    let pair: PointSet = merged(&[set(&[at(1, 1)]), set(&[at(2, 1)])])
        .into_iter()
        .collect();
    let turned = set(&[at(2, 1), at(1, 1)]);
    assert_eq!(
        merged(&[pair, turned, PointSet::new()]),
        [at(1, 1), at(2, 1)]
    );
}

#[test]
fn e_28_merging_crossed_sets() {
    let crossed = [set(&[at(0, 2), at(1, 1)]), set(&[at(0, 1), at(1, 2)])];
    assert_eq!(merged(&crossed), [at(0, 2), at(1, 2)]);
}

#[test]
fn e_29_reached_points_leave_nothing_to_wait_for() {
    let mut all = set(&[at(0, 2), at(1, 1)]);
    all.retire(|p| p.timeline == Id(0));
    assert!(all.iter().eq([at(1, 1)]));
    all.retire(|_| true);
    assert!(all.is_empty());
}

/// Device memory for one buffer, and system memory.
fn types() -> [gpumm::contract::facts::MemoryType; 3] {
    [
        memory(planning::SYSTEM, 1 << 24),
        memory(planning::VRAM, 1 << 20),
        memory(planning::GTT, 1 << 24),
    ]
}

/// A new buffer in device memory, which pushes out what is there.
fn rival<P: planning::Plans>(manager: &mut planning::Planning<P>, buffer: u64) -> Request {
    let place = gpumm::contract::request::Place {
        memory: planning::VRAM,
        pass: gpumm::contract::request::Pass::Both,
    };
    manager.create(buffer, 1 << 20, &[place])
}

#[test]
fn e_31_each_kind_of_use_is_waited_for_until_it_is_reached() {
    // Written by a job, moved by a copy, inherited from an earlier owner.
    planning::both(&types(), |mut manager| {
        manager.written(1, 1 << 20);
        let out = rival(&mut manager, 2);
        assert_eq!(waits(&manager.good(out)), [(COPY, at(RUN.0, 1))], "written");
        let used = manager.access(Intent::Write, &[2]);
        assert_eq!(
            waits(&manager.good(used)),
            [(RUN, at(COPY.0, 1))],
            "inherited"
        );
        let back = manager.access(Intent::Read, &[1]);
        let ops = manager.good(back);
        // Buffer 2 goes behind its job; buffer 1 comes in, and the job after both copies.
        assert_eq!(
            waits(&ops),
            [(COPY, at(RUN.0, 2)), (RUN, at(COPY.0, 3))],
            "moved"
        );
    });
    planning::both(&types(), |mut manager| {
        manager.written(1, 1 << 20);
        manager.retire(RUN, 1);
        let out = rival(&mut manager, 2);
        assert_eq!(waits(&manager.good(out)), [], "reached");
        manager.retire(COPY, 1);
        let used = manager.access(Intent::Write, &[2]);
        assert_eq!(waits(&manager.good(used)), [], "reached");
    });
}

#[test]
fn e_35_readers_wait_for_writers_and_writers_for_both() {
    planning::both(&types(), |mut manager| {
        manager.written(1, 1 << 20);
        manager.retire(RUN, 1);
        let read = manager.access(Intent::Read, &[1]);
        manager.good(read);
        // A copy out reads: it does not wait for the reader.
        let out = rival(&mut manager, 2);
        assert_eq!(waits(&manager.good(out)), []);
        // What takes over the memory writes: it waits for reader and copy.
        let used = manager.access(Intent::Write, &[2]);
        assert_eq!(waits(&manager.good(used)), [(RUN, at(COPY.0, 1))]);
    });
    planning::both(&types(), |mut manager| {
        manager.written(1, 1 << 20);
        // A copy out comes after the writer.
        let out = rival(&mut manager, 2);
        assert_eq!(waits(&manager.good(out)), [(COPY, at(RUN.0, 1))]);
        manager.good(Request::Release(BufferId(2)));
    });
}

#[test]
fn e_36_an_earlier_point_never_replaces_a_later_one() {
    let mut points = set(&[at(1, 5)]);
    points.add(at(1, 3));
    assert!(points.iter().eq([at(1, 5)]));
    points.add(at(1, 8));
    assert!(points.iter().eq([at(1, 8)]));
    points.add(at(2, 1));
    assert_eq!(points.len(), 2);
}

#[test]
fn e_49_points_of_a_device_that_ends_are_reached_with_an_error() {
    let timelines = Arc::new(Timelines::new());
    let memory = Arc::new(SystemMemory::new(1 << 20).unwrap());
    let config = gpumm_hw::sim::SimConfig::new("sim", 1 << 20);
    let sim = gpumm_hw::sim::Sim::new(config, timelines.clone(), memory).unwrap();
    let (engine, properties) = sim.properties().engine(gpumm_hw::EngineKind::Copy).unwrap();
    let reached = point(properties.timeline, 1);
    sim.control().hold_all();
    let outcome = Arc::new(Outcome::new());
    let submission = Submission {
        signal: Some(1),
        outcome: Some(outcome.clone()),
        ..Submission::default()
    };
    sim.submit(engine, submission).unwrap();
    assert!(!timelines.reached(reached));
    drop(sim);
    assert_eq!(timelines.wait(reached, LONG), Ok(()));
    assert_eq!(
        outcome.get(),
        Some(&OutcomeValue::Failed(DeviceError::Stopped))
    );
}
