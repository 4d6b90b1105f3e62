//! Which ids are free, and where the free runs of a power-of-two length are.
//!
//! Level 0 has a bit for every id. A bit of level `n + 1` stands for a word of level `n` and is set
//! when that whole word is free, so a bit of level `n` stands for `64^n` ids. Inside a word a run of
//! 2, 4, .. 32 free bits at a multiple of its length is found with two operations, and for each
//! length a [`Set`] remembers the words that hold one. So the first free run of any power of two, from
//! any id on, is a look into one word and a question to one set.

use crate::set::Set;
use alloc::vec;
use alloc::vec::Vec;

const BITS: u64 = 64;
/// How often a word can be halved: runs of `1 << 0` to `1 << 5` bits begin inside it.
const STEPS: usize = 6;
/// Runs of up to `1 << 26` ids: five levels.
const ORDERS: usize = 5 * STEPS;

/// The bits of a word where a run of `1 << step` set bits begins at a multiple of its length.
fn starts(word: u64, step: usize) -> u64 {
    let runs = (0..step).fold(word, |word, done| word & word >> (1 << done));
    runs & aligned(step)
}

/// The bits that are multiples of `1 << step`.
const fn aligned(step: usize) -> u64 {
    u64::MAX / (u64::MAX >> (BITS - (1 << step)))
}

#[derive(Clone, Debug)]
struct Level {
    words: Vec<u64>,
    /// For each step the words that hold a run of `1 << step` bits.
    holding: [Set; STEPS],
}

/// The free ids of `0..len`.
///
/// Complexity: `first` O(log64 len), `paint` O(log64 len + ids painted / 64).
/// Invariants: bits behind the last id are not set; `runs[order]` counts the free runs of
/// `1 << order` ids at multiples of their length.
#[derive(Clone, Debug, Default)]
pub(crate) struct FreeIds {
    len: u64,
    levels: Vec<Level>,
    runs: [u64; ORDERS],
}

impl FreeIds {
    /// Nothing is free of `0..len`.
    ///
    /// Bounds: `len` is at most [`MAX_IDS`](crate::MAX_IDS).
    pub(crate) fn none(len: u64) -> Self {
        let mut levels = Vec::new();
        let mut bits = len;
        while bits > 0 {
            let words = bits.div_ceil(BITS) as usize;
            levels.push(Level {
                words: vec![0; words],
                holding: core::array::from_fn(|_| Set::new(words)),
            });
            // Only a whole word can be free as a whole.
            bits /= BITS;
        }
        FreeIds {
            len,
            levels,
            runs: [0; ORDERS],
        }
    }

    /// How many ids there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// How many ids are free.
    pub(crate) fn count(&self) -> u64 {
        self.runs[0]
    }

    /// How many of the largest free runs there are: those that are no half of a free run.
    pub(crate) fn holes(&self) -> u64 {
        // Every run but the smallest has two halves, which are no holes.
        self.runs[0] - self.runs[1..].iter().sum::<u64>()
    }

    /// The length of the longest free run; 0 when nothing is free.
    pub(crate) fn largest(&self) -> u64 {
        let order = self.runs.iter().rposition(|&count| count != 0);
        order.map_or(0, |order| 1 << order)
    }

    /// The first free run of `1 << order` ids at a multiple of its length, from `from` on.
    ///
    /// Complexity: O(log64 len).
    pub(crate) fn first(&self, order: u32, from: u64) -> Option<u64> {
        let (height, step) = (order as usize / STEPS, order as usize % STEPS);
        let level = self.levels.get(height)?;
        let scale = 1 << (height * STEPS);
        let from = from.div_ceil(scale);
        let here = (from / BITS) as usize;
        let word = level.words.get(here)?;
        let rest = starts(*word, step) & (u64::MAX << (from % BITS));
        let (at, found) = if rest != 0 {
            (here, rest)
        } else {
            let at = level.holding[step].at_least(here + 1)?;
            (at, starts(level.words[at], step))
        };
        Some((at as u64 * BITS + u64::from(found.trailing_zeros())) * scale)
    }

    /// The largest free run that an id lies in, as start and length; `None` when it is taken.
    pub(crate) fn hole(&self, id: u64) -> Option<(u64, u64)> {
        let mut order = None;
        for height in 0..self.levels.len() {
            let bit = id >> (height * STEPS);
            let word = self.levels[height].words.get((bit / BITS) as usize);
            let Some(&word) = word else { break };
            let first = |step: usize| (bit % BITS) >> step << step;
            let free = |step: &usize| starts(word, *step) >> first(*step) & 1 != 0;
            match (0..STEPS).rfind(free) {
                Some(step) => order = Some(height * STEPS + step),
                None => break,
            }
            if word != u64::MAX {
                break;
            }
        }
        let order = order?;
        Some((id >> order << order, 1 << order))
    }

    /// Whether all ids of `start..end` are free.
    ///
    /// Bounds: `start < end <= len`.
    pub(crate) fn all(&self, start: u64, end: u64) -> bool {
        masks(start, end).all(|(at, mask)| self.levels[0].words[at] & mask == mask)
    }

    /// Whether no id of `start..end` is free.
    ///
    /// Bounds: `start < end <= len`.
    pub(crate) fn none_of(&self, start: u64, end: u64) -> bool {
        masks(start, end).all(|(at, mask)| self.levels[0].words[at] & mask == 0)
    }

    /// Makes the ids of `start..end` free, or taken.
    ///
    /// Bounds: `start <= end <= len`.
    pub(crate) fn paint(&mut self, start: u64, end: u64, free: bool) {
        for (at, mask) in masks(start, end) {
            let word = self.levels[0].words[at];
            self.set_word(at, if free { word | mask } else { word & !mask });
        }
    }

    /// Sets a word of level 0 and whatever follows from it above.
    fn set_word(&mut self, at: usize, new: u64) {
        let (mut at, mut new) = (at, new);
        for height in 0..self.levels.len() {
            let level = &mut self.levels[height];
            let old = core::mem::replace(&mut level.words[at], new);
            let (mut was, mut is) = (old, new);
            for step in 0..STEPS {
                let (before, after) = (was & aligned(step), is & aligned(step));
                if before | after == 0 {
                    // Where there is no run there is no longer one.
                    break;
                }
                let count = &mut self.runs[height * STEPS + step];
                *count = *count + u64::from(after.count_ones()) - u64::from(before.count_ones());
                match (before != 0, after != 0) {
                    (false, true) => level.holding[step].insert(at),
                    (true, false) => level.holding[step].remove(at),
                    _ => (),
                }
                (was, is) = (was & was >> (1 << step), is & is >> (1 << step));
            }
            let full = new == u64::MAX;
            let above = self.levels.get(height + 1);
            if full == (old == u64::MAX) || above.is_none() {
                return;
            }
            let bit = 1 << (at as u64 % BITS);
            at /= BITS as usize;
            let word = above.map_or(0, |level| level.words[at]);
            new = if full { word | bit } else { word & !bit };
        }
    }

    /// Whether everything follows from the words of level 0.
    pub(crate) fn consistent(&self) -> bool {
        let mut again = FreeIds::none(self.len);
        let words = self.levels.first().map_or(&[][..], |level| &level.words);
        for (at, &word) in words.iter().enumerate() {
            again.set_word(at, word);
        }
        let behind = self.len % BITS;
        let clean = behind == 0 || words.last().is_none_or(|word| word >> behind == 0);
        let same = |(mine, other): (&Level, &Level)| {
            let mut sets = mine.holding.iter().zip(&other.holding);
            mine.words == other.words
                && sets.all(|(mine, other)| mine == other && mine.consistent())
        };
        clean && again.runs == self.runs && self.levels.iter().zip(&again.levels).all(same)
    }
}

/// The words of level 0 that `start..end` touches, with the touched bits.
fn masks(start: u64, end: u64) -> impl Iterator<Item = (usize, u64)> {
    let words = start / BITS..end.div_ceil(BITS);
    words.filter(move |_| start < end).map(move |at| {
        let from = start.saturating_sub(at * BITS);
        let to = (end - at * BITS).min(BITS);
        (at as usize, u64::MAX >> (BITS - (to - from)) << from)
    })
}
