#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::sim::{Sim, SimConfig};
use crate::{
    Command, Device, EngineId, Kernel, Outcome, OutcomeValue, PatternKey, Segment, Submission,
    SystemMemory, Timelines,
};

const GUARD: u8 = 0xa5;
/// The largest alignment that matters: a line.
const LINE: usize = 64;

/// What this processor can do, also what it would not choose.
fn ways() -> Vec<Way> {
    let ways = Method::ALL.into_iter().filter_map(Method::way);
    #[cfg(target_arch = "x86_64")]
    let ways = ways
        .chain(Stream::narrow().map(Way::Stream))
        .chain(Stream::detect().map(Way::Around));
    ways.collect()
}

fn in_batch(way: Way, work: impl FnOnce(&Batch)) {
    // SAFETY: what the tests write is borrowed by this thread only.
    unsafe { batch(way, work) }
}

/// Lengths around everything that is treated apart, and others.
fn lengths(random: &mut fastrand::Rng) -> Vec<usize> {
    let mut lengths = vec![0, 1, 7, 8, 9, 4096];
    lengths.extend((-1..=1).flat_map(|n| {
        [63, 64, 128, 256, 512, 640, 1024, 4096 - LINE].map(|m: usize| m.saturating_add_signed(n))
    }));
    lengths.extend((0..12).map(|_| random.usize(..=4096)));
    lengths
}

/// Memory whose first byte lies at a line.
struct Aligned(Vec<u8>, usize);

impl Aligned {
    fn new(bytes: usize) -> Aligned {
        let memory = vec![0; bytes + LINE];
        let at = memory.as_ptr() as usize;
        Aligned(memory, at.next_multiple_of(LINE) - at)
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.0[self.1..]
    }
}

/// Copies once and compares, with guards around the destination.
fn check_copy(way: Way, from: &[u8], to: &mut Aligned, at: usize, next: Option<*const u8>) {
    let len = from.len();
    let around = &mut to.bytes()[..at + len + LINE];
    around.fill(GUARD);
    in_batch(way, |batch| {
        batch.copy(&mut around[at..at + len], from, next)
    });
    let (before, rest) = around.split_at(at);
    let (copied, after) = rest.split_at(len);
    assert!(copied == from, "{len} bytes to {at}");
    assert!(before.iter().chain(after).all(|byte| *byte == GUARD));
}

#[test]
fn every_way_copies_exactly() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut from = Aligned::new(LINE + 4096);
    let mut to = Aligned::new(2 * LINE + 4096);
    random.fill(from.bytes());
    let from = from.bytes();
    for way in ways() {
        for (source, destination) in (0..LINE).flat_map(|s| (0..LINE).map(move |d| (s, d))) {
            for len in lengths(&mut random) {
                let next = random.bool().then_some(from.as_ptr());
                check_copy(way, &from[source..][..len], &mut to, destination, next);
            }
        }
        for len in 0..=4096 {
            let (source, destination) = (random.usize(..LINE), random.usize(..LINE));
            check_copy(way, &from[source..][..len], &mut to, destination, None);
        }
    }
}

#[test]
fn every_way_copies_large_ranges() {
    let mut random = fastrand::Rng::with_seed(2);
    let mut from = Aligned::new((3 << 20) + LINE);
    let mut to = Aligned::new((3 << 20) + 2 * LINE);
    random.fill(from.bytes());
    let from = from.bytes();
    for way in ways() {
        for _ in 0..8 {
            let (source, destination) = (random.usize(..LINE), random.usize(..LINE));
            let from = &from[source..][..random.usize(4096..3 << 20)];
            check_copy(way, from, &mut to, destination, Some(std::ptr::null()));
        }
    }
}

#[test]
fn pieces_go_where_they_belong() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut from = vec![0; 1 << 20];
    random.fill(&mut from);
    let mut pieces: Vec<_> = (0..1 << 20)
        .step_by(4096)
        .map(|to| Piece {
            from: random.usize(..(1 << 20) - 4096),
            to,
            bytes: random.usize(..=4096),
        })
        .collect();
    random.shuffle(&mut pieces);
    let mut expected = vec![GUARD; 1 << 20];
    for piece in &pieces {
        expected[piece.to..][..piece.bytes].copy_from_slice(&from[piece.from..][..piece.bytes]);
    }
    for method in Method::ALL {
        let mut to = vec![GUARD; 1 << 20];
        copy(method, &mut to, &from, &pieces);
        assert!(to == expected, "{method:?}");
    }
}

#[test]
fn every_way_fills_exactly() {
    let mut random = fastrand::Rng::with_seed(4);
    let mut to = Aligned::new((1 << 20) + 2 * LINE);
    for way in ways() {
        for at in 0..LINE {
            let mut lengths = lengths(&mut random);
            lengths.push(random.usize(4096..1 << 20));
            for (n, len) in (0..).zip(lengths) {
                let word = match n % 3 {
                    0 => 0x4242_4242_4242_4242,
                    _ => random.u64(..),
                };
                let around = &mut to.bytes()[..at + len + LINE];
                around.fill(GUARD);
                in_batch(way, |batch| batch.fill(&mut around[at..at + len], word));
                let (before, rest) = around.split_at(at);
                let (filled, after) = rest.split_at(len);
                let pattern = word.to_le_bytes();
                let right = filled
                    .chunks(8)
                    .all(|bytes| *bytes == pattern[..bytes.len()]);
                assert!(right, "{len} bytes at {at} with {word:#x}");
                assert!(before.iter().chain(after).all(|byte| *byte == GUARD));
            }
        }
    }
}

/// Copies and fills that go around the caches, through an engine, in pieces cut anywhere.
#[test]
fn an_engine_moves_large_commands_exactly() {
    const BYTES: u64 = FILL_AROUND + 123;
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(4096).unwrap());
    let sim = Sim::new(SimConfig::new("sim", 128 << 20), timelines, system).unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    let mut list = |base: u64| -> Arc<[Segment]> {
        let mut left = BYTES;
        let mut at = base;
        let mut list = Vec::new();
        while left > 0 {
            let bytes = random.u64(1..20_000).min(left);
            list.push(Segment::vram(at, bytes));
            at += bytes + random.u64(..2) * random.u64(..100);
            left -= bytes;
        }
        random.shuffle(&mut list);
        list.into()
    };
    let (src, dst) = (list(0), list(64 << 20));
    let key = PatternKey {
        buffer: 1,
        generation: 2,
    };
    let (word, bytes) = (0x0123_4567_89ab_cdef, BYTES);
    let run = |command: Command| {
        let outcome = Arc::new(Outcome::new());
        let submission = Submission::new(command).outcome(&outcome);
        sim.submit(EngineId(0), submission).unwrap();
        outcome.wait(None).unwrap().clone()
    };
    run(Command::Run(Kernel::WritePattern {
        dst: Arc::clone(&src),
        bytes,
        key,
    }));
    let copied = run(Command::Copy {
        src: Arc::clone(&src),
        dst: Arc::clone(&dst),
        src_offset: 0,
        dst_offset: 0,
        bytes,
    });
    assert_eq!(copied, OutcomeValue::Done);
    for src in [&src, &dst] {
        let src = Arc::clone(src);
        let check = run(Command::Run(Kernel::CheckPattern { src, bytes, key }));
        assert!(matches!(check, OutcomeValue::Checked(report)
            if report.is_clean() && report.bytes_verified == BYTES));
    }
    let filled = run(Command::Fill {
        dst: Arc::clone(&dst),
        offset: 0,
        bytes,
        pattern: word,
    });
    assert_eq!(filled, OutcomeValue::Done);
    let OutcomeValue::Bytes(data) = run(Command::Read {
        src: dst,
        offset: 0,
        bytes,
    }) else {
        panic!("a read delivers bytes");
    };
    let pattern = word.to_le_bytes();
    assert!(data.chunks(8).all(|bytes| *bytes == pattern[..bytes.len()]));
    assert!(sim.take_faults().is_empty());
}
