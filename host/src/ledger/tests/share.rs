//! Lies about buffers that other devices read.

use super::*;
use gpumm_contract::facts::Fact;
use gpumm_contract::request::{Attach, Detach};
use gpumm_contract::table::{Hold, Holder};

fn attach(attachment: u64, device: u32) -> Request {
    Request::Attach(Attach {
        attachment: AttachmentId(attachment),
        buffer: BufferId(1),
        device: DeviceId(device),
    })
}

fn notify(attachment: u64, device: u32, gate: Point) -> Op<'static> {
    Op::Notify {
        device: DeviceId(device),
        attachment: AttachmentId(attachment),
        gate,
    }
}

/// Device 1 reads buffer 1 in host memory.
fn attached() -> Case {
    Case {
        requests: vec![attach(9, 1)],
        ops: vec![answer(0, Status::Good)],
        ..Case::default()
    }
}

/// Buffer 1 comes back and is written; device 1 is told.
fn told() -> Case {
    let mut case = fetch();
    case.ops = vec![
        place(3, VRAM, 1, &[extent(65536, 8192)]),
        table(3, 3, 65536, 8192),
        notify(9, 1, at(GATE, 1)),
        wait(COPY, at(GATE, 1)),
        copy(2, 1, 3),
        unplace(1, &[at(COPY, 2), at(GATE, 1)]),
        wait(RUN, at(COPY, 2)),
        run(3, 5, &[3]),
        answer(0, Status::Good),
    ];
    case
}

fn shared() -> Ledger {
    after(ledger(), &[birth, eviction, arrival, attached])
}

#[test]
fn a_move_tells_importers_and_waits_for_them() {
    let mut ledger = shared();
    let accepted = told().check(&mut ledger).expect("a true plan");
    let notices = accepted.ops.iter();
    let notices: Vec<_> = notices
        .filter_map(|op| match op {
            DeviceOp::Notify(n) => Some((n.device, n.attachment, n.gate)),
            _ => None,
        })
        .collect();
    assert_eq!(notices, [(DeviceId(1), AttachmentId(9), at(GATE, 1))]);
    assert!(ledger.attachments.is_empty() && ledger.imported.is_empty());
    let hold = Hold {
        holder: Holder::Mapping,
        until: at(GATE, 1),
    };
    let held = |fact: Fact| match fact {
        Fact::Table { table, holds, .. } => table == TableId(1) && holds.contains(&hold),
        _ => false,
    };
    assert!(ledger.facts().any(held));
}

#[test]
fn lies_about_notifications_are_named() {
    refused(
        shared,
        told,
        &[
            (
                "a move behind the importer's back",
                |c| {
                    c.ops[5] = unplace(1, &[at(COPY, 2)]);
                    c.ops.drain(2..4);
                },
                |r| matches!(r, Refusal::NotNotified(AttachmentId(9))),
            ),
            (
                "told twice",
                |c| c.ops.insert(3, notify(9, 1, at(GATE, 2))),
                |r| matches!(r, Refusal::Unknown("attachment", 9)),
            ),
            (
                "an attachment of nobody",
                |c| c.ops[2] = notify(8, 1, at(GATE, 1)),
                |r| matches!(r, Refusal::Unknown("attachment", 8)),
            ),
            (
                "another device told",
                |c| c.ops[2] = notify(9, 2, at(OTHER_GATE, 1)),
                |r| matches!(r, Refusal::WrongGate { .. }),
            ),
            (
                "the gate of another device",
                |c| c.ops[2] = notify(9, 1, at(OTHER_GATE, 1)),
                |r| matches!(r, Refusal::WrongGate { .. }),
            ),
            (
                "an engine's timeline as gate",
                |c| c.ops[2] = notify(9, 1, at(COPY, 2)),
                |r| matches!(r, Refusal::WrongGate { .. }),
            ),
            (
                "a value of the gate left out",
                |c| c.ops[2] = notify(9, 1, at(GATE, 2)),
                |r| matches!(r, Refusal::WrongValue { found: 2, .. }),
            ),
            (
                "a copy that does not wait for the gate",
                |c| _ = c.ops.remove(3),
                |r| matches!(r, Refusal::NotOrdered { .. }),
            ),
            (
                "told after the copy",
                |c| {
                    c.ops.remove(3);
                    c.ops.swap(2, 3);
                },
                |r| matches!(r, Refusal::NotOrdered { .. }),
            ),
            (
                "memory that is given back before the gate",
                |c| c.ops[5] = unplace(1, &[at(COPY, 2)]),
                |r| matches!(r, Refusal::EndsTooEarly { .. }),
            ),
            (
                "a gate that a plan reaches",
                |c| c.ops.insert(2, Op::Signal { at: at(GATE, 1) }),
                |r| matches!(r, Refusal::NotAnEngine(GATE)),
            ),
            (
                "a gate that is said to wait",
                |c| c.ops.insert(2, wait(GATE, at(RUN, 1))),
                |r| matches!(r, Refusal::NotAnEngine(GATE)),
            ),
        ],
    );
}

#[test]
fn a_release_tells_importers() {
    let release = || Case {
        requests: vec![Request::Release(BufferId(1))],
        freed: vec![(1, SYSTEM)],
        ops: vec![
            notify(9, 1, at(GATE, 1)),
            unplace(1, &[at(GATE, 1)]),
            answer(0, Status::Good),
        ],
        ..Case::default()
    };
    refused(
        shared,
        release,
        &[(
            "a release behind the importer's back",
            |c| {
                c.ops[1] = unplace(1, &[]);
                c.ops.remove(0);
            },
            |r| matches!(r, Refusal::NotNotified(AttachmentId(9))),
        )],
    );
    let mut ledger = shared();
    release().check(&mut ledger).expect("a true plan");
    let mut retire = Case {
        requests: vec![Request::Retire(at(GATE, 1))],
        ops: vec![unmap(1), drop_table(1), answer(0, Status::Good)],
        ..Case::default()
    };
    retire.check(&mut ledger).expect("a true plan");
    retire.ops.clear();
    assert!(!ledger.is_ending(SYSTEM));
}

#[test]
fn lies_about_attachments_are_named() {
    let false_answer: fn(&Refusal) -> bool = |r| matches!(r, Refusal::FalseAnswer { .. });
    refused(
        arrived,
        attached,
        &[
            (
                "a device without a gate",
                |c| c.requests = vec![attach(9, 5)],
                false_answer,
            ),
            (
                "a device that imports it already",
                |c| {
                    c.requests.push(attach(10, 1));
                    c.ops.push(answer(1, Status::Good));
                },
                false_answer,
            ),
            (
                "an attachment twice",
                |c| {
                    c.requests.push(attach(9, 2));
                    c.ops.push(answer(1, Status::Good));
                },
                false_answer,
            ),
        ],
    );
    // What nobody has written may show what was there before.
    let mut case = attached();
    case.requests.insert(0, create(1, 7));
    case.granted = vec![(0, SYSTEM, vec![extent(0, 8192)])];
    case.ops = vec![
        place(0, SYSTEM, 1, &[extent(0, 8192)]),
        table(0, 0, BASE, 8192),
        answer(0, Status::Good),
        answer(1, Status::Good),
    ];
    let refused = case.check(&mut ledger()).map(|_| ());
    assert!(refused.is_err_and(|r| false_answer(&r)));
    // In device memory nobody else reaches it.
    let refused = attached().check(&mut born()).map(|_| ());
    assert!(refused.is_err_and(|r| false_answer(&r)));
}

#[test]
fn what_is_detached_is_moved_without_a_word() {
    let detach = Case {
        requests: vec![
            Request::Detach(Detach {
                attachment: AttachmentId(9),
                buffer: BufferId(1),
            });
            2
        ],
        ops: vec![answer(0, Status::Good), answer(1, Status::Good)],
        ..Case::default()
    };
    let mut ledger = shared();
    let facts_before = facts(&arrived());
    detach.check(&mut ledger).expect("a true plan");
    assert_eq!(facts(&ledger), facts_before);
    fetch().check(&mut ledger).expect("a true plan");
}
