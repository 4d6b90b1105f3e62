//! Lies about places, tables and order.

use super::*;

#[test]
fn lies_about_a_birth_are_named() {
    refused(
        ledger,
        birth,
        &[
            (
                "not granted",
                |c| c.granted.clear(),
                |r| matches!(r, Refusal::NotGranted(_)),
            ),
            (
                "other extents",
                |c| c.ops[0] = place(0, VRAM, 1, &[extent(4096, 8192)]),
                |r| matches!(r, Refusal::NotGranted(_)),
            ),
            (
                "outside",
                |c| {
                    c.granted[0].2 = vec![extent(1 << 20, 8192)];
                    c.ops[0] = place(0, VRAM, 1, &[extent(1 << 20, 8192)]);
                },
                |r| matches!(r, Refusal::OutsideArena { .. }),
            ),
            (
                "off granule",
                |c| {
                    c.granted[0].2 = vec![extent(8, 8192)];
                    c.ops[0] = place(0, VRAM, 1, &[extent(8, 8192)]);
                },
                |r| matches!(r, Refusal::OutsideArena { .. }),
            ),
            (
                "too large",
                |c| {
                    c.granted[0].2 = vec![extent(0, 12288)];
                    c.ops[0] = place(0, VRAM, 1, &[extent(0, 12288)]);
                },
                |r| matches!(r, Refusal::WrongSize(_)),
            ),
            (
                "foreign buffer",
                |c| c.ops[0] = place(0, VRAM, 9, &[extent(0, 8192)]),
                |r| matches!(r, Refusal::Unknown("buffer", 9)),
            ),
            (
                "wrong segments",
                |c| c.ops[1] = table(0, 0, 4096, 8192),
                |r| matches!(r, Refusal::WrongTable(_)),
            ),
            (
                "table of nothing",
                |c| c.ops[1] = table(0, 5, 0, 8192),
                |r| matches!(r, Refusal::Unknown("allocation", 5)),
            ),
            (
                "two tables",
                |c| c.ops.insert(2, table(1, 0, 0, 8192)),
                |r| matches!(r, Refusal::WrongTable(_)),
            ),
            (
                "no answer",
                |c| _ = c.ops.pop(),
                |r| {
                    matches!(
                        r,
                        Refusal::Unanswered {
                            answered: 1,
                            requests: 2
                        }
                    )
                },
            ),
            (
                "answers exchanged",
                |c| c.ops[2] = answer(1, Status::Good),
                |r| matches!(r, Refusal::AnswerOrder { .. }),
            ),
            (
                "one too many",
                |c| c.ops.push(answer(2, Status::Good)),
                |r| matches!(r, Refusal::AnswerOrder { .. }),
            ),
            (
                "denied success",
                |c| c.ops[2] = answer(0, Status::UnknownBuffer),
                |r| matches!(r, Refusal::FalseAnswer { request: 0, .. }),
            ),
            (
                "claimed success",
                |c| _ = c.ops.remove(3),
                |r| matches!(r, Refusal::FalseAnswer { request: 1, .. }),
            ),
            (
                "other job",
                |c| c.ops[3] = run(1, 4, &[0]),
                |r| matches!(r, Refusal::WrongJob(1)),
            ),
            (
                "job twice",
                |c| c.ops.insert(4, run(2, 3, &[0])),
                |r| matches!(r, Refusal::WrongJob(1)),
            ),
            (
                "job of nobody",
                |c| c.ops.insert(2, run(1, 3, &[0])),
                |r| matches!(r, Refusal::WrongJob(0)),
            ),
            (
                "missing table",
                |c| c.ops[3] = run(1, 3, &[]),
                |r| matches!(r, Refusal::WrongJob(1)),
            ),
            (
                "dead table",
                |c| c.ops[3] = run(1, 3, &[8]),
                |r| matches!(r, Refusal::Unknown("table", 8)),
            ),
            (
                "wrong value",
                |c| c.ops[3] = run(2, 3, &[0]),
                |r| {
                    matches!(
                        r,
                        Refusal::WrongValue {
                            expected: 1,
                            found: 2,
                            ..
                        }
                    )
                },
            ),
            (
                "dropped early",
                |c| c.ops.push(drop_table(0)),
                |r| matches!(r, Refusal::TableInUse(_)),
            ),
            (
                "taken away",
                |c| {
                    c.freed.push((0, VRAM));
                    c.ops.insert(4, unplace(0, &[at(RUN, 1)]));
                },
                |r| matches!(r, Refusal::StillPlaced(_)),
            ),
            (
                "secretly freed",
                |c| c.freed.push((0, VRAM)),
                |r| matches!(r, Refusal::StrategyDisagrees(_)),
            ),
            (
                "secretly kept",
                |c| c.granted.push((9, VRAM, vec![extent(65536, 4096)])),
                |r| matches!(r, Refusal::StrategyDisagrees(_)),
            ),
            (
                "wait for nothing",
                |c| {
                    c.ops.insert(
                        3,
                        Op::Wait {
                            timeline: RUN,
                            point: at(COPY, 1),
                        },
                    )
                },
                |r| matches!(r, Refusal::WaitsForever(_)),
            ),
            (
                "fill of a part",
                |c| {
                    c.ops.insert(
                        3,
                        Op::Fill {
                            at: at(RUN, 1),
                            table: TableId(0),
                            offset: 0,
                            bytes: 8,
                            pattern: 0,
                        },
                    )
                },
                |r| matches!(r, Refusal::ContentLost(_)),
            ),
            (
                "fill beyond",
                |c| {
                    c.ops.insert(
                        3,
                        Op::Fill {
                            at: at(RUN, 1),
                            table: TableId(0),
                            offset: 0,
                            bytes: 8192,
                            pattern: 0,
                        },
                    )
                },
                |r| matches!(r, Refusal::OutsideTable(_)),
            ),
            (
                "translations of no address space",
                |c| {
                    c.ops.push(Op::InvalidateTlb {
                        at: at(RUN, 2),
                        vm: gpumm_contract::vm::VmId(0),
                    })
                },
                |r| matches!(r, Refusal::Unknown("vm", 0)),
            ),
        ],
    );
}

#[test]
fn lies_about_an_eviction_are_named() {
    refused(
        born,
        eviction,
        &[
            (
                "copy too early",
                |c| _ = c.ops.remove(3),
                |r| matches!(r, Refusal::NotOrdered { timeline: COPY, .. }),
            ),
            (
                "no copy",
                |c| {
                    c.ops.drain(3..5);
                    c.ops[3] = unplace(0, &[at(RUN, 1)]);
                    c.ops.remove(7);
                    // The evicted buffer is asked for where nothing arrived.
                    c.requests[1] = access(1, 4);
                    c.ops[7] = run(2, 4, &[1]);
                },
                |r| matches!(r, Refusal::NotResident(_)),
            ),
            (
                "too early free",
                |c| c.ops[5] = unplace(0, &[at(COPY, 1)]),
                |r| matches!(r, Refusal::EndsTooEarly { .. }),
            ),
            (
                "free without copy's end",
                |c| c.ops[5] = unplace(0, &[at(RUN, 1)]),
                |r| matches!(r, Refusal::EndsTooEarly { .. }),
            ),
            (
                "never freed",
                |c| {
                    c.ops.remove(5);
                    c.freed.clear();
                    c.ops[5] = place(2, VRAM, 2, &[extent(65536, 8192)]);
                    c.granted[1].2 = vec![extent(65536, 8192)];
                    c.ops[6] = table(2, 2, 65536, 8192);
                },
                |r| matches!(r, Refusal::NotGivenBack(AllocationId(0))),
            ),
            (
                "kept old place",
                |c| {
                    c.ops.truncate(5);
                    c.ops.push(answer(0, Status::TooScattered));
                },
                |r| matches!(r, Refusal::NotGivenBack(_)),
            ),
            (
                "overlap",
                |c| _ = c.ops.remove(5),
                |r| matches!(r, Refusal::Overlap { .. }),
            ),
            (
                "use without wait",
                |c| _ = c.ops.remove(9),
                |r| matches!(r, Refusal::NotOrdered { timeline: RUN, .. }),
            ),
            (
                "end in the future",
                |c| c.ops[5] = unplace(0, &[at(COPY, 1), at(RUN, 9)]),
                |r| matches!(r, Refusal::WaitsForever(_)),
            ),
            (
                "strategy not told",
                |c| c.freed.clear(),
                |r| matches!(r, Refusal::StrategyDisagrees(_)),
            ),
            (
                "table dropped under a copy",
                |c| c.ops.insert(6, drop_table(0)),
                |r| matches!(r, Refusal::TableInUse(_)),
            ),
            (
                "copy to a stranger",
                |c| c.ops.insert(11, copy_of(2, 1, 2, 8)),
                |r| matches!(r, Refusal::CrossesTenants { .. }),
            ),
            (
                "copy onto itself",
                |c| {
                    c.ops.insert(
                        11,
                        Op::Copy {
                            at: at(COPY, 2),
                            source: TableId(1),
                            target: TableId(1),
                            source_offset: 0,
                            target_offset: 8,
                            bytes: 8,
                        },
                    );
                },
                |r| matches!(r, Refusal::OutsideTable(_)),
            ),
            (
                "number in use",
                |c| c.ops[6] = place(1, VRAM, 2, &[extent(0, 8192)]),
                |r| matches!(r, Refusal::InUse("allocation", 1)),
            ),
        ],
    );
}
