//! What ends when a timeline reaches a value.

use super::timeline::Timelines;
use gpumm_contract::Point;
use std::collections::VecDeque;

/// Entries by the point that they are due at.
///
/// Complexity: what is filed in ascending order of values, as nearly everything is, costs O(1), and
/// so does each entry that becomes due; what comes out of order is moved past the later ones.
/// Invariants: of each timeline the values ascend; entries of equal points stand in the order in
/// which they were filed.
#[derive(Clone, Debug)]
pub(super) struct Due<T> {
    queues: Vec<VecDeque<(u64, T)>>,
    undo: Vec<Step<T>>,
    open: bool,
}

/// What was done to a queue.
#[derive(Clone, Debug)]
enum Step<T> {
    Filed { slot: usize, at: usize },
    Taken { slot: usize, entry: (u64, T) },
}

impl<T: Copy> Due<T> {
    pub(super) fn new(timelines: usize) -> Self {
        Due {
            queues: (0..timelines).map(|_| VecDeque::new()).collect(),
            undo: Vec::new(),
            open: false,
        }
    }

    /// Files an entry under a point of one of the device's timelines.
    pub(super) fn file(&mut self, timelines: &Timelines, point: Point, entry: T) {
        let Some(slot) = timelines.slot(point.timeline) else {
            return;
        };
        let queue = &mut self.queues[slot];
        let later = queue.iter().rev().take_while(|(v, _)| *v > point.value);
        let at = queue.len() - later.count();
        queue.insert(at, (point.value, entry));
        if self.open {
            self.undo.push(Step::Filed { slot, at });
        }
    }

    /// Takes the first entry out that is due at a point or before it on its timeline.
    pub(super) fn take(&mut self, timelines: &Timelines, reached: Point) -> Option<T> {
        let slot = timelines.slot(reached.timeline)?;
        let queue = &mut self.queues[slot];
        queue.front().filter(|(value, _)| *value <= reached.value)?;
        let entry = queue.pop_front()?;
        if self.open {
            self.undo.push(Step::Taken { slot, entry });
        }
        Some(entry.1)
    }

    /// Every entry with its point, by timeline and value.
    pub(super) fn iter<'a>(
        &'a self,
        timelines: &'a Timelines,
    ) -> impl Iterator<Item = (Point, T)> + 'a {
        let each = timelines.iter().zip(&self.queues);
        each.flat_map(|(of, queue)| {
            let timeline = of.id;
            let point = move |&(value, entry): &(u64, T)| (Point { timeline, value }, entry);
            queue.iter().map(point)
        })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// Opens the journal.
    pub(super) fn begin(&mut self) {
        self.open = true;
    }

    /// Keeps all changes since `begin`.
    pub(super) fn commit(&mut self) {
        self.open = false;
        self.undo.clear();
        for queue in &mut self.queues {
            if queue.is_empty() && queue.capacity() > KEPT {
                queue.shrink_to(KEPT);
            }
        }
        self.undo.shrink_to(KEPT);
    }

    /// Takes all changes since `begin` back, the last one first.
    pub(super) fn rollback(&mut self) {
        while let Some(step) = self.undo.pop() {
            match step {
                Step::Filed { slot, at } => _ = self.queues[slot].remove(at),
                Step::Taken { slot, entry } => self.queues[slot].push_front(entry),
            }
        }
        self.commit();
    }
}

/// How much room is kept for the next plan.
const KEPT: usize = 1024;

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

    /// Whatever is filed, taken and taken back, the queues are a list sorted by point.
    #[test]
    fn equals_a_sorted_list() {
        let mut rng = fastrand::Rng::with_seed(2);
        let all = Timelines::new(&[4, 7].map(|t| (TimelineId(t), Role::Run)));
        let mut due = Due::new(2);
        let mut model: Vec<(Point, u32)> = Vec::new();
        for round in 0..500 {
            let before = model.clone();
            due.begin();
            for entry in 0..rng.u32(0..12) {
                let at = point(
                    *rng.choice(&[4, 7]).expect("two"),
                    rng.u64(round..round + 9),
                );
                if rng.bool() {
                    due.file(&all, at, entry);
                    model.push((at, entry));
                    model.sort_by_key(|(point, _)| *point);
                } else {
                    let same = |(p, _): &(Point, u32)| p.timeline == at.timeline && *p <= at;
                    let first = model.iter().position(same);
                    let want = first.map(|i| model.remove(i).1);
                    assert_eq!(due.take(&all, at), want);
                }
            }
            if rng.bool() {
                due.rollback();
                model = before;
            } else {
                due.commit();
            }
            assert!(due.iter(&all).eq(model.iter().copied()));
            assert_eq!(due.is_empty(), model.is_empty());
        }
        due.file(&all, point(5, 1), 1);
        assert!(due.iter(&all).eq(model), "no timeline of the device");
    }
}
