//! The plan under construction: granted numbers, points, and waits.

use crate::ahead::Ready;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use gpumm_contract::plan::Op;
use gpumm_contract::request::{Grants, Run};
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{AllocationId, BufferId, Point, PointSet, TableId, TimelineId};

/// Takes granted numbers, the lowest first.
#[derive(Debug)]
struct Numbers {
    runs: alloc::vec::IntoIter<Run>,
    now: Run,
}

impl Numbers {
    fn new(runs: Vec<Run>) -> Self {
        Numbers {
            runs: runs.into_iter(),
            now: Run { first: 0, count: 0 },
        }
    }

    fn take(&mut self) -> Option<u32> {
        if self.now.count == 0 {
            self.now = self.runs.next()?;
        }
        let number = self.now.first;
        self.now = Run {
            first: number.wrapping_add(1),
            count: self.now.count - 1,
        };
        Some(number)
    }
}

/// What lives as long as one batch.
///
/// Invariants: nothing in here outlives the batch, so a restored manager plans the same.
#[derive(Debug)]
pub(crate) struct Context {
    plan: Writer,
    allocations: Numbers,
    tables: Numbers,
    next: BTreeMap<TimelineId, u64>,
    /// Waits planned in this batch: (waiting, waited) to the largest value.
    waited: BTreeMap<(TimelineId, TimelineId), u64>,
    /// Buffers that the current request needs resident.
    pub(crate) locked: Vec<BufferId>,
    /// Buffers that the current request has tried to evict in vain.
    pub(crate) stuck: Vec<BufferId>,
    /// Room that was found ahead.
    pub(crate) ready: Ready,
}

impl Context {
    pub(crate) fn new(grants: Grants) -> Self {
        Context {
            plan: Writer::new(Kind::Plan),
            allocations: Numbers::new(grants.allocations),
            tables: Numbers::new(grants.tables),
            next: grants
                .timelines
                .iter()
                .map(|p| (p.timeline, p.value))
                .collect(),
            waited: BTreeMap::new(),
            locked: Vec::new(),
            stuck: Vec::new(),
            ready: Ready::default(),
        }
    }

    pub(crate) fn finish(self) -> Vec<u64> {
        self.plan.finish()
    }

    /// Appends an operation.
    ///
    /// INVARIANT: extents and segments were counted against the item limit before, so every
    /// operation fits.
    pub(crate) fn emit(&mut self, op: &Op<'_>) {
        let fits = op.encode(&mut self.plan);
        debug_assert!(fits);
    }

    /// The next unused allocation number.
    pub(crate) fn allocation(&mut self) -> Option<AllocationId> {
        self.allocations.take().map(AllocationId)
    }

    /// The next unused table number.
    pub(crate) fn table(&mut self) -> Option<TableId> {
        self.tables.take().map(TableId)
    }

    /// Whether operations may be planned on a timeline.
    pub(crate) fn granted(&self, timeline: TimelineId) -> bool {
        self.next.contains_key(&timeline)
    }

    /// The point that the next operation of a timeline will reach.
    pub(crate) fn point(&mut self, timeline: TimelineId) -> Option<Point> {
        let next = self.next.get_mut(&timeline)?;
        let value = *next;
        *next += 1;
        Some(Point { timeline, value })
    }

    /// Plans what a timeline must wait for, leaving out its own points (it runs in order), points
    /// that are reached, and what it waits for already.
    pub(crate) fn wait(
        &mut self,
        on: TimelineId,
        points: &PointSet,
        reached: impl Fn(Point) -> bool,
    ) {
        for point in points.iter() {
            if point.timeline == on || reached(point) {
                continue;
            }
            let known = self.waited.entry((on, point.timeline)).or_insert(0);
            if *known < point.value {
                *known = point.value;
                self.emit(&Op::Wait {
                    timeline: on,
                    point,
                });
            }
        }
    }
}
