//! How the device on a GPU moves bytes: pieces of any bounds, engines at once, memory that grows.

#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used)]

mod gpu;

use gpu::{Bench, TIME, has_gpu};
use gpumm_hw::gpu::WgpuConfig;
use gpumm_hw::{
    Command, Device, Kernel, MemorySpace, OutcomeValue, PatternKey, Segment, Submission, pattern,
};

/// Pages in an order that is not theirs, every second one of a memory.
fn scattered(pages: u64, page: u64, odd: u64) -> Vec<Segment> {
    // The factor has no divisor in common with a power of two: each page comes once.
    let place = |index: u64| (index * 2_654_435_761 % pages) * 2 + odd;
    (0..pages)
        .map(|index| Segment::vram(place(index) * page, page))
        .collect()
}

#[test]
fn scattered_pages_of_64_mib_are_copied() {
    if !has_gpu() {
        return;
    }
    let bytes = 64 << 20;
    let mut config = WgpuConfig::new("gpu", 2 * bytes);
    config.chunk_bytes = Some(16 << 20);
    let bench = Bench::new(config, 4096);
    let page = 16 << 10;
    let (src, dst) = (scattered(4096, page, 0), scattered(4096, page, 1));
    let key = PatternKey {
        buffer: 3,
        generation: 1,
    };
    let write = Kernel::WritePattern {
        dst: (&*src).into(),
        bytes,
        key,
    };
    bench.done(Command::Run(write));
    bench.done(Command::Copy {
        src: (&*src).into(),
        dst: (&*dst).into(),
        src_offset: 0,
        dst_offset: 0,
        bytes,
    });
    let data = bench.read(&dst, 0, bytes);
    let mut expected = vec![0; bytes as usize];
    pattern::write(&mut expected, 0, key);
    assert!(data == expected);
    // The list in another order is other content.
    let mut turned = dst;
    turned.reverse();
    let src = turned.into();
    let check = Kernel::CheckPattern { src, bytes, key };
    let OutcomeValue::Checked(report) = bench.perform(Command::Run(check)) else {
        panic!("a check without a report");
    };
    assert_eq!(report.bytes_verified, bytes);
    assert!(report.corrupt_bytes > bytes / 2);
}

/// A list of both memories with cuts anywhere, no byte of which is in it twice. Lists of different
/// halves share none.
fn any_list(random: &mut fastrand::Rng, half: u64) -> Vec<Segment> {
    const STRETCH: u64 = 6000;
    let mut stretches: Vec<u64> = (0..8).collect();
    random.shuffle(&mut stretches);
    let count = random.usize(1..8);
    stretches[..count]
        .iter()
        .map(|stretch| {
            let into = random.u64(0..16);
            let bytes = match random.u8(0..3) {
                0 => random.u64(0..9),
                1 => random.u64(0..100),
                _ => random.u64(0..STRETCH - 16),
            };
            let offset = (half * 8 + stretch) * STRETCH + into;
            match random.bool() {
                true => Segment::vram(offset, bytes),
                false => Segment::system(offset, bytes),
            }
        })
        .collect()
}

/// What the memories should hold.
struct Model {
    vram: Vec<u8>,
    system: Vec<u8>,
}

impl Model {
    fn bytes(&mut self, list: &[Segment]) -> Vec<&mut u8> {
        let mut all = Vec::new();
        let (mut vram, mut system): (Vec<_>, Vec<_>) = (
            self.vram.iter_mut().map(Some).collect(),
            self.system.iter_mut().map(Some).collect(),
        );
        for segment in list {
            let memory = match segment.memory {
                MemorySpace::Vram => &mut vram,
                MemorySpace::System => &mut system,
            };
            for at in segment.offset..segment.offset + segment.bytes {
                all.extend(memory[at as usize].take());
            }
        }
        all
    }

    fn content(&mut self, list: &[Segment]) -> Vec<u8> {
        self.bytes(list).into_iter().map(|byte| *byte).collect()
    }
}

#[test]
fn pieces_of_any_bounds_are_moved_as_a_model_says() {
    if !has_gpu() {
        return;
    }
    const SIZE: u64 = 98_304;
    let mut config = WgpuConfig::new("gpu", SIZE);
    config.chunk_bytes = Some(8192);
    let bench = Bench::new(config, SIZE);
    let mut model = Model {
        vram: vec![0; SIZE as usize],
        system: vec![0; SIZE as usize],
    };
    let mut random = fastrand::Rng::with_seed(7);
    for step in 0..300 {
        let half = random.u64(0..2);
        let (a, b) = (any_list(&mut random, half), any_list(&mut random, 1 - half));
        let (long, other) = (bytes_of(&a), bytes_of(&b));
        match random.u8(0..4) {
            0 => {
                let data: Vec<u8> = (0..long).map(|_| random.u8(..)).collect();
                let offset = random.u64(0..=long);
                bench.write(&a, offset, &data[offset as usize..]);
                for (byte, new) in model.bytes(&a).into_iter().zip(data).skip(offset as usize) {
                    *byte = new;
                }
            }
            1 => {
                let offset = random.u64(0..=long);
                let bytes = random.u64(0..=long - offset);
                let pattern = random.u64(..) * random.u64(0..2);
                let dst = (&*a).into();
                bench.done(Command::Fill {
                    dst,
                    offset,
                    bytes,
                    pattern,
                });
                let places = model.bytes(&a).into_iter().skip(offset as usize);
                let values = pattern.to_le_bytes().into_iter().cycle();
                for (byte, new) in places.zip(values).take(bytes as usize) {
                    *byte = new;
                }
            }
            2 => {
                let (src_offset, dst_offset) = (random.u64(0..=long), random.u64(0..=other));
                let bytes = random.u64(0..=(long - src_offset).min(other - dst_offset));
                bench.done(Command::Copy {
                    src: (&*a).into(),
                    dst: (&*b).into(),
                    src_offset,
                    dst_offset,
                    bytes,
                });
                let source = model.content(&a);
                let places = model.bytes(&b).into_iter().skip(dst_offset as usize);
                let values = source.into_iter().skip(src_offset as usize);
                for (byte, new) in places.zip(values).take(bytes as usize) {
                    *byte = new;
                }
            }
            _ => {
                let offset = random.u64(0..=long);
                let data = bench.read(&a, offset, long - offset);
                assert!(data == model.content(&a)[offset as usize..], "step {step}");
            }
        }
    }
    let all = [Segment::vram(0, SIZE), Segment::system(0, SIZE)];
    assert!(bench.read(&all, 0, 2 * SIZE) == model.content(&all));
}

fn bytes_of(list: &[Segment]) -> u64 {
    list.iter().map(|segment| segment.bytes).sum()
}

#[test]
fn engines_that_wait_for_each_other_pass_bytes_to_and_fro() {
    if !has_gpu() {
        return;
    }
    let bench = Bench::new(WgpuConfig::new("gpu", 1 << 20), 4096);
    let places = [Segment::vram(0, 4096), Segment::vram(65_536, 4096)];
    let data: Vec<u8> = (0..4096).map(|byte| byte as u8 ^ 0x5a).collect();
    bench.write(&places[..1], 0, &data);
    // Each engine copies what the other one has copied, and leaves nothing where it was.
    let mut outcomes = Vec::new();
    for turn in 1..=20 {
        let engine = (turn % 2) as u32;
        let (from, to) = (1 - turn as usize % 2, turn as usize % 2);
        let copy = Submission::new(Command::Copy {
            src: [places[from]].into(),
            dst: [places[to]].into(),
            src_offset: 0,
            dst_offset: 0,
            bytes: 4096,
        });
        let copy = if turn > 1 {
            copy.after(bench.point(1 - engine, turn - 1))
        } else {
            copy
        };
        outcomes.push(bench.submit(engine, copy));
        let clear = Submission::new(Command::Fill {
            dst: [places[from]].into(),
            offset: 0,
            bytes: 4096,
            pattern: turn,
        });
        outcomes.push(bench.submit(engine, clear.signal(turn)));
    }
    let last = bench.point(0, 20);
    assert_eq!(bench.timelines.wait(last, TIME), Ok(()));
    for outcome in outcomes {
        assert_eq!(outcome.get(), Some(&OutcomeValue::Done));
    }
    let left = bench.read(&places, 0, 8192);
    assert!(left[..4096] == data);
    assert_eq!(left[4096..4104], 20_u64.to_le_bytes());
}

#[test]
fn engines_write_different_bytes_of_one_word_at_once() {
    if !has_gpu() {
        return;
    }
    let bench = Bench::new(WgpuConfig::new("gpu", 1 << 20), 4096);
    let mut outcomes = Vec::new();
    for turn in 0..100_u64 {
        for engine in [0, 1] {
            let data = [turn as u8 + 1, engine as u8 + 1];
            let write = Command::Write {
                dst: [Segment::vram(turn * 4 + u64::from(engine) * 2, 2)].into(),
                offset: 0,
                data: data.into(),
            };
            outcomes.push(bench.submit(engine, Submission::new(write)));
        }
    }
    for outcome in outcomes {
        assert_eq!(outcome.wait(TIME), Some(&OutcomeValue::Done));
    }
    let words = bench.read(&[Segment::vram(0, 400)], 0, 400);
    for (turn, word) in (1..).zip(words.chunks(4)) {
        assert_eq!(word, [turn, 1, turn, 2]);
    }
}

#[test]
fn memory_grows_chunk_by_chunk_where_it_is_touched() {
    if !has_gpu() {
        return;
    }
    let chunk = 64 << 10;
    let mut config = WgpuConfig::new("gpu", 1 << 30);
    config.chunk_bytes = Some(chunk);
    let bench = Bench::new(config, 4096);
    assert_eq!(bench.device.chunk_bytes(), chunk);
    assert_eq!(bench.device.chunk_memory(), 0);
    bench.write(&[Segment::vram(5 * chunk, 8)], 0, &[1; 8]);
    assert_eq!(bench.device.chunk_memory(), chunk);
    // Over the border of two chunks, both new.
    let border = [Segment::vram(9 * chunk - 5, 10)];
    bench.write(&border, 0, &[2; 10]);
    assert_eq!(bench.device.chunk_memory(), 3 * chunk);
    assert_eq!(bench.read(&border, 0, 10), [2; 10]);
    let last = [Segment::vram((1 << 30) - 3, 3)];
    bench.write(&last, 0, &[3; 3]);
    assert_eq!(bench.read(&last, 0, 3), [3; 3]);
    assert_eq!(bench.device.chunk_memory(), 4 * chunk);
    bench.device.reset().unwrap();
    assert_eq!(bench.device.chunk_memory(), 0);
    assert_eq!(bench.read(&border, 0, 10), [0; 10]);
}
