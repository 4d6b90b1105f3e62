//! The sg-table component alone, behind the same trait as its logic library, and what tests of
//! tables share.

use gpumm_contract::table::{Counted, Hold, Holder, Limits, TableError, TableState, Tables};
use gpumm_contract::{Extent, Point, Segment, Segments, TableId, TimelineId};
use gpumm_sg_table::SgTables;
use std::cell::RefCell;
use std::sync::OnceLock;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, ResourceLimiter, Store};
use wit::exports::gpumm::memory::sg_table as face;

mod wit {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
    wasmtime::component::bindgen!({ path: "../wit", world: "gpumm:memory/sg-table-keeper" });
}

/// Checks the same of the native library and of the built component.
pub fn both(check: impl Fn(&mut dyn Tables)) {
    check(&mut SgTables::default());
    check(&mut TableComponent::built());
}

/// An sg-table component in its Store. A trap ends the test.
pub struct TableComponent(RefCell<Running>);

struct Running {
    store: Store<Memory>,
    world: wit::SgTableKeeper,
}

/// How large the component's memory is.
#[derive(Default)]
struct Memory(usize);

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, _: usize, to: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.0 = to;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.concurrency_support(false);
        Engine::new(&config).unwrap()
    })
}

impl TableComponent {
    /// The component as it is composed into the mechanism.
    pub fn built() -> Self {
        Self::new(gpumm_components::part("sg-table").unwrap())
    }

    /// A component of the world `sg-table-keeper`.
    pub fn new(bytes: &[u8]) -> Self {
        let component = wasmtime::component::Component::new(engine(), bytes).unwrap();
        let mut store = Store::new(engine(), Memory::default());
        store.limiter(|memory| memory);
        // Nothing is offered: it imports nothing.
        let linker = Linker::new(engine());
        let world = wit::SgTableKeeper::instantiate(&mut store, &component, &linker).unwrap();
        TableComponent(RefCell::new(Running { store, world }))
    }

    /// How many bytes its linear memory has.
    pub fn memory(&self) -> usize {
        self.0.borrow().store.data().0
    }

    fn ask<R>(
        &self,
        call: impl FnOnce(&face::Guest, &mut Store<Memory>) -> wasmtime::Result<R>,
    ) -> R {
        let Running { store, world } = &mut *self.0.borrow_mut();
        call(world.gpumm_memory_sg_table(), store).expect("the component traps")
    }
}

impl Tables for TableComponent {
    fn clear(&mut self) {
        self.ask(|face, store| face.call_clear(store));
    }

    fn build(
        &mut self,
        table: TableId,
        extents: &[Extent],
        base: u64,
        max_segment: u64,
    ) -> Result<Segments, TableError> {
        let extents: Vec<_> = extents.iter().map(extent).collect();
        let built = self
            .ask(|face, store| face.call_build(store, table.0, &extents, base, max_segment))
            .map_err(error)?;
        Ok(built.into_iter().map(segment).collect())
    }

    fn build_clamped(
        &mut self,
        table: TableId,
        extents: &[Extent],
        base: u64,
        limits: Limits,
    ) -> Result<Segments, TableError> {
        let extents: Vec<_> = extents.iter().map(extent).collect();
        let limits = face::Limits {
            bytes: limits.bytes,
            max_segment: limits.max_segment,
            page: limits.page,
        };
        let built = self
            .ask(|face, store| face.call_build_clamped(store, table.0, &extents, base, limits))
            .map_err(error)?;
        Ok(built.into_iter().map(segment).collect())
    }

    fn adopt(
        &mut self,
        table: TableId,
        segments: &[Segment],
        layout: bool,
        holds: &[Hold],
    ) -> Result<(), TableError> {
        let segment = |s: &Segment| face::Segment {
            address: s.address,
            bytes: s.bytes,
        };
        let segments: Vec<_> = segments.iter().map(segment).collect();
        let holds: Vec<_> = holds.iter().map(|&hold| timed(hold)).collect();
        self.ask(|face, store| face.call_adopt(store, table.0, &segments, layout, &holds))
            .map_err(error)
    }

    fn hold(&mut self, table: TableId, hold: Hold) -> Result<(), TableError> {
        self.ask(|face, store| face.call_hold(store, table.0, timed(hold)))
            .map_err(error)
    }

    fn get(&mut self, table: TableId, by: Holder) -> Result<(), TableError> {
        self.ask(|face, store| face.call_get(store, table.0, holder(by)))
            .map_err(error)
    }

    fn put(&mut self, table: TableId, by: Holder) -> Result<bool, TableError> {
        self.ask(|face, store| face.call_put(store, table.0, holder(by)))
            .map_err(error)
    }

    fn put_layout(&mut self, table: TableId) -> Result<bool, TableError> {
        self.ask(|face, store| face.call_put_layout(store, table.0))
            .map_err(error)
    }

    fn retire(&mut self, reached: Point) -> Vec<TableId> {
        let released = self.ask(|face, store| face.call_retire(store, point(reached)));
        released.into_iter().map(TableId).collect()
    }

    fn dump(&self) -> Vec<TableState> {
        let states = self.ask(|face, store| face.call_dump(store));
        states.into_iter().map(state).collect()
    }
}

fn extent(extent: &Extent) -> face::Extent {
    face::Extent {
        offset: extent.offset,
        bytes: extent.bytes,
    }
}

fn segment(segment: face::Segment) -> Segment {
    Segment {
        address: segment.address,
        bytes: segment.bytes,
    }
}

fn point(point: Point) -> face::Point {
    face::Point {
        timeline: point.timeline.0,
        value: point.value,
    }
}

fn timed(hold: Hold) -> face::TimedHold {
    face::TimedHold {
        holder: holder(hold.holder),
        until: point(hold.until),
    }
}

/// The interface's holders, by code.
const HOLDERS: [face::Holder; 7] = [
    face::Holder::Layout,
    face::Holder::Access,
    face::Holder::Copy,
    face::Holder::CpuFallback,
    face::Holder::Bind,
    face::Holder::Mapping,
    face::Holder::Capture,
];

fn holder(holder: Holder) -> face::Holder {
    HOLDERS[holder as usize]
}

fn holder_back(holder: face::Holder) -> Holder {
    Holder::from_code(holder as u64).unwrap()
}

fn state(state: face::TableState) -> TableState {
    let untimed = state.untimed.into_iter().map(|c| Counted {
        holder: holder_back(c.holder),
        count: c.count,
    });
    let timed = state.timed.into_iter().map(|h| Hold {
        holder: holder_back(h.holder),
        until: Point {
            timeline: TimelineId(h.until.timeline),
            value: h.until.value,
        },
    });
    TableState {
        table: TableId(state.table),
        untimed: untimed.collect(),
        timed: timed.collect(),
    }
}

fn error(why: face::TableError) -> TableError {
    match why {
        face::TableError::InUse => TableError::InUse,
        face::TableError::Unknown => TableError::Unknown,
        face::TableError::Empty => TableError::Empty,
        face::TableError::MaxSegment => TableError::MaxSegment,
        face::TableError::TooLarge => TableError::TooLarge,
        face::TableError::Overflow => TableError::Overflow,
        face::TableError::NotHeld => TableError::NotHeld,
        face::TableError::Short => TableError::Short,
        face::TableError::Misaligned => TableError::Misaligned,
    }
}
