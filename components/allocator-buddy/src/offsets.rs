//! Ordered sets of keys as sparse bitmap trees in a shared pool of nodes.

use crate::pool::{DIGIT, Pool, through};

/// Levels above the words: 11 digits of 6 bits make a 64-bit key.
const LEVELS: usize = 10;

/// The digit of a key at a level.
#[inline]
fn digit(key: u64, level: usize) -> u32 {
    (key >> (DIGIT * level as u32)) as u32 & 63
}

/// The lowest level whose node can hold a key.
#[inline]
fn level_of(key: u64) -> u8 {
    key.checked_ilog2().map_or(0, |bit| (bit / DIGIT) as u8)
}

/// One set of keys; its nodes are in a [`Pool`].
///
/// Complexity: every operation O(levels), that is O(log64(largest key)), unless said otherwise.
/// Invariants: no node is empty; `level` is enough for the largest key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Set {
    root: u32,
    level: u8,
    /// How many keys.
    pub(crate) len: u64,
}

impl Set {
    /// Adds a key that is not in the set.
    pub(crate) fn insert(&mut self, pool: &mut Pool, key: u64) {
        if self.len == 0 {
            self.level = level_of(key);
            self.root = pool.make(self.level as usize);
        }
        while self.level < level_of(key) {
            let root = pool.make(self.level as usize + 1);
            let best = pool.best(self.level as usize, self.root);
            let node = &mut pool.nodes[root as usize];
            (node.mask, node.child[0], node.zeros[0]) = (1, self.root, best);
            self.root = root;
            self.level += 1;
        }
        self.len += 1;
        let mut at = self.root;
        for level in (1..=self.level as usize).rev() {
            let slot = digit(key, level);
            if pool.nodes[at as usize].mask >> slot & 1 == 0 {
                let child = pool.make(level - 1);
                let node = &mut pool.nodes[at as usize];
                node.mask |= 1 << slot;
                (node.child[slot as usize], node.zeros[slot as usize]) = (child, 0);
            }
            let node = &mut pool.nodes[at as usize];
            let zeros = key.trailing_zeros().min(DIGIT * level as u32) as u8;
            node.zeros[slot as usize] = node.zeros[slot as usize].max(zeros);
            at = node.child[slot as usize];
        }
        pool.words[at as usize] |= 1 << digit(key, 0);
    }

    /// Takes a key out; `false` when it is not in the set.
    pub(crate) fn remove(&mut self, pool: &mut Pool, key: u64) -> bool {
        let mut path = [0; LEVELS + 1];
        let Some(word) = self.path(pool, key, &mut path) else {
            return false;
        };
        self.len -= 1;
        let bits = &mut pool.words[word as usize];
        *bits &= !(1 << digit(key, 0));
        let mut gone = *bits == 0;
        if gone {
            pool.recycle(0, word);
        }
        // Up the path, as long as a parent still has to learn something.
        let (top, mut below) = (self.level as usize, word);
        for level in 1..=top {
            let (at, slot) = (path[level], digit(key, level));
            let best = if gone { 0 } else { pool.best(level - 1, below) };
            let node = &mut pool.nodes[at as usize];
            let before = through(level, slot, node.zeros[slot as usize]);
            if gone {
                node.mask &= !(1 << slot);
                if node.mask == 0 {
                    pool.recycle(level, at);
                    continue;
                }
            } else if node.zeros[slot as usize] == best {
                break;
            } else {
                node.zeros[slot as usize] = best;
            }
            (gone, below) = (false, at);
            // Another child was at least as good: nobody above notices.
            if level < top
                && before
                    < pool.nodes[path[level + 1] as usize].zeros[digit(key, level + 1) as usize]
            {
                break;
            }
        }
        true
    }

    /// Whether a key is in the set.
    pub(crate) fn contains(&self, pool: &Pool, key: u64) -> bool {
        self.path(pool, key, &mut [0; LEVELS + 1]).is_some()
    }

    /// The word that holds a key, with the nodes above it.
    #[inline]
    fn path(&self, pool: &Pool, key: u64, path: &mut [u32; LEVELS + 1]) -> Option<u32> {
        if self.len == 0 || level_of(key) > self.level {
            return None;
        }
        let mut at = self.root;
        for level in (1..=self.level as usize).rev() {
            path[level] = at;
            let node = &pool.nodes[at as usize];
            let slot = digit(key, level);
            if node.mask >> slot & 1 == 0 {
                return None;
            }
            at = node.child[slot as usize];
        }
        (pool.words[at as usize] >> digit(key, 0) & 1 != 0).then_some(at)
    }

    /// The largest key whose `zeros` low bits are clear.
    pub(crate) fn last_multiple(&self, pool: &Pool, zeros: u32) -> Option<u64> {
        if self.len == 0 {
            None
        } else {
            pool.highest(self.level as usize, self.root, zeros)
        }
    }

    /// The smallest key that is at least `from`.
    pub(crate) fn next(&self, pool: &Pool, from: u64) -> Option<u64> {
        if self.len == 0 || level_of(from) > self.level {
            return None;
        }
        // The deepest place on the path to `from` where a larger key branches off.
        let mut branch = None;
        let mut at = self.root;
        for level in (0..=self.level as usize).rev() {
            let slot = digit(from, level);
            let mask = pool.mask(level, at);
            let above = mask & (u64::MAX << slot) & !(1 << slot);
            if above != 0 {
                branch = Some((level, at, above.trailing_zeros()));
            }
            if mask >> slot & 1 == 0 {
                break;
            }
            if level == 0 {
                return Some(from);
            }
            at = pool.nodes[at as usize].child[slot as usize];
        }
        let (level, at, slot) = branch?;
        let above = from.checked_shr(DIGIT * (level as u32 + 1)).unwrap_or(0);
        let key = above << DIGIT | u64::from(slot);
        if level == 0 {
            return Some(key);
        }
        Some(pool.lowest(level - 1, pool.nodes[at as usize].child[slot as usize], key))
    }

    /// Its tree for [`Pool::consistent`]: level, root and number of keys.
    pub(crate) fn tree(&self) -> Option<(usize, u32, u64)> {
        (self.len != 0).then_some((self.level as usize, self.root, self.len))
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
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_answers_as_a_sorted_set() {
        for (seed, bits) in [(1, 5), (2, 9), (3, 13), (4, 40), (5, 64)] {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut pool, mut set, mut model) = (Pool::default(), Set::default(), BTreeSet::new());
            for step in 0..6000 {
                // Near an edge of a digit as often as anywhere, and emptied from time to time.
                let key = rng.u64(..) >> (64 - bits) >> rng.u32(..bits) << rng.u32(..4);
                let key = key & (u64::MAX >> (64 - bits));
                if rng.u32(..1000) < if step / 1000 % 2 == 0 { 600 } else { 300 } {
                    if model.insert(key) {
                        set.insert(&mut pool, key);
                    }
                } else {
                    let key = model.range(key..).next().copied().unwrap_or(key);
                    assert_eq!(set.remove(&mut pool, key), model.remove(&key));
                }
                assert_eq!(set.len, model.len() as u64);
                assert_eq!(set.contains(&pool, key), model.contains(&key));
                assert_eq!(set.next(&pool, key), model.range(key..).next().copied());
                let zeros = rng.u32(..bits);
                let multiple = |key: &&u64| key.is_multiple_of(1 << zeros);
                let last = model.iter().rev().find(multiple).copied();
                assert_eq!(set.last_multiple(&pool, zeros), last);
                if step % 50 == 0 {
                    assert!(set.keys(&pool).eq(model.iter().copied()));
                    pool.consistent(set.tree().into_iter()).unwrap();
                }
            }
        }
    }
}
