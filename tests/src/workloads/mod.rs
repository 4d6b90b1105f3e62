//! The benchmark workloads W1..W6: seeded streams of allocations and frees, equal byte for byte to
//! those of the generator that defined them.
//!
//! | workload | what |
//! |---|---|
//! | W1 | powers of two 4 KiB..2 MiB, alignment 4 KiB, 70 % full, frees uniform over what lives |
//! | W2 | log-normal sizes around 64 KiB, alignment 256 B, 85 % full, mostly short lives |
//! | W3 | LLM serving: blocks of 2 and 16 MiB that grow with requests and go in bursts, 94 % full |
//! | W4 | training steps of 500 layers: nearly last in, first out |
//! | W5 | adversarial rounds: 98 % full of small blocks, every other one freed, then larger ones |
//! | W6 | page-granular sizes around 128 KiB that may be several blocks, 92 % full |
//!
//! A refused allocation's later free is the replayer's to skip.

mod rng;
mod serving;
mod steady;
mod steps;

use rng::Rng;
use std::collections::VecDeque;

/// The arena of every workload, in bytes.
pub const CAPACITY: u64 = 16 << 30;
/// The seed of the published sums.
pub const SEED: u64 = 20_261_120;
/// The timed operations of the published sums.
pub const OPS: u64 = 1_000_000;
/// The names of the workloads.
pub const NAMES: [&str; 6] = ["W1", "W2", "W3", "W4", "W5", "W6"];

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Take one block.
    Allocate = 0,
    /// Give back what is filed under the id.
    Free = 1,
    /// Take a list of blocks, each of whole pages of 4 KiB.
    AllocateMulti = 2,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// Bytes to take; 0 for a free.
    pub bytes: u64,
    /// The allocation's id; used again once it has been freed.
    pub id: u32,
    /// What to do.
    pub kind: Kind,
    /// Logarithm of the alignment; 0 for a free.
    pub align_log2: u8,
}

impl Op {
    /// The operation as the generator writes it.
    pub fn record(&self) -> [u8; 16] {
        let mut record = [0; 16];
        record[..8].copy_from_slice(&self.bytes.to_le_bytes());
        record[8..12].copy_from_slice(&self.id.to_le_bytes());
        record[12] = self.kind as u8;
        record[13] = self.align_log2;
        record
    }
}

/// What a generator writes to: hands out ids and counts what lives.
struct Tape {
    pending: VecDeque<Op>,
    unused: Vec<u32>,
    sizes: Vec<u64>,
    kind: Kind,
    align_log2: u8,
    live: u64,
    written: u64,
    /// How many operations come before the timed ones; 0 while that is not known.
    prefill: u64,
}

impl Tape {
    fn new(kind: Kind, align_log2: u8) -> Self {
        Tape {
            pending: VecDeque::new(),
            unused: Vec::new(),
            sizes: Vec::new(),
            kind,
            align_log2,
            live: 0,
            written: 0,
            prefill: 0,
        }
    }

    fn allocate(&mut self, bytes: u64) -> u32 {
        let id = self.unused.pop().unwrap_or_else(|| {
            self.sizes.push(0);
            self.sizes.len() as u32 - 1
        });
        self.sizes[id as usize] = bytes;
        self.live += bytes;
        let (kind, align_log2) = (self.kind, self.align_log2);
        self.write(Op {
            bytes,
            id,
            kind,
            align_log2,
        });
        id
    }

    fn free(&mut self, id: u32) {
        self.live -= self.sizes[id as usize];
        self.unused.push(id);
        self.write(Op {
            bytes: 0,
            id,
            kind: Kind::Free,
            align_log2: 0,
        });
    }

    fn write(&mut self, op: Op) {
        self.pending.push_back(op);
        self.written += 1;
    }
}

/// The rule of one workload.
trait Source {
    /// Writes the next operations; `false` when the workload is complete.
    fn step(&mut self, tape: &mut Tape, rng: &mut Rng) -> bool;
}

/// A stream of operations: first those that fill the arena, then the timed ones.
///
/// Invariants: equal arguments give equal streams.
pub struct Workload {
    number: u32,
    seed: u64,
    ops: u64,
    unit_log2: u32,
    rng: Rng,
    tape: Tape,
    source: Box<dyn Source>,
    handed: u64,
}

impl Workload {
    /// The workload of a name; `None` when there is none.
    pub fn named(name: &str, seed: u64, ops: u64) -> Option<Self> {
        let number = NAMES.iter().position(|known| *known == name)? as u32 + 1;
        let mut rng = Rng::new(seed * 1000 + u64::from(number));
        let unit_log2 = if number == 2 { 8 } else { 12 };
        let kind = if number == 6 {
            Kind::AllocateMulti
        } else {
            Kind::Allocate
        };
        let mut tape = Tape::new(kind, if number == 3 { 21 } else { unit_log2 as u8 });
        let source: Box<dyn Source> = match number {
            1 => Box::new(steady::powers(ops)),
            2 => Box::new(steady::transient(ops)),
            3 => Box::new(serving::Serving::new(&mut tape, ops)),
            4 => Box::new(steps::Training::new(&mut tape, &mut rng, ops)),
            5 => Box::new(steps::Rounds::new(ops)),
            _ => Box::new(steady::pages(ops)),
        };
        Some(Workload {
            number,
            seed,
            ops,
            unit_log2,
            rng,
            tape,
            source,
            handed: 0,
        })
    }

    /// How many operations come before the timed ones.
    ///
    /// Bounds: known once the first timed operation has been handed out; 0 before.
    pub fn prefill(&self) -> u64 {
        self.tape.prefill
    }

    /// The head of the generator's file, which counts what the whole workload uses.
    pub fn header(mut self) -> [u8; 64] {
        while self.source.step(&mut self.tape, &mut self.rng) {
            self.tape.pending.clear();
        }
        let mut head = Vec::from(*b"GPUTRC01");
        let ids = self.tape.sizes.len() as u32;
        head.extend(1u32.to_le_bytes());
        head.extend(self.number.to_le_bytes());
        for word in [CAPACITY, self.tape.prefill, self.ops] {
            head.extend(word.to_le_bytes());
        }
        head.extend(ids.to_le_bytes());
        head.extend(self.unit_log2.to_le_bytes());
        head.extend(self.seed.to_le_bytes());
        let mut header = [0; 64];
        header[..head.len()].copy_from_slice(&head);
        header
    }

    /// Every operation, and how many of them come before the timed ones.
    pub fn collect_all(mut self) -> (Vec<Op>, usize) {
        let all: Vec<Op> = self.by_ref().collect();
        (all, self.prefill() as usize)
    }
}

impl Iterator for Workload {
    type Item = Op;

    fn next(&mut self) -> Option<Op> {
        // W5 has no operations before the timed ones, the others have some.
        let known = self.tape.prefill != 0 || self.number == 5;
        if known && self.handed == self.tape.prefill + self.ops {
            return None;
        }
        while self.tape.pending.is_empty() {
            if !self.source.step(&mut self.tape, &mut self.rng) {
                return None;
            }
        }
        self.handed += 1;
        self.tape.pending.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// SHA-256 of the generator's files with [`SEED`] and [`OPS`].
    const SUMS: [(&str, &str); 6] = [
        (
            "W1",
            "0da81a71d79f5c2faadd2cfe3cddf103cffbd01b542a4312b50db4fbd35769cb",
        ),
        (
            "W2",
            "c902e0ab653cf7e88480061f3c503c06d712a308ae6c26ffed2cde87751d6497",
        ),
        (
            "W3",
            "b303ceb427533547aa5fd3b43ca49129f1d8894a9ac466a0a395e18373c61a0a",
        ),
        (
            "W4",
            "6b146ec22621952aafd8a6ba63f20f9cba09a95377702b0426f8061fedd1d423",
        ),
        (
            "W5",
            "14e13afb299c3c20a32296cbdc753648e9374a26e5007a165395da1530630ca6",
        ),
        (
            "W6",
            "ce9be7ec01d295e0ccfd31bb80a49056eb4e8c0864544df2ad5513fe53894c34",
        ),
    ];

    fn whole(name: &str) -> Workload {
        Workload::named(name, SEED, OPS).expect("a known name")
    }

    #[test]
    fn the_streams_are_those_of_the_generator() {
        for (name, sum) in SUMS {
            let mut hash = Sha256::new();
            hash.update(whole(name).header());
            whole(name).for_each(|op| hash.update(op.record()));
            let text: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(text, sum, "{name}");
        }
    }

    #[test]
    fn there_are_as_many_timed_operations_as_asked_for() {
        for name in NAMES {
            let (all, prefill) = Workload::named(name, 1, 1000).expect("known").collect_all();
            assert_eq!(all.len(), prefill + 1000, "{name}");
            assert_eq!(prefill == 0, name == "W5");
        }
    }
}
