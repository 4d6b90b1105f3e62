//! W3: an LLM server, whose requests grow block by block and end in bursts.

use super::rng::Rng;
use super::{CAPACITY, Source, Tape};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const REQUESTS: usize = 96;
/// The weight that is dropped and loaded again, how often, and how long it stays away.
const WEIGHT: u64 = GIB;
const DROP_EVERY: u64 = 100_000;
const AWAY: u64 = 2_000;

struct Request {
    block: u64,
    left: i64,
    ids: Vec<u32>,
}

pub(super) struct Serving {
    ops: u64,
    limit: u64,
    requests: Vec<Request>,
    weight: Option<u32>,
    next_drop: u64,
    reload_at: u64,
}

impl Serving {
    pub(super) fn new(tape: &mut Tape, ops: u64) -> Self {
        tape.allocate(3 * GIB);
        tape.allocate(2 * GIB);
        let weight = tape.allocate(WEIGHT);
        tape.allocate(512 * MIB);
        tape.allocate(512 * MIB);
        Serving {
            ops,
            limit: (CAPACITY as f64 * 0.94) as u64,
            requests: Vec::new(),
            weight: Some(weight),
            next_drop: 0,
            reload_at: 0,
        }
    }

    fn arrive(&mut self, rng: &mut Rng) {
        let big = rng.real() < 0.2;
        let mean = if big { -8.0 } else { -48.0 };
        self.requests.push(Request {
            left: 1 + (mean * (1.0 - rng.real()).ln()) as i64,
            block: if big { 16 * MIB } else { 2 * MIB },
            ids: Vec::new(),
        });
    }

    fn finish(&mut self, at: usize, tape: &mut Tape) {
        // The order of arrival counts: the oldest is the one evicted.
        let ended = self.requests.remove(at);
        ended.ids.into_iter().for_each(|id| tape.free(id));
    }

    /// Drops the weight when its time has come, and loads it again.
    fn swap_weight(&mut self, tape: &mut Tape) {
        if tape.prefill != 0
            && tape.written >= self.next_drop
            && let Some(id) = self.weight.take()
        {
            tape.free(id);
            self.reload_at = tape.written + AWAY;
        }
        if self.weight.is_none() && tape.written >= self.reload_at {
            while tape.live + WEIGHT > self.limit && !self.requests.is_empty() {
                self.finish(0, tape);
            }
            self.weight = Some(tape.allocate(WEIGHT));
            self.next_drop += DROP_EVERY;
        }
    }
}

impl Source for Serving {
    fn step(&mut self, tape: &mut Tape, rng: &mut Rng) -> bool {
        if tape.prefill == 0 && tape.live as f64 > CAPACITY as f64 * 0.90 {
            tape.prefill = tape.written;
            self.next_drop = tape.written + DROP_EVERY;
        }
        if tape.prefill != 0 && tape.written >= tape.prefill + self.ops {
            return false;
        }
        self.swap_weight(tape);
        while self.requests.len() < REQUESTS {
            self.arrive(rng);
        }
        let at = rng.below(self.requests.len());
        let block = self.requests[at].block;
        let reserve = if self.weight.is_none() { WEIGHT } else { 0 };
        if tape.live + block + reserve > self.limit {
            self.finish(0, tape);
            return true;
        }
        let id = tape.allocate(block);
        let request = &mut self.requests[at];
        request.ids.push(id);
        request.left -= 1;
        if request.left <= 0 {
            self.finish(at, tape);
        }
        true
    }
}
