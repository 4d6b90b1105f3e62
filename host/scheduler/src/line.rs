//! How far timelines have come, and who waits for them.

use crate::JobKey;
use crate::slab::Slab;
use gpumm_contract::{Point, TimelineId};
use std::collections::BTreeMap;

/// A job that waits for a point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub(crate) job: JobKey,
    /// Counts only while it is the job's own.
    pub(crate) ticket: u32,
}

/// Waiters by the value they wait for, then by who came first.
pub(crate) type Waiters = BTreeMap<(u64, u64), Waiter>;

/// What is known about a timeline.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) id: TimelineId,
    /// Whose it is; `None` = nobody's here, so that the caller tells how far it has come.
    pub(crate) entity: Option<u32>,
    pub(crate) reached: u64,
    /// Those that wait until a job is given to a ring.
    pub(crate) starting: Waiters,
    /// Those that wait until a point is reached.
    pub(crate) ending: Waiters,
}

/// The timelines, and the index of who waits for which.
///
/// Complexity: a lookup O(log timelines), filing and taking a waiter O(log waiters of a timeline).
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) all: Slab<Line>,
    by_id: BTreeMap<TimelineId, u32>,
    turn: u64,
}

impl Lines {
    pub(crate) const fn new() -> Self {
        Lines {
            all: Slab::new(),
            by_id: BTreeMap::new(),
            turn: 0,
        }
    }

    pub(crate) fn find(&self, id: TimelineId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// The timeline of this name, made if need be.
    pub(crate) fn obtain(&mut self, id: TimelineId) -> u32 {
        *self.by_id.entry(id).or_insert_with(|| {
            let line = Line {
                id,
                entity: None,
                reached: 0,
                starting: Waiters::new(),
                ending: Waiters::new(),
            };
            self.all.insert(line).0
        })
    }

    pub(crate) fn remove(&mut self, line: u32) {
        self.by_id.remove(&self.all[line].id);
        self.all.remove(line);
    }

    /// Files a waiter for the start of a job.
    pub(crate) fn await_start(&mut self, line: u32, value: u64, waiter: Waiter) {
        self.turn += 1;
        let filed = (value, self.turn);
        self.all[line].starting.insert(filed, waiter);
    }

    /// Files a waiter for a point; answers the point if the caller has to watch it for us from now on.
    pub(crate) fn await_end(&mut self, line: u32, value: u64, waiter: Waiter) -> Option<Point> {
        self.turn += 1;
        let filed = (value, self.turn);
        let of = &mut self.all[line];
        let watched = of.entity.is_some() || of.awaits(value);
        of.ending.insert(filed, waiter);
        let timeline = of.id;
        (!watched).then_some(Point { timeline, value })
    }

    /// Takes out the first of those that wait for the start of a job up to this value.
    #[inline]
    pub(crate) fn started(&mut self, line: u32, value: u64) -> Option<(u64, Waiter)> {
        due(&mut self.all[line].starting, value)
    }

    /// Takes out the first of those that wait for something up to this value.
    #[inline]
    pub(crate) fn ended(&mut self, line: u32, value: u64) -> Option<Waiter> {
        let line = &mut self.all[line];
        let first = due(&mut line.ending, value);
        Some(first.or_else(|| due(&mut line.starting, value))?.1)
    }
}

impl Line {
    /// Whether somebody waits for exactly this value to be reached.
    pub(crate) fn awaits(&self, value: u64) -> bool {
        let same = (value, 0)..=(value, u64::MAX);
        self.ending.range(same).next().is_some()
    }
}

#[inline]
fn due(waiters: &mut Waiters, value: u64) -> Option<(u64, Waiter)> {
    let first = waiters.first_entry()?;
    let &(at, _) = first.key();
    (at <= value).then(|| (at, first.remove()))
}
