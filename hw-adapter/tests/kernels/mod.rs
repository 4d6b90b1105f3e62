//! Jobs beside a model that knows every byte: what they do on any device, and where they stop.

use gpumm_hw::{
    Access, Backing, Check, Device, DeviceError, OutcomeValue, PatternKey, PteWrite, Segment,
    VmFaultReason, VmId, VmKernel,
};

use crate::common::*;
use crate::vm_model::{Model, Page};

pub(crate) const VRAM: u64 = 5 << 20;
/// Crosses borders of large pages; what lies beyond is out of range.
const START: u64 = (1 << 30) - (3 << 20);
const ROOM: u64 = 6 << 20;

fn all() -> [Segment; 2] {
    [Segment::vram(0, VRAM), Segment::system(0, MEMORY)]
}

fn segment(place: u64, bytes: u64) -> Segment {
    match place < VRAM {
        true => Segment::vram(place, bytes),
        false => Segment::system(place - VRAM, bytes),
    }
}

/// Scatters all of memory over the addresses: no byte stands behind two.
fn scatter(device: &dyn Device, model: &mut Model, random: &mut fastrand::Rng) {
    let unit = [PAGE, 4 * PAGE, 64 << 10, 256 << 10, 1 << 20][random.usize(..5)];
    let mut places: Vec<_> = (0..(VRAM + MEMORY) / unit).map(|n| n * unit).collect();
    if random.bool() {
        random.shuffle(&mut places);
    }
    let mut writes = vec![ptes(START, ROOM, Backing::Invalid)];
    model.pages.fill(Page::None);
    let faulty = random.bool();
    for (at, place) in (START..START + ROOM).step_by(unit as usize).zip(places) {
        let kind = random.u64(..ROOM / unit);
        let (write, page) = match kind {
            0 if faulty => continue,
            1 if faulty => {
                let write = backed(at, &[segment(place, unit)], false);
                (write, Page::At(place as usize, false))
            }
            _ if random.u8(..9) == 0 => (ptes(at, unit, Backing::Sparse), Page::Sparse),
            _ => {
                // Neighbours in the list need not be neighbours in a segment.
                let half = unit / PAGE / 2 * PAGE;
                let list = [segment(place, half), segment(place + half, unit - half)];
                (backed(at, &list, true), Page::At(place as usize, true))
            }
        };
        writes.push(write);
        for into in (0..unit).step_by(PAGE as usize) {
            model.pages[((at + into - START) / PAGE) as usize] = match page {
                Page::At(place, write) => Page::At(place + into as usize, write),
                other => other,
            };
        }
    }
    map(device, &writes);
}

/// Ranges that do not overlap, in any order, each with an address aligned as asked.
fn apart(random: &mut fastrand::Rng, bytes: [u64; 3], align: u64) -> [u64; 3] {
    let mut order = [0, 1, 2];
    random.shuffle(&mut order);
    let room = ROOM - bytes.iter().sum::<u64>() - 64;
    let mut cuts: Vec<_> = (0..3).map(|_| random.u64(..=room)).collect();
    cuts.sort_unstable();
    let mut at = [0; 3];
    let mut before = 0;
    for (range, cut) in order.into_iter().zip(cuts) {
        at[range] = (START + before + cut).next_multiple_of(align);
        before += bytes[range] + align;
    }
    at
}

fn random_kernel(random: &mut fastrand::Rng, model: &mut Model) -> VmKernel {
    let most = [1, 40, 5000, 200_000, 2_200_000][random.usize(..5)];
    let bytes = random.u64(..most) + 1;
    let key = |random: &mut fastrand::Rng| PatternKey {
        buffer: random.u64(..2),
        generation: 1,
    };
    let align = [1, 4, 8][random.usize(..3)];
    let [one, two, _] = apart(random, [bytes, bytes + 8, 8], align);
    match random.u8(..8) {
        0 => VmKernel::Copy {
            src: one,
            dst: two,
            bytes,
        },
        1 => VmKernel::Fill {
            dst: one,
            bytes,
            pattern: random.u64(..),
        },
        2 => VmKernel::Checksum {
            src: one,
            bytes,
            dst: two,
        },
        3 => {
            let count = bytes.div_ceil(4);
            let [x, y, _] = apart(random, [count * 4, count * 4, 8], 4);
            VmKernel::Saxpy {
                a: random.f32(),
                x,
                y,
                count,
            }
        }
        4 => gather(random, model, bytes / 20 + 1),
        5 => VmKernel::WritePattern {
            dst: one,
            bytes,
            key: key(random),
        },
        6 => VmKernel::CheckPattern {
            src: one,
            bytes,
            key: key(random),
        },
        _ => VmKernel::Rewrite {
            at: one,
            bytes,
            old: key(random),
            new: key(random),
            check: [
                Check::Off,
                Check::Full,
                Check::Sample {
                    one_in: 3,
                    phase: 1,
                },
            ][random.usize(..3)],
        },
    }
}

/// Its indices are put where they can be.
fn gather(random: &mut fastrand::Rng, model: &mut Model, count: u64) -> VmKernel {
    let src_count = random.u64(..count * 3) + 1;
    let [src, indices, dst] = apart(random, [src_count * 4, count * 4, count * 4], 4);
    for n in 0..count {
        let mut index = random.u64(..src_count);
        if random.u64(..count * 4) == 0 {
            index = random.u64(..1 << 32);
        }
        let _ = model.store_all(indices + 4 * n, &(index as u32).to_le_bytes());
    }
    VmKernel::Gather {
        src,
        src_count,
        indices,
        dst,
        count,
    }
}

pub(crate) fn jobs_do_what_the_model_does(device: &dyn Device, rounds: u32) -> u64 {
    device.create_vm(VM, START, ROOM).unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    let mut model = Model {
        memory: vec![0; (VRAM + MEMORY) as usize],
        pages: vec![Page::None; (ROOM / PAGE) as usize],
        start: START,
    };
    let (mut good, mut faults) = ([0; 8], [0; 8]);
    let names = [
        "copy",
        "fill",
        "checksum",
        "saxpy",
        "gather",
        "write-pattern",
        "check-pattern",
        "rewrite",
    ];
    for round in 0..rounds {
        if round % 8 == 0 {
            scatter(device, &mut model, &mut random);
        }
        let kernel = random_kernel(&mut random, &mut model);
        // The model may have put indices somewhere.
        for (segment, bytes) in all().into_iter().zip(model.memory.chunks(VRAM as usize)) {
            let write = gpumm_hw::Command::Write {
                dst: [segment].into(),
                offset: 0,
                data: bytes.into(),
            };
            perform(device, COPY, write);
        }
        let expected = model.run(kernel.clone());
        let value = run(device, kernel.clone());
        let index = names
            .iter()
            .position(|name| *name == kernel.name())
            .unwrap();
        match &expected {
            Ok(expected) => assert_eq!(value, *expected, "{kernel:?}"),
            Err((at, access, why)) => {
                assert_eq!(value, vm_fault(*at, *access, *why), "{kernel:?}");
            }
        }
        match expected {
            Ok(_) => good[index] += 1,
            Err(_) => faults[index] += 1,
        }
        let memory = bytes_of(device, &all());
        let differs = memory.iter().zip(&model.memory).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{round}: {kernel:?}");
    }
    for (index, name) in names.iter().enumerate() {
        assert!(
            rounds < 280 || good[index] > 5 && faults[index] > 1,
            "{name} {good:?} {faults:?}"
        );
    }
    faults.iter().sum()
}

pub(crate) fn elements_that_cross_pages(device: &dyn Device) {
    device.create_vm(VM, 0, 1 << 20).unwrap();
    // Every page somewhere else.
    let writes: Vec<PteWrite> = (0..24)
        .map(|n| backed(n * PAGE, &[Segment::vram((23 - n) * 2 * PAGE, PAGE)], true))
        .collect();
    map(device, &writes);
    let list: Vec<_> = (0..24)
        .map(|n| Segment::vram((23 - n) * 2 * PAGE, PAGE))
        .collect();
    let put = |at: u64, data: &[u8]| {
        let (dst, offset, data) = ((&*list).into(), at, data.into());
        perform(device, COPY, gpumm_hw::Command::Write { dst, offset, data });
    };
    let count = 3000;
    let (x, y, indices, src) = (3, 16_385, 32_770, 49_153);
    for n in 0..count {
        put(x + 4 * n, &(n as f32).to_le_bytes());
        put(y + 4 * n, &1_f32.to_le_bytes());
        put(indices + 4 * n, &((n * 7 % count) as u32).to_le_bytes());
        put(src + 4 * n, &(n as u32 * 3).to_le_bytes());
    }
    let saxpy = VmKernel::Saxpy {
        a: 2.0,
        x,
        y,
        count,
    };
    let gather = VmKernel::Gather {
        src,
        src_count: count,
        indices,
        dst: 65_539,
        count,
    };
    assert_eq!(run(device, saxpy), OutcomeValue::Done);
    assert_eq!(run(device, gather), OutcomeValue::Done);
    let memory = bytes_of(device, &list);
    let at = |address: u64| memory[address as usize..][..4].try_into().unwrap();
    for n in 0..count {
        assert_eq!(f32::from_le_bytes(at(y + 4 * n)), 1.0 + 2.0 * n as f32);
        let element = u32::from_le_bytes(at(65_539 + 4 * n));
        assert_eq!(u64::from(element), n * 7 % count * 3);
    }
}

pub(crate) fn memory_that_stands_behind_two_addresses(device: &dyn Device) {
    device.create_vm(VM, 0, 1 << 20).unwrap();
    let page = [Segment::vram(8192, PAGE)];
    map(
        device,
        &[
            backed(0, &page, true),
            backed(PAGE, &page, true),
            backed(8192, &page, false),
        ],
    );
    let fill = VmKernel::Fill {
        dst: 100,
        bytes: 8000,
        pattern: 7,
    };
    assert_eq!(run(device, fill), OutcomeValue::Done);
    let word =
        |at: usize| u64::from_le_bytes(bytes_of(device, &page)[at..at + 8].try_into().unwrap());
    assert_eq!((word(100), word(4 * 8)), (7, 7 << 32));
    let copy = VmKernel::Copy {
        src: 8192 + 100,
        dst: 1000,
        bytes: 2000,
    };
    let before = bytes_of(device, &page);
    assert_eq!(run(device, copy), OutcomeValue::Done);
    assert_eq!(bytes_of(device, &page)[1000..3000], before[100..2100]);
}

pub(crate) fn the_ends_of_what_addresses_can_be(device: &dyn Device) {
    let top = 1 << 48;
    device.create_vm(VM, PAGE, top - PAGE).unwrap();
    let last = ptes(top - (1 << 30), 1 << 30, Backing::Sparse);
    map(device, &[ptes(PAGE, PAGE, Backing::Sparse), last]);
    let fill = |dst, bytes| VmKernel::Fill {
        dst,
        bytes,
        pattern: 1,
    };
    let range = |at| vm_fault(at, Access::Write, VmFaultReason::Range);
    assert_eq!(run(device, fill(top - 8, 8)), OutcomeValue::Done);
    assert_eq!(run(device, fill(top - 8, 9)), range(top));
    assert_eq!(run(device, fill(top - 8, u64::MAX)), range(top));
    assert_eq!(run(device, fill(0, 8)), range(0));
    assert_eq!(run(device, fill(PAGE - 1, 8)), range(PAGE - 1));
    assert_eq!(run(device, fill(u64::MAX, u64::MAX)), range(u64::MAX));
    assert_eq!(run(device, fill(0, 0)), OutcomeValue::Done);
    let saxpy = VmKernel::Saxpy {
        a: 1.0,
        x: top - 4,
        y: u64::MAX,
        count: u64::MAX,
    };
    assert_eq!(run(device, saxpy), range(u64::MAX));
    let unknown = gpumm_hw::Command::InvalidateTlb { vm: VmId(1) };
    let value = perform(device, COPY, unknown);
    assert_eq!(value, failed(DeviceError::UnknownVm(VmId(1))));
}
