//! Lies about mappings: binds that must be refused, and page tables that do not show what is mapped.

use super::vm::*;
use super::*;
use gpumm_contract::vm::{Bind, Mapping, PAGE, VmConfig, VmError, VmId};

fn before_binds() -> Ledger {
    told_up_to(2)
}

fn false_bind(refusal: &Refusal, number: u32, why: VmError) -> bool {
    let vm = VM;
    let bind = number;
    *refusal == Refusal::FalseBind { vm, bind, why }
}

#[test]
fn lies_about_new_address_spaces_are_named() {
    fn other(change: fn(&mut VmConfig)) -> Vec<Request> {
        let mut config = config();
        change(&mut config);
        vec![create_vm(config)]
    }
    let false_vm = |r: &Refusal| *r == Refusal::FalseVm(VM);
    refused(
        born,
        made,
        &[
            (
                "empty",
                |c| c.requests = other(|o| o.range.bytes = 0),
                false_vm,
            ),
            (
                "not in pages",
                |c| c.requests = other(|o| o.range.bytes += 8),
                false_vm,
            ),
            (
                "too far",
                |c| c.requests = other(|o| o.range.start = u64::MAX - 4095),
                false_vm,
            ),
            (
                "kernel outside",
                |c| c.requests = other(|o| o.kernel.start = 0),
                false_vm,
            ),
            (
                "kernel not in pages",
                |c| c.requests = other(|o| o.kernel.bytes = 8),
                false_vm,
            ),
            (
                "no mappings",
                |c| c.requests = other(|o| o.mappings = 0),
                false_vm,
            ),
            (
                "no end",
                |c| c.requests = other(|o| o.mappings_per_buffer = u32::MAX),
                false_vm,
            ),
            (
                "twice",
                |c| {
                    c.requests.push(create_vm(config()));
                    c.ops.push(answer(1, Status::Good));
                },
                |r| *r == Refusal::InUse("vm", VM.0),
            ),
        ],
    );
}

#[test]
fn what_is_not_made_is_not_there() {
    let mut case = made();
    case.ops = vec![answer(0, VmError::Limits.into())];
    let mut ledger = born();
    case.check(&mut ledger).expect("a true plan");
    assert!(ledger.vm(VM).is_none());
    let refusal = bound().check(&mut ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::Unknown("vm", VM.0)));
    let refusal = closed().check(&mut ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::Unknown("vm", VM.0)));
}

#[test]
fn binds_that_must_be_refused_are_named() {
    refused(
        before_binds,
        bound,
        &[
            (
                "half a page",
                |c| c.requests = vec![binds(&[shows(HERE + 8, 4096, 1, 0)])],
                |r| false_bind(r, 0, VmError::Misaligned),
            ),
            (
                "from half a page",
                |c| c.requests = vec![binds(&[shows(HERE, 4096, 1, 8)])],
                |r| false_bind(r, 0, VmError::Misaligned),
            ),
            (
                "nothing",
                |c| c.requests = vec![binds(&[sparse(HERE, 0)])],
                |r| false_bind(r, 0, VmError::Empty),
            ),
            (
                "before the beginning",
                |c| c.requests = vec![binds(&[Bind::Unmap(span(START - PAGE, PAGE))])],
                |r| false_bind(r, 0, VmError::Range),
            ),
            (
                "beyond the end",
                |c| c.requests = vec![binds(&[sparse(START + (1 << 30) - PAGE, 2 * PAGE)])],
                |r| false_bind(r, 0, VmError::Range),
            ),
            (
                "the kernel's",
                |c| c.requests = vec![binds(&[sparse(START + 15 * PAGE, PAGE)])],
                |r| false_bind(r, 0, VmError::KernelArea),
            ),
            (
                "nobody's buffer",
                |c| c.requests = vec![binds(&[sparse(HERE, 4096), shows(HERE, 4096, 9, 0)])],
                |r| false_bind(r, 1, VmError::UnknownBuffer),
            ),
            (
                "beyond the buffer",
                |c| c.requests = vec![binds(&[shows(HERE, 8192, 1, 4096)])],
                |r| false_bind(r, 0, VmError::Range),
            ),
            (
                "too many of a buffer",
                |c| {
                    let three = [0, 1, 2].map(|n| shows(HERE + n * 8192, 4096, 1, 0));
                    c.requests = vec![binds(&three)];
                },
                |r| false_bind(r, 2, VmError::TooManyOfBuffer),
            ),
            (
                "too many",
                |c| {
                    let five = [0, 1, 2, 3, 4].map(|n| sparse(HERE + n * 8192, 4096));
                    c.requests = vec![binds(&five)];
                },
                |r| false_bind(r, 4, VmError::TooManyMappings),
            ),
            (
                "too many pieces",
                |c| {
                    let hole = Bind::Unmap(span(HERE + 4096, 4096));
                    let parts = [0, 8192, 16384].map(|n| sparse(SPARSE_AT + n, 4096));
                    let long = sparse(HERE, 3 * 4096);
                    c.requests = vec![binds(&[&[long], &parts[..], &[hole]].concat())];
                },
                |r| false_bind(r, 4, VmError::TooManyMappings),
            ),
            (
                "nobody's address space",
                |c| c.requests = vec![binds_of(VmId(5), &[])],
                |r| *r == Refusal::Unknown("vm", 5),
            ),
            (
                "unreadable",
                |c| {
                    let Request::Bind(bind) = &mut c.requests[0] else {
                        return;
                    };
                    bind.binds.pop();
                },
                |r| {
                    matches!(
                        r,
                        Refusal::FalseBind {
                            why: VmError::Wire(_),
                            ..
                        }
                    )
                },
            ),
        ],
    );
}

/// Buffer 3 is tenant 8's.
fn neighbour() -> Case {
    Case {
        requests: vec![create(3, 8)],
        granted: vec![(7, VRAM, vec![extent(1 << 17, 8192)])],
        ops: vec![
            place(7, VRAM, 3, &[extent(1 << 17, 8192)]),
            table(7, 7, 1 << 17, 8192),
            answer(0, Status::Good),
        ],
        ..Case::default()
    }
}

#[test]
fn buffers_of_others_are_neither_mapped_nor_shown() {
    let foreign = |r: &Refusal| {
        let (vm, buffer) = (VM, BufferId(3));
        *r == Refusal::ForeignBuffer { vm, buffer }
    };
    refused(
        || after(before_binds(), &[neighbour]),
        bound,
        &[
            (
                "mapped",
                |c| c.requests = vec![binds(&[shows(HERE, 4096, 3, 0)])],
                foreign,
            ),
            (
                "shown",
                |c| c.ops[1] = show(at(BIND, 1), HERE, 8192, 7, 0),
                foreign,
            ),
        ],
    );
}

fn false_ptes(refusal: &Refusal, address: u64) -> bool {
    let vm = VM;
    *refusal == Refusal::FalsePtes { vm, address }
}

#[test]
fn page_tables_that_show_what_is_not_mapped_are_named() {
    refused(
        before_binds,
        bound,
        &[
            (
                "the wrong way round",
                |c| {
                    c.ops[1] = show(at(BIND, 1), HERE, 4096, 0, 4096);
                    c.ops[2] = show(at(BIND, 2), HERE + 4096, 4096, 0, 0);
                    c.ops.insert(3, show_sparse(at(BIND, 3), SPARSE_AT, 8192));
                },
                |r| false_ptes(r, HERE),
            ),
            (
                "in part",
                |c| c.ops[1] = show(at(BIND, 1), HERE, 4096, 0, 0),
                |r| {
                    let (vm, buffer) = (VM, BufferId(1));
                    *r == Refusal::HalfShown { vm, buffer }
                },
            ),
            (
                "read-only",
                |c| {
                    let Op::UpdatePtes { flags, .. } = &mut c.ops[1] else {
                        return;
                    };
                    *flags = 0;
                },
                |r| false_ptes(r, HERE),
            ),
            (
                "elsewhere",
                |c| c.ops[1] = show(at(BIND, 1), HERE + 4096, 8192, 0, 0),
                |r| false_ptes(r, HERE),
            ),
            (
                "nothing where nothing is kept",
                |c| _ = c.ops.remove(2),
                |r| false_ptes(r, SPARSE_AT),
            ),
            (
                "too much",
                |c| c.ops[2] = show_sparse(at(BIND, 2), SPARSE_AT, 12288),
                |r| false_ptes(r, SPARSE_AT + 8192),
            ),
            (
                "a buffer that is not mapped",
                |c| c.requests = vec![binds(&[sparse(SPARSE_AT, 8192)])],
                |r| matches!(r, Refusal::HalfShown { .. }),
            ),
            (
                "all of that, and refused",
                |c| c.ops[3] = answer(0, VmError::TooManyMappings.into()),
                |r| matches!(r, Refusal::HalfShown { .. }),
            ),
        ],
    );
}

/// The middle of a mapping is unmapped, and what is behind it is mapped a second time.
fn cut() -> Case {
    let list = [
        Bind::Unmap(span(SPARSE_AT, 4096)),
        shows(HERE + 4096, 4096, 1, 0),
    ];
    Case {
        requests: vec![binds(&list)],
        ops: vec![
            clear(at(BIND, 3), SPARSE_AT, 4096),
            show(at(BIND, 4), HERE + 4096, 4096, 0, 0),
            invalidate(at(BIND, 5)),
            answer(0, Status::Good),
        ],
        ..Case::default()
    }
}

#[test]
fn what_is_replaced_is_invalidated() {
    let stale = |r: &Refusal| *r == Refusal::StaleTlb(VM);
    refused(
        || told_up_to(3),
        cut,
        &[
            ("never", |c| _ = c.ops.remove(2), stale),
            (
                "too early",
                |c| {
                    c.ops[1] = invalidate(at(BIND, 4));
                    c.ops[2] = show(at(BIND, 5), HERE + 4096, 4096, 0, 0);
                },
                stale,
            ),
            ("too late", |c| c.ops.swap(2, 3), stale),
            (
                "the rest goes with it",
                |c| c.ops[0] = clear(at(BIND, 3), SPARSE_AT, 8192),
                |r| false_ptes(r, SPARSE_AT + 4096),
            ),
        ],
    );
    let mut ledger = after(told_up_to(3), &[cut]);
    let mappings: Vec<_> = ledger.vm(VM).expect("open").mappings().copied().collect();
    let want = [
        (HERE, 4096, 0),
        (HERE + 4096, 4096, 0),
        (SPARSE_AT + 4096, 4096, 4096),
    ];
    let of = |m: &Mapping| (m.at.start, m.at.bytes, m.offset);
    assert_eq!(mappings.iter().map(of).collect::<Vec<_>>(), want);
    // The same entries once more are no change.
    let again = Case {
        requests: vec![binds(&[shows(HERE, 4096, 1, 0)])],
        ops: vec![show(at(BIND, 6), HERE, 4096, 0, 0), answer(0, Status::Good)],
        ..Case::default()
    };
    again.check(&mut ledger).expect("a true plan");
}

/// A client's list of binds comes after what the client named.
#[test]
fn binds_wait_for_what_their_client_names() {
    let mut case = bound();
    if let Request::Bind(bind) = &mut case.requests[0] {
        bind.after = [at(COPY, 1)].into_iter().collect();
    }
    case.ops.insert(0, signal(at(COPY, 1)));
    let mut ledger = before_binds();
    let refusal = case.check(&mut ledger).map(|_| ());
    let (vm, timeline, point) = (VM, BIND, at(COPY, 1));
    let not_ordered = Refusal::VmNotOrdered {
        vm,
        timeline,
        point,
    };
    assert_eq!(refusal, Err(not_ordered));
    case.ops.insert(1, wait(BIND, at(COPY, 1)));
    case.check(&mut ledger).expect("a true plan");
}
