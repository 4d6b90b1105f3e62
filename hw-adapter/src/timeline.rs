//! Timelines: monotone counters that stand for finished work.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::sync::{lock, sleep};

/// Names a timeline inside one [`Timelines`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimelineId(pub u32);

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timeline {}", self.0)
    }
}

/// A fence: the moment a timeline reaches or passes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// The timeline.
    pub timeline: TimelineId,
    /// The value it reaches or passes.
    pub value: u64,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "value {} of {}", self.value, self.timeline)
    }
}

/// Why a wait ended without the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// Nobody created this timeline.
    #[error("{0} does not exist")]
    UnknownTimeline(TimelineId),
    /// The time is over; the point may still be reached later.
    #[error("the time to wait is over")]
    TimedOut,
    /// An [`Interrupt`] was raised.
    #[error("the wait was interrupted")]
    Interrupted,
}

/// Why a timeline was not advanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimelineError {
    /// Nobody created this timeline.
    #[error("{0} does not exist")]
    UnknownTimeline(TimelineId),
    /// The value is not larger than the completed one; nothing changed.
    #[error("{timeline} stands at {completed} and cannot advance to {value}")]
    NotIncreasing {
        /// The timeline.
        timeline: TimelineId,
        /// What it has completed.
        completed: u64,
        /// What was asked for.
        value: u64,
    },
}

/// A flag that ends the waits of one waiter (an engine that shuts down).
///
/// Raised by [`Timelines::interrupt`]; stays raised until [`Interrupt::clear`].
#[derive(Debug, Default)]
pub struct Interrupt {
    raised: AtomicBool,
}

impl Interrupt {
    /// A flag that is not raised.
    pub fn new() -> Interrupt {
        Interrupt::default()
    }

    /// Whether waits with this flag end.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// Lowers the flag. The waiter calls this, and then looks at why it was raised.
    pub fn clear(&self) {
        self.raised.store(false, Ordering::SeqCst);
    }
}

/// Who is told that a point is reached.
pub trait Watcher: Send + Sync {
    /// Called once, on the thread that let the timeline reach the point; nothing of the timeline
    /// is locked. It must not wait. A panic harms nobody.
    fn reached(&self, point: Point);
}

/// Calls a watcher.
fn tell(watcher: &dyn Watcher, point: Point) {
    // Who advances a timeline is not to suffer for others.
    let _ = catch_unwind(AssertUnwindSafe(|| watcher.reached(point)));
}

/// Who waits for a timeline.
#[derive(Default)]
struct Waiters {
    /// How many threads sleep on `reached`: advancing wakes nobody when it is 0.
    asleep: u32,
    /// By value.
    watchers: VecDeque<(u64, Arc<dyn Watcher>)>,
}

#[derive(Default)]
struct Slot {
    completed: AtomicU64,
    waiters: Mutex<Waiters>,
    reached: Condvar,
    name: OnceLock<Box<str>>,
}

/// Slots in the first chunk; each further chunk holds twice as many, so that slots never
/// move and are read without a lock.
const FIRST_CHUNK: u64 = 64;
const CHUNKS: usize = 26;

/// The timelines of one runtime, shared by its devices.
///
/// # Invariants
/// A timeline's completed value only grows, and timelines are never removed.
pub struct Timelines {
    chunks: [OnceLock<Box<[Slot]>>; CHUNKS],
    count: AtomicU32,
    create: Mutex<()>,
}

impl Default for Timelines {
    fn default() -> Self {
        Timelines::new()
    }
}

impl fmt::Debug for Timelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (timeline, completed) in self.snapshot() {
            map.entry(&self.name(timeline).unwrap_or_default(), &completed);
        }
        map.finish()
    }
}

fn place(timeline: TimelineId) -> (usize, usize) {
    let n = u64::from(timeline.0) + FIRST_CHUNK;
    let chunk = n.ilog2() - FIRST_CHUNK.ilog2();
    (chunk as usize, (n - (FIRST_CHUNK << chunk)) as usize)
}

impl Timelines {
    /// A registry without timelines.
    pub fn new() -> Timelines {
        Timelines {
            chunks: [const { OnceLock::new() }; CHUNKS],
            count: AtomicU32::new(0),
            create: Mutex::new(()),
        }
    }

    /// A new timeline with nothing completed (value 0). The name is for people and need not
    /// be unique.
    ///
    /// # Bounds
    /// Panics beyond 2^32 - 64 timelines, which need more than 200 GiB.
    pub fn create(&self, name: &str) -> TimelineId {
        let _one_at_a_time = lock(&self.create);
        let timeline = TimelineId(self.count.load(Ordering::Relaxed));
        let (chunk, index) = place(timeline);
        assert!(chunk < CHUNKS, "too many timelines");
        let slots = self.chunks[chunk]
            .get_or_init(|| (0..FIRST_CHUNK << chunk).map(|_| Slot::default()).collect());
        slots[index].name.get_or_init(|| name.into());
        // Release: whoever sees the count also sees the slot.
        self.count.store(timeline.0 + 1, Ordering::Release);
        timeline
    }

    fn slot(&self, timeline: TimelineId) -> Option<&Slot> {
        if timeline.0 >= self.count.load(Ordering::Acquire) {
            return None;
        }
        let (chunk, index) = place(timeline);
        self.chunks.get(chunk)?.get()?.get(index)
    }

    /// Whether the timeline was created here.
    pub fn contains(&self, timeline: TimelineId) -> bool {
        self.slot(timeline).is_some()
    }

    /// The name given at creation.
    pub fn name(&self, timeline: TimelineId) -> Option<&str> {
        self.slot(timeline)?.name.get().map(|name| &**name)
    }

    /// The value the timeline has reached, without a lock; 0 for an unknown timeline.
    pub fn completed(&self, timeline: TimelineId) -> u64 {
        self.slot(timeline)
            .map_or(0, |slot| slot.completed.load(Ordering::Acquire))
    }

    /// Whether the point is reached, without a lock; never for an unknown timeline.
    pub fn reached(&self, point: Point) -> bool {
        self.slot(point.timeline)
            .is_some_and(|slot| slot.completed.load(Ordering::Acquire) >= point.value)
    }

    /// Lets the timeline reach `value` and wakes who waits for it.
    ///
    /// # Errors
    /// A value that is not larger than the completed one is refused and changes nothing.
    pub fn advance(&self, timeline: TimelineId, value: u64) -> Result<(), TimelineError> {
        let slot = self
            .slot(timeline)
            .ok_or(TimelineError::UnknownTimeline(timeline))?;
        let mut waiters = lock(&slot.waiters);
        let completed = slot.completed.load(Ordering::Relaxed);
        if value <= completed {
            return Err(TimelineError::NotIncreasing {
                timeline,
                completed,
                value,
            });
        }
        slot.completed.store(value, Ordering::Release);
        let wake = waiters.asleep > 0;
        let told = match waiters.watchers.is_empty() {
            true => VecDeque::new(),
            false => {
                let due = waiters.watchers.partition_point(|(at, _)| *at <= value);
                let later = waiters.watchers.split_off(due);
                std::mem::replace(&mut waiters.watchers, later)
            }
        };
        drop(waiters);
        if wake {
            slot.reached.notify_all();
        }
        for (value, watcher) in told {
            tell(&*watcher, Point { timeline, value });
        }
        Ok(())
    }

    /// Has `watcher` told once when the point is reached: by the thread that advances the
    /// timeline, or here and now if it is reached already. `false`, and nobody told, for an
    /// unknown timeline.
    pub fn watch(&self, point: Point, watcher: Arc<dyn Watcher>) -> bool {
        let Some(slot) = self.slot(point.timeline) else {
            return false;
        };
        let mut waiters = lock(&slot.waiters);
        // Looked at under the lock that `advance` takes: nobody is told twice, or never.
        if slot.completed.load(Ordering::Acquire) < point.value {
            let watchers = &mut waiters.watchers;
            let place = watchers.partition_point(|(at, _)| *at <= point.value);
            watchers.insert(place, (point.value, watcher));
            return true;
        }
        drop(waiters);
        tell(&*watcher, point);
        true
    }

    /// Waits until the point is reached; `None` waits for ever.
    ///
    /// # Errors
    /// [`WaitError::UnknownTimeline`] at once, [`WaitError::TimedOut`] after the time.
    pub fn wait(&self, point: Point, timeout: Option<Duration>) -> Result<(), WaitError> {
        self.wait_unless(point, timeout, &Interrupt::new())
    }

    /// As [`Timelines::wait`], and ends when `interrupt` is or becomes raised. A reached
    /// point wins over the interrupt.
    ///
    /// # Errors
    /// Those of [`Timelines::wait`], and [`WaitError::Interrupted`].
    pub fn wait_unless(
        &self,
        point: Point,
        timeout: Option<Duration>,
        interrupt: &Interrupt,
    ) -> Result<(), WaitError> {
        let slot = self
            .slot(point.timeline)
            .ok_or(WaitError::UnknownTimeline(point.timeline))?;
        if slot.completed.load(Ordering::Acquire) >= point.value {
            return Ok(());
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut waiters = lock(&slot.waiters);
        waiters.asleep += 1;
        let result = loop {
            if slot.completed.load(Ordering::Acquire) >= point.value {
                break Ok(());
            }
            // Looked at under the lock that `interrupt` takes after raising: none is missed.
            if interrupt.is_raised() {
                break Err(WaitError::Interrupted);
            }
            let expired;
            (waiters, expired) = sleep(&slot.reached, waiters, deadline);
            if expired {
                break Err(WaitError::TimedOut);
            }
        };
        waiters.asleep -= 1;
        result
    }

    /// Raises the interrupt and ends the waits that carry it.
    pub fn interrupt(&self, interrupt: &Interrupt) {
        interrupt.raised.store(true, Ordering::SeqCst);
        for id in 0..self.count.load(Ordering::Acquire) {
            if let Some(slot) = self.slot(TimelineId(id)) {
                // The lock orders the flag before any sleep that has not begun.
                if lock(&slot.waiters).asleep > 0 {
                    slot.reached.notify_all();
                }
            }
        }
    }

    /// All timelines with what they have completed, in the order of creation.
    pub fn snapshot(&self) -> Vec<(TimelineId, u64)> {
        (0..self.count.load(Ordering::Acquire))
            .map(TimelineId)
            .map(|timeline| (timeline, self.completed(timeline)))
            .collect()
    }
}
