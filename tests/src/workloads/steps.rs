//! W4, steps of a training, and W5, rounds against the allocator.

use super::rng::{Rng, pages};
use super::{CAPACITY, Source, Tape};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const LAYERS: usize = 500;

/// W4: forward and backward over the layers of a model, again and again.
pub(super) struct Training {
    ops: u64,
    activations: Vec<u64>,
    workspaces: Vec<u64>,
    gradients: Vec<u64>,
}

impl Training {
    pub(super) fn new(tape: &mut Tape, rng: &mut Rng, ops: u64) -> Self {
        let size = |rng: &mut Rng, low, high| pages(rng.log_uniform(low, high)).max(4096);
        while tape.live < 4 * GIB {
            tape.allocate(size(rng, 64 * KIB, 64 * MIB));
        }
        tape.prefill = tape.written;
        let mut layers =
            |low, high| -> Vec<u64> { (0..LAYERS).map(|_| size(rng, low, high)).collect() };
        let mut activations = layers(256 * KIB, 64 * MIB);
        let scale = 9.5 * GIB as f64 / activations.iter().sum::<u64>() as f64;
        for bytes in &mut activations {
            *bytes = ((*bytes as f64 * scale) as u64 & !4095).max(4096);
        }
        Training {
            ops,
            activations,
            workspaces: layers(64 * KIB, 128 * MIB),
            gradients: layers(64 * KIB, 32 * MIB),
        }
    }
}

impl Source for Training {
    fn step(&mut self, tape: &mut Tape, rng: &mut Rng) -> bool {
        if tape.written >= tape.prefill + self.ops {
            return false;
        }
        let mut kept = Vec::with_capacity(LAYERS);
        for layer in 0..LAYERS {
            let workspace = tape.allocate(self.workspaces[layer]);
            kept.push(tape.allocate(self.activations[layer]));
            tape.free(workspace);
        }
        let mut order: Vec<usize> = (0..LAYERS).rev().collect();
        for at in 0..LAYERS - 1 {
            if rng.real() < 0.05 {
                order.swap(at, at + 1);
            }
        }
        for layer in order {
            let gradient = tape.allocate(self.gradients[layer]);
            let workspace = tape.allocate(self.workspaces[layer]);
            tape.free(workspace);
            tape.free(kept[layer]);
            tape.free(gradient);
        }
        true
    }
}

/// W5: fill with small blocks, free every other one, ask for larger ones, free all.
pub(super) struct Rounds {
    ops: u64,
    round: u64,
}

impl Rounds {
    pub(super) fn new(ops: u64) -> Self {
        Rounds { ops, round: 0 }
    }
}

impl Source for Rounds {
    fn step(&mut self, tape: &mut Tape, rng: &mut Rng) -> bool {
        if tape.written >= self.ops {
            return false;
        }
        let mut small = Vec::new();
        loop {
            let bytes = match self.round {
                0 => 64 * KIB,
                _ => 4096 * (8 + rng.below(57) as u64),
            };
            if (tape.live + bytes) as f64 > CAPACITY as f64 * 0.98 {
                break;
            }
            small.push(tape.allocate(bytes));
        }
        small.iter().step_by(2).for_each(|&id| tape.free(id));
        let mut all: Vec<u32> = small.into_iter().skip(1).step_by(2).collect();
        let most = (CAPACITY - tape.live) as f64 * 0.9;
        let (mut large, mut total) = (Vec::new(), 0);
        for _ in 0..20_000 {
            let bytes = pages(rng.log_uniform(128 * KIB, 2 * MIB));
            while (total + bytes) as f64 > most {
                let id = large.swap_remove(rng.below(large.len()));
                total -= tape.sizes[id as usize];
                tape.free(id);
            }
            large.push(tape.allocate(bytes));
            total += bytes;
        }
        all.append(&mut large);
        for at in (1..all.len()).rev() {
            all.swap(at, rng.below(at + 1));
        }
        all.into_iter().for_each(|id| tape.free(id));
        self.round += 1;
        true
    }
}
