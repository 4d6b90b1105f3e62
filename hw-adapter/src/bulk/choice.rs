//! Which of two ways is faster for large pieces: processors differ, so it is found out by copying
//! them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often each way is tried before the faster one stays.
const TRIES: u32 = 6;

/// Two ways, and what is known of them.
///
/// Only time depends on it, never bytes. Several threads may use it at once.
#[derive(Debug)]
pub(super) struct Choice {
    tried: AtomicU32,
    /// The fastest try of each way, in nanoseconds per GiB.
    best: [AtomicU64; 2],
}

impl Choice {
    pub(super) const fn new() -> Self {
        Choice {
            tried: AtomicU32::new(0),
            best: [const { AtomicU64::new(u64::MAX) }; 2],
        }
    }

    /// Moves so many bytes in one of the ways, 0 or 1.
    pub(super) fn act(&self, bytes: usize, act: impl FnOnce(usize)) {
        if self.tried.load(Ordering::Relaxed) >= 2 * TRIES {
            return act(self.faster());
        }
        // The first way goes first; more threads than one may take a try too many.
        let way = self.tried.fetch_add(1, Ordering::Relaxed) as usize % 2;
        let began = Instant::now();
        act(way);
        self.note(way, bytes, began.elapsed());
    }

    fn note(&self, way: usize, bytes: usize, took: Duration) {
        let each = took.as_nanos().saturating_mul(1 << 30) / bytes.max(1) as u128;
        let each = u64::try_from(each).unwrap_or(u64::MAX);
        self.best[way].fetch_min(each, Ordering::Relaxed);
    }

    /// The way whose fastest try was faster.
    fn faster(&self) -> usize {
        let [first, second] = [0, 1].map(|way: usize| self.best[way].load(Ordering::Relaxed));
        usize::from(second < first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_tried_and_the_faster_one_stays() {
        for fast in [0, 1] {
            let choice = Choice::new();
            let mut ways = [0, 0];
            for _ in 0..2 * TRIES {
                choice.act(1 << 20, |way| ways[way] += 1);
            }
            assert_eq!(ways, [TRIES, TRIES]);
            // As if one had been measured on a quiet machine.
            choice.note(fast, 1 << 20, Duration::ZERO);
            choice.note(1 - fast, 1 << 20, Duration::from_secs(1));
            choice.best[1 - fast].store(1 << 40, Ordering::Relaxed);
            for _ in 0..10 {
                choice.act(1 << 20, |way| assert_eq!(way, fast));
            }
        }
    }
}
