//! True plans on address spaces, and what they leave; `vm_lies.rs`, `vm_binds.rs` and `vm_jobs.rs`
//! change them into lies.

use super::*;
use gpumm_contract::facts::{Fact, MappingFact, VmBoFact};
use gpumm_contract::plan::SPARSE_PTES;
use gpumm_contract::request::{BindVm, CloseVm, CreateVm, SpanUse, Submit, Used};
use gpumm_contract::table::{Hold, Holder};
use gpumm_contract::vm::packed::encode_binds;
use gpumm_contract::vm::{Bind, Mapping, PAGE, Span, VmConfig, VmId, WRITE};
use gpumm_contract::{Few, PointSet};

pub(super) const VM: VmId = VmId(4);
/// Where address spaces begin, and their kernel's area.
pub(super) const START: u64 = 1 << 20;
/// Where buffer 1 is mapped.
pub(super) const HERE: u64 = START + (1 << 20);
/// Where nothing is kept.
pub(super) const SPARSE_AT: u64 = HERE + (1 << 20);

pub(super) fn span(start: u64, bytes: u64) -> Span {
    Span { start, bytes }
}

pub(super) fn config() -> VmConfig {
    VmConfig {
        range: span(START, 1 << 30),
        kernel: span(START, 16 * PAGE),
        mappings: 4,
        mappings_per_buffer: 2,
    }
}

pub(super) fn create_vm(config: VmConfig) -> Request {
    Request::CreateVm(CreateVm {
        vm: VM,
        tenant: TenantId(7),
        config,
    })
}

pub(super) fn binds(list: &[Bind]) -> Request {
    binds_of(VM, list)
}

pub(super) fn binds_of(vm: VmId, list: &[Bind]) -> Request {
    Request::Bind(BindVm {
        vm,
        after: PointSet::new(),
        binds: encode_binds(list, Vec::new()),
    })
}

/// A mapping of a buffer's bytes that jobs may write.
pub(super) fn shows(start: u64, bytes: u64, buffer: u64, offset: u64) -> Bind {
    Bind::Map(Mapping {
        at: span(start, bytes),
        buffer: Some(BufferId(buffer)),
        offset,
        attributes: WRITE,
    })
}

pub(super) fn sparse(start: u64, bytes: u64) -> Bind {
    Bind::Map(Mapping {
        at: span(start, bytes),
        buffer: None,
        offset: 0,
        attributes: 0,
    })
}

fn ptes(at: Point, start: u64, bytes: u64, table: TableId, offset: u64, flags: u64) -> Op<'static> {
    Op::UpdatePtes {
        at,
        vm: VM,
        address: start,
        table,
        offset,
        bytes,
        flags,
    }
}

/// Entries that show a table from a byte on.
pub(super) fn show(at: Point, start: u64, bytes: u64, table: u32, offset: u64) -> Op<'static> {
    ptes(at, start, bytes, TableId(table), offset, WRITE.into())
}

pub(super) fn clear(at: Point, start: u64, bytes: u64) -> Op<'static> {
    ptes(at, start, bytes, TableId::NONE, 0, 0)
}

pub(super) fn show_sparse(at: Point, start: u64, bytes: u64) -> Op<'static> {
    ptes(at, start, bytes, TableId::NONE, 0, SPARSE_PTES)
}

pub(super) fn invalidate(at: Point) -> Op<'static> {
    Op::InvalidateTlb { at, vm: VM }
}

pub(super) fn signal(at: Point) -> Op<'static> {
    Op::Signal { at }
}

pub(super) fn submit(job: u64, spans: &[(u64, u64, Intent)]) -> Request {
    let one = |&(start, bytes, intent): &_| SpanUse {
        at: span(start, bytes),
        intent,
    };
    Request::Submit(Submit {
        vm: VM,
        at: at(JOB, job),
        stamp: Stamp(60 + job),
        spans: spans.iter().map(one).collect(),
    })
}

pub(super) fn used(job: u64, buffer: Option<u64>, intent: Intent) -> Request {
    Request::Used(Used {
        vm: VM,
        at: at(JOB, job),
        stamp: Stamp(60 + job),
        buffer: buffer.map(BufferId),
        intent,
    })
}

pub(super) fn told(requests: Vec<Request>) -> Case {
    let count = requests.len() as u32;
    Case {
        requests,
        ops: (0..count).map(|k| answer(k, Status::Good)).collect(),
        ..Case::default()
    }
}

pub(super) fn made() -> Case {
    told(vec![create_vm(config())])
}

/// Buffer 1 is mapped and shown, and nothing is kept elsewhere.
pub(super) fn bound() -> Case {
    Case {
        requests: vec![binds(&[shows(HERE, 8192, 1, 0), sparse(SPARSE_AT, 8192)])],
        ops: vec![
            wait(BIND, at(RUN, 1)),
            show(at(BIND, 1), HERE, 8192, 0, 0),
            show_sparse(at(BIND, 2), SPARSE_AT, 8192),
            answer(0, Status::Good),
        ],
        ..Case::default()
    }
}

/// A job on everything.
pub(super) fn submitted() -> Case {
    Case {
        requests: vec![submit(1, &[])],
        ops: vec![signal(at(BIND, 3)), answer(0, Status::Good)],
        ..Case::default()
    }
}

/// Buffer 2 takes the place of buffer 1, which is shown no more.
pub(super) fn hidden() -> Case {
    let before = [at(COPY, 3), at(RUN, 1), at(JOB, 1), at(BIND, 3)];
    Case {
        ops: vec![
            place(1, SYSTEM, 1, &[extent(4096, 8192)]),
            table(1, 1, BASE + 4096, 8192),
            map(1),
            wait(COPY, at(JOB, 1)),
            wait(COPY, at(BIND, 3)),
            clear(at(COPY, 1), HERE, 8192),
            invalidate(at(COPY, 2)),
            copy(3, 0, 1),
            unplace(0, &before),
            place(2, VRAM, 2, &[extent(0, 8192)]),
            table(2, 2, 0, 8192),
            answer(0, Status::Good),
            wait(RUN, at(COPY, 3)),
            run(2, 4, &[2]),
            answer(1, Status::Good),
        ],
        ..eviction()
    }
}

pub(super) fn rested() -> Case {
    let reached = [at(RUN, 2), at(BIND, 3), at(JOB, 1), at(COPY, 3)];
    let mut case = told(reached.into_iter().map(Request::Retire).collect());
    case.ops.insert(3, drop_table(0));
    case
}

/// A job on buffer 1, which comes back and is shown again.
pub(super) fn returned() -> Case {
    Case {
        requests: vec![submit(2, &[(HERE, 1, Intent::Write)])],
        granted: vec![(3, VRAM, vec![extent(65536, 8192)])],
        freed: vec![(1, SYSTEM)],
        ops: vec![
            place(3, VRAM, 1, &[extent(65536, 8192)]),
            table(3, 3, 65536, 8192),
            copy(4, 1, 3),
            unplace(1, &[at(COPY, 4)]),
            wait(BIND, at(COPY, 4)),
            show(at(BIND, 4), HERE, 8192, 3, 0),
            answer(0, Status::Good),
        ],
        ..Case::default()
    }
}

pub(super) fn released() -> Case {
    Case {
        requests: vec![Request::Release(BufferId(1))],
        freed: vec![(3, VRAM)],
        ops: vec![
            wait(COPY, at(JOB, 2)),
            wait(COPY, at(BIND, 4)),
            clear(at(COPY, 5), HERE, 8192),
            invalidate(at(COPY, 6)),
            unplace(3, &[at(COPY, 6), at(BIND, 4), at(JOB, 2)]),
            answer(0, Status::Good),
        ],
        ..Case::default()
    }
}

pub(super) fn closed() -> Case {
    Case {
        requests: vec![Request::CloseVm(CloseVm {
            vm: VM,
            after: PointSet::new(),
        })],
        ops: vec![
            clear(at(COPY, 7), START, 1 << 30),
            invalidate(at(COPY, 8)),
            answer(0, Status::Good),
        ],
        ..Case::default()
    }
}

pub(super) const STORY: [fn() -> Case; 9] = [
    birth, made, bound, submitted, hidden, rested, returned, released, closed,
];

/// A ledger after so many chapters.
pub(super) fn told_up_to(chapters: usize) -> Ledger {
    after(ledger(), &STORY[..chapters])
}

fn view(ledger: &Ledger) -> VmView {
    ledger.vm(VM).expect("an address space")
}

#[test]
fn the_story_of_an_address_space_is_accepted() {
    let mut ledger = told_up_to(2);
    assert!(view(&ledger).all_fresh() && view(&ledger).mappings().count() == 0);
    let bound = bound().check(&mut ledger).expect("a true plan");
    assert_eq!(bound.fences, [(0, at(BIND, 2))]);
    assert_eq!((bound.counts.binds, bound.counts.rebinds), (2, 0));
    assert_eq!(bound.vms, [view(&ledger)]);
    assert!(!view(&ledger).all_fresh() && view(&ledger).pte_runs() == 2);
    let submitted = submitted().check(&mut ledger).expect("a true plan");
    assert_eq!(submitted.fences, [(0, at(BIND, 3))]);
    let (fresh, ready) = (view(&ledger).all_fresh(), view(&ledger).ready());
    assert_eq!((fresh, ready), (true, Some(at(BIND, 3))));
    let uses = Few::one((BufferId(1), Intent::Read));
    let covers = |start, bytes| {
        view(&ledger).covers(&[SpanUse {
            at: span(start, bytes),
            intent: Intent::Read,
        }])
    };
    let found = |uses: &Few<_>, fresh| Covers {
        uses: uses.clone(),
        fresh,
    };
    assert_eq!(covers(HERE + 5000, 1), found(&uses, true));
    // What is mapped only in part is not ready, wherever the gap is.
    assert_eq!(covers(HERE - 1, 2), found(&uses, false));
    assert_eq!(covers(HERE + 8191, 2), found(&uses, false));
    assert!(covers(HERE + 8192, 1).uses.is_empty() && covers(SPARSE_AT, 1).fresh);
    let kept = view(&ledger);
    let hidden = hidden().check(&mut ledger).expect("a true plan");
    assert_eq!((hidden.counts.evictions, hidden.vms.len()), (1, 1));
    assert!(!view(&ledger).all_fresh() && kept.all_fresh() && kept.pte_runs() == 2);
    assert!(view(&ledger).members().eq([(BufferId(1), None)]));
    rested().check(&mut ledger).expect("a true plan");
    let returned = returned().check(&mut ledger).expect("a true plan");
    assert_eq!((returned.counts.binds, returned.counts.rebinds), (0, 1));
    assert!(view(&ledger).all_fresh());
    assert!(
        view(&ledger)
            .members()
            .eq([(BufferId(1), Some(TableId(3)))])
    );
    released().check(&mut ledger).expect("a true plan");
    assert!(view(&ledger).members().next().is_none() && view(&ledger).mappings().count() == 1);
    let closed = closed().check(&mut ledger).expect("a true plan");
    assert!(closed.vms.len() == 1 && closed.vms[0].closed && closed.vms[0].vm == VM);
    assert!(ledger.vm(VM).is_none() && ledger.vms.is_empty());
    assert!(ledger.shown.is_empty() && ledger.members.is_empty());
}

/// Every wait and every invalidation of the story is needed.
#[test]
fn nothing_of_the_story_can_be_left_out() {
    let mut left_out = 0;
    for (chapter, told) in STORY.iter().enumerate().skip(2) {
        for number in 0..told().ops.len() {
            let mut case = told();
            match case.ops[number] {
                Op::Wait { .. } => _ = case.ops.remove(number),
                Op::InvalidateTlb { at, .. } => case.ops[number] = signal(at),
                _ => continue,
            }
            let mut ledger = told_up_to(chapter);
            let before = (facts(&ledger), spaces(&ledger));
            let refused = case.check(&mut ledger).map(|_| ());
            assert!(refused.is_err(), "op {number} of chapter {chapter}");
            assert_eq!((facts(&ledger), spaces(&ledger)), before);
            left_out += 1;
        }
    }
    assert_eq!(left_out, 10);
}

#[test]
fn facts_tell_of_address_spaces_last() {
    let ledger = told_up_to(4);
    let all: Vec<Fact> = ledger.facts().collect();
    let of_vms = all.iter().position(|f| matches!(f, Fact::Vm(_)));
    let of_vms = &all[of_vms.expect("an address space")..];
    let Fact::Vm(vm) = &of_vms[0] else {
        panic!("the address space is first");
    };
    assert_eq!((vm.vm, vm.tenant, vm.config), (VM, TenantId(7), config()));
    assert!(vm.written.iter().eq([at(BIND, 2)]) && vm.busy.iter().eq([at(JOB, 1)]));
    let mapping = |bind: Bind| match bind {
        Bind::Map(mapping) => Fact::Mapping(MappingFact { vm: VM, mapping }),
        Bind::Unmap(_) => panic!("a mapping"),
    };
    let rest = [
        Fact::VmBo(VmBoFact {
            vm: VM,
            buffer: BufferId(1),
            external: false,
            evicted: false,
            table: Some(TableId(0)),
            held: 0,
        }),
        mapping(shows(HERE, 8192, 1, 0)),
        mapping(sparse(SPARSE_AT, 8192)),
    ];
    assert_eq!(of_vms[1..], rest);
    let hold = Hold {
        holder: Holder::Bind,
        until: at(BIND, 1),
    };
    let held = |f: &Fact| matches!(f, Fact::Table { holds, .. } if holds.contains(&hold));
    assert!(all.iter().any(held));
    // What a mechanism gets is what it would tell.
    let lists = ledger.fact_lists();
    let read = lists.iter().map(|l| gpumm_contract::facts::decode(l));
    let read = read.collect::<Result<Vec<_>, _>>().expect("readable");
    assert_eq!(read.concat(), all);
    let hidden: Vec<Fact> = told_up_to(5).facts().collect();
    let evicted = |f: &Fact| matches!(f, Fact::VmBo(bo) if bo.evicted && bo.table.is_none());
    assert!(hidden.iter().any(evicted));
    let job = |f: &Fact| {
        matches!(
            f,
            Fact::Timeline {
                role: Role::Job,
                ..
            }
        )
    };
    assert!(hidden.iter().any(job) && !ledger.grants().timelines.contains(&at(JOB, 2)));
}

#[test]
fn a_lost_device_shows_nothing() {
    let mut ledger = told_up_to(4);
    let lost = Case {
        requests: vec![Request::Lost],
        ops: vec![poison(1), answer(0, Status::Good)],
        ..Case::default()
    };
    let accepted = lost.check(&mut ledger).expect("a true plan");
    assert_eq!(accepted.vms, [view(&ledger)]);
    assert!(view(&ledger).members().eq([(BufferId(1), None)]));
    assert!(view(&ledger).pte_runs() == 0 && !view(&ledger).all_fresh());
    assert!(ledger.shown.is_empty() && view(&ledger).mappings().count() == 2);
}

/// Prints times: `cargo test --release -p gpumm --lib -- --ignored --nocapture many_mappings`.
#[test]
#[ignore = "prints times, which say nothing on a busy machine; for whoever measures by hand"]
fn time_of_many_mappings() {
    for count in [1_000, 10_000, 100_000] {
        let mut limits = config();
        (limits.mappings, limits.mappings_per_buffer) = (1 << 20, 1 << 20);
        let made = told(vec![create_vm(limits)]);
        let mut ledger = born();
        made.check(&mut ledger).expect("a true plan");
        let place = |n: u64| HERE + n * 8192;
        let list: Vec<Bind> = (0..count).map(|n| shows(place(n), 4096, 1, 0)).collect();
        let mut case = Case {
            requests: vec![binds(&list)],
            ops: vec![wait(BIND, at(RUN, 1))],
            ..Case::default()
        };
        let write = |n: u64| show(at(BIND, n + 1), place(n), 4096, 0, 0);
        case.ops.extend((0..count).map(write));
        case.ops.push(answer(0, Status::Good));
        let time = |case: &Case, ledger: &mut Ledger| {
            let start = std::time::Instant::now();
            case.check(ledger).expect("a true plan");
            start.elapsed().as_nanos() as u64 / count
        };
        let bound = time(&case, &mut ledger);
        let mut ready = submitted();
        ready.ops[0] = signal(at(BIND, count + 1));
        ready.check(&mut ledger).expect("a true plan");
        let start = std::time::Instant::now();
        let view = view(&ledger);
        let covers = view.covers(&[SpanUse {
            at: span(place(count / 2), 4096),
            intent: Intent::Write,
        }]);
        let looked = start.elapsed().as_nanos();
        assert!(covers.fresh && covers.uses.len() == 1);
        let mut close = closed();
        close.ops[0] = clear(at(COPY, 1), START, 1 << 30);
        close.ops[1] = invalidate(at(COPY, 2));
        close.ops.insert(0, wait(COPY, at(BIND, count)));
        let closed = time(&close, &mut ledger);
        println!("{count} mappings: {bound} ns each to bind, {closed} to close, a look {looked}");
    }
    println!("{} bytes per address space", size_of::<VmFacts>());
}
