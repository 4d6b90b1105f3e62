//! A set of small integers as a tree of bitmaps, 64 children to a word.

use alloc::vec;
use alloc::vec::Vec;

const BITS: usize = 64;

/// A set of integers below a bound.
///
/// Complexity: every operation O(log64 bound).
/// Invariants: bit `i` of level `n + 1` is set exactly when word `i` of level `n` is not 0; the
/// last level is one word.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Set {
    levels: Vec<Vec<u64>>,
}

impl Set {
    /// The empty set of integers below `bound`.
    pub(crate) fn new(bound: usize) -> Self {
        let mut levels = Vec::new();
        let mut words = bound.div_ceil(BITS).max(1);
        levels.push(vec![0; words]);
        while words > 1 {
            words = words.div_ceil(BITS);
            levels.push(vec![0; words]);
        }
        Set { levels }
    }

    /// Puts an integer in.
    pub(crate) fn insert(&mut self, mut at: usize) {
        for level in &mut self.levels {
            let word = &mut level[at / BITS];
            let known = *word != 0;
            *word |= 1 << (at % BITS);
            if known {
                break;
            }
            at /= BITS;
        }
    }

    /// Takes an integer out.
    pub(crate) fn remove(&mut self, mut at: usize) {
        for level in &mut self.levels {
            let word = &mut level[at / BITS];
            *word &= !(1 << (at % BITS));
            if *word != 0 {
                break;
            }
            at /= BITS;
        }
    }

    /// Whether an integer is in.
    pub(crate) fn contains(&self, at: usize) -> bool {
        let word = self.levels.first().and_then(|level| level.get(at / BITS));
        word.is_some_and(|word| word >> (at % BITS) & 1 != 0)
    }

    /// The smallest member that is at least `from`.
    pub(crate) fn at_least(&self, from: usize) -> Option<usize> {
        let mut from = from;
        for (height, level) in self.levels.iter().enumerate() {
            let word = level.get(from / BITS)? & (u64::MAX << (from % BITS));
            if word != 0 {
                let at = from / BITS * BITS + word.trailing_zeros() as usize;
                return Some(self.descend(height, at, u64::trailing_zeros));
            }
            // The words behind this one are asked on the next level.
            from = from / BITS + 1;
        }
        None
    }

    /// The largest member that is at most `from`.
    ///
    /// Bounds: `from` is below the set's bound.
    pub(crate) fn at_most(&self, from: usize) -> Option<usize> {
        let mut from = from;
        for (height, level) in self.levels.iter().enumerate() {
            let word = level.get(from / BITS)? & (u64::MAX >> (BITS - 1 - from % BITS));
            if let Some(bit) = word.checked_ilog2() {
                let at = from / BITS * BITS + bit as usize;
                return Some(self.descend(height, at, |word| 63 - word.leading_zeros()));
            }
            from = (from / BITS).checked_sub(1)?;
        }
        None
    }

    /// From a bit of a level down to a member, choosing in each word.
    fn descend(&self, height: usize, at: usize, choose: impl Fn(u64) -> u32) -> usize {
        let below = self.levels[..height].iter().rev();
        below.fold(at, |at, level| at * BITS + choose(level[at]) as usize)
    }

    /// Whether the upper levels say what the lowest one says.
    pub(crate) fn consistent(&self) -> bool {
        let pairs = self.levels.windows(2);
        let told = |pair: &[Vec<u64>]| {
            let bit = |at: usize| pair[1].get(at / BITS).map(|word| word >> (at % BITS) & 1);
            let behind = pair[1].len() * BITS;
            (0..behind).all(|at| {
                let filled = pair[0].get(at).is_some_and(|&word| word != 0);
                bit(at) == Some(u64::from(filled))
            })
        };
        pairs.into_iter().all(told) && self.levels.last().is_none_or(|top| top.len() == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn a_set_is_a_set() {
        for bound in [1, 63, 64, 65, 4096, 4097, 300_000] {
            let mut rng = fastrand::Rng::with_seed(bound as u64);
            let (mut set, mut model) = (Set::new(bound), BTreeSet::new());
            for step in 0..3_000 {
                let at = if rng.bool() {
                    rng.usize(..bound)
                } else {
                    rng.usize(..bound.min(70))
                };
                // First it fills, then it empties.
                if rng.u32(..3_000) > step {
                    set.insert(at);
                    model.insert(at);
                } else {
                    set.remove(at);
                    model.remove(&at);
                }
                let from = rng.usize(..bound);
                assert_eq!(set.contains(from), model.contains(&from));
                assert_eq!(set.at_least(from), model.range(from..).next().copied());
                assert_eq!(set.at_most(from), model.range(..=from).next_back().copied());
                assert_eq!(set.at_least(bound + 64), None);
            }
            assert!(set.consistent());
        }
    }
}
