//! W1, W2 and W6: random sizes at a steady occupancy.

use super::rng::{Rng, pages as round};
use super::{CAPACITY, Source, Tape};
use std::collections::VecDeque;

/// Allocations at a steady occupancy: which sizes, and who is freed.
pub(super) struct Steady {
    target: u64,
    size: fn(&mut Rng) -> u64,
    /// A free takes one of this many last allocations with the probability; 0 = uniform over all.
    recent: usize,
    recent_share: f64,
    ops: u64,
    live: Live,
    /// The last allocations: id and the count of operations when it was made.
    ring: VecDeque<(u32, u64)>,
    /// When a live id was allocated; 0 = not live.
    born: Vec<u64>,
}

pub(super) fn powers(ops: u64) -> Steady {
    Steady::new(0.70, |rng| 4096 << rng.below(10), ops)
}

pub(super) fn transient(ops: u64) -> Steady {
    let size = |rng: &mut Rng| {
        let bytes = (65536f64.ln() + 2.2 * rng.normal()).exp() as u64;
        bytes.clamp(256, 64 << 20).next_multiple_of(256)
    };
    Steady {
        recent: 1024,
        recent_share: 0.7,
        ..Steady::new(0.85, size, ops)
    }
}

pub(super) fn pages(ops: u64) -> Steady {
    let size = |rng: &mut Rng| {
        let bytes = (131_072f64.ln() + 1.8 * rng.normal()).exp() as u64;
        round(bytes.clamp(4096, 32 << 20))
    };
    Steady::new(0.92, size, ops)
}

impl Steady {
    fn new(occupancy: f64, size: fn(&mut Rng) -> u64, ops: u64) -> Self {
        Steady {
            target: (CAPACITY as f64 * occupancy) as u64,
            size,
            recent: 0,
            recent_share: 0.0,
            ops,
            live: Live::default(),
            ring: VecDeque::new(),
            born: Vec::new(),
        }
    }

    fn allocate(&mut self, tape: &mut Tape, bytes: u64) {
        let id = tape.allocate(bytes);
        self.live.add(id);
        if self.recent == 0 {
            return;
        }
        if self.born.len() <= id as usize {
            self.born.resize(id as usize + 1, 0);
        }
        self.born[id as usize] = tape.written;
        self.ring.push_back((id, tape.written));
        if tape.prefill != 0 && self.ring.len() > 4 * self.recent {
            // Dead entries go, but only among the last ones: how many remain is part of the rule.
            self.ring.drain(..self.ring.len() - 2 * self.recent);
            self.ring.retain(|&(id, at)| self.born[id as usize] == at);
            self.ring
                .drain(..self.ring.len().saturating_sub(self.recent));
        }
    }

    /// One of the last allocations, if eight throws find one that lives.
    fn recent(&self, rng: &mut Rng) -> Option<u32> {
        let low = self.ring.len().saturating_sub(self.recent);
        for _ in 0..8 {
            if self.ring.is_empty() {
                break;
            }
            let (id, at) = self.ring[low + rng.below(self.ring.len() - low)];
            if self.born[id as usize] == at {
                return Some(id);
            }
        }
        None
    }

    fn free(&mut self, tape: &mut Tape, rng: &mut Rng) {
        let recent = if self.recent != 0 && rng.real() < self.recent_share {
            self.recent(rng)
        } else {
            None
        };
        let id = recent.unwrap_or_else(|| self.live.ids[rng.below(self.live.ids.len())]);
        self.live.remove(id);
        if let Some(born) = self.born.get_mut(id as usize) {
            *born = 0;
        }
        tape.free(id);
    }
}

impl Source for Steady {
    fn step(&mut self, tape: &mut Tape, rng: &mut Rng) -> bool {
        if tape.prefill == 0 {
            let bytes = (self.size)(rng);
            if tape.live + bytes <= self.target {
                self.allocate(tape, bytes);
                return true;
            }
            tape.prefill = tape.written;
            self.ring
                .drain(..self.ring.len().saturating_sub(self.recent));
        }
        if tape.written >= tape.prefill + self.ops {
            return false;
        }
        // Feedback keeps what lives near the target, and never a hundredth of the arena above.
        let missing = self.target as f64 - tape.live as f64;
        let wanted = 0.5 + 20.0 * missing / CAPACITY as f64;
        let mut bytes = None;
        if rng.real() < wanted {
            bytes =
                Some((self.size)(rng)).filter(|b| tape.live + b <= self.target + CAPACITY / 100);
        }
        if bytes.is_none() && !self.live.ids.is_empty() {
            self.free(tape, rng);
        } else {
            let bytes = bytes.unwrap_or_else(|| (self.size)(rng));
            self.allocate(tape, bytes);
        }
        true
    }
}

/// What lives, with removal of any one in O(1).
#[derive(Default)]
struct Live {
    ids: Vec<u32>,
    places: Vec<usize>,
}

impl Live {
    fn add(&mut self, id: u32) {
        if self.places.len() <= id as usize {
            self.places.resize(id as usize + 1, 0);
        }
        self.places[id as usize] = self.ids.len();
        self.ids.push(id);
    }

    fn remove(&mut self, id: u32) {
        let place = self.places[id as usize];
        self.ids.swap_remove(place);
        if let Some(&moved) = self.ids.get(place) {
            self.places[moved as usize] = place;
        }
    }
}
