//! The plan under construction: granted numbers, points, and waits.

use crate::ahead::Ready;
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
    /// The next point of each timeline; there are few.
    next: Vec<Point>,
    /// Waits planned in this batch: who waits, and for what at the latest.
    waited: Vec<(TimelineId, Point)>,
    /// Buffers that the current request needs resident.
    pub(crate) locked: Vec<BufferId>,
    /// Room for the tables of one job.
    pub(crate) tables_used: Vec<TableId>,
    /// Buffers that the current request has tried to evict in vain.
    pub(crate) stuck: Vec<BufferId>,
    /// Room that was found ahead.
    pub(crate) ready: Ready,
}

impl Context {
    pub(crate) fn new(grants: Grants, requests: usize) -> Self {
        // What a return with an eviction takes; a plan that is copied as it grows costs more.
        const WORDS: usize = 96;
        let plan = Vec::with_capacity(requests.min(1 << 16) * WORDS);
        Context {
            plan: Writer::reuse(plan, Kind::Plan),
            allocations: Numbers::new(grants.allocations),
            tables: Numbers::new(grants.tables),
            next: grants.timelines,
            waited: Vec::new(),
            locked: Vec::new(),
            tables_used: Vec::new(),
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
        self.next.iter().any(|p| p.timeline == timeline)
    }

    /// The point that the next operation of a timeline will reach.
    pub(crate) fn point(&mut self, timeline: TimelineId) -> Option<Point> {
        let next = self.next.iter_mut().find(|p| p.timeline == timeline)?;
        let point = *next;
        next.value += 1;
        Some(point)
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
            let known = self
                .waited
                .iter_mut()
                .find(|(who, p)| *who == on && p.timeline == point.timeline);
            match known {
                Some((_, known)) if known.value >= point.value => continue,
                Some((_, known)) => *known = point,
                None => self.waited.push((on, point)),
            }
            self.emit(&Op::Wait {
                timeline: on,
                point,
            });
        }
    }
}
