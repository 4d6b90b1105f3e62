//! Points on timelines: fences as data.

use crate::id::TimelineId;
use alloc::vec::Vec;

/// A value that a timeline will reach; the only form in which a fence crosses a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// The timeline.
    pub timeline: TimelineId,
    /// The value; reached when the timeline stands at it or beyond.
    pub value: u64,
}

/// Points that must all be reached, at most one per timeline.
///
/// Invariants: sorted by timeline; of two points on one timeline only the later one is kept,
/// which loses nothing because a timeline only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointSet(Vec<Point>);

impl PointSet {
    /// No point: reached at once.
    pub const fn new() -> Self {
        PointSet(Vec::new())
    }

    /// Adds a point, keeping the later one where the timeline is present already.
    pub fn add(&mut self, point: Point) {
        match self.0.binary_search_by_key(&point.timeline, |p| p.timeline) {
            Ok(at) => self.0[at].value = self.0[at].value.max(point.value),
            Err(at) => self.0.insert(at, point),
        }
    }

    /// Adds every point of another set.
    pub fn join(&mut self, other: &PointSet) {
        other.iter().for_each(|p| self.add(p));
    }

    /// Drops the points that `reached` says are reached.
    pub fn retire(&mut self, reached: impl Fn(Point) -> bool) {
        self.0.retain(|&p| !reached(p));
    }

    /// The points, by timeline.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Point> + '_ {
        self.0.iter().copied()
    }

    /// Whether nothing has to be waited for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many timelines are named.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets every point.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl FromIterator<Point> for PointSet {
    fn from_iter<T: IntoIterator<Item = Point>>(points: T) -> Self {
        let mut set = PointSet::new();
        points.into_iter().for_each(|p| set.add(p));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_point_of_a_timeline_wins() {
        let at = |t, value| Point {
            timeline: TimelineId(t),
            value,
        };
        let mut set: PointSet = [at(2, 5), at(1, 9), at(2, 3)].into_iter().collect();
        assert!(set.iter().eq([at(1, 9), at(2, 5)]));
        set.retire(|p| p.timeline == TimelineId(1));
        assert!(set.iter().eq([at(2, 5)]));
    }
}
