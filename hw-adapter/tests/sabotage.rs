//! Verification turns red when the device does something wrong, and only then.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use gpumm_hw::sim::{Sabotage, Sim, SimControl};
use gpumm_hw::{Command, Device, DeviceError, MemorySpace, OutcomeValue, PatternKey, Segment};

const KEY: PatternKey = PatternKey {
    buffer: 4,
    generation: 2,
};

/// Copies a verified buffer under sabotage; the answer is the corruption seen afterwards.
fn copied(sim: &Sim, control: &SimControl, sabotage: &[Sabotage]) -> u64 {
    let src = [Segment::vram(0, 4096 * 6)];
    let dst = [
        Segment::system(8192, 4096),
        Segment::vram(65536, 8192),
        Segment::system(0, 4096),
        Segment::vram(40960, 4096),
        Segment::system(65536, 4096),
    ];
    perform(sim, COPY, fill(&dst, 0));
    for sabotage in sabotage {
        control.sabotage(*sabotage).unwrap();
    }
    perform(sim, COPY, Command::Nop);
    perform(sim, COPY, write_pattern(&src, KEY));
    assert_eq!(perform(sim, COPY, copy(&src, &dst)), OutcomeValue::Done);
    corrupt(sim, &dst, KEY)
}

#[test]
fn each_mistake_is_seen_once() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    assert_eq!(copied(&sim, &control, &[]), 0);
    let drop = |segment| Sabotage::DropSegment {
        nth_command: 1,
        segment,
    };
    let swap = |a, b| Sabotage::SwapSegments {
        nth_command: 1,
        a,
        b,
    };
    let cases: [(Sabotage, u64); 7] = [
        (drop(0), 4096),
        (drop(1), 8192),
        (drop(4), 4096),
        (drop(5), 0),
        (swap(0, 2), 8192),
        (swap(0, 1), 12288),
        (swap(0, 9), 0),
    ];
    for (sabotage, bytes) in cases {
        assert_eq!(copied(&sim, &control, &[sabotage]), bytes, "{sabotage:?}");
        assert_eq!(copied(&sim, &control, &[]), 0);
    }
    // Of the kernel's list of one segment; the copy then carries what was there.
    let first = Sabotage::DropSegment {
        nth_command: 0,
        segment: 0,
    };
    perform(&sim, COPY, fill(&[Segment::vram(0, 4096 * 6)], 0));
    assert_eq!(copied(&sim, &control, &[first]), 4096 * 6);
    // Two mistakes wait, each for its command; the kernel's is not seen, as what it leaves is
    // right.
    assert_eq!(copied(&sim, &control, &[]), 0);
    assert_eq!(copied(&sim, &control, &[drop(3), first]), 4096);
    assert!(sim.take_faults().is_empty());
}

#[test]
fn a_flipped_bit_is_seen() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    let list = [Segment::vram(4096, 4096), Segment::system(4096, 4096)];
    perform(&sim, COPY, write_pattern(&list, KEY));
    for (memory, found) in [(MemorySpace::Vram, 8), (MemorySpace::System, 16)] {
        let flip = |offset| control.sabotage(Sabotage::FlipBit { memory, offset });
        flip(5000).unwrap();
        assert_eq!(corrupt(&sim, &list, KEY), found);
        assert!(matches!(flip(MEMORY), Err(DeviceError::OutOfBounds { .. })));
    }
}

#[test]
fn an_exchange_is_seen_when_reading() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    let list = [Segment::vram(4096, 4096), Segment::system(4096, 4096)];
    perform(&sim, COPY, write_pattern(&list, KEY));
    let swap = Sabotage::SwapSegments {
        nth_command: 0,
        a: 0,
        b: 1,
    };
    control.sabotage(swap).unwrap();
    assert_eq!(corrupt(&sim, &list, KEY), 8192);
    assert_eq!(corrupt(&sim, &list, KEY), 0);
}
