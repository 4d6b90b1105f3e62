//! Timelines on their own.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use gpumm_hw::{
    Interrupt, Outcome, OutcomeValue, Point, TimelineError, TimelineId, Timelines, WaitError,
};

const TIME: Option<Duration> = Some(Duration::from_secs(20));

fn point(timeline: TimelineId, value: u64) -> Point {
    Point { timeline, value }
}

#[test]
fn values_only_grow() {
    let timelines = Timelines::new();
    let t = timelines.create("t");
    assert_eq!(timelines.completed(t), 0);
    assert!(timelines.reached(point(t, 0)));
    assert!(!timelines.reached(point(t, 1)));
    assert_eq!(timelines.advance(t, 5), Ok(()));
    for value in [0, 4, 5] {
        let refused = TimelineError::NotIncreasing {
            timeline: t,
            completed: 5,
            value,
        };
        assert_eq!(timelines.advance(t, value), Err(refused));
    }
    assert_eq!(timelines.completed(t), 5);
    assert_eq!(timelines.advance(t, u64::MAX), Ok(()));
    assert_eq!(timelines.wait(point(t, u64::MAX), None), Ok(()));
}

#[test]
fn unknown_timelines_are_errors() {
    let timelines = Timelines::new();
    timelines.create("t");
    for id in [1, 63, 64, u32::MAX] {
        let t = TimelineId(id);
        assert!(!timelines.contains(t) && !timelines.reached(point(t, 0)));
        assert_eq!(timelines.completed(t), 0);
        assert_eq!(timelines.name(t), None);
        assert_eq!(
            timelines.wait(point(t, 0), None),
            Err(WaitError::UnknownTimeline(t))
        );
        assert_eq!(
            timelines.advance(t, 1),
            Err(TimelineError::UnknownTimeline(t))
        );
    }
}

#[test]
fn many_timelines_keep_their_places() {
    let timelines = Timelines::new();
    let ids: Vec<_> = (0..5000)
        .map(|n| timelines.create(&n.to_string()))
        .collect();
    for (n, id) in (1..).zip(&ids) {
        timelines.advance(*id, n).unwrap();
    }
    let expected: Vec<_> = ids.iter().copied().zip(1..).collect();
    assert_eq!(timelines.snapshot(), expected);
    assert_eq!(timelines.name(ids[4321]), Some("4321"));
}

#[test]
fn waiters_wake_at_their_value() {
    let timelines = Timelines::new();
    let t = timelines.create("t");
    thread::scope(|scope| {
        for value in 1..=20 {
            let timelines = &timelines;
            scope.spawn(move || {
                assert_eq!(timelines.wait(point(t, value), TIME), Ok(()));
                assert!(timelines.completed(t) >= value);
            });
        }
        for value in 1..=20 {
            thread::yield_now();
            timelines.advance(t, value).unwrap();
        }
    });
}

#[test]
fn a_wait_ends_in_time() {
    let timelines = Timelines::new();
    let t = timelines.create("t");
    let start = Instant::now();
    let wait = timelines.wait(point(t, 1), Some(Duration::from_millis(10)));
    assert_eq!(wait, Err(WaitError::TimedOut));
    assert!(start.elapsed() >= Duration::from_millis(10));
    let wait = timelines.wait(point(t, 1), Some(Duration::ZERO));
    assert_eq!(wait, Err(WaitError::TimedOut));
    assert_eq!(timelines.wait(point(t, 0), Some(Duration::ZERO)), Ok(()));
}

#[test]
fn an_interrupt_ends_only_its_waits() {
    let timelines = Timelines::new();
    let t = timelines.create("t");
    let interrupt = Interrupt::new();
    thread::scope(|scope| {
        let other = scope.spawn(|| timelines.wait(point(t, 1), TIME));
        let waits = [
            scope.spawn(|| timelines.wait_unless(point(t, 1), None, &interrupt)),
            scope.spawn(|| timelines.wait_unless(point(t, 2), TIME, &interrupt)),
        ];
        thread::sleep(Duration::from_millis(5));
        timelines.interrupt(&interrupt);
        for wait in waits {
            assert_eq!(wait.join().unwrap(), Err(WaitError::Interrupted));
        }
        timelines.advance(t, 1).unwrap();
        assert_eq!(other.join().unwrap(), Ok(()));
    });
    assert_eq!(timelines.wait_unless(point(t, 1), None, &interrupt), Ok(()));
    let wait = timelines.wait_unless(point(t, 2), None, &interrupt);
    assert_eq!(wait, Err(WaitError::Interrupted));
    interrupt.clear();
    let wait = timelines.wait_unless(point(t, 2), Some(Duration::ZERO), &interrupt);
    assert_eq!(wait, Err(WaitError::TimedOut));
}

#[test]
fn an_outcome_is_filled_once() {
    let outcome = Arc::new(Outcome::new());
    assert_eq!(outcome.wait(Some(Duration::ZERO)), None);
    let waiter = {
        let outcome = Arc::clone(&outcome);
        thread::spawn(move || outcome.wait(TIME).cloned())
    };
    assert!(outcome.fill(OutcomeValue::Bytes(vec![1])));
    assert!(!outcome.fill(OutcomeValue::Done));
    let filled = Some(OutcomeValue::Bytes(vec![1]));
    assert_eq!(waiter.join().unwrap(), filled);
    assert_eq!(Arc::into_inner(outcome).unwrap().into_value(), filled);
}
