//! When reached points are delivered to the mechanism.

use crate::error::Error;
use crate::executor::hardware_point;
use gpumm_contract::{Point, TimelineId};
use gpumm_hw as hw;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// When the planner tells the mechanism what the device has finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// With every batch, whatever is finished by then; the plans depend on the device's speed.
    Eager,
    /// Before batch i everything up to batch i - W, waiting if needed; equal inputs give equal
    /// plans. W is at least 1.
    Window(usize),
    /// Only what the caller asks for: how a request log is replayed.
    Given,
}

/// What has been delivered, and what is due.
pub(super) struct Delivered {
    timelines: Arc<hw::Timelines>,
    pacing: Pacing,
    known: BTreeMap<TimelineId, u64>,
    /// The last points of the batches in the window.
    ends: VecDeque<Vec<Point>>,
    /// The timelines of the CPU's accesses.
    cpu: BTreeSet<TimelineId>,
}

impl Delivered {
    pub(super) fn new(
        timelines: Arc<hw::Timelines>,
        pacing: Pacing,
        cpu: BTreeSet<TimelineId>,
    ) -> Self {
        Delivered {
            timelines,
            pacing,
            known: BTreeMap::new(),
            ends: VecDeque::new(),
            cpu,
        }
    }

    /// The points that are new to the mechanism before a batch. `last` are the device's newest
    /// points.
    pub(super) fn due(&mut self, last: &[Point]) -> Result<Vec<Point>, Error> {
        let points = match self.pacing {
            Pacing::Given => Vec::new(),
            Pacing::Eager => last.iter().map(|p| self.now(p.timeline)).collect(),
            Pacing::Window(window) => {
                if self.ends.len() >= window.max(1) {
                    self.ends.pop_front().unwrap_or_default()
                } else {
                    Vec::new()
                }
            }
        };
        let mut fresh = Vec::new();
        for point in points {
            // The CPU's accesses end when their holder likes; waiting for one could be for ever.
            let point = match self.cpu.contains(&point.timeline) {
                true => self.now(point.timeline),
                false => point,
            };
            if self.deliver(point)? {
                fresh.push(point);
            }
        }
        Ok(fresh)
    }

    fn now(&self, timeline: TimelineId) -> Point {
        Point {
            timeline,
            value: self.timelines.completed(hw::TimelineId(timeline.0)),
        }
    }

    /// Waits for a point and notes it; `false` when it was delivered before.
    pub(super) fn deliver(&mut self, point: Point) -> Result<bool, Error> {
        let known = self.known.entry(point.timeline).or_insert(0);
        if *known >= point.value {
            return Ok(false);
        }
        *known = point.value;
        let reached = self.timelines.wait(hardware_point(point), None);
        reached.map_err(|e| Error::System(format!("a timeline cannot be waited for: {e}")))?;
        Ok(true)
    }

    /// A batch has ended with these newest points.
    pub(super) fn ended(&mut self, last: Vec<Point>) {
        if let Pacing::Window(_) = self.pacing {
            self.ends.push_back(last);
        }
    }

    /// Everything submitted, to be waited for and delivered.
    pub(super) fn drain(&mut self, last: &[Point]) -> Result<Vec<Point>, Error> {
        self.ends.clear();
        let mut fresh = Vec::new();
        for &point in last {
            let point = match self.cpu.contains(&point.timeline) {
                true => self.now(point.timeline),
                false => point,
            };
            if self.deliver(point)? {
                fresh.push(point);
            }
        }
        Ok(fresh)
    }

    /// Whether a point is reached now, delivered or not.
    pub(super) fn is_reached(&self, point: Point) -> bool {
        self.timelines.reached(hardware_point(point))
    }

    /// What was delivered of a timeline.
    pub(super) fn known(&self, timeline: TimelineId) -> u64 {
        self.known.get(&timeline).copied().unwrap_or(0)
    }
}
