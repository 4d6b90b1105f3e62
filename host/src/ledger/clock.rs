//! What comes before what: vector clocks over timelines.

use super::timeline::Timelines;
use gpumm_contract::Point;

/// For each timeline, what its next operation is known to come after.
///
/// A clock is one value per timeline of the device: what comes up to there is before; 0 says
/// that nothing is.
///
/// Complexity: a wait copies one clock; a look at the newest one is O(1), at an older one
/// O(log n); `begin` and `rollback` are O(timelines).
/// Invariants: the clock filed under `from` is that of the operations that reach `from` and later,
/// up to the next one; of two under the same value the later one holds.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    of: Vec<History>,
    /// Words of one entry: the value it is filed under, and a clock.
    stride: usize,
}

/// The clocks of one timeline, oldest first, one after the other.
#[derive(Clone, Debug, Default)]
struct History {
    words: Vec<u64>,
    /// Where the first entry begins that is not forgotten.
    begin: usize,
    /// `begin` and the number of words when the journal was opened: what is older is not written to.
    before: (usize, usize),
}

/// Words that a history may have forgotten before it is moved together.
const FORGOTTEN: usize = 1024;

impl Clocks {
    pub(super) fn new(timelines: usize) -> Self {
        Clocks {
            of: vec![History::default(); timelines],
            stride: timelines + 1,
        }
    }

    /// From `at` on, a timeline comes after a point and after all that point came after.
    ///
    /// Bounds: both timelines are the device's, else nothing changes; `at` never goes back.
    pub(super) fn wait(&mut self, timelines: &Timelines, at: Point, point: Point) {
        let slots = (timelines.slot(at.timeline), timelines.slot(point.timeline));
        let (Some(slot), Some(other)) = slots else {
            return;
        };
        let stride = self.stride;
        let own = self.of[slot].entry(at.value, stride);
        // What a timeline's own operations came after is in its clock already.
        let known = match other == slot {
            true => None,
            false => self.of[other].find(point.value, stride),
        };
        for of in 0..stride - 1 {
            let after = known.map_or(0, |at| self.of[other].words[at + 1 + of]);
            let after = if of == other {
                after.max(point.value)
            } else {
                after
            };
            let mine = &mut self.of[slot].words[own + 1 + of];
            *mine = after.max(*mine);
        }
    }

    /// Whether an operation that reaches `at` comes after a point.
    pub(super) fn ordered(&self, timelines: &Timelines, at: Point, point: Point) -> bool {
        if point.timeline == at.timeline {
            return point.value < at.value;
        }
        let slots = (timelines.slot(at.timeline), timelines.slot(point.timeline));
        let (Some(slot), Some(other)) = slots else {
            return false;
        };
        let clock = self.of[slot].find(at.value, self.stride);
        clock.is_some_and(|at| self.of[slot].words[at + 1 + other] >= point.value)
    }

    /// Forgets clocks that only operations before a reached value had.
    pub(super) fn retire(&mut self, timelines: &Timelines, reached: Point) {
        if let Some(slot) = timelines.slot(reached.timeline) {
            let history = &mut self.of[slot];
            if let Some(at) = history.find(reached.value, self.stride) {
                history.begin = at;
            }
        }
    }

    /// Marks what [`rollback`](Clocks::rollback) goes back to.
    pub(super) fn begin(&mut self) {
        for history in &mut self.of {
            history.before = (history.begin, history.words.len());
        }
    }

    /// Keeps all changes since `begin`.
    pub(super) fn commit(&mut self) {
        for history in &mut self.of {
            if history.begin >= FORGOTTEN.max(history.words.len() / 2) {
                history.words.drain(..history.begin);
                history.begin = 0;
            }
        }
    }

    /// Takes all changes since `begin` back.
    pub(super) fn rollback(&mut self) {
        for history in &mut self.of {
            history.begin = history.before.0;
            history.words.truncate(history.before.1);
        }
    }
}

impl History {
    /// Where the clock of an operation that reaches a value begins.
    fn find(&self, value: u64, stride: usize) -> Option<usize> {
        let entries = (self.words.len() - self.begin) / stride;
        let from = |entry: usize| self.words[self.begin + entry * stride];
        // Nearly always the newest one is asked for.
        let (mut low, mut high) = match entries.checked_sub(1) {
            Some(last) if from(last) <= value => (last + 1, entries),
            _ => (0, entries),
        };
        while low < high {
            let middle = low.midpoint(high);
            match from(middle) <= value {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let entry = low.checked_sub(1)?;
        Some(self.begin + entry * stride)
    }

    /// Where the clock from a value on begins, to change; a copy of the one before where there is
    /// none, or where a rollback may ask for it.
    fn entry(&mut self, from: u64, stride: usize) -> usize {
        let last = self.find(from, stride);
        if let Some(at) = last.filter(|&at| at >= self.before.1 && self.words[at] == from) {
            return at;
        }
        let new = self.words.len();
        match last {
            Some(at) => self.words.extend_from_within(at..at + stride),
            None => self.words.resize(new + stride, 0),
        }
        self.words[new] = from;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpumm_contract::TimelineId;
    use gpumm_contract::facts::Role;

    fn point(t: u32, value: u64) -> Point {
        Point {
            timeline: TimelineId(t),
            value,
        }
    }

    fn timelines() -> Timelines {
        Timelines::new(&[0, 1, 2, 3].map(|t| (TimelineId(t), Role::Copy)))
    }

    #[test]
    fn order_is_transitive_and_not_retroactive() {
        let (all, mut clocks) = (timelines(), Clocks::new(4));
        let ordered = |clocks: &Clocks, at, after| clocks.ordered(&all, at, after);
        clocks.wait(&all, point(1, 5), point(0, 3));
        clocks.wait(&all, point(2, 9), point(1, 5));
        assert!(ordered(&clocks, point(1, 5), point(0, 3)));
        assert!(ordered(&clocks, point(1, 80), point(0, 2)));
        assert!(
            !ordered(&clocks, point(1, 4), point(0, 3)),
            "only what follows the wait"
        );
        assert!(!ordered(&clocks, point(1, 5), point(0, 4)));
        assert!(
            ordered(&clocks, point(2, 9), point(0, 3)),
            "through timeline 1"
        );
        clocks.wait(&all, point(3, 1), point(1, 4));
        assert!(
            !ordered(&clocks, point(3, 1), point(0, 3)),
            "1 had not waited yet at 4"
        );
        assert!(
            ordered(&clocks, point(0, 8), point(0, 7))
                && !ordered(&clocks, point(0, 8), point(0, 8))
        );
        clocks.retire(&all, point(1, 70));
        assert!(
            ordered(&clocks, point(1, 71), point(0, 3)),
            "the newest clock stays"
        );
        assert!(
            !ordered(&clocks, point(9, 1), point(0, 3)),
            "no such timeline"
        );
    }

    /// What the clocks say is what a search through all waits says, whatever is taken back.
    #[test]
    fn equals_a_search_through_the_waits() {
        let mut rng = fastrand::Rng::with_seed(9);
        for _ in 0..200 {
            let (all, mut clocks) = (timelines(), Clocks::new(4));
            let (mut waits, mut next, mut reached) = (Vec::new(), [1u64; 4], [0u64; 4]);
            for _ in 0..30 {
                let before = (waits.len(), next, reached);
                clocks.begin();
                for _ in 0..rng.u8(0..6) {
                    let (t, other) = (rng.usize(0..4), rng.usize(0..4));
                    // What came before a reached point is reached as well, and not asked about.
                    let after = point(other as u32, rng.u64(reached[other]..next[other]));
                    if after.value > reached[other] {
                        let at = point(t as u32, next[t]);
                        clocks.wait(&all, at, after);
                        waits.push((at, after));
                    }
                    next[t] += rng.u64(0..3);
                    let to = rng.u64(reached[other]..next[other]);
                    reached[other] = to;
                    clocks.retire(&all, point(other as u32, to));
                }
                match rng.bool() {
                    true => clocks.commit(),
                    false => {
                        clocks.rollback();
                        waits.truncate(before.0);
                        (next, reached) = (before.1, before.2);
                    }
                }
                // Only operations that are not over are asked about.
                for (t, after) in (0..4).flat_map(|t| (0..4).map(move |o| (t, o))) {
                    let at = point(
                        t as u32,
                        rng.u64(reached[t] + 1..=next[t].max(reached[t] + 1)),
                    );
                    let after = point(after, rng.u64(1..next[after as usize] + 2));
                    let want = comes_after(&waits, at, after);
                    assert_eq!(clocks.ordered(&all, at, after), want, "{at:?} {after:?}");
                }
            }
        }
    }

    fn comes_after(waits: &[(Point, Point)], at: Point, after: Point) -> bool {
        if at.timeline == after.timeline {
            return after.value < at.value;
        }
        // ORDER: a wait knows what the waits before it knew of the point it names.
        waits.iter().enumerate().any(|(i, (from, point))| {
            let mine = from.timeline == at.timeline && from.value <= at.value;
            let there = point.timeline == after.timeline && point.value >= after.value;
            mine && (there
                || point.timeline != after.timeline && comes_after(&waits[..i], *point, after))
        })
    }
}
