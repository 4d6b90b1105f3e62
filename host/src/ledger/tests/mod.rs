//! Every lie of a plan has a name, and a refused plan changes nothing.

mod lies;

use super::*;
use crate::broker::Overlay;
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::request::{Access, Batch, Create, Intent, Request, Use};
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{JobId, plan};

const SYSTEM: MemoryTypeId = MemoryTypeId(0);
const VRAM: MemoryTypeId = MemoryTypeId(1);
const GTT: MemoryTypeId = MemoryTypeId(2);
const COPY: TimelineId = TimelineId(0);
const RUN: TimelineId = TimelineId(1);
const BASE: u64 = 1 << 40;

fn at(timeline: TimelineId, value: u64) -> Point {
    Point { timeline, value }
}

fn extent(offset: u64, bytes: u64) -> Extent {
    Extent { offset, bytes }
}

fn ledger() -> Ledger {
    let memory = |id: MemoryTypeId, base, evict_to, aperture| MemoryType {
        id,
        size: 1 << 20,
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
    Ledger::new(&memory, &[(COPY, Role::Copy), (RUN, Role::Run)])
}

/// Requests, what the strategies granted and freed, and a plan.
struct Case {
    requests: Vec<Request>,
    granted: Vec<(u32, MemoryTypeId, Vec<Extent>)>,
    freed: Vec<(u32, MemoryTypeId)>,
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
    Request::Access(Access {
        job: JobId(job),
        timeline: RUN,
        stamp: Stamp(50),
        anywhere: false,
        uses: vec![Use {
            buffer: BufferId(buffer),
            intent: Intent::Write,
        }],
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
    let tables: Vec<TableId> = tables.iter().map(|&t| TableId(t)).collect();
    Op::Run {
        at: at(RUN, value),
        job: JobId(job),
        tables: tables.into(),
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
        freed: vec![],
        ops: vec![
            place(0, VRAM, 1, &[extent(0, 8192)]),
            table(0, 0, 0, 8192),
            answer(0, Status::Good),
            run(1, 3, &[0]),
            answer(1, Status::Good),
        ],
    }
}

/// Buffer 2 takes the place of buffer 1, which is evicted.
fn eviction() -> Case {
    let copy = Op::Copy {
        at: at(COPY, 1),
        source: TableId(0),
        target: TableId(1),
        source_offset: 0,
        target_offset: 0,
        bytes: 8000,
    };
    Case {
        requests: vec![create(2, 7), access(2, 4)],
        granted: vec![
            (1, SYSTEM, vec![extent(4096, 8192)]),
            (2, VRAM, vec![extent(0, 8192)]),
        ],
        freed: vec![(0, VRAM)],
        ops: vec![
            place(1, SYSTEM, 1, &[extent(4096, 8192)]),
            table(1, 1, BASE + 4096, 8192),
            Op::Wait {
                timeline: COPY,
                point: at(RUN, 1),
            },
            copy,
            unplace(0, &[at(COPY, 1), at(RUN, 1)]),
            place(2, VRAM, 2, &[extent(0, 8192)]),
            table(2, 2, 0, 8192),
            answer(0, Status::Good),
            Op::Wait {
                timeline: RUN,
                point: at(COPY, 1),
            },
            run(2, 4, &[2]),
            answer(1, Status::Good),
        ],
    }
}

fn born() -> Ledger {
    let mut ledger = ledger();
    birth().check(&mut ledger).expect("a true plan");
    ledger
}

fn facts(ledger: &Ledger) -> Vec<Vec<u64>> {
    ledger.fact_lists()
}

#[test]
fn true_plans_are_accepted() {
    let mut ledger = born();
    let accepted = eviction().check(&mut ledger).expect("a true plan");
    assert_eq!(accepted.counts.evictions, 1);
    assert_eq!(accepted.counts.bytes_moved, 8000);
    assert_eq!(accepted.ops.len(), 4);
}

#[test]
fn a_leaked_table_is_seen_when_its_last_holder_goes() {
    let mut ledger = born();
    let case = Case {
        requests: vec![Request::Release(BufferId(1)), Request::Retire(at(RUN, 1))],
        granted: vec![],
        freed: vec![(0, VRAM)],
        ops: vec![
            unplace(0, &[at(RUN, 1)]),
            answer(0, Status::Good),
            answer(1, Status::Good),
        ],
    };
    assert_eq!(
        case.check(&mut ledger).map(|_| ()),
        Err(Refusal::TableLeaked(TableId(0)))
    );
    let mut good = case;
    good.ops.insert(2, Op::DropTable { table: TableId(0) });
    let accepted = good.check(&mut ledger).expect("a true plan");
    assert_eq!(accepted.ended.len(), 1);
    assert_eq!(ledger.live(), (0, 0));
    assert!(ledger.tables.is_empty() && ledger.allocations.is_empty() && ledger.due.is_empty());
    assert!(ledger.used_allocations.is_empty() && ledger.used_tables.is_empty());
}

#[test]
fn another_tenants_bytes_must_be_cleared_first() {
    let mut ledger = born();
    let end = Case {
        requests: vec![Request::Release(BufferId(1)), Request::Retire(at(RUN, 1))],
        granted: vec![],
        freed: vec![(0, VRAM)],
        ops: vec![
            unplace(0, &[at(RUN, 1)]),
            answer(0, Status::Good),
            Op::DropTable { table: TableId(0) },
            answer(1, Status::Good),
        ],
    };
    end.check(&mut ledger).expect("a true plan");
    let mut next = birth();
    next.requests = vec![create(2, 8), access(2, 3)];
    next.ops[0] = place(0, VRAM, 2, &[extent(0, 8192)]);
    next.ops[3] = run(2, 3, &[0]);
    let refusal = next.check(&mut ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::ForeignBytes(BufferId(2))));
    let fill = Op::Fill {
        at: at(RUN, 2),
        table: TableId(0),
        offset: 0,
        bytes: 8000,
        pattern: 0,
    };
    next.ops[3] = run(3, 3, &[0]);
    next.ops.insert(3, fill);
    next.check(&mut ledger).expect("cleared first");
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
    let retire = Case {
        requests: vec![Request::Retire(at(RUN, 2)), Request::Retire(at(COPY, 1))],
        granted: vec![],
        freed: vec![],
        ops: vec![
            answer(0, Status::Good),
            Op::DropTable { table: TableId(0) },
            answer(1, Status::Good),
        ],
    };
    retire.check(&mut ledger).expect("a true plan");
    assert_eq!(ledger.grants().allocations[0], Run { first: 0, count: 1 });
    assert_eq!(ledger.grants().allocations[1].first, 3);
}
