//! Random commands on random lists, against plain vectors of bytes.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use fastrand::Rng;
use gpumm_hw::{
    Command, Device, DeviceError, Kernel, MemorySpace, OutcomeValue, PatternKey, Segment,
    Submission, pattern,
};

/// The bytes in which the model lives, of each memory.
const BYTES: u64 = 20_000;

struct Model {
    vram: Vec<u8>,
    system: Vec<u8>,
}

impl Model {
    fn bytes(&mut self, memory: MemorySpace) -> &mut Vec<u8> {
        match memory {
            MemorySpace::Vram => &mut self.vram,
            MemorySpace::System => &mut self.system,
        }
    }

    /// Where the bytes of a list lie, in order: as simple as can be.
    fn places(list: &[Segment]) -> Vec<(MemorySpace, usize)> {
        let place = |s: &Segment| (s.offset..s.offset + s.bytes).map(|at| at as usize);
        list.iter()
            .flat_map(|s| place(s).map(|at| (s.memory, at)))
            .collect()
    }

    fn get(&mut self, list: &[Segment]) -> Vec<u8> {
        Model::places(list)
            .into_iter()
            .map(|(memory, at)| self.bytes(memory)[at])
            .collect()
    }

    fn set(&mut self, list: &[Segment], offset: u64, data: &[u8]) {
        let places = Model::places(list);
        for ((memory, at), byte) in places[offset as usize..].iter().zip(data) {
            self.bytes(*memory)[*at] = *byte;
        }
    }
}

/// Segments that do not overlap, in random order; a part of them adjacent.
fn random_list(random: &mut Rng, align: u64) -> Vec<Segment> {
    let mut list = Vec::new();
    for memory in [MemorySpace::Vram, MemorySpace::System] {
        let mut at = random.u64(0..4000) / align * align;
        for _ in 0..random.usize(0..12) {
            let most = [9, 100, 2000][random.usize(0..3)];
            let bytes = random.u64(0..most) / align * align;
            if at + bytes > BYTES {
                break;
            }
            list.push(Segment {
                memory,
                offset: at,
                bytes,
            });
            if random.bool() {
                at += random.u64(0..1500) / align * align;
            }
            at += bytes;
        }
    }
    if random.u8(0..4) != 0 {
        random.shuffle(&mut list);
    }
    list
}

fn overlap(a: &[Segment], b: &[Segment]) -> bool {
    let mut places = Model::places(a);
    places.extend(Model::places(b));
    let count = places.len();
    places.sort_unstable();
    places.dedup();
    places.len() != count
}

/// The part of a list between two logical offsets.
fn window(list: &[Segment], offset: u64, bytes: u64) -> Vec<Segment> {
    Model::places(list)[offset as usize..(offset + bytes) as usize]
        .iter()
        .map(|(memory, at)| Segment {
            memory: *memory,
            offset: *at as u64,
            bytes: 1,
        })
        .collect()
}

fn random_window(random: &mut Rng, list: &[Segment]) -> (u64, u64) {
    let size = Model::places(list).len() as u64;
    let offset = random.u64(0..=size);
    (offset, random.u64(0..=size - offset))
}

fn run(seed: u64, align: u64) {
    let machine = Machine::new();
    let (sim, _) = machine.sim("sim");
    let mut random = Rng::with_seed(seed);
    let mut model = Model {
        vram: vec![0; BYTES as usize],
        system: vec![0; BYTES as usize],
    };
    let mut copies = 0;
    for round in 0..400 {
        let list = random_list(&mut random, align);
        let (offset, bytes) = random_window(&mut random, &list);
        let dst = || list.as_slice().into();
        match random.u8(0..5) {
            0 => {
                let data: Vec<u8> = (0..bytes).map(|_| random.u8(..)).collect();
                model.set(&list, offset, &data);
                let data = data.into();
                let dst = dst();
                let value = perform(&sim, COPY, Command::Write { dst, offset, data });
                assert_eq!(value, OutcomeValue::Done);
            }
            1 => {
                let key = PatternKey {
                    buffer: seed,
                    generation: round,
                };
                let bytes = offset;
                let mut data = vec![0; bytes as usize];
                pattern::write(&mut data, 0, key);
                model.set(&list, 0, &data);
                let dst = dst();
                let kernel = Kernel::WritePattern { dst, bytes, key };
                perform(&sim, COPY, Command::Run(kernel));
                assert_eq!(corrupt(&sim, &window(&list, 0, bytes), key), 0);
            }
            2 => {
                let pattern = random.u64(..);
                let word = pattern.to_le_bytes();
                let data: Vec<u8> = word.into_iter().cycle().take(bytes as usize).collect();
                model.set(&list, offset, &data);
                let dst = dst();
                let command = Command::Fill {
                    dst,
                    offset,
                    bytes,
                    pattern,
                };
                perform(&sim, COPY, command);
            }
            _ => {
                let src = random_list(&mut random, align);
                let (src_offset, available) = random_window(&mut random, &src);
                let bytes = bytes.min(available);
                let command = Command::Copy {
                    src: src.as_slice().into(),
                    dst: dst(),
                    src_offset,
                    dst_offset: offset,
                    bytes,
                };
                let read = window(&src, src_offset, bytes);
                if overlap(&read, &window(&list, offset, bytes)) {
                    let refused = sim.submit(COPY, Submission::new(command));
                    assert!(matches!(refused, Err(DeviceError::Overlap { .. })));
                } else {
                    let data = model.get(&read);
                    model.set(&list, offset, &data);
                    assert_eq!(perform(&sim, COPY, command), OutcomeValue::Done);
                    copies += u32::from(bytes > 0);
                }
            }
        }
        for (memory, expected) in [
            (MemorySpace::Vram, &model.vram),
            (MemorySpace::System, &model.system),
        ] {
            let all = Segment {
                memory,
                offset: 0,
                bytes: BYTES,
            };
            let found = perform(&sim, COPY, read(&[all]));
            assert!(found == OutcomeValue::Bytes(expected.clone()), "{round}");
        }
    }
    assert!(copies > 30, "{copies}");
}

#[test]
fn odd_lists() {
    (0..3).for_each(|seed| run(seed, 1));
}

#[test]
fn aligned_lists() {
    (3..5).for_each(|seed| run(seed, 8));
}

#[test]
fn thousands_of_segments() {
    let machine = Machine::new();
    let (sim, _) = machine.sim("sim");
    let mut random = Rng::with_seed(9);
    let mut pages: Vec<_> = (0..8192).map(|page| Segment::vram(page * 64, 64)).collect();
    random.shuffle(&mut pages);
    let key = PatternKey {
        buffer: 3,
        generation: 1,
    };
    let flat = [Segment::system(0, 8192 * 64)];
    perform(&sim, COPY, write_pattern(&pages, key));
    assert_eq!(corrupt(&sim, &pages, key), 0);
    perform(&sim, COPY, copy(&pages, &flat));
    assert_eq!(corrupt(&sim, &flat, key), 0);
    pages.swap(100, 200);
    assert_eq!(corrupt(&sim, &pages, key), 128);
    assert!(sim.take_faults().is_empty());
}
