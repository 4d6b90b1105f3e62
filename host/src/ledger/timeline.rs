//! How far the timelines of the device have come.

use gpumm_contract::facts::Role;
use gpumm_contract::{Point, TimelineId};

/// What is known about a timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimelineFacts {
    pub(super) id: TimelineId,
    pub(super) role: Role,
    /// As delivered to the mechanism.
    pub(super) completed: u64,
    /// The value that the next operation gets.
    pub(super) next: u64,
}

/// The timelines of a device, which are few and never change in number.
///
/// Complexity: a lookup is a binary search in a short list; `begin` copies the list.
/// Invariants: ordered by id, none twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Timelines {
    all: Vec<TimelineFacts>,
    before: Vec<TimelineFacts>,
}

impl Timelines {
    pub(super) fn new(timelines: &[(TimelineId, Role)]) -> Self {
        let mut all = Vec::with_capacity(timelines.len());
        for &(id, role) in timelines {
            all.push(TimelineFacts {
                id,
                role,
                completed: 0,
                next: 1,
            });
        }
        all.sort_by_key(|t| t.id);
        all.dedup_by_key(|t| t.id);
        Timelines {
            all,
            before: Vec::new(),
        }
    }

    /// The place of a timeline among the device's, by which others file what belongs to it.
    #[inline]
    pub(super) fn slot(&self, timeline: TimelineId) -> Option<usize> {
        self.all.binary_search_by_key(&timeline, |t| t.id).ok()
    }

    #[inline]
    pub(super) fn get(&self, timeline: TimelineId) -> Option<&TimelineFacts> {
        self.all.get(self.slot(timeline)?)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, timeline: TimelineId) -> Option<&mut TimelineFacts> {
        let slot = self.slot(timeline)?;
        self.all.get_mut(slot)
    }

    /// By id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &TimelineFacts> {
        self.all.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether a point has been delivered as reached.
    #[inline]
    pub(super) fn reached(&self, point: Point) -> bool {
        self.get(point.timeline)
            .is_some_and(|t| t.completed >= point.value)
    }

    /// Whether an operation exists that will reach a point.
    #[inline]
    pub(super) fn submitted(&self, point: Point) -> bool {
        self.get(point.timeline)
            .is_some_and(|t| point.value < t.next)
    }

    /// Marks what [`rollback`](Timelines::rollback) goes back to.
    pub(super) fn begin(&mut self) {
        self.before.clone_from(&self.all);
    }

    /// Takes all changes since `begin` back.
    pub(super) fn rollback(&mut self) {
        self.all.clone_from(&self.before);
    }
}
