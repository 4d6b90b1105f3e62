//! Part A of the reference against the built component; natively the same cases run in
//! `components/allocator-buddy/tests/kernel`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

// Written once, beside the strategy.
#[path = "../../components/allocator-buddy/tests/kernel/cases/mod.rs"]
mod cases;

use cases::packed::{Face, Packed};
use cases::pool::Subject;
use gpumm_contract::allocator::{Block, Geometry, Refusal, Statistics};
use gpumm_contract::{AllocationId, Extent};
use std::cell::RefCell;
use std::sync::OnceLock;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};
use wit::exports::gpumm::memory::allocator as face;

mod wit {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
    wasmtime::component::bindgen!({ path: "../wit", world: "gpumm:memory/strategy" });
}

/// Steps of the property test.
const STEPS: u64 = 30_000;

/// The component in its Store. A trap ends the test.
struct Built(RefCell<(Store<()>, wit::Strategy)>);

impl Built {
    fn new() -> Self {
        static BUDDY: OnceLock<(Engine, Component)> = OnceLock::new();
        let (engine, component) = BUDDY.get_or_init(|| {
            let mut config = Config::new();
            config.concurrency_support(false);
            let engine = Engine::new(&config).unwrap();
            let bytes = gpumm_components::strategy("buddy").unwrap();
            let component = Component::new(&engine, bytes).unwrap();
            (engine, component)
        });
        let mut store = Store::new(engine, ());
        let linker = Linker::new(engine);
        let world = wit::Strategy::instantiate(&mut store, component, &linker).unwrap();
        Built(RefCell::new((store, world)))
    }

    fn ask<R>(&self, call: impl FnOnce(&face::Guest, &mut Store<()>) -> wasmtime::Result<R>) -> R {
        let (store, world) = &mut *self.0.borrow_mut();
        call(world.gpumm_memory_allocator(), store).expect("the component traps")
    }
}

fn told(geometry: Geometry) -> face::Geometry {
    face::Geometry {
        size: geometry.size,
        granule: geometry.granule,
    }
}

fn ended(ended: Result<(), face::Refusal>) -> Result<(), Refusal> {
    // The shells number them from 0, the contract from 1.
    ended.map_err(|why| Refusal::from_code(why as u64 + 1).unwrap())
}

impl Face for Built {
    fn init(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        ended(self.ask(|face, store| face.call_init(store, told(geometry))))
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        ended(self.ask(|face, store| face.call_resize(store, told(geometry))))
    }

    fn execute(&mut self, commands: &[u64]) -> Vec<u64> {
        self.ask(|face, store| face.call_execute(store, commands))
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        ended(self.ask(|face, store| face.call_restore_begin(store, told(geometry))))
    }

    fn restore_part(&mut self, allocations: &[u64]) -> Result<(), Refusal> {
        ended(self.ask(|face, store| face.call_restore_part(store, allocations)))
    }

    fn restore_end(&mut self) -> Result<(), Refusal> {
        ended(self.ask(|face, store| face.call_restore_end(store)))
    }

    fn statistics(&self) -> Statistics {
        let told = self.ask(|face, store| face.call_statistics(store));
        Statistics {
            used_bytes: told.used_bytes,
            free_bytes: told.free_bytes,
            largest_hole: told.largest_hole,
            allocations: told.allocations,
            holes: told.holes,
        }
    }

    fn blocks(&self, from: u64, limit: usize) -> Vec<Block> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let blocks = self.ask(|face, store| face.call_blocks(store, from, limit));
        let block = |block: face::Block| Block {
            extent: Extent {
                offset: block.where_.offset,
                bytes: block.where_.bytes,
            },
            owner: block.owner.map(AllocationId),
        };
        blocks.into_iter().map(block).collect()
    }

    /// What a component has inside is not to be seen.
    fn validate(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

impl Subject for Packed<Built> {
    fn clear_bytes(&self) -> Option<u64> {
        None
    }

    fn blocks_of(&self, _: AllocationId) -> Option<Vec<(Extent, bool)>> {
        None
    }
}

fn each(check: impl Fn(&mut dyn Subject)) {
    check(&mut Packed(Built::new()));
}
