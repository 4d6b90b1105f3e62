//! Which numbers are in use.

use gpumm_contract::request::Run;
use std::collections::BTreeMap;

/// Words per block.
const WORDS: usize = 64;
/// Numbers per block.
const BLOCK: u32 = WORDS as u32 * 64;
/// How many holes below the highest used number are granted: more would only make batches longer.
const GRANTED_HOLES: usize = 64;

/// A set of 32-bit numbers that are mostly dense, with a bit for each.
///
/// Complexity: O(1) but for the choice of the block, of which there is one per 4096 numbers; no
/// number, however large, asks for more than one.
/// Invariants: no block is empty; each knows how many numbers it holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Used {
    blocks: BTreeMap<u32, Block>,
    /// Numbers that changed sides since `begin`.
    undo: Vec<u32>,
    open: bool,
}

#[derive(Clone, Debug)]
struct Block {
    bits: Box<[u64; WORDS]>,
    used: u32,
}

impl Used {
    /// Takes a number into the set, or out of it.
    pub(super) fn set(&mut self, number: u32, used: bool) {
        if self.put(number, used) && self.open {
            self.undo.push(number);
        }
    }

    /// Whether that changed anything.
    fn put(&mut self, number: u32, used: bool) -> bool {
        let (key, bit) = (number / BLOCK, number % BLOCK);
        if !used && !self.blocks.contains_key(&key) {
            return false;
        }
        let block = self.blocks.entry(key).or_insert_with(|| Block {
            bits: Box::new([0; WORDS]),
            used: 0,
        });
        let word = &mut block.bits[bit as usize / 64];
        let mask = 1 << (bit % 64);
        if (*word & mask != 0) == used {
            return false;
        }
        *word ^= mask;
        match used {
            true => block.used += 1,
            false => block.used -= 1,
        }
        if block.used == 0 {
            self.blocks.remove(&key);
        }
        true
    }

    /// The lowest unused numbers, and an endless last run behind the highest used one.
    pub(super) fn unused(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut end = 0;
        for (from, to) in self.ranges().take(GRANTED_HOLES) {
            push_run(&mut runs, end, from);
            end = to;
        }
        push_run(&mut runs, self.last_end(), u32::MAX.into());
        runs
    }

    /// Runs of used numbers, first to end, ascending.
    fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = self.next(from, true)?;
            let end = self.next(start, false).unwrap_or(1 << 32);
            from = end;
            Some((start, end))
        })
    }

    /// The lowest number from one on that is used, or is not.
    fn next(&self, from: u64, used: bool) -> Option<u64> {
        let mut at = u32::try_from(from).ok()?;
        loop {
            let key = at / BLOCK;
            match self.blocks.get(&key) {
                Some(block) if used || block.used < BLOCK => {
                    if let Some(bit) = block.next(at % BLOCK, used) {
                        return Some(u64::from(key * BLOCK + bit));
                    }
                }
                None if !used => return Some(at.into()),
                _ => {}
            }
            // What is not used begins in the next block at the latest, if that is not full.
            let next = match used {
                false => key + 1,
                true => *self.blocks.range(key + 1..).next()?.0,
            };
            at = next.checked_mul(BLOCK)?;
        }
    }

    /// The number behind the highest used one.
    fn last_end(&self) -> u64 {
        let last = self.blocks.last_key_value();
        last.map_or(0, |(&key, block)| {
            u64::from(key) * u64::from(BLOCK) + u64::from(block.end())
        })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Opens the journal.
    pub(super) fn begin(&mut self) {
        self.open = true;
    }

    /// Keeps all changes since `begin`.
    pub(super) fn commit(&mut self) {
        self.open = false;
        self.undo.clear();
        self.undo.shrink_to(BLOCK as usize);
    }

    /// Takes all changes since `begin` back, the last one first.
    pub(super) fn rollback(&mut self) {
        while let Some(number) = self.undo.pop() {
            let (block, bit) = (self.blocks.get(&(number / BLOCK)), number % BLOCK);
            let used = block.is_some_and(|b| b.bits[bit as usize / 64] >> (bit % 64) & 1 != 0);
            self.put(number, !used);
        }
        self.commit();
    }
}

impl Block {
    fn next(&self, from: u32, used: bool) -> Option<u32> {
        let skip = from as usize / 64;
        for (at, &word) in self.bits.iter().enumerate().skip(skip) {
            let wanted = if used { word } else { !word };
            let wanted = match at == skip {
                true => wanted & u64::MAX << (from % 64),
                false => wanted,
            };
            if wanted != 0 {
                return Some(at as u32 * 64 + wanted.trailing_zeros());
            }
        }
        None
    }

    fn end(&self) -> u32 {
        let last = self.bits.iter().rposition(|&word| word != 0);
        last.map_or(0, |at| at as u32 * 64 + 64 - self.bits[at].leading_zeros())
    }
}

fn push_run(runs: &mut Vec<Run>, from: u64, to: u64) {
    if let (Ok(first), Ok(count)) = (u32::try_from(from), u32::try_from(to.saturating_sub(from)))
        && count > 0
    {
        runs.push(Run { first, count });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The runs as a walk over a set finds them.
    fn unused(set: &BTreeSet<u32>) -> Vec<Run> {
        let (mut runs, mut end, mut ranges) = (Vec::new(), 0, 0);
        for &number in set {
            let number = u64::from(number);
            if number > end || ranges == 0 {
                if ranges == GRANTED_HOLES {
                    break;
                }
                push_run(&mut runs, end, number);
                ranges += 1;
            }
            end = number + 1;
        }
        let top = set.last().map_or(0, |&n| u64::from(n) + 1);
        push_run(&mut runs, top, u32::MAX.into());
        runs
    }

    #[test]
    fn equals_a_set() {
        let mut rng = fastrand::Rng::with_seed(8);
        let (mut used, mut set) = (Used::default(), BTreeSet::new());
        for round in 0..3_000 {
            let before = set.clone();
            used.begin();
            for _ in 0..rng.u8(0..40) {
                let number = match rng.u8(0..40) {
                    0 => u32::MAX - rng.u32(0..3),
                    1 => rng.u32(..),
                    2..10 => rng.u32(4000..4200),
                    _ => rng.u32(0..400 + round % 800),
                };
                let on = rng.u8(0..3) > 0;
                used.set(number, on);
                match on {
                    true => _ = set.insert(number),
                    false => _ = set.remove(&number),
                }
            }
            match rng.bool() {
                true => used.commit(),
                false => {
                    used.rollback();
                    set = before;
                }
            }
            assert_eq!(used.unused(), unused(&set));
            assert_eq!(used.is_empty(), set.is_empty());
        }
        // Whole blocks are passed over, also the last one.
        let mut full = Used::default();
        (0..3 * BLOCK).for_each(|n| full.set(n, true));
        (u32::MAX - BLOCK..=u32::MAX).for_each(|n| full.set(n, true));
        full.set(BLOCK, false);
        let first = |run: &Run| (run.first, run.count);
        let runs: Vec<_> = full.unused().iter().map(first).collect();
        assert_eq!(runs, [(BLOCK, 1), (3 * BLOCK, u32::MAX - 4 * BLOCK)]);
    }
}
