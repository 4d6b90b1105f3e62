//! A model of the memories, which random commands are compared with.

use gpumm_hw::{Command, MemorySpace, Segment};

use super::Bench;

/// How many bytes of each memory a part of [`obey`] uses.
pub(crate) const PART: u64 = 2 * HALF;

const STRETCH: u64 = 6144;
const HALF: u64 = 8 * STRETCH;

/// A list of both memories with cuts anywhere, no byte of which is in it twice. Lists of different
/// halves share none.
fn any_list(random: &mut fastrand::Rng, half: u64) -> Vec<Segment> {
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
            let offset = half * HALF + stretch * STRETCH + into;
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

/// Lets an engine move bytes at random in its part of the memories, and compares.
pub(crate) fn obey(bench: &Bench, engine: u32, part: u64, steps: u32) {
    let size = ((part + 1) * PART) as usize;
    let mut model = Model {
        vram: vec![0; size],
        system: vec![0; size],
    };
    let mut random = fastrand::Rng::with_seed(7 + part);
    for step in 0..steps {
        let half = part * 2 + random.u64(0..2);
        let (a, b) = (any_list(&mut random, half), any_list(&mut random, half ^ 1));
        let (long, other) = (bytes_of(&a), bytes_of(&b));
        match random.u8(0..4) {
            0 => {
                let data: Vec<u8> = (0..long).map(|_| random.u8(..)).collect();
                let offset = random.u64(0..=long);
                bench.write(engine, &a, offset, &data[offset as usize..]);
                for (byte, new) in model.bytes(&a).into_iter().zip(data).skip(offset as usize) {
                    *byte = new;
                }
            }
            1 => {
                let offset = random.u64(0..=long);
                let bytes = random.u64(0..=long - offset);
                let pattern = random.u64(..) * random.u64(0..2);
                let dst = (&*a).into();
                bench.done(
                    engine,
                    Command::Fill {
                        dst,
                        offset,
                        bytes,
                        pattern,
                    },
                );
                let places = model.bytes(&a).into_iter().skip(offset as usize);
                let values = pattern.to_le_bytes().into_iter().cycle();
                for (byte, new) in places.zip(values).take(bytes as usize) {
                    *byte = new;
                }
            }
            2 => {
                let (src_offset, dst_offset) = (random.u64(0..=long), random.u64(0..=other));
                let bytes = random.u64(0..=(long - src_offset).min(other - dst_offset));
                bench.done(
                    engine,
                    Command::Copy {
                        src: (&*a).into(),
                        dst: (&*b).into(),
                        src_offset,
                        dst_offset,
                        bytes,
                    },
                );
                let source = model.content(&a);
                let places = model.bytes(&b).into_iter().skip(dst_offset as usize);
                let values = source.into_iter().skip(src_offset as usize);
                for (byte, new) in places.zip(values).take(bytes as usize) {
                    *byte = new;
                }
            }
            _ => {
                let offset = random.u64(0..=long);
                let data = bench.read(engine, &a, offset, long - offset);
                assert!(data == model.content(&a)[offset as usize..], "step {step}");
            }
        }
    }
    let all = [
        Segment::vram(part * PART, PART),
        Segment::system(part * PART, PART),
    ];
    assert!(bench.read(engine, &all, 0, 2 * PART) == model.content(&all));
}

fn bytes_of(list: &[Segment]) -> u64 {
    list.iter().map(|segment| segment.bytes).sum()
}
