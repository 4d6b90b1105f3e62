//! What a request costs: the bare crossing into the mechanism, and create + release end to end,
//! with the component and with the native library in its place.
//!
//! `empty` is one call of the mechanism without requests. `plan/N` is the mechanism alone with N
//! creates and then N releases, strategy answers from a native strategy behind the real broker.
//! `client/N` is the same from a client's call to its return: queue, thread, admission, mechanism,
//! strategy component, ledger, executor.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Row, finish, sample};
use gpumm::parts::{MechanismSource, Parts, SlotDesk};
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm::{BufferDesc, ComponentFault, Pacing, Runtime};
use gpumm_allocator_tlsf::Tlsf;
use gpumm_contract::facts::{Fact, MemoryType, Role};
use gpumm_contract::request::{Batch, Create, Grants, Placement, Request, Run};
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{
    AllocationId, Allocator, BufferId, Geometry, MemoryTypeId, Point, Stamp, TenantId, TimelineId,
    allocator,
};
use gpumm_sg_table::SgTables;
use gpumm_tests::native::{self, NativeManager};
use serde_json::Map;
use std::sync::Arc;
use std::time::Duration;

const BUDGET: Duration = Duration::from_millis(700);
const BATCHES: [usize; 3] = [1, 64, 1024];
const VRAM: MemoryTypeId = MemoryTypeId(1);

/// A strategy without broker and ledger: what the mechanism alone costs.
struct Bare(Tlsf);

impl SlotDesk for Bare {
    fn allocate(&mut self, _: MemoryTypeId, commands: &[u64]) -> Result<Vec<u64>, ComponentFault> {
        Ok(allocator::execute(&mut self.0, commands))
    }

    fn map_dma(&mut self, _: AllocationId) -> Result<bool, ComponentFault> {
        Ok(true)
    }
}

fn facts() -> Vec<u64> {
    let memory = |id, base, evict_to| {
        let id = MemoryTypeId(id);
        Fact::Memory(MemoryType {
            id,
            size: 1 << 36,
            granule: 4096,
            evict_to,
            base,
            max_segment: 0xffff_f000,
            aperture: None,
            hop: None,
        })
    };
    let timeline = |t, role| Fact::Timeline {
        completed: Point {
            timeline: TimelineId(t),
            value: 0,
        },
        role,
    };
    let mut list = Writer::new(Kind::Facts);
    let facts = [
        memory(0, 1 << 46, None),
        memory(1, 0, Some(MemoryTypeId(0))),
        timeline(0, Role::Copy),
        timeline(1, Role::Run),
    ];
    assert!(facts.iter().all(|f| f.encode(&mut list)));
    list.finish()
}

fn batch(requests: Vec<Request>) -> Vec<u64> {
    let all = vec![Run {
        first: 0,
        count: u32::MAX,
    }];
    let timelines = (0..2)
        .map(|t| Point {
            timeline: TimelineId(t),
            value: 1,
        })
        .collect();
    Batch {
        grants: Grants {
            allocations: all.clone(),
            tables: all,
            timelines,
        },
        requests,
    }
    .encode()
    .unwrap()
}

fn mechanism_rows(subject: &str, source: &dyn MechanismSource, rows: &mut Vec<Row>) {
    let mut mechanism = source.build().unwrap();
    mechanism.restore(&[facts()]).unwrap();
    let mut strategy = Tlsf::default();
    strategy
        .init(Geometry {
            size: 1 << 36,
            granule: 4096,
        })
        .unwrap();
    let mut desk: Option<Box<dyn SlotDesk>> = Some(Box::new(Bare(strategy)));
    let mut call = |words: &[u64]| {
        let (back, plan) = mechanism.execute(words, desk.take().unwrap());
        desk = Some(back);
        std::hint::black_box(plan.unwrap());
    };
    let empty = batch(vec![]);
    let row = |case: String, samples| Row {
        bench: "crossing",
        case,
        subject: subject.into(),
        unit: "ns/op",
        samples,
        extra: Map::new(),
    };
    rows.push(row(
        "empty".into(),
        sample(BUDGET, 1000, || (0..1000).for_each(|_| call(&empty))),
    ));
    for n in BATCHES {
        let creates = batch((0..n as u64).map(create).collect());
        let releases = batch(
            (0..n as u64)
                .map(|b| Request::Release(BufferId(b)))
                .collect(),
        );
        let repeat = 1024 / n;
        let both = || {
            for _ in 0..repeat {
                call(&creates);
                call(&releases);
            }
        };
        rows.push(row(format!("plan/{n}"), sample(BUDGET, repeat * n, both)));
    }
}

fn create(n: u64) -> Request {
    Request::Create(Create {
        buffer: BufferId(n),
        tenant: TenantId(1),
        bytes: 65536,
        placement: Placement::only(VRAM),
        priority: 0,
        stamp: Stamp(n),
    })
}

fn client_rows(subject: &str, parts: Parts, rows: &mut Vec<Row>) {
    let build = Runtime::builder()
        .sim(1 << 30)
        .system_memory(1 << 20)
        .parts(parts);
    let runtime = build.pacing(Pacing::Eager).build().unwrap();
    let client = runtime.client();
    for n in BATCHES {
        let both = || {
            let mut batch = client.batch();
            let made: Vec<_> = (0..n)
                .map(|_| batch.create(BufferDesc::new(65536)))
                .collect();
            let mut ended = batch.submit().unwrap();
            let mut batch = client.batch();
            for (slot, buffer) in made {
                batch.release(ended.created(slot, buffer).unwrap());
            }
            batch.submit().unwrap();
        };
        let samples = sample(BUDGET, n, both);
        let extra = Map::new();
        let (case, subject) = (format!("client/{n}"), subject.into());
        rows.push(Row {
            bench: "crossing",
            case,
            subject,
            unit: "ns/op",
            samples,
            extra,
        });
    }
}

fn main() {
    let mut rows = Vec::new();
    let component: Arc<dyn MechanismSource> = Arc::new(WasmMechanism::built_in());
    let library: Arc<dyn MechanismSource> = Arc::new(NativeManager::<SgTables>::default());
    mechanism_rows("component", &*component, &mut rows);
    mechanism_rows("native", &*library, &mut rows);
    let wasm = |name| Arc::new(WasmStrategy::built_in(name).unwrap());
    let parts = Parts {
        mechanism: component,
        strategy: wasm("tlsf"),
        fallback: wasm("tlsf"),
    };
    client_rows("component", parts, &mut rows);
    client_rows("native", native::parts("tlsf"), &mut rows);
    rows.sort_by_key(|r| (r.case.clone(), r.subject.clone()));
    finish(rows);
}
