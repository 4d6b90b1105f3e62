//! Ordered sets of keys as sparse bitmap trees in a shared pool of leaves and nodes.

use crate::bits::DIGIT;
use crate::pool::{NONE, Pool};
use alloc::boxed::Box;

/// The lowest level whose node can hold a key.
fn level_of(key: u64) -> u32 {
    key.checked_ilog2().map_or(0, |bit| bit / DIGIT)
}

/// How many low bits of a key are clear, of 0 all that count.
#[inline]
fn zeros(key: u64) -> usize {
    key.trailing_zeros().min(63) as usize
}

/// One set of keys; its tree is in a [`Pool`].
///
/// Complexity: every operation O(levels), that is O(log4096(largest key)), unless said otherwise.
/// Invariants: only the root may be empty.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    /// [`NONE`] until the first key comes.
    root: u32,
    level: u32,
    /// How many keys.
    pub(crate) len: u64,
    /// How many keys have exactly so many low bits clear; 0 counts as 63. Kept from the first
    /// time on that somebody asks for multiples, since few ever do.
    zeros: Option<Box<[u32; 64]>>,
}

impl Set {
    pub(crate) const EMPTY: Set = Set {
        root: NONE,
        level: 0,
        len: 0,
        zeros: None,
    };

    /// Makes room for keys up to one.
    pub(crate) fn reach(&mut self, pool: &mut Pool, largest: u64) {
        while self.level < level_of(largest) {
            if self.root != NONE {
                self.root = pool.raise(self.level, self.root);
            }
            self.level += 1;
        }
    }

    /// Adds 1, or -1 as a wrapping number, to the count that a key belongs to.
    #[inline]
    fn count(&mut self, key: u64, by: u32) {
        if let Some(counts) = &mut self.zeros {
            let count = &mut counts[zeros(key)];
            *count = count.wrapping_add(by);
        }
    }

    /// Adds a key that is not in the set and not larger than it reaches.
    #[inline]
    pub(crate) fn insert(&mut self, pool: &mut Pool, key: u64) {
        if self.root == NONE {
            self.root = pool.make(self.level);
        }
        pool.insert(self.level, self.root, key);
        self.len += 1;
        self.count(key, 1);
    }

    /// Adds a key that is not in the set, or takes its buddy, which differs in the lowest bit, out
    /// and says so.
    #[inline]
    pub(crate) fn pair(&mut self, pool: &mut Pool, key: u64) -> bool {
        if self.root == NONE {
            self.root = pool.make(self.level);
        }
        let paired = pool.pair(self.level, self.root, key);
        if paired {
            self.len -= 1;
            self.count(key ^ 1, u32::MAX);
        } else {
            self.len += 1;
            self.count(key, 1);
        }
        paired
    }

    /// Takes out the largest key.
    #[inline]
    pub(crate) fn pop(&mut self, pool: &mut Pool) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let key = pool.pop(self.level, self.root)?;
        self.len -= 1;
        self.count(key, u32::MAX);
        Some(key)
    }

    /// Takes a key out; `false` when it is not in the set.
    #[inline]
    pub(crate) fn remove(&mut self, pool: &mut Pool, key: u64) -> bool {
        let found = self.len != 0 && pool.remove(self.level, self.root, key);
        if found {
            self.len -= 1;
            self.count(key, u32::MAX);
        }
        found
    }

    /// Whether a key is in the set.
    pub(crate) fn contains(&self, pool: &Pool, key: u64) -> bool {
        self.len != 0 && pool.leaf(self.level, self.root, key).is_some()
    }

    /// The largest key.
    #[inline]
    pub(crate) fn last(&self, pool: &Pool) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        pool.last(self.level, self.root)
    }

    /// The largest key that is at most `to`.
    pub(crate) fn previous(&self, pool: &Pool, to: u64) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let to = if level_of(to) > self.level {
            u64::MAX
        } else {
            to
        };
        pool.previous(self.level, self.root, to, 0)
    }

    /// Begins to count keys by their clear low bits, which [`Set::last_multiple`] needs.
    pub(crate) fn count_zeros(&mut self, pool: &Pool) {
        if self.zeros.is_none() {
            let mut counts = Box::new([0; 64]);
            self.keys(pool).for_each(|key| counts[zeros(key)] += 1);
            self.zeros = Some(counts);
        }
    }

    /// The largest key whose `zeros` low bits are clear.
    ///
    /// Complexity: O(1) when there is none; else the leaves above it may have to be looked at.
    pub(crate) fn last_multiple(&self, pool: &Pool, zeros: u32) -> Option<u64> {
        let counts = self.zeros.as_ref()?.get(zeros as usize..)?;
        if counts.iter().all(|&count| count == 0) {
            return None;
        }
        pool.previous(self.level, self.root, u64::MAX, zeros)
    }

    /// The smallest key that is at least `from`.
    pub(crate) fn next(&self, pool: &Pool, from: u64) -> Option<u64> {
        if self.len == 0 || level_of(from) > self.level {
            return None;
        }
        pool.next(self.level, self.root, from)
    }

    /// Its tree for [`Pool::consistent`]: level, root and number of keys.
    pub(crate) fn tree(&self) -> Option<(u32, u32, u64)> {
        (self.root != NONE).then_some((self.level, self.root, self.len))
    }

    /// Every key, ascending.
    pub(crate) fn keys<'a>(&'a self, pool: &'a Pool) -> impl Iterator<Item = u64> + 'a {
        let mut from = Some(0);
        core::iter::from_fn(move || {
            let key = self.next(pool, from?)?;
            from = key.checked_add(1);
            Some(key)
        })
    }

    /// Whether the counts by clear low bits are those of the keys.
    pub(crate) fn counted(&self, pool: &Pool) -> bool {
        let mut fresh = Set {
            zeros: None,
            ..*self
        };
        fresh.count_zeros(pool);
        self.zeros.is_none() || self.zeros == fresh.zeros
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_answers_as_a_sorted_set() {
        for (seed, bits) in [(1, 5), (2, 9), (3, 13), (4, 24), (5, 40), (6, 64)] {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut pool, mut set, mut model) = (Pool::default(), Set::EMPTY, BTreeSet::new());
            for step in 0..6000 {
                // Near an edge of a digit as often as anywhere, and emptied from time to time.
                let key = rng.u64(..) >> (64 - bits) >> rng.u32(..bits) << rng.u32(..4);
                let key = key & (u64::MAX >> (64 - bits));
                // The set grows with its keys, as it does with an arena.
                set.reach(&mut pool, key);
                if rng.u32(..1000) < if step / 1000 % 2 == 0 { 600 } else { 300 } {
                    if !model.contains(&key) && rng.bool() {
                        let paired = set.pair(&mut pool, key);
                        assert_eq!(paired, model.remove(&(key ^ 1)));
                        if !paired {
                            model.insert(key);
                        }
                    } else if model.insert(key) {
                        set.insert(&mut pool, key);
                    }
                } else if rng.bool() {
                    assert_eq!(set.pop(&mut pool), model.pop_last());
                } else {
                    let key = model.range(key..).next().copied().unwrap_or(key);
                    assert_eq!(set.remove(&mut pool, key), model.remove(&key));
                }
                assert_eq!(set.len, model.len() as u64);
                assert_eq!(set.contains(&pool, key), model.contains(&key));
                assert_eq!(set.next(&pool, key), model.range(key..).next().copied());
                let before = model.range(..=key).next_back().copied();
                assert_eq!(set.previous(&pool, key), before);
                assert_eq!(set.last(&pool), model.last().copied());
                let zeros = rng.u32(..bits);
                set.count_zeros(&pool);
                let multiple = |key: &&u64| key.is_multiple_of(1 << zeros);
                let last = model.iter().rev().find(multiple).copied();
                assert_eq!(set.last_multiple(&pool, zeros), last);
                if step % 50 == 0 {
                    assert!(set.keys(&pool).eq(model.iter().copied()));
                    assert!(set.counted(&pool));
                    pool.consistent(set.tree().into_iter()).unwrap();
                }
            }
        }
    }
}
