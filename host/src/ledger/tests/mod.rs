//! Every lie of a plan has a name, and a refused plan changes nothing.
//!
//! `lies.rs` has the lies about places and order, `mapping.rs` those about DMA, `carrying.rs` those
//! about what a move carries, `share.rs` those about importers, `lost.rs` those about lost content,
//! `residue.rs` whose bytes free memory shows; `size.rs` measures. Of address spaces `vm.rs` has true
//! plans and what they leave, `vm_lies.rs` the lies about page tables, `vm_binds.rs` those about
//! mappings and `vm_jobs.rs` those about jobs; `vm_model.rs` compares with a simpler record.

mod carrying;
mod lies;
mod lost;
mod mapping;
mod residue;
mod share;
mod size;
mod vm;
mod vm_binds;
mod vm_jobs;
mod vm_lies;
mod vm_model;

use super::*;
use crate::broker::Overlay;
use crate::executor::DeviceOp;
use gpumm_contract::Few;
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::request::{Access, Batch, Create, Intent, Placement, Request, Run, Use};
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{DeviceId, JobId, Segment, Stamp, plan};

const SYSTEM: MemoryTypeId = MemoryTypeId(0);
const VRAM: MemoryTypeId = MemoryTypeId(1);
const GTT: MemoryTypeId = MemoryTypeId(2);
const COPY: TimelineId = TimelineId(0);
const RUN: TimelineId = TimelineId(1);
const CPU: TimelineId = TimelineId(2);
const GATE: TimelineId = TimelineId(3);
const OTHER_GATE: TimelineId = TimelineId(4);
const BIND: TimelineId = TimelineId(5);
const JOB: TimelineId = TimelineId(6);
const BASE: u64 = 1 << 40;

fn at(timeline: TimelineId, value: u64) -> Point {
    Point { timeline, value }
}

fn extent(offset: u64, bytes: u64) -> Extent {
    Extent { offset, bytes }
}

fn ledger() -> Ledger {
    ledger_with(1 << 20)
}

/// A ledger whose aperture has so many bytes.
fn ledger_with(gtt: u64) -> Ledger {
    ledger_of(1 << 20, gtt)
}

/// The same with so many bytes of other memory.
fn ledger_of(size: u64, gtt: u64) -> Ledger {
    let memory = |id: MemoryTypeId, base, evict_to, aperture| MemoryType {
        id,
        size: if id == GTT { gtt } else { size },
        granule: 4096,
        evict_to,
        base,
        max_segment: 1 << 16,
        aperture,
        hop: None,
    };
    let memory = [
        memory(SYSTEM, BASE, None, Some(GTT)),
        memory(VRAM, 0, Some(SYSTEM), None),
        memory(GTT, BASE, None, None),
    ];
    let roles = [
        (COPY, Role::Copy),
        (RUN, Role::Run),
        (CPU, Role::Cpu),
        (GATE, Role::Gate(DeviceId(1))),
        (OTHER_GATE, Role::Gate(DeviceId(2))),
        (BIND, Role::Bind),
        (JOB, Role::Job),
    ];
    Ledger::new(&memory, &roles)
}

/// Requests, what the strategies granted and freed, what the host mapped, and a plan.
#[derive(Default)]
struct Case {
    requests: Vec<Request>,
    granted: Vec<(u32, MemoryTypeId, Vec<Extent>)>,
    freed: Vec<(u32, MemoryTypeId)>,
    mapped: Vec<u32>,
    ops: Vec<Op<'static>>,
}

impl Case {
    fn check(&self, ledger: &mut Ledger) -> Result<Accepted, Refusal> {
        let mut overlay = Overlay::default();
        for (number, memory, extents) in &self.granted {
            overlay.granted_for_test(AllocationId(*number), *memory, extents.clone());
        }
        for &(number, memory) in &self.freed {
            overlay.freed_for_test(AllocationId(number), memory);
        }
        for &number in &self.mapped {
            overlay.mapped_for_test(AllocationId(number));
        }
        let mut words = Writer::new(Kind::Plan);
        assert!(self.ops.iter().all(|op| op.encode(&mut words)));
        let batch = Batch {
            grants: ledger.grants(),
            requests: self.requests.clone(),
        };
        ledger.check(&batch, &overlay, words.words())
    }
}

fn create(buffer: u64, tenant: u32) -> Request {
    Request::Create(Create {
        buffer: BufferId(buffer),
        tenant: TenantId(tenant),
        bytes: 8000,
        placement: Placement::only(VRAM),
        priority: 0,
        stamp: Stamp(buffer),
    })
}

fn access(buffer: u64, job: u64) -> Request {
    access_on(RUN, buffer, job, Intent::Write)
}

/// Off the device's timeline a buffer is used where it is.
fn access_on(timeline: TimelineId, buffer: u64, job: u64, intent: Intent) -> Request {
    Request::Access(Access {
        job: JobId(job),
        timeline,
        stamp: Stamp(50),
        anywhere: timeline != RUN,
        uses: Few::one(Use {
            buffer: BufferId(buffer),
            intent,
        }),
    })
}

fn place(number: u32, memory: MemoryTypeId, buffer: u64, extents: &[Extent]) -> Op<'static> {
    let (allocation, buffer) = (AllocationId(number), BufferId(buffer));
    Op::Place {
        allocation,
        memory,
        buffer,
        extents: extents.to_vec().into(),
    }
}

fn table(table: u32, number: u32, address: u64, bytes: u64) -> Op<'static> {
    let (table, allocation) = (TableId(table), AllocationId(number));
    Op::Table {
        table,
        allocation,
        segments: vec![Segment { address, bytes }].into(),
    }
}

fn answer(request: u32, status: Status) -> Op<'static> {
    Op::Answer { request, status }
}

fn run(value: u64, job: u64, tables: &[u32]) -> Op<'static> {
    run_at(at(RUN, value), job, tables)
}

fn run_at(at: Point, job: u64, tables: &[u32]) -> Op<'static> {
    let tables: Vec<TableId> = tables.iter().map(|&t| TableId(t)).collect();
    Op::Run {
        at,
        job: JobId(job),
        tables: tables.into(),
    }
}

fn wait(timeline: TimelineId, point: Point) -> Op<'static> {
    Op::Wait { timeline, point }
}

/// A copy of the first bytes of a table.
fn copy_of(value: u64, from: u32, to: u32, bytes: u64) -> Op<'static> {
    Op::Copy {
        at: at(COPY, value),
        source: TableId(from),
        target: TableId(to),
        source_offset: 0,
        target_offset: 0,
        bytes,
    }
}

/// A copy of a whole buffer.
fn copy(value: u64, from: u32, to: u32) -> Op<'static> {
    copy_of(value, from, to, 8000)
}

fn fill(value: u64, table: u32, pattern: u64) -> Op<'static> {
    Op::Fill {
        at: at(RUN, value),
        table: TableId(table),
        offset: 0,
        bytes: 8000,
        pattern,
    }
}

fn map(table: u32) -> Op<'static> {
    Op::MapDma {
        table: TableId(table),
    }
}

fn unmap(table: u32) -> Op<'static> {
    Op::UnmapDma {
        table: TableId(table),
    }
}

fn drop_table(table: u32) -> Op<'static> {
    Op::DropTable {
        table: TableId(table),
    }
}

fn poison(buffer: u64) -> Op<'static> {
    Op::Poison {
        buffer: BufferId(buffer),
    }
}

fn unplace(number: u32, after: &[Point]) -> Op<'static> {
    Op::Unplace {
        allocation: AllocationId(number),
        after: after.iter().copied().collect(),
    }
}

/// Buffer 1 is created and written by a job.
fn birth() -> Case {
    Case {
        requests: vec![create(1, 7), access(1, 3)],
        granted: vec![(0, VRAM, vec![extent(0, 8192)])],
        ops: vec![
            place(0, VRAM, 1, &[extent(0, 8192)]),
            table(0, 0, 0, 8192),
            answer(0, Status::Good),
            run(1, 3, &[0]),
            answer(1, Status::Good),
        ],
        ..Case::default()
    }
}

/// Buffer 2 takes the place of buffer 1, which is evicted.
fn eviction() -> Case {
    Case {
        requests: vec![create(2, 7), access(2, 4)],
        granted: vec![
            (1, SYSTEM, vec![extent(4096, 8192)]),
            (2, VRAM, vec![extent(0, 8192)]),
        ],
        freed: vec![(0, VRAM)],
        mapped: vec![1],
        ops: vec![
            place(1, SYSTEM, 1, &[extent(4096, 8192)]),
            table(1, 1, BASE + 4096, 8192),
            map(1),
            wait(COPY, at(RUN, 1)),
            copy(1, 0, 1),
            unplace(0, &[at(COPY, 1), at(RUN, 1)]),
            place(2, VRAM, 2, &[extent(0, 8192)]),
            table(2, 2, 0, 8192),
            answer(0, Status::Good),
            wait(RUN, at(COPY, 1)),
            run(2, 4, &[2]),
            answer(1, Status::Good),
        ],
    }
}

/// Everything of [`birth`] and [`eviction`] has run.
fn arrival() -> Case {
    Case {
        requests: vec![Request::Retire(at(RUN, 2)), Request::Retire(at(COPY, 1))],
        ops: vec![
            answer(0, Status::Good),
            drop_table(0),
            answer(1, Status::Good),
        ],
        ..Case::default()
    }
}

/// Buffer 1 comes back and is written.
fn fetch() -> Case {
    Case {
        requests: vec![access(1, 5)],
        granted: vec![(3, VRAM, vec![extent(65536, 8192)])],
        freed: vec![(1, SYSTEM)],
        ops: vec![
            place(3, VRAM, 1, &[extent(65536, 8192)]),
            table(3, 3, 65536, 8192),
            copy(2, 1, 3),
            unplace(1, &[at(COPY, 2)]),
            wait(RUN, at(COPY, 2)),
            run(3, 5, &[3]),
            answer(0, Status::Good),
        ],
        ..Case::default()
    }
}

/// A ledger after true plans.
fn after(mut ledger: Ledger, cases: &[fn() -> Case]) -> Ledger {
    for case in cases {
        case().check(&mut ledger).expect("a true plan");
    }
    ledger
}

fn born() -> Ledger {
    after(ledger(), &[birth])
}

/// Buffer 1 is on its way to host memory, buffer 2 is in its place.
fn evicted() -> Ledger {
    after(ledger(), &[birth, eviction])
}

/// Buffer 1 is in host memory, which is still mapped.
fn arrived() -> Ledger {
    after(ledger(), &[birth, eviction, arrival])
}

/// Buffer 1 is on its way back, and allocation 1 on its way to the host.
fn fetching() -> Ledger {
    after(ledger(), &[birth, eviction, arrival, fetch])
}

/// The plan, a change of it, and the lie's name.
type Lie = (&'static str, fn(&mut Case), fn(&Refusal) -> bool);

#[track_caller]
fn refused(start: fn() -> Ledger, case: fn() -> Case, lies: &[Lie]) {
    for (name, change, named) in lies {
        let mut ledger = start();
        let before = (facts(&ledger), ledger.grants(), spaces(&ledger));
        let mut lie = case();
        change(&mut lie);
        let refusal = lie.check(&mut ledger).map(|_| ()).expect_err(name);
        assert!(named(&refusal), "'{name}' was refused as {refusal:?}");
        let after = (facts(&ledger), ledger.grants(), spaces(&ledger));
        assert_eq!(after, before, "'{name}' left traces");
        case()
            .check(&mut ledger)
            .unwrap_or_else(|r| panic!("after '{name}' a true plan is refused: {r}"));
    }
}

fn facts(ledger: &Ledger) -> Vec<Vec<u64>> {
    ledger.fact_lists()
}

/// The address spaces with everything that is no fact of the mechanism's.
fn spaces(ledger: &Ledger) -> impl PartialEq + std::fmt::Debug + use<> {
    let vms = ledger.vms.iter().map(|(vm, facts)| (vm, facts.clone()));
    let shown = ledger.shown.iter().map(|(&key, &bytes)| (key, bytes));
    let members = ledger.members.iter().map(|(&key, ())| key);
    (
        vms.collect::<Vec<_>>(),
        shown.collect::<Vec<_>>(),
        members.collect::<Vec<_>>(),
    )
}

#[test]
fn true_plans_are_accepted() {
    let mut ledger = born();
    let accepted = eviction().check(&mut ledger).expect("a true plan");
    assert_eq!(accepted.counts.evictions, 1);
    assert_eq!(accepted.counts.bytes_moved, 8000);
    assert_eq!(accepted.ops.len(), 4);
    assert!(accepted.mapped.contains(&AllocationId(1)) && accepted.mapped.len() == 1);
    arrival().check(&mut ledger).expect("a true plan");
    let accepted = fetch().check(&mut ledger).expect("a true plan");
    assert_eq!(
        (accepted.counts.swap_ins, accepted.counts.evictions),
        (1, 0)
    );
}

#[test]
fn a_leaked_table_is_seen_when_its_last_holder_goes() {
    let mut ledger = born();
    let case = Case {
        requests: vec![Request::Release(BufferId(1)), Request::Retire(at(RUN, 1))],
        freed: vec![(0, VRAM)],
        ops: vec![
            unplace(0, &[at(RUN, 1)]),
            answer(0, Status::Good),
            answer(1, Status::Good),
        ],
        ..Case::default()
    };
    assert_eq!(
        case.check(&mut ledger).map(|_| ()),
        Err(Refusal::TableLeaked(TableId(0)))
    );
    let mut good = case;
    good.ops.insert(2, drop_table(0));
    let accepted = good.check(&mut ledger).expect("a true plan");
    assert_eq!(accepted.ended.len(), 1);
    assert_eq!(ledger.live(), (0, 0));
    assert!(ledger.tables.is_empty() && ledger.allocations.is_empty() && ledger.due.is_empty());
    assert!(ledger.uses.is_empty() && ledger.ending.is_empty() && ledger.ends.is_empty());
    assert!(ledger.used_allocations.is_empty() && ledger.used_tables.is_empty());
}

#[test]
fn unreadable_words_are_refused() {
    let mut ledger = ledger();
    let batch = Batch::default();
    let overlay = Overlay::default();
    for words in [vec![], vec![0], vec![u64::MAX; 4]] {
        let refusal = ledger.check(&batch, &overlay, &words).map(|_| ());
        assert!(matches!(refusal, Err(Refusal::Unreadable(_))));
    }
    let empty = Writer::new(Kind::Plan).finish();
    assert!(plan::decode(&empty).is_ok() && ledger.check(&batch, &overlay, &empty).is_ok());
}

#[test]
fn numbers_are_granted_lowest_first_and_reused_only_when_over() {
    let mut ledger = born();
    assert_eq!(ledger.grants().allocations[0].first, 1);
    eviction().check(&mut ledger).expect("a true plan");
    // Allocation 0 is unplaced but not over: 3 is the lowest unused number.
    assert_eq!(ledger.grants().allocations[0].first, 3);
    arrival().check(&mut ledger).expect("a true plan");
    assert_eq!(ledger.grants().allocations[0], Run { first: 0, count: 1 });
    assert_eq!(ledger.grants().allocations[1].first, 3);
}
