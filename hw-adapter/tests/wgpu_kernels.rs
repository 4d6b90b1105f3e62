//! Jobs on a GPU: the same as on the simulated device, by every way to bind memory.

#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used)]

mod common;
mod gpu;
mod kernels;
#[path = "common/vm_model.rs"]
mod vm_model;

use common::{COPY, MEMORY, PAGE, bytes_of, perform};
use gpu::{Bench, has_gpu};
use gpumm_hw::wgpu::WgpuConfig;
use gpumm_hw::{Check, Command, Kernel, OutcomeValue, PatternKey, Segment};

/// On a device whose ranges are bound directly where they can be, on one whose shaders always
/// walk the page table, and on one of many small chunks.
fn each_way(test: impl Fn(&Bench)) {
    if !has_gpu() {
        return;
    }
    let plain = WgpuConfig::new("gpu", kernels::VRAM);
    let walking = WgpuConfig {
        bind_direct: false,
        ..plain.clone()
    };
    let chunks = WgpuConfig {
        chunk_bytes: Some(1 << 20),
        ..plain.clone()
    };
    for config in [plain, walking, chunks] {
        test(&Bench::new(config, MEMORY));
    }
}

#[test]
fn jobs_do_what_the_model_does() {
    each_way(|bench| {
        kernels::jobs_do_what_the_model_does(&bench.device, 150);
    });
}

#[test]
fn elements_that_cross_pages() {
    each_way(|bench| kernels::elements_that_cross_pages(&bench.device));
}

#[test]
fn memory_that_stands_behind_two_addresses() {
    each_way(|bench| kernels::memory_that_stands_behind_two_addresses(&bench.device));
}

#[test]
fn the_ends_of_what_addresses_can_be() {
    each_way(|bench| kernels::the_ends_of_what_addresses_can_be(&bench.device));
}

/// Whole pages of both memories in any order, the last one in part; or one run with any bounds.
fn list(random: &mut fastrand::Rng) -> Vec<Segment> {
    let segment = |system, offset, bytes| match system {
        true => Segment::system(offset, bytes),
        false => Segment::vram(offset, bytes),
    };
    if random.u8(..4) == 0 {
        let bytes = random.u64(1..MEMORY / 2);
        return vec![segment(random.bool(), random.u64(..MEMORY / 2), bytes)];
    }
    let mut pages: Vec<u64> = (0..MEMORY / PAGE).collect();
    random.shuffle(&mut pages);
    pages.truncate(random.usize(1..60));
    let mixed = random.bool();
    let mut list: Vec<_> = pages
        .iter()
        .map(|page| segment(mixed && random.bool(), page * PAGE, PAGE))
        .collect();
    if let Some(last) = list.last_mut() {
        last.bytes = random.u64(1..=PAGE);
    }
    list
}

#[test]
fn kernels_on_lists_are_the_same_on_the_cpu_and_on_the_gpu() {
    if !has_gpu() {
        return;
    }
    let bench = |lists_by_cpu| {
        let config = WgpuConfig {
            chunk_bytes: Some(96 << 10),
            lists_by_cpu: Some(lists_by_cpu),
            ..WgpuConfig::new("gpu", MEMORY)
        };
        Bench::new(config, MEMORY)
    };
    let both = [bench(true), bench(false)];
    let mut random = fastrand::Rng::with_seed(11);
    let (mut clean, mut corrupt) = (0, 0);
    for round in 0..150 {
        let list = list(&mut random);
        let total: u64 = list.iter().map(|segment| segment.bytes).sum();
        let key = |generation| PatternKey {
            buffer: 3,
            generation,
        };
        let (dst, bytes) = (list.as_slice().into(), total);
        let write = Command::Run(Kernel::WritePattern {
            dst,
            bytes,
            key: key(1),
        });
        let spoil = Command::Write {
            dst: list.as_slice().into(),
            offset: random.u64(..total),
            data: [random.u8(..)].as_slice().into(),
        };
        let check = [
            Check::Full,
            Check::Off,
            Check::Sample {
                one_in: random.u32(1..5),
                phase: random.u32(..9),
            },
        ][random.usize(..3)];
        let rewrite = Command::Run(Kernel::Rewrite {
            mem: list.as_slice().into(),
            bytes,
            old: key(1),
            new: key(2),
            check,
        });
        let verify = Command::Run(Kernel::CheckPattern {
            src: list.as_slice().into(),
            bytes,
            key: key(random.u64(1..3)),
        });
        for command in [write, spoil, rewrite, verify] {
            let [one, other] = both
                .each_ref()
                .map(|b| perform(&b.device, COPY, command.clone()));
            assert_eq!(one, other, "{round}: {command:?}");
            if let OutcomeValue::Checked(report) = one {
                clean += u32::from(report.is_clean());
                corrupt += u32::from(!report.is_clean());
            }
        }
        let all = [Segment::vram(0, MEMORY), Segment::system(0, MEMORY)];
        let [one, other] = both.each_ref().map(|b| bytes_of(&b.device, &all));
        let differs = one.iter().zip(&other).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{round}: {list:?}");
    }
    assert!(clean > 20 && corrupt > 20, "{clean} {corrupt}");
}
