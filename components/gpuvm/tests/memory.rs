//! What a mapping takes of the heap, everything counted: nodes and their unused slots, vm-bos,
//! lists.
#![allow(clippy::unwrap_used)]

use cap::Cap;
use gpumm_contract::BufferId;
use gpumm_contract::vm::{
    AddressSpaces, Bind, MAX_MAPPINGS, Mapping, PAGE, Span, VirtualMemory, VmConfig, VmId,
};
use gpumm_gpuvm::GpuVm;
use std::alloc::System;
use std::sync::Mutex;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Who measures, measures alone: the heap is everybody's.
static ALONE: Mutex<()> = Mutex::new(());

const VM: VmId = VmId(1);
const SPACE: u64 = 1 << 47;

/// How mappings come to be.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// One behind the other.
    Ascending,
    /// One before the other.
    Descending,
    /// Over each other, so that many are cut and many end.
    Overlapping,
    /// Anywhere free; then three of four end, and as many come again.
    Refilled,
    /// The same before they come again.
    Thinned,
}

fn bind(shape: Shape, count: u64, nth: u64, rng: &mut fastrand::Rng) -> Bind {
    let slot = SPACE / PAGE / count;
    let (start, pages) = match shape {
        Shape::Ascending => (nth % count * slot, slot.min(16)),
        Shape::Descending => ((count - 1 - nth % count) * slot, slot.min(16)),
        Shape::Overlapping => {
            let pages = rng.u64(1..=4 * slot);
            (rng.u64(0..=SPACE / PAGE - pages), pages)
        }
        Shape::Refilled | Shape::Thinned if (3 * count..9 * count / 2).contains(&nth) => {
            let at = Span {
                start: rng.u64(0..count) * slot * PAGE,
                bytes: slot * PAGE,
            };
            return Bind::Unmap(at);
        }
        Shape::Refilled | Shape::Thinned => (rng.u64(0..count) * slot, slot.min(16)),
    };
    Bind::Map(Mapping {
        at: Span {
            start: start * PAGE,
            bytes: pages * PAGE,
        },
        buffer: Some(BufferId(rng.u64(0..buffers(count)))),
        offset: 0,
        attributes: 0,
    })
}

fn buffers(count: u64) -> u64 {
    (count / 64).max(16)
}

/// Bytes per mapping with about so many mappings; how many there are.
fn measure(shape: Shape, count: u64) -> (f64, usize) {
    let mut rng = fastrand::Rng::with_seed(count);
    let before = HEAP.allocated();
    let mut vms = GpuVm::default();
    let config = VmConfig {
        range: Span {
            start: 0,
            bytes: SPACE,
        },
        kernel: Span::default(),
        mappings: MAX_MAPPINGS,
        mappings_per_buffer: MAX_MAPPINGS,
    };
    vms.create(VM, config).unwrap();
    for buffer in 0..buffers(count) {
        vms.obtain(VM, BufferId(buffer), false).unwrap();
    }
    let requests = match shape {
        Shape::Ascending | Shape::Descending => count,
        Shape::Overlapping => 4 * count,
        Shape::Refilled => 8 * count,
        Shape::Thinned => 9 * count / 2,
    };
    let mut steps = Vec::new();
    for nth in 0..requests {
        steps.clear();
        let bind = bind(shape, count, nth, &mut rng);
        vms.bind(VM, &[bind], &mut steps).unwrap();
    }
    drop(steps);
    let mappings = vms.mappings(VM);
    let bytes = HEAP.allocated().saturating_sub(before);
    (bytes as f64 / mappings as f64, mappings)
}

fn check(sizes: &[u64]) {
    let _alone = ALONE.lock().unwrap();
    use Shape::*;
    for shape in [Ascending, Descending, Overlapping, Refilled, Thinned] {
        for &count in sizes {
            let (each, mappings) = measure(shape, count);
            println!("{shape:?}, {mappings} mappings: {each:.1} bytes each");
            // Where four of five have ended, there are as many buffers and nodes as before.
            let most = if let Thinned = shape { 96.0 } else { 64.0 };
            assert!(each <= most, "{shape:?} {count}: {each}");
        }
    }
}

#[test]
fn a_mapping_takes_at_most_64_bytes() {
    check(&[20_000]);
}

#[test]
#[ignore = "takes long; prints what a mapping takes at 1 thousand to 1 million"]
fn a_mapping_takes_at_most_64_bytes_at_any_size() {
    check(&[1_000, 10_000, 100_000, 1_000_000]);
}
