//! What the copy engine of the simulated device moves, beside plain copies of the same shape.
//!
//! `engine` is timed from the submission until its point is reached; `queued/*` submits many at
//! once, and waits for the last. The others are loops over the same pieces in memory of the same
//! kind: each method, and as `memcpy` the best of them. Copies go from system memory to vram and
//! back. Every subject has memory of its own, and they take turns, a copy each: so nobody finds
//! large buffers in a cache, as an engine does not. Only in `hot/*` and below 64 MiB a subject
//! repeats itself. Everything is made anew a few times, because physical pages differ.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Row, finish};
use gpumm_hw::bulk::{self, Method, Piece};
use gpumm_hw::sim::{Sim, SimConfig};
use gpumm_hw::{
    CheckReport, Command, Device, EngineId, Kernel, Outcome, OutcomeValue, PatternKey, Point,
    Segment, Submission, SystemMemory, Timelines,
};
use memmap2::{Advice, MmapMut};
use serde_json::{Map, json};
use std::sync::Arc;
use std::time::Instant;

const SETUPS: usize = 3;
const ROUNDS: usize = 8;
const COPY: EngineId = EngineId(0);
const KEY: PatternKey = PatternKey {
    buffer: 1,
    generation: 1,
};

/// What is copied.
struct Case {
    name: &'static str,
    bytes: usize,
    /// The size of a piece.
    piece: usize,
    /// From one piece's place to the next one's.
    stride: usize,
    /// Copies that are submitted at once.
    queued: usize,
    /// Whether a subject repeats itself before it is measured.
    hot: bool,
}

const fn case(name: &'static str, bytes: usize, piece: usize, stride: usize) -> Case {
    Case {
        name,
        bytes,
        piece,
        stride,
        queued: 1,
        hot: bytes < 64 << 20,
    }
}

const fn whole(name: &'static str, bytes: usize) -> Case {
    case(name, bytes, bytes, bytes)
}

const CASES: [Case; 9] = [
    whole("contiguous/64KiB", 64 << 10),
    whole("contiguous/1MiB", 1 << 20),
    whole("contiguous/64MiB", 64 << 20),
    whole("contiguous/256MiB", 256 << 20),
    Case {
        hot: true,
        ..whole("hot/64MiB", 64 << 20)
    },
    Case {
        queued: 512,
        ..whole("queued/64KiB", 64 << 10)
    },
    Case {
        queued: 64,
        ..whole("queued/1MiB", 1 << 20)
    },
    // All pages of a range: as claims they merge to one span.
    case("scattered/64MiB", 64 << 20, 4096, 4096),
    // Every other page: nothing merges anywhere.
    case("sparse/64MiB", 64 << 20, 4096, 8192),
];

impl Case {
    fn span(&self) -> usize {
        self.bytes / self.piece * self.stride
    }

    /// The places of the pieces, in an order of their own.
    fn places(&self, random: &mut fastrand::Rng) -> Vec<usize> {
        let mut places: Vec<_> = (0..self.span()).step_by(self.stride).collect();
        random.shuffle(&mut places);
        places
    }
}

/// A device with a filled buffer.
struct Engine {
    sim: Sim,
    timelines: Arc<Timelines>,
    system: Arc<[Segment]>,
    vram: Arc<[Segment]>,
    bytes: u64,
    value: u64,
}

impl Engine {
    fn new(case: &Case, system: &[usize], vram: &[usize]) -> Engine {
        let timelines = Arc::new(Timelines::new());
        let memory = Arc::new(SystemMemory::new(case.span() as u64).unwrap());
        let config = SimConfig::new("sim", case.span() as u64);
        let sim = Sim::new(config, Arc::clone(&timelines), memory).unwrap();
        let list = |places: &[usize], segment: fn(u64, u64) -> Segment| {
            let segments = places.iter();
            segments
                .map(|&at| segment(at as u64, case.piece as u64))
                .collect::<Arc<[_]>>()
        };
        let system = list(system, Segment::system);
        let vram = list(vram, Segment::vram);
        sim.map_dma(&system).unwrap();
        let bytes = case.bytes as u64;
        let mut engine = Engine {
            sim,
            timelines,
            system,
            vram,
            bytes,
            value: 0,
        };
        let dst = Arc::clone(&engine.system);
        let kernel = Kernel::WritePattern {
            dst,
            bytes,
            key: KEY,
        };
        engine.submit(Command::Run(kernel));
        // Both memories have their pages then.
        engine.round(1, 0);
        engine
    }

    fn submit(&mut self, command: Command) -> Arc<Outcome> {
        self.value += 1;
        let outcome = Arc::new(Outcome::new());
        let submission = Submission::new(command)
            .signal(self.value)
            .outcome(&outcome);
        self.sim.submit(COPY, submission).unwrap();
        outcome
    }

    fn wait(&self) {
        let timeline = self.sim.properties().engines[0].timeline;
        let value = self.value;
        self.timelines
            .wait(Point { timeline, value }, None)
            .unwrap();
    }

    /// So many copies at once, the first one there or back.
    fn round(&mut self, queued: usize, first: usize) {
        for n in first..first + queued {
            let (src, dst) = match n % 2 {
                0 => (&self.system, &self.vram),
                _ => (&self.vram, &self.system),
            };
            let copy = Command::Copy {
                src: Arc::clone(src),
                dst: Arc::clone(dst),
                src_offset: 0,
                dst_offset: 0,
                bytes: self.bytes,
            };
            self.submit(copy);
        }
        self.wait();
    }

    fn check(mut self) {
        for src in [Arc::clone(&self.system), Arc::clone(&self.vram)] {
            let bytes = self.bytes;
            let kernel = Kernel::CheckPattern {
                src,
                bytes,
                key: KEY,
            };
            let outcome = self.submit(Command::Run(kernel));
            self.wait();
            let clean = CheckReport {
                bytes_verified: bytes,
                ..CheckReport::default()
            };
            assert_eq!(outcome.get(), Some(&OutcomeValue::Checked(clean)));
        }
        assert!(self.sim.take_faults().is_empty());
    }
}

/// Two pieces of memory of the kind that the device has.
struct Plain {
    memories: [MmapMut; 2],
    there: Vec<Piece>,
    back: Vec<Piece>,
}

impl Plain {
    fn new(case: &Case, system: &[usize], vram: &[usize]) -> Plain {
        let memory = || {
            let mut memory = MmapMut::map_anon(case.span()).unwrap();
            // Refused where there are none.
            let _ = memory.advise(Advice::HugePage);
            memory.fill(1);
            memory
        };
        let bytes = case.piece;
        let pieces = |from: &[usize], to: &[usize]| {
            let pairs = from.iter().zip(to);
            pairs
                .map(|(&from, &to)| Piece { from, to, bytes })
                .collect()
        };
        Plain {
            memories: [memory(), memory()],
            there: pieces(system, vram),
            back: pieces(vram, system),
        }
    }

    fn round(&mut self, method: Method, queued: usize, first: usize) {
        let [system, vram] = &mut self.memories;
        for n in first..first + queued {
            match n % 2 {
                0 => bulk::copy(method, vram, system, &self.there),
                _ => bulk::copy(method, system, vram, &self.back),
            }
        }
    }
}

fn name(method: Method) -> &'static str {
    match method {
        Method::Library => "libc",
        Method::String => "movsb",
        Method::Stream => "stream",
    }
}

/// The samples of each subject, the engine's first.
fn measure(case: &Case, methods: &[Method]) -> Vec<Vec<f64>> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut samples = vec![Vec::new(); 1 + methods.len()];
    for _ in 0..SETUPS {
        let (system, vram) = (case.places(&mut random), case.places(&mut random));
        let mut engine = Engine::new(case, &system, &vram);
        let plain = || Plain::new(case, &system, &vram);
        let mut plain: Vec<_> = methods.iter().map(|_| plain()).collect();
        for number in 0..ROUNDS {
            for (subject, samples) in samples.iter_mut().enumerate() {
                let mut round = |first| match subject {
                    0 => engine.round(case.queued, first),
                    n => plain[n - 1].round(methods[n - 1], case.queued, first),
                };
                if case.hot {
                    round(number);
                    round(number + 1);
                }
                let start = Instant::now();
                round(number);
                let nanos = start.elapsed().as_nanos() as f64;
                samples.push((case.bytes * case.queued) as f64 / nanos);
            }
        }
        engine.check();
    }
    samples
}

fn median(samples: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = samples.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn main() {
    let methods: Vec<_> = Method::ALL
        .into_iter()
        .filter(|m| m.is_available())
        .collect();
    let mut rows = Vec::new();
    // The best plain contiguous copy of 64 MiB: what scattered ones are held against.
    let mut contiguous = f64::NAN;
    for case in &CASES {
        let mut samples = measure(case, &methods);
        let engine = samples.remove(0);
        let best = (0..methods.len())
            .max_by(|&a, &b| {
                let median = |n: usize| median(samples[n].iter().copied());
                median(a).total_cmp(&median(b))
            })
            .unwrap();
        let ratio = median(engine.iter().zip(&samples[best]).map(|(e, m)| e / m));
        let rounded = |value: f64| json!((value * 1000.0).round() / 1000.0);
        let mut ratios = Map::new();
        ratios.insert("engine/memcpy".into(), rounded(ratio));
        if case.name == "contiguous/64MiB" {
            contiguous = median(samples[best].iter().copied());
        }
        if case.piece < case.bytes {
            let ratio = median(engine.iter().copied()) / contiguous;
            ratios.insert("engine/memcpy of contiguous/64MiB".into(), rounded(ratio));
        }
        let mut row = |subject: &str, samples, extra| {
            rows.push(Row {
                bench: "copy",
                case: case.name.into(),
                subject: subject.into(),
                unit: "GB/s",
                samples,
                extra,
            });
        };
        row("engine", engine, ratios);
        let mut best_is = Map::new();
        best_is.insert("method".into(), json!(name(methods[best])));
        row("memcpy", samples[best].clone(), best_is);
        for (method, samples) in methods.iter().zip(samples) {
            row(name(*method), samples, Map::new());
        }
    }
    finish(rows);
}
