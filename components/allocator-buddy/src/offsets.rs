//! Ordered sets of keys as sparse bitmap trees: 64 children to a node, 64 keys to a leaf word.

use alloc::vec::Vec;

const DIGIT: u32 = 6;
/// Levels above the words: 11 digits of 6 bits make a 64-bit key.
const LEVELS: usize = 10;

/// A node above the words. A child counts only where its bit of `mask` is set.
#[derive(Clone, Debug)]
struct Node {
    mask: u64,
    child: [u32; 64],
}

/// The nodes and words that all sets share; what a set no longer needs is used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    nodes: Vec<Node>,
    words: Vec<u64>,
    spare_nodes: Vec<u32>,
    spare_words: Vec<u32>,
}

impl Pool {
    /// A new, empty node of a level.
    fn make(&mut self, level: usize) -> u32 {
        if level == 0 {
            if let Some(at) = self.spare_words.pop() {
                return at;
            }
            self.words.push(0);
            return (self.words.len() - 1) as u32;
        }
        if let Some(at) = self.spare_nodes.pop() {
            return at;
        }
        self.nodes.push(Node { mask: 0, child: [0; 64] });
        (self.nodes.len() - 1) as u32
    }

    /// Takes back an empty node of a level.
    fn recycle(&mut self, level: usize, at: u32) {
        if level == 0 {
            self.spare_words.push(at);
        } else {
            self.spare_nodes.push(at);
        }
    }

    #[inline]
    fn mask(&self, level: usize, at: u32) -> u64 {
        if level == 0 { self.words[at as usize] } else { self.nodes[at as usize].mask }
    }

    #[inline]
    fn mask_mut(&mut self, level: usize, at: u32) -> &mut u64 {
        if level == 0 { &mut self.words[at as usize] } else { &mut self.nodes[at as usize].mask }
    }

    /// The smallest key below a node.
    fn lowest(&self, mut level: usize, mut at: u32, mut key: u64) -> u64 {
        loop {
            let slot = self.mask(level, at).trailing_zeros();
            key = key << DIGIT | u64::from(slot);
            if level == 0 {
                return key;
            }
            at = self.nodes[at as usize].child[slot as usize];
            level -= 1;
        }
    }

    /// The largest key below a node with `zeros` low bits clear.
    fn highest(&self, level: usize, at: u32, key: u64, zeros: u32) -> Option<u64> {
        let mut mask = self.mask(level, at) & multiples(zeros.saturating_sub(DIGIT * level as u32));
        while let Some(slot) = mask.checked_ilog2() {
            let key = key << DIGIT | u64::from(slot);
            if level == 0 {
                return Some(key);
            }
            let child = self.nodes[at as usize].child[slot as usize];
            if let Some(found) = self.highest(level - 1, child, key, zeros) {
                return Some(found);
            }
            mask &= !(1 << slot);
        }
        None
    }
}

/// The slots of a digit whose `zeros` low bits are clear.
fn multiples(zeros: u32) -> u64 {
    const OF: [u64; 7] =
        [u64::MAX, 0x5555_5555_5555_5555, 0x1111_1111_1111_1111, 0x0101_0101_0101_0101, 0x0001_0001_0001_0001, 0x1_0000_0001, 1];
    OF[zeros.min(DIGIT) as usize]
}

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
            let node = &mut pool.nodes[root as usize];
            node.mask = 1;
            node.child[0] = self.root;
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
                node.child[slot as usize] = child;
            }
            at = pool.nodes[at as usize].child[slot as usize];
        }
        pool.words[at as usize] |= 1 << digit(key, 0);
    }

    /// Takes a key out; `false` when it is not in the set.
    pub(crate) fn remove(&mut self, pool: &mut Pool, key: u64) -> bool {
        let mut path = [0; LEVELS + 1];
        let Some(word) = self.path(pool, key, &mut path) else { return false };
        path[0] = word;
        self.len -= 1;
        for (level, &at) in path.iter().enumerate().take(self.level as usize + 1) {
            let mask = pool.mask_mut(level, at);
            *mask &= !(1 << digit(key, level));
            if *mask != 0 {
                break;
            }
            pool.recycle(level, at);
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
    ///
    /// Complexity: with `zeros` above 6 it may visit every node of the set.
    pub(crate) fn last_multiple(&self, pool: &Pool, zeros: u32) -> Option<u64> {
        if self.len == 0 { None } else { pool.highest(self.level as usize, self.root, 0, zeros) }
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

impl Pool {
    /// Counts what the sets use and compares it with what exists.
    pub(crate) fn consistent<'a>(&self, sets: impl Iterator<Item = &'a Set>) -> Result<(), &'static str> {
        let (mut nodes, mut words) = (self.spare_nodes.len(), self.spare_words.len());
        for set in sets.filter(|set| set.len != 0) {
            let keys = self.count(set.level as usize, set.root, &mut nodes, &mut words);
            if keys != Some(set.len) {
                return Err("a set's nodes are filled and its keys counted");
            }
        }
        if (nodes, words) != (self.nodes.len(), self.words.len()) {
            return Err("no node of the sets is lost");
        }
        Ok(())
    }

    fn count(&self, level: usize, at: u32, nodes: &mut usize, words: &mut usize) -> Option<u64> {
        let mut mask = self.mask(level, at);
        if mask == 0 {
            return None;
        }
        if level == 0 {
            *words += 1;
            return Some(u64::from(mask.count_ones()));
        }
        *nodes += 1;
        let mut keys = 0;
        while mask != 0 {
            let child = self.nodes[at as usize].child[mask.trailing_zeros() as usize];
            keys += self.count(level - 1, child, nodes, words)?;
            mask &= mask - 1;
        }
        Some(keys)
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
                    pool.consistent(core::iter::once(&set)).unwrap();
                }
            }
        }
    }
}
