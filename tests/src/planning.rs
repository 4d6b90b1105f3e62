//! A mechanism alone: requests in, operations out, no device and no ledger. For memory types that
//! no Runtime has.

use crate::moves::Held;
use crate::native::NativeManager;
use gpumm::ComponentFault;
use gpumm::parts::{Mechanism, MechanismSource, SlotDesk};
use gpumm::wasm::WasmMechanism;
use gpumm_allocator_tlsf::Tlsf;
use gpumm_contract::facts::{Fact, MemoryType, Role};
use gpumm_contract::plan::{self, Op, Status};
use gpumm_contract::request::{
    Access, Batch, Create, Grants, Intent, Place, Placement, Request, Run, Use,
};
use gpumm_contract::table::{Holder, Tables};
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{
    AllocationId, Allocator, BufferId, Extent, Geometry, JobId, MemoryTypeId, Point, Stamp,
    TenantId, TimelineId, allocator,
};
use gpumm_gpuvm::GpuVm;
use gpumm_manager::{Manager, Slots};
use gpumm_sg_table::SgTables;
use std::any::Any;
use std::collections::BTreeMap;

/// The host's memory.
pub const SYSTEM: MemoryTypeId = MemoryTypeId(0);
/// The device's memory.
pub const VRAM: MemoryTypeId = MemoryTypeId(1);
/// The host's memory while it is mapped.
pub const GTT: MemoryTypeId = MemoryTypeId(2);
/// Memory that copies may have to go through.
pub const STAGING: MemoryTypeId = MemoryTypeId(3);
/// The timeline of copies.
pub const COPY: TimelineId = TimelineId(0);
/// The timeline of jobs.
pub const RUN: TimelineId = TimelineId(1);

/// A memory type of the usual kind.
pub fn memory(id: MemoryTypeId, size: u64) -> MemoryType {
    MemoryType {
        id,
        size,
        granule: 4096,
        evict_to: (id == VRAM).then_some(SYSTEM),
        base: if id == VRAM { 0 } else { 1 << 40 },
        max_segment: 1 << 30,
        aperture: (id == SYSTEM).then_some(GTT),
        hop: None,
    }
}

/// What the mechanism's strategies decide, all of them `tlsf`.
#[derive(Clone, Debug, Default)]
pub struct Arenas(BTreeMap<MemoryTypeId, Tlsf>);

impl Slots for Arenas {
    fn allocate(&mut self, memory: MemoryTypeId, commands: &[u64]) -> Vec<u64> {
        let arena = self.0.get_mut(&memory).expect("a memory type");
        allocator::execute(arena, commands)
    }

    fn map_dma(&mut self, allocations: &[AllocationId]) -> Vec<bool> {
        vec![true; allocations.len()]
    }
}

impl SlotDesk for Arenas {
    fn allocate(
        &mut self,
        memory: MemoryTypeId,
        commands: &[u64],
    ) -> Result<Vec<u64>, ComponentFault> {
        Ok(Slots::allocate(self, memory, commands))
    }

    fn map_dma(&mut self, _: AllocationId) -> Result<bool, ComponentFault> {
        Ok(true)
    }
}

/// Whoever plans.
pub trait Plans {
    /// Takes facts over.
    fn restore(&mut self, facts: &[Vec<u64>]);
    /// Plans a batch.
    fn plan(&mut self, words: &[u64], arenas: &mut Arenas) -> Vec<u64>;
}

impl Plans for Box<dyn Mechanism> {
    fn restore(&mut self, facts: &[Vec<u64>]) {
        Mechanism::restore(&mut **self, facts).expect("facts");
    }

    fn plan(&mut self, words: &[u64], arenas: &mut Arenas) -> Vec<u64> {
        let (desk, plan) = self.execute(words, Box::new(std::mem::take(arenas)));
        let desk: Box<Arenas> = (desk as Box<dyn Any>).downcast().expect("went in");
        *arenas = *desk;
        plan.expect("a plan")
    }
}

impl Plans for Manager<SgTables, GpuVm, Arenas> {
    fn restore(&mut self, facts: &[Vec<u64>]) {
        self.restore_begin();
        let each = |list: &Vec<u64>| self.restore_part(list);
        facts.iter().try_for_each(each).expect("facts");
        self.restore_end().expect("facts");
    }

    fn plan(&mut self, words: &[u64], arenas: &mut Arenas) -> Vec<u64> {
        std::mem::swap(self.slots_mut(), arenas);
        let plan = self.execute(words);
        std::mem::swap(self.slots_mut(), arenas);
        plan
    }
}

/// A mechanism with what it has been granted so far.
pub struct Planning<P> {
    plans: P,
    arenas: Arenas,
    numbers: [u32; 2],
    next: BTreeMap<TimelineId, u64>,
    stamp: u64,
}

/// Runs a case with the native library, and with the built component.
pub fn both(memory: &[MemoryType], case: impl Fn(Planning<Box<dyn Mechanism>>)) {
    let library = NativeManager::<SgTables>::default();
    let component = WasmMechanism::built_in();
    let sources: [&dyn MechanismSource; 2] = [&library, &component];
    for source in sources {
        // Shown only when the case fails.
        println!("with {}", source.name());
        case(Planning::new(source.build().expect("it starts"), memory));
    }
}

/// The native manager, whose tables can be looked at.
pub fn native(memory: &[MemoryType]) -> Planning<Manager<SgTables, GpuVm, Arenas>> {
    let manager = Manager::new(SgTables::default(), GpuVm::default(), Arenas::default());
    Planning::new(manager, memory)
}

impl<P: Plans> Planning<P> {
    fn new(mut plans: P, memory: &[MemoryType]) -> Self {
        let mut arenas = Arenas::default();
        let mut facts = Writer::new(Kind::Facts);
        for kind in memory {
            assert!(Fact::Memory(*kind).encode(&mut facts));
            let mut arena = Tlsf::default();
            let (size, granule) = (kind.size, kind.granule);
            arena.init(Geometry { size, granule }).expect("an arena");
            arenas.0.insert(kind.id, arena);
        }
        for (timeline, role) in [(COPY, Role::Copy), (RUN, Role::Run)] {
            let completed = Point { timeline, value: 0 };
            assert!(Fact::Timeline { completed, role }.encode(&mut facts));
        }
        plans.restore(&[facts.finish()]);
        Planning {
            plans,
            arenas,
            numbers: [0, 0],
            next: BTreeMap::from([(COPY, 1), (RUN, 1)]),
            stamp: 1,
        }
    }

    /// Plans requests as one batch.
    pub fn plan(&mut self, requests: &[Request]) -> Vec<Op<'static>> {
        let run = |first| {
            let count = u32::MAX - first;
            vec![Run { first, count }]
        };
        let [allocations, tables] = self.numbers.map(run);
        let point = |(&timeline, &value)| Point { timeline, value };
        let timelines = self.next.iter().map(point).collect();
        let batch = Batch {
            grants: Grants {
                allocations,
                tables,
                timelines,
            },
            requests: requests.to_vec(),
        };
        let words = batch.encode().expect("a small batch");
        let plan = self.plans.plan(&words, &mut self.arenas);
        // A test's plans are few, and it lets go of them when it ends.
        let ops = plan::decode(plan.leak()).expect("a plan");
        for op in &ops {
            match *op {
                Op::Place { allocation, .. } => {
                    self.numbers[0] = self.numbers[0].max(allocation.0 + 1);
                }
                Op::Table { table, .. } => self.numbers[1] = self.numbers[1].max(table.0 + 1),
                Op::Copy { at, .. } | Op::Fill { at, .. } | Op::Run { at, .. } => {
                    self.next.insert(at.timeline, at.value + 1);
                }
                _ => {}
            }
        }
        ops
    }

    /// Plans one request that ends well.
    #[track_caller]
    pub fn good(&mut self, request: Request) -> Vec<Op<'static>> {
        let ops = self.plan(&[request]);
        assert_eq!(answers(&ops), [Status::Good]);
        ops
    }

    /// Has the next table begin at a number that nobody uses any more.
    pub fn renumber_tables(&mut self, next: u32) {
        self.numbers[1] = next;
    }

    /// A use of buffers by a job.
    pub fn access(&mut self, intent: Intent, buffers: &[u64]) -> Request {
        self.stamp += 1;
        let of = |&buffer: &u64| Use {
            buffer: BufferId(buffer),
            intent,
        };
        Request::Access(Access {
            job: JobId(self.stamp),
            timeline: RUN,
            stamp: Stamp(self.stamp),
            anywhere: false,
            uses: buffers.iter().map(of).collect(),
        })
    }

    /// A new buffer.
    pub fn create(&mut self, buffer: u64, bytes: u64, places: &[Place]) -> Request {
        self.stamp += 1;
        Request::Create(Create {
            buffer: BufferId(buffer),
            tenant: TenantId(1),
            bytes,
            placement: Placement::new(places).expect("places"),
            priority: 0,
            stamp: Stamp(self.stamp),
        })
    }

    /// A new buffer in device memory that a job has written.
    #[track_caller]
    pub fn written(&mut self, buffer: u64, bytes: u64) {
        let place = Place {
            memory: VRAM,
            pass: gpumm_contract::request::Pass::Both,
        };
        let create = self.create(buffer, bytes, &[place]);
        self.good(create);
        let write = self.access(Intent::Write, &[buffer]);
        self.good(write);
    }

    /// Tells the mechanism that a point is reached.
    #[track_caller]
    pub fn retire(&mut self, timeline: TimelineId, value: u64) -> Vec<Op<'static>> {
        self.good(Request::Retire(Point { timeline, value }))
    }
}

impl Planning<Manager<SgTables, GpuVm, Arenas>> {
    /// The holders of the live tables, as the keeper has them.
    pub fn holders(&self) -> Vec<Held> {
        let held = |state: gpumm_contract::table::TableState| {
            let layout = state.untimed.iter().any(|c| c.holder == Holder::Layout);
            let only = state.untimed.len() == usize::from(layout);
            assert!(
                only && state.untimed.iter().all(|c| c.count == 1),
                "{state:?}"
            );
            let mut holds = state.timed;
            holds.sort();
            Held {
                table: state.table,
                layout,
                holds,
            }
        };
        self.plans.tables().dump().into_iter().map(held).collect()
    }
}

/// How the requests of a plan ended.
pub fn answers(ops: &[Op<'_>]) -> Vec<Status> {
    let status = |op: &Op<'_>| match *op {
        Op::Answer { status, .. } => Some(status),
        _ => None,
    };
    ops.iter().filter_map(status).collect()
}

/// New places: buffer, memory type and extents.
pub fn places(ops: &[Op<'_>]) -> Vec<(u64, MemoryTypeId, Vec<Extent>)> {
    let place = |op: &Op<'_>| match op {
        Op::Place {
            memory,
            buffer,
            extents,
            ..
        } => Some((buffer.0, *memory, extents.to_vec())),
        _ => None,
    };
    ops.iter().filter_map(place).collect()
}

/// The bytes of the copies.
pub fn copies(ops: &[Op<'_>]) -> Vec<u64> {
    let copied = |op: &Op<'_>| match *op {
        Op::Copy { bytes, .. } => Some(bytes),
        _ => None,
    };
    ops.iter().filter_map(copied).collect()
}

/// The waits: who waits, and for what.
pub fn waits(ops: &[Op<'_>]) -> Vec<(TimelineId, Point)> {
    let wait = |op: &Op<'_>| match *op {
        Op::Wait { timeline, point } => Some((timeline, point)),
        _ => None,
    };
    ops.iter().filter_map(wait).collect()
}
