//! Points on timelines: fences as data.

use crate::id::TimelineId;
use alloc::boxed::Box;
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
pub struct PointSet(Held);

/// Most sets hold nothing or one point, and there are several for every buffer: those take 16
/// bytes and no heap block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Held {
    #[default]
    Nothing,
    /// A [`Point`] in two fields, which leave room for the tag.
    One(TimelineId, u64),
    /// INVARIANT: at least two.
    #[expect(
        clippy::box_collection,
        reason = "a thin pointer keeps every set small"
    )]
    Many(Box<Vec<Point>>),
}

const _: () = assert!(size_of::<PointSet>() == 16);

impl PointSet {
    /// No point: reached at once.
    pub const fn new() -> Self {
        PointSet(Held::Nothing)
    }

    /// Adds a point, keeping the later one where the timeline is present already.
    #[inline]
    pub fn add(&mut self, point: Point) {
        match &mut self.0 {
            Held::Nothing => self.0 = Held::One(point.timeline, point.value),
            Held::One(timeline, value) if *timeline == point.timeline => {
                *value = point.value.max(*value);
            }
            &mut Held::One(timeline, value) => {
                let one = Point { timeline, value };
                let mut both = Vec::with_capacity(4);
                both.extend([one.min(point), one.max(point)]);
                self.0 = Held::Many(Box::new(both));
            }
            Held::Many(points) => {
                match points.binary_search_by_key(&point.timeline, |p| p.timeline) {
                    Ok(at) => points[at].value = points[at].value.max(point.value),
                    Err(at) => points.insert(at, point),
                }
            }
        }
    }

    /// Adds every point of another set.
    pub fn join(&mut self, other: &PointSet) {
        match (&self.0, &other.0) {
            (_, Held::Nothing) => {}
            (Held::Nothing, _) => self.0 = other.0.clone(),
            _ => other.iter().for_each(|p| self.add(p)),
        }
    }

    /// Drops the points that `reached` says are reached.
    pub fn retire(&mut self, reached: impl Fn(Point) -> bool) {
        match &mut self.0 {
            Held::Nothing => {}
            &mut Held::One(timeline, value) => {
                if reached(Point { timeline, value }) {
                    self.0 = Held::Nothing;
                }
            }
            Held::Many(points) => {
                points.retain(|&p| !reached(p));
                match points[..] {
                    [] => self.0 = Held::Nothing,
                    [one] => self.0 = Held::One(one.timeline, one.value),
                    _ => {}
                }
            }
        }
    }

    /// The points, by timeline.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Point> + '_ {
        let (first, rest) = match &self.0 {
            Held::Nothing => (None, &[][..]),
            &Held::One(timeline, value) => (Some(Point { timeline, value }), &[][..]),
            Held::Many(points) => (None, &points[..]),
        };
        Points { first, rest }
    }

    /// Whether nothing has to be waited for.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Held::Nothing)
    }

    /// How many timelines are named.
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Forgets every point.
    pub fn clear(&mut self) {
        self.0 = Held::Nothing;
    }
}

/// The points of a set.
struct Points<'a> {
    first: Option<Point>,
    rest: &'a [Point],
}

impl Iterator for Points<'_> {
    type Item = Point;

    #[inline]
    fn next(&mut self) -> Option<Point> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let (&point, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(point)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rest.len() + usize::from(self.first.is_some());
        (left, Some(left))
    }
}

impl ExactSizeIterator for Points<'_> {}

impl From<Point> for PointSet {
    fn from(point: Point) -> Self {
        PointSet(Held::One(point.timeline, point.value))
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

    /// Whatever the representation, a set is what a sorted map from timelines would be.
    #[test]
    fn equals_a_map() {
        use alloc::collections::BTreeMap;
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..2_000 {
            let mut sets = [PointSet::new(), PointSet::new()];
            let mut maps = [BTreeMap::new(), BTreeMap::new()];
            for _ in 0..rng.u8(0..12) {
                let which = rng.usize(0..2);
                let (timeline, value) = (TimelineId(rng.u32(0..4)), rng.u64(1..9));
                sets[which].add(Point { timeline, value });
                let latest = maps[which].entry(timeline).or_insert(value);
                *latest = value.max(*latest);
            }
            let [mut set, other] = sets;
            let [mut map, more] = maps;
            set.join(&other);
            for (timeline, value) in more {
                let latest = map.entry(timeline).or_insert(value);
                *latest = value.max(*latest);
            }
            let limit = rng.u64(0..9);
            set.retire(|p| p.value <= limit);
            map.retain(|_, value| *value > limit);
            let points = map
                .iter()
                .map(|(&timeline, &value)| Point { timeline, value });
            assert_eq!((set.len(), set.is_empty()), (map.len(), map.is_empty()));
            assert!(set.iter().eq(points.clone()));
            assert_eq!(set, points.collect(), "equal sets are equal");
        }
    }
}
