//! A random client: creates, uses and releases buffers, and knows what each must contain.

use gpumm::job::{Check, PatternKey};
use gpumm::{Buffer, BufferDesc, Client, Error, Fence, Job, Runtime};
use gpumm_hw::OutcomeValue;

/// A live buffer and the generation of its content.
struct Item {
    buffer: Buffer,
    client: usize,
    generation: u64,
}

/// What happened in a life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Buffers created.
    pub created: u64,
    /// Creates refused for want of room.
    pub refused: u64,
    /// Accesses refused for want of room.
    pub access_refused: u64,
    /// Bytes compared.
    pub verified: u64,
    /// Bytes that were wrong.
    pub corrupt: u64,
    /// Requests that failed because a component did.
    pub failed: u64,
    /// Buffers alive.
    pub live: u64,
    /// A mix of the live buffers' numbers and generations.
    pub live_mix: u64,
}

/// A random life on one device.
pub struct Life {
    rng: fastrand::Rng,
    clients: Vec<Client>,
    items: Vec<Item>,
    fences: Vec<Fence>,
    largest: u64,
    tally: Tally,
}

impl Life {
    /// A life with a seed, a number of tenants and a largest buffer.
    pub fn new(runtime: &Runtime, seed: u64, tenants: usize, largest: u64) -> Self {
        Life {
            rng: fastrand::Rng::with_seed(seed),
            clients: (0..tenants).map(|_| runtime.client()).collect(),
            items: Vec::new(),
            fences: Vec::new(),
            largest,
            tally: Tally::default(),
        }
    }

    fn note<T>(&mut self, ended: Result<T, Error>, access: bool) -> Option<T> {
        match ended {
            Ok(value) => Some(value),
            Err(Error::Request(_)) => {
                self.tally.failed += 1;
                None
            }
            Err(error) if error.is_out_of_memory() => {
                if access {
                    self.tally.access_refused += 1
                } else {
                    self.tally.refused += 1
                }
                None
            }
            Err(error) => panic!("a random life met {error}"),
        }
    }

    /// One batch of random requests.
    pub fn step(&mut self) {
        match self.rng.u8(0..10) {
            0..4 => self.create(),
            4..8 => self.rewrite(),
            8 => self.copy(),
            _ => self.release(),
        }
        if self.fences.len() > 64 {
            self.settle(32);
        }
    }

    fn create(&mut self) {
        let client = self.rng.usize(0..self.clients.len());
        let mut batch = self.clients[client].batch();
        let many = self.rng.usize(1..4);
        let mut made = Vec::new();
        for _ in 0..many {
            // Squared, so that most are small and some are large.
            let scale = self.rng.f64();
            let bytes = (scale * scale * self.largest as f64) as u64 + 1;
            let (at, buffer) = batch.create(BufferDesc {
                priority: self.rng.u8(0..4),
                ..BufferDesc::new(bytes)
            });
            let key = PatternKey {
                buffer: buffer.id().0,
                generation: 1,
            };
            let write = self
                .rng
                .bool()
                .then(|| batch.access(Job::WritePattern(key), &[&buffer], false));
            made.push((at, buffer, write));
        }
        let mut ended = batch.submit().expect("a device");
        for (at, buffer, write) in made {
            let created = ended.created(at, buffer);
            let Some(buffer) = self.note(created, false) else {
                continue;
            };
            self.tally.created += 1;
            let mut generation = 0;
            if let Some(write) = write {
                let fence = ended.take(write);
                if let Some(fence) = self.note(fence, true) {
                    self.fences.push(fence);
                    generation = 1;
                }
            }
            self.items.push(Item {
                buffer,
                client,
                generation,
            });
        }
    }

    fn rewrite(&mut self) {
        if self.items.is_empty() {
            return;
        }
        let at = self.rng.usize(0..self.items.len());
        let item = &mut self.items[at];
        let id = item.buffer.id().0;
        let key = |generation| PatternKey {
            buffer: id,
            generation,
        };
        let job = match item.generation {
            0 => Job::WritePattern(key(1)),
            g => Job::Rewrite {
                old: key(g),
                new: key(g + 1),
                check: Check::Full,
            },
        };
        let fence = self.clients[item.client].run(job, &[&item.buffer]);
        if let Some(fence) = self.note(fence, true) {
            self.items[at].generation += 1;
            self.fences.push(fence);
        }
    }

    /// Reads one buffer wherever it is.
    fn copy(&mut self) {
        let Some(at) = (!self.items.is_empty()).then(|| self.rng.usize(0..self.items.len())) else {
            return;
        };
        let item = &self.items[at];
        if item.generation == 0 {
            return;
        }
        let key = PatternKey {
            buffer: item.buffer.id().0,
            generation: item.generation,
        };
        let mut batch = self.clients[item.client].batch();
        let slot = batch.access(Job::CheckPattern(key), &[&item.buffer], true);
        let fence = batch.submit().expect("a device").take(slot);
        if let Some(fence) = self.note(fence, true) {
            self.fences.push(fence);
        }
    }

    fn release(&mut self) {
        if !self.items.is_empty() {
            let at = self.rng.usize(0..self.items.len());
            let item = self.items.swap_remove(at);
            let mut batch = self.clients[item.client].batch();
            let slot = batch.release(item.buffer);
            let done = batch.submit().expect("a device").done(slot);
            self.note(done, true);
        }
    }

    fn settle(&mut self, keep: usize) {
        let count = self.fences.len().saturating_sub(keep);
        for fence in self.fences.drain(..count) {
            match fence.outcome().expect("no device fault") {
                OutcomeValue::Checked(report) => {
                    self.tally.verified += report.bytes_verified;
                    self.tally.corrupt += report.corrupt_bytes;
                }
                OutcomeValue::Done => {}
                other => panic!("a job ended as {other:?}"),
            }
        }
    }

    /// Checks every live buffer's content and gives the sum of the life.
    pub fn end(mut self) -> Tally {
        self.settle(0);
        for item in std::mem::take(&mut self.items) {
            self.tally.live += 1;
            let mix = item.buffer.id().0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ item.generation;
            self.tally.live_mix = self.tally.live_mix.rotate_left(7) ^ mix;
            if item.generation > 0 {
                let key = PatternKey {
                    buffer: item.buffer.id().0,
                    generation: item.generation,
                };
                let mut batch = self.clients[item.client].batch();
                let slot = batch.access(Job::CheckPattern(key), &[&item.buffer], true);
                let fence = batch
                    .submit()
                    .expect("a device")
                    .take(slot)
                    .expect("in place");
                self.fences.push(fence);
                self.settle(0);
            }
            // A drop would be grouped by the time it takes; a batch is a batch in every run.
            let mut batch = self.clients[item.client].batch();
            let slot = batch.release(item.buffer);
            batch
                .submit()
                .expect("a device")
                .done(slot)
                .expect("released");
        }
        self.tally
    }
}
