//! What happens when a device operation fails: a capture, the redo by the CPU, or the loss.
//!
//! ```text
//! failed -> capture -> redone by the CPU from the tables the operation holds -> as if nothing was
//!                   -> refused as well -> target cleared and poisoned -> the mechanism is told
//!                   -> device lost -> the mechanism is told, which copies again or gives up
//! ```
//! `watch.rs` is called by the device, on an engine's thread, before the point is reached; this
//! file keeps what became of it until the planner delivers that point.
//!
//! ORDER: a point is reached only after its operation's redo has ended, so whoever waits for it
//! sees the repaired content.

mod jobs;
mod watch;

pub(crate) use jobs::FailedJob;
pub(crate) use watch::{Watch, What};

use crate::capture::{Captures, Component, Context, Fence};
use crate::executor::Memory;
use crate::jobs::Gate;
use gpumm_contract::{AllocationId, BufferId, MemoryTypeId, Point, TimelineId};
use gpumm_hw as hw;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the mechanism has to hear of once a point is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The buffer's content is gone.
    Poisoned(BufferId),
    /// The operation has not run, because the device is lost.
    Lost,
}

/// The events of a device that are not delivered yet, and what led to them.
#[derive(Debug)]
pub(crate) struct Failsafe {
    state: Mutex<State>,
    /// Whether anything is poisoned at all: as long as not, no operation takes the lock.
    any_poisoned: AtomicBool,
    pub(crate) captures: Captures,
    /// Who must hear of page tables that could not be written.
    gate: Arc<Gate>,
    site: Site,
}

/// What captures say about the device.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) device: String,
    pub(crate) timelines: Arc<hw::Timelines>,
    pub(crate) memories: Vec<(MemoryTypeId, &'static str)>,
    pub(crate) components: Vec<Component>,
}

impl Site {
    /// What a capture says about the device, with where its timelines stand.
    fn context<'a>(&'a self, timelines: &'a [Fence]) -> Context<'a> {
        Context {
            device: &self.device,
            timelines,
            memories: &self.memories,
            components: &self.components,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Allocations whose bytes nobody may use.
    poisoned: BTreeSet<AllocationId>,
    events: BTreeMap<Point, BTreeSet<Event>>,
    cpu_fallbacks: u64,
    /// The last value submitted on each timeline.
    submitted: BTreeMap<TimelineId, u64>,
}

impl Failsafe {
    pub(crate) fn new(site: Site, captures: Captures, gate: Arc<Gate>) -> Self {
        Failsafe {
            state: Mutex::default(),
            any_poisoned: AtomicBool::new(false),
            captures,
            gate,
            site,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one insert or remove, so a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations redone by the CPU so far.
    pub(crate) fn cpu_fallbacks(&self) -> u64 {
        self.state().cpu_fallbacks
    }

    /// An operation was handed to the device.
    pub(crate) fn submitted(&self, at: Point) {
        self.state().submitted.insert(at.timeline, at.value);
    }

    /// An allocation's number has a new owner; what its number stood for is over.
    pub(crate) fn placed(&self, allocation: AllocationId) {
        if self.any_poisoned() {
            self.state().poisoned.remove(&allocation);
        }
    }

    /// Takes the events of points that a test chooses, ordered by point.
    pub(crate) fn take(&self, chosen: impl Fn(Point) -> bool) -> Vec<(Point, Event)> {
        let mut state = self.state();
        let points: Vec<Point> = state
            .events
            .keys()
            .copied()
            .filter(|p| chosen(*p))
            .collect();
        let of = |p| {
            let events = state.events.remove(&p).unwrap_or_default();
            events.into_iter().map(move |e| (p, e))
        };
        points.into_iter().flat_map(of).collect()
    }

    /// Whether anything is poisoned at all.
    pub(crate) fn any_poisoned(&self) -> bool {
        self.any_poisoned.load(Ordering::Acquire)
    }

    /// Whether the bytes of an allocation are lost.
    pub(crate) fn is_poisoned(&self, memory: &Memory) -> bool {
        self.has_lost(memory.allocation)
    }

    /// Whether the bytes of an allocation are lost, be it that nobody was told yet.
    pub(crate) fn has_lost(&self, allocation: AllocationId) -> bool {
        self.any_poisoned() && self.state().poisoned.contains(&allocation)
    }

    fn note(&self, at: Point, event: Event) {
        self.state().events.entry(at).or_default().insert(event);
    }

    fn poison(&self, at: Point, memory: &Memory) {
        let mut state = self.state();
        state.poisoned.insert(memory.allocation);
        state
            .events
            .entry(at)
            .or_default()
            .insert(Event::Poisoned(memory.buffer));
        self.any_poisoned.store(true, Ordering::Release);
    }

    /// Where the device's timelines stand, for a capture.
    fn fences(&self) -> Vec<Fence> {
        let submitted = self.state().submitted.clone();
        let fence = |(timeline, value): (TimelineId, u64)| {
            let id = hw::TimelineId(timeline.0);
            Fence {
                timeline: timeline.0,
                name: self.site.timelines.name(id).unwrap_or_default().to_string(),
                completed: self.site.timelines.completed(id),
                submitted: value,
            }
        };
        submitted.into_iter().map(fence).collect()
    }
}
