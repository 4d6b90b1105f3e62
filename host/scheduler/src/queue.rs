//! The run queue of a ring.

/// Where an entity stands: the smallest runs next.
///
/// Invariants: no two are equal, as no turn is given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// Virtual time, in microseconds shifted by the priority.
    pub(crate) virtual_time: i64,
    /// Priority, then average time of a job: who goes first at the same time.
    pub(crate) tie: u64,
    /// And last who came first.
    pub(crate) turn: u64,
}

const NOWHERE: u32 = u32::MAX;

/// Entities whose first job is ready, by rank: a binary heap that knows where everybody is.
///
/// Complexity: `first` O(1), everything else O(log entities).
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    heap: Vec<(Rank, u32)>,
    /// By entity: its index in the heap.
    places: Vec<u32>,
}

impl RunQueue {
    #[inline]
    pub(crate) fn first(&self) -> Option<(Rank, u32)> {
        self.heap.first().copied()
    }

    #[inline]
    fn place(&self, entity: u32) -> Option<usize> {
        let place = self.places.get(entity as usize)?;
        (*place != NOWHERE).then_some(*place as usize)
    }

    pub(crate) fn rank(&self, entity: u32) -> Option<Rank> {
        Some(self.heap.get(self.place(entity)?)?.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Files an entity under a rank, whether it was there or not.
    #[inline]
    pub(crate) fn set(&mut self, entity: u32, rank: Rank) {
        let at = match self.place(entity) {
            Some(at) => at,
            None => {
                if self.places.len() <= entity as usize {
                    self.places.resize(entity as usize + 1, NOWHERE);
                }
                self.heap.push((rank, entity));
                self.heap.len() - 1
            }
        };
        self.heap[at].0 = rank;
        if self.heap.len() == 1 {
            self.places[entity as usize] = 0;
        } else if self.rise(at) == at {
            self.sink(at);
        }
    }

    /// Takes an entity out.
    #[inline]
    pub(crate) fn remove(&mut self, entity: u32) {
        let Some(at) = self.place(entity) else {
            return;
        };
        self.heap.swap_remove(at);
        self.places[entity as usize] = NOWHERE;
        if at < self.heap.len() && self.rise(at) == at {
            self.sink(at);
        }
    }

    /// Moves what stands at an index up as far as it goes.
    #[inline]
    fn rise(&mut self, mut at: usize) -> usize {
        let moved = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[parent].0 < moved.0 {
                break;
            }
            self.put(at, self.heap[parent]);
            at = parent;
        }
        self.put(at, moved);
        at
    }

    /// Moves what stands at an index down as far as it goes.
    #[inline]
    fn sink(&mut self, mut at: usize) {
        let moved = self.heap[at];
        loop {
            let left = 2 * at + 1;
            let Some(mut least) = self.heap.get(left).copied() else {
                break;
            };
            let mut child = left;
            if let Some(&right) = self.heap.get(left + 1)
                && right.0 < least.0
            {
                (least, child) = (right, left + 1);
            }
            if moved.0 < least.0 {
                break;
            }
            self.put(at, least);
            at = child;
        }
        self.put(at, moved);
    }

    #[inline]
    fn put(&mut self, at: usize, one: (Rank, u32)) {
        self.heap[at] = one;
        self.places[one.1 as usize] = at as u32;
    }

    /// Whether the order and the places are right.
    pub(crate) fn is_sound(&self) -> bool {
        let ordered = (1..self.heap.len()).all(|at| self.heap[(at - 1) / 2].0 < self.heap[at].0);
        let mut all = self.heap.iter().zip(0..);
        let placed = all.all(|((_, entity), at)| self.place(*entity) == Some(at));
        let places = self.places.iter().filter(|&&place| place != NOWHERE);
        ordered && placed && places.count() == self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn equals_a_sorted_map() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut queue = RunQueue::default();
        let mut model = BTreeMap::new();
        for turn in 0..20_000 {
            let entity = rng.u32(0..40);
            let rank = Rank {
                virtual_time: rng.i64(-9..9),
                tie: rng.u64(0..3),
                turn,
            };
            if rng.u8(0..3) > 0 {
                queue.set(entity, rank);
                model.insert(entity, rank);
            } else {
                queue.remove(entity);
                model.remove(&entity);
            }
            assert!(queue.is_sound());
            let first = model.iter().map(|(entity, rank)| (*rank, *entity)).min();
            assert_eq!(queue.first(), first);
            assert_eq!(queue.rank(entity), model.get(&entity).copied());
            assert_eq!(queue.len(), model.len());
        }
    }
}
