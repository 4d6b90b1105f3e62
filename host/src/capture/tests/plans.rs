//! Plans in words, and which of them a capture keeps.

use super::*;
use gpumm_contract::plan::Status;
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{AttachmentId, DeviceId, Extent, JobId, Op};

fn words(ops: &[Op<'_>]) -> Vec<u64> {
    let mut out = Writer::new(Kind::Plan);
    for op in ops {
        assert!(op.encode(&mut out));
    }
    out.finish()
}

/// A plan of one copy that reaches the batch's number.
pub(super) fn plan(batch: u64) -> Vec<u64> {
    words(&[copy(batch), Op::Signal { at: at(1, batch) }])
}

fn copy(value: u64) -> Op<'static> {
    Op::Copy {
        at: at(0, value),
        source: TableId(12),
        target: TableId(15),
        source_offset: 0,
        target_offset: 0,
        bytes: 65536,
    }
}

#[test]
fn the_plans_around_the_failed_operation_are_kept() {
    let folder = Folder::new();
    let plan_words = 200 * (plan(0).len() + 16);
    let captures = folder.captures(Limits {
        plans: 4,
        plan_words,
        ..Limits::default()
    });
    (0..1000).for_each(|batch| captures.note_plan(batch, &plan(batch)));
    let seen = |timeline, value| {
        take(&captures, at(timeline, value));
        let name = ["copy", "run"][timeline as usize];
        let plans = folder
            .capture(&format!("capture-{name}-{value}.json"))
            .plans;
        let marked = |plan: &Plan| plan.failed.map(|n| (plan.batch, n));
        let batches: Vec<u64> = plans.iter().map(|plan| plan.batch).collect();
        (batches, plans.iter().filter_map(marked).collect::<Vec<_>>())
    };
    assert_eq!(seen(0, 900), (vec![899, 900, 901, 902], vec![(900, 0)]));
    assert_eq!(seen(1, 998), (vec![996, 997, 998, 999], vec![(998, 1)]));
    assert_eq!(seen(1, 999), (vec![996, 997, 998, 999], vec![(999, 1)]));
    // The oldest that is remembered, and the youngest that is not.
    assert_eq!(seen(0, 800), (vec![800, 801, 802], vec![(800, 0)]));
    assert_eq!(seen(0, 799), (vec![996, 997, 998, 999], vec![]));
}

#[test]
fn one_large_plan_does_not_push_out_the_last_ones() {
    let folder = Folder::new();
    let captures = folder.captures(Limits {
        plans: 2,
        plan_words: 1,
        ..Limits::default()
    });
    (0..5).for_each(|batch| captures.note_plan(batch, &plan(batch)));
    take(&captures, at(0, 4));
    let plans = folder.capture("capture-copy-4.json").plans;
    assert!(plans.iter().map(|plan| plan.batch).eq([3, 4]));
}

#[test]
fn a_plan_that_cannot_be_read_is_one_line() {
    let folder = Folder::new();
    let captures = folder.captures(Limits::default());
    captures.note_plan(1, &[7]);
    captures.note_plan(2, &[]);
    take(&captures, at(0, 1));
    for plan in folder.capture("capture-copy-1.json").plans {
        assert_eq!(plan.operations.len(), 1);
        assert!(plan.operations[0].starts_with("this plan cannot be read: "));
    }
}

#[test]
fn every_operation_is_one_line() {
    let extents = |n: u64| {
        (0..n).map(|i| Extent {
            offset: (i + 1) << 12,
            bytes: 4096,
        })
    };
    let segments = |n: u64| {
        (0..n).map(|i| gpumm_contract::Segment {
            address: (i + 3) << 12,
            bytes: 4096,
        })
    };
    let place = |n| Op::Place {
        allocation: AllocationId(7),
        memory: MemoryTypeId(1),
        buffer: BufferId(3),
        extents: extents(n).collect(),
    };
    let table = |n| Op::Table {
        table: TableId(12),
        allocation: AllocationId(7),
        segments: segments(n).collect(),
    };
    let unplace = |after: &[Point]| Op::Unplace {
        allocation: AllocationId(7),
        after: after.iter().copied().collect(),
    };
    let run = |tables: u32| Op::Run {
        at: at(1, 4),
        job: JobId(9),
        tables: (0..tables).map(TableId).collect(),
    };
    let ptes = |table| Op::UpdatePtes {
        at: at(1, 5),
        vm: gpumm_contract::vm::VmId(2),
        address: 0x1_0000,
        table: TableId(table),
        offset: 4096,
        bytes: 8192,
        flags: 3,
    };
    let no_space = Status::NoSpace {
        largest_hole: 8,
        stuck: 0,
    };
    let cases: Vec<(Op<'_>, &str)> = vec![
        (
            place(1),
            "place buffer 3 in vram as allocation 7: 4096 bytes at 0x1000",
        ),
        (
            place(2),
            "place buffer 3 in vram as allocation 7: 8192 bytes in 2 extents, the first at 0x1000",
        ),
        (table(1), "table 12 of allocation 7: 4096 bytes at 0x3000"),
        (
            table(900),
            "table 12 of allocation 7: 3686400 bytes in 900 segments, the first at 0x3000",
        ),
        (unplace(&[]), "unplace allocation 7 at once"),
        (
            unplace(&[at(0, 3), at(1, 9)]),
            "unplace allocation 7 after copy 3, run 9",
        ),
        (Op::DropTable { table: TableId(5) }, "drop-table 5"),
        (Op::MapDma { table: TableId(5) }, "map-dma 5"),
        (Op::UnmapDma { table: TableId(5) }, "unmap-dma 5"),
        (copy(7), "copy 12 -> 15, 65536 bytes, reaches copy 7"),
        (
            Op::Copy {
                at: at(8, 7),
                source: TableId(1),
                target: TableId(2),
                source_offset: 16,
                target_offset: 32,
                bytes: 8,
            },
            "copy 1+16 -> 2+32, 8 bytes, reaches timeline 8 7",
        ),
        (
            Op::Fill {
                at: at(0, 7),
                table: TableId(2),
                offset: 0,
                bytes: 8,
                pattern: 255,
            },
            "fill 2 with 0xff, 8 bytes, reaches copy 7",
        ),
        (run(0), "run job 9 on nothing, reaches run 4"),
        (run(2), "run job 9 on 0, 1, reaches run 4"),
        (run(9), "run job 9 on 0, 1, 2, 3 and 5 more, reaches run 4"),
        (
            ptes(6),
            "update-ptes of vm 2 at 0x10000 to table 6+4096, 8192 bytes, flags 0x3, reaches run 5",
        ),
        (
            ptes(u32::MAX),
            "update-ptes of vm 2 at 0x10000 to nothing, 8192 bytes, flags 0x3, reaches run 5",
        ),
        (
            Op::InvalidateTlb {
                at: at(1, 6),
                vm: gpumm_contract::vm::VmId(2),
            },
            "invalidate-tlb of vm 2, reaches run 6",
        ),
        (
            Op::Wait {
                timeline: TimelineId(1),
                point: at(0, 7),
            },
            "wait: run waits for copy 7",
        ),
        (Op::Signal { at: at(0, 8) }, "signal, reaches copy 8"),
        (
            Op::Notify {
                device: DeviceId(1),
                attachment: AttachmentId(4),
                gate: at(1, 8),
            },
            "notify device 1 that attachment 4 ends, gate run 8",
        ),
        (
            Op::Poison {
                buffer: BufferId(3),
            },
            "poison buffer 3",
        ),
        (
            Op::Answer {
                request: 0,
                status: Status::Good,
            },
            "answer to request 0: done",
        ),
        (
            Op::Answer {
                request: 1,
                status: no_space,
            },
            "answer to request 1: no space: the largest hole has 8 bytes and nothing evictable is left",
        ),
    ];
    let (ops, expected): (Vec<Op<'_>>, Vec<&str>) = cases.into_iter().unzip();
    let (lines, failed) = with_context(|c| plan_text::lines(&words(&ops), at(1, 5), c));
    assert_eq!(lines, expected);
    let update = ops
        .iter()
        .position(|op| matches!(op, Op::UpdatePtes { .. }));
    assert_eq!(failed, update);
}
