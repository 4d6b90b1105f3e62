//! The IOMMU in the way of commands.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::*;
use gpumm_hw::sim::{Sabotage, SimConfig};
use gpumm_hw::{Device, DeviceError, Kernel, OutcomeValue, PatternKey, Point, Segment, Submission};

const KEY: PatternKey = PatternKey {
    buffer: 1,
    generation: 9,
};

fn fault(offset: u64, bytes: u64) -> OutcomeValue {
    failed(DeviceError::IommuFault { offset, bytes })
}

#[test]
fn commands_that_leave_the_mappings_touch_nothing() {
    let machine = Machine::new();
    let (sim, _) = machine.sim_unmapped(SimConfig::new("sim", MEMORY));
    sim.map_dma(&[Segment::system(4096, 4096), Segment::system(16384, 8192)])
        .unwrap();
    assert_eq!(sim.statistics().dma_mapped, 12288);
    let good = [Segment::system(4096, 4096), Segment::system(20000, 96)];
    let bad = [
        Segment::vram(0, 4096),
        Segment::system(4096, 4096),
        Segment::system(24000, 600),
        Segment::system(0, 10),
    ];
    assert_eq!(perform(&sim, COPY, fill(&good, 1)), OutcomeValue::Done);
    assert_eq!(
        perform(&sim, COPY, write_pattern(&good, KEY)),
        OutcomeValue::Done
    );
    let first = [Segment::system(24000, 600), Segment::vram(0, 4192)];
    let check = Kernel::CheckPattern {
        src: bad.into(),
        bytes: 8000,
        key: KEY,
    };
    for (command, expected) in [
        (fill(&bad, 1), fault(0, 10)),
        (read(&bad), fault(0, 10)),
        (write_pattern(&bad, KEY), fault(0, 10)),
        (copy(&good, &first), fault(24576, 24)),
        (copy(&bad[2..], &[Segment::vram(0, 610)]), fault(0, 10)),
        // The window of the command ends before what is not mapped.
        (gpumm_hw::Command::Run(check), OutcomeValue::Done),
    ] {
        let value = perform(&sim, COPY, command);
        if expected == OutcomeValue::Done {
            assert!(matches!(value, OutcomeValue::Checked(_)), "{value:?}");
        } else {
            assert_eq!(value, expected);
        }
    }
    let zero = OutcomeValue::Bytes(vec![0; 4192]);
    assert_eq!(perform(&sim, COPY, read(&[Segment::vram(0, 4192)])), zero);
    assert_eq!(corrupt(&sim, &good, KEY), 0);
    sim.idle(TIME).unwrap();
    let total = sim.statistics().total();
    assert_eq!((total.iommu_faults, total.failed), (5, 5));
    let errors: Vec<_> = sim.take_faults().iter().map(|f| f.error).collect();
    assert_eq!(errors.len(), 5);
}

#[test]
fn what_counts_is_the_moment_it_begins() {
    let machine = Machine::new();
    let (sim, _) = machine.sim_unmapped(SimConfig::new("sim", MEMORY));
    let list = [Segment::system(0, 4096)];
    let gate = machine.timelines.create("gate");
    let mut outcomes = Vec::new();
    for value in [1, 2, 3] {
        let outcome = Arc::new(gpumm_hw::Outcome::new());
        let open = Point {
            timeline: gate,
            value,
        };
        let submission = Submission::new(fill(&list, value)).after(open);
        sim.submit(COPY, submission.outcome(&outcome)).unwrap();
        outcomes.push(outcome);
    }
    let end = |index: usize| {
        machine.timelines.advance(gate, index as u64 + 1).unwrap();
        outcomes[index].wait(TIME).unwrap().clone()
    };
    assert_eq!(end(0), fault(0, 4096));
    sim.map_dma(&list).unwrap();
    assert_eq!(end(1), OutcomeValue::Done);
    sim.unmap_dma(&[Segment::system(4095, 1)]).unwrap();
    assert_eq!(end(2), fault(4095, 1));
}

#[test]
fn every_device_has_its_own_mappings() {
    let machine = Machine::new();
    let (a, _) = machine.sim("a");
    let (b, _) = machine.sim_unmapped(SimConfig::new("b", MEMORY));
    let mut config = SimConfig::new("c", MEMORY);
    config.iommu = false;
    let (c, _) = machine.sim_unmapped(config);
    let list = [Segment::system(0, 100)];
    assert_eq!(perform(&a, COPY, fill(&list, 1)), OutcomeValue::Done);
    assert_eq!(perform(&b, COPY, fill(&list, 2)), fault(0, 100));
    assert_eq!(perform(&c, COPY, fill(&list, 3)), OutcomeValue::Done);
    assert!(a.map_dma(&list).is_err());
    assert!(b.map_dma(&list).is_ok());
}

/// Also a device that makes a mistake reaches nothing beyond its mappings.
#[test]
fn a_wrong_command_is_checked_as_it_is_performed() {
    let machine = Machine::new();
    let (sim, control) = machine.sim_unmapped(SimConfig::new("sim", MEMORY));
    sim.map_dma(&[Segment::system(0, 64)]).unwrap();
    let dst = [Segment::system(0, 64), Segment::system(64, 64)];
    let command = gpumm_hw::Command::Fill {
        dst: dst.into(),
        offset: 0,
        bytes: 64,
        pattern: 1,
    };
    assert_eq!(perform(&sim, COPY, command.clone()), OutcomeValue::Done);
    let swap = Sabotage::SwapSegments {
        nth_command: 0,
        a: 0,
        b: 1,
    };
    control.sabotage(swap).unwrap();
    assert_eq!(perform(&sim, COPY, command), fault(64, 64));
}
