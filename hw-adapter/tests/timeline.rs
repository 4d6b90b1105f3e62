//! Timelines on their own.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gpumm_hw::{
    Interrupt, Outcome, OutcomeValue, Point, TimelineError, TimelineId, Timelines, WaitError,
    Watcher,
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

/// Counts, per value, how often it was told.
struct Counter {
    timelines: Arc<Timelines>,
    told: Vec<AtomicU64>,
}

impl Watcher for Counter {
    fn reached(&self, point: Point) {
        assert!(self.timelines.reached(point));
        self.told[point.value as usize].fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_watcher_is_told_once_whoever_is_faster() {
    const VALUES: u64 = 20_000;
    let timelines = Arc::new(Timelines::new());
    let timeline = timelines.create("watched");
    let counter = Arc::new(Counter {
        timelines: Arc::clone(&timelines),
        told: (0..=VALUES).map(|_| AtomicU64::new(0)).collect(),
    });
    thread::scope(|scope| {
        for thread in 0..2 {
            let (timelines, counter) = (&timelines, &counter);
            scope.spawn(move || {
                for value in (1..=VALUES).filter(|value| value % 2 == thread) {
                    let watcher = Arc::clone(counter) as Arc<dyn Watcher>;
                    assert!(timelines.watch(Point { timeline, value }, watcher));
                }
            });
        }
        for value in (1..=VALUES).step_by(3).chain([VALUES]) {
            let _ = timelines.advance(timeline, value);
        }
    });
    assert!(
        counter.told[1..]
            .iter()
            .all(|told| told.load(Ordering::SeqCst) == 1)
    );
    // Nobody is kept.
    assert_eq!(Arc::strong_count(&counter), 1);
}

#[test]
fn watchers_may_use_the_timeline_and_may_panic() {
    struct Next(Arc<Timelines>);
    impl Watcher for Next {
        fn reached(&self, point: Point) {
            let value = point.value + 1;
            self.0.advance(point.timeline, value).unwrap();
            panic!("the next one is told all the same");
        }
    }
    let timelines = Arc::new(Timelines::new());
    let timeline = timelines.create("watched");
    let point = |value| Point { timeline, value };
    for value in [3, 1, 2] {
        let next: Arc<dyn Watcher> = Arc::new(Next(Arc::clone(&timelines)));
        assert!(timelines.watch(point(value), next));
    }
    timelines.advance(timeline, 1).unwrap();
    assert_eq!(timelines.completed(timeline), 4);
    // At once, on this thread.
    let next: Arc<dyn Watcher> = Arc::new(Next(Arc::clone(&timelines)));
    assert!(timelines.watch(point(4), Arc::clone(&next)));
    assert_eq!(timelines.completed(timeline), 5);
    let unknown = Point {
        timeline: gpumm_hw::TimelineId(9),
        value: 0,
    };
    assert!(!timelines.watch(unknown, next));
}
