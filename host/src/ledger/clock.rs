//! What comes before what: vector clocks over timelines.

use gpumm_contract::journal::Journaled;
use gpumm_contract::{Point, PointSet, TimelineId};

/// For each timeline, what its next operation is known to come after.
///
/// Invariants: `(timeline, from)` holds the clock of the operations that reach `from` and later,
/// up to the next entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Clocks {
    since: Journaled<(TimelineId, u64), PointSet>,
}

impl Clocks {
    /// From `next` on, a timeline comes after a point and after all that point came after.
    pub(super) fn wait(&mut self, timeline: TimelineId, next: u64, point: Point) {
        let mut clock = self.at(timeline, next).cloned().unwrap_or_default();
        if let Some(known) = self.at(point.timeline, point.value) {
            clock.join(known);
        }
        clock.add(point);
        self.since.insert((timeline, next), clock);
    }

    /// Whether an operation that reaches `at` comes after a point.
    pub(super) fn ordered(&self, at: Point, point: Point) -> bool {
        if point.timeline == at.timeline {
            return point.value < at.value;
        }
        let clock = self.at(at.timeline, at.value);
        clock.is_some_and(|c| {
            c.iter()
                .any(|p| p.timeline == point.timeline && p.value >= point.value)
        })
    }

    fn at(&self, timeline: TimelineId, value: u64) -> Option<&PointSet> {
        self.since
            .range((timeline, 0)..=(timeline, value))
            .next_back()
            .map(|(_, clock)| clock)
    }

    /// Forgets clocks that only operations before a reached value had.
    pub(super) fn retire(&mut self, reached: Point) {
        let range = (reached.timeline, 0)..=(reached.timeline, reached.value);
        let old: Vec<_> = self
            .since
            .range(range)
            .rev()
            .skip(1)
            .map(|(&key, _)| key)
            .collect();
        for key in old {
            self.since.remove(&key);
        }
    }

    pub(super) fn begin(&mut self) {
        self.since.begin();
    }

    pub(super) fn commit(&mut self) {
        self.since.commit();
    }

    pub(super) fn rollback(&mut self) {
        self.since.rollback();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(t: u32, value: u64) -> Point {
        Point {
            timeline: TimelineId(t),
            value,
        }
    }

    #[test]
    fn order_is_transitive_and_not_retroactive() {
        let mut clocks = Clocks::default();
        clocks.wait(TimelineId(1), 5, point(0, 3));
        clocks.wait(TimelineId(2), 9, point(1, 5));
        assert!(clocks.ordered(point(1, 5), point(0, 3)));
        assert!(clocks.ordered(point(1, 80), point(0, 2)));
        assert!(
            !clocks.ordered(point(1, 4), point(0, 3)),
            "only what follows the wait"
        );
        assert!(!clocks.ordered(point(1, 5), point(0, 4)));
        assert!(
            clocks.ordered(point(2, 9), point(0, 3)),
            "through timeline 1"
        );
        clocks.wait(TimelineId(3), 1, point(1, 4));
        assert!(
            !clocks.ordered(point(3, 1), point(0, 3)),
            "1 had not waited yet at 4"
        );
        assert!(
            clocks.ordered(point(0, 8), point(0, 7)) && !clocks.ordered(point(0, 8), point(0, 8))
        );
        clocks.retire(point(1, 70));
        assert!(
            clocks.ordered(point(1, 71), point(0, 3)),
            "the newest clock stays"
        );
    }
}
