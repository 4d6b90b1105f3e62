//! A strategy in its Store, with fuel and a memory cap.

use super::bindings::strategy as wit;
use super::{Role, engines, fault, one_line, whole_line};
use crate::capture::Component;
use crate::error::ComponentFault;
use crate::parts::{Strategy, StrategySource};
use gpumm_contract::allocator::{Statistics, encode_extents};
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{AllocationId, Extents, Geometry};
use std::borrow::Cow;
use wasmtime::component::Linker;
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder};
use wit::exports::gpumm::memory::allocator as face;

/// Fuel for a call, and more per word: far above what a good strategy needs, and reproducible.
const FUEL: u64 = 200_000_000;
const FUEL_PER_WORD: u64 = 100_000;
/// What a strategy's memory may grow to, in bytes.
const MEMORY: usize = 512 << 20;

/// A strategy component as bytes.
#[derive(Clone)]
pub struct WasmStrategy {
    name: String,
    bytes: Cow<'static, [u8]>,
}

impl std::fmt::Debug for WasmStrategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasmStrategy")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl WasmStrategy {
    /// A strategy from a component's bytes.
    pub fn new(name: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        WasmStrategy {
            name: name.into(),
            bytes: bytes.into(),
        }
    }

    /// A built-in strategy; `None` when there is none of that name.
    pub fn built_in(name: &str) -> Option<Self> {
        gpumm_components::strategy(name).map(|bytes| Self::new(name, bytes))
    }
}

impl StrategySource for WasmStrategy {
    fn name(&self) -> &str {
        &self.name
    }

    fn build(&self) -> Result<Box<dyn Strategy>, ComponentFault> {
        let engines = engines()?;
        let component = engines.compile(Role::Strategy, &self.bytes)?;
        let misfit = |e: wasmtime::Error| ComponentFault::NotAComponent(one_line(&e));
        let limits = StoreLimitsBuilder::new()
            .memory_size(MEMORY)
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(&engines.strategy, limits);
        store.limiter(|limits| limits);
        store.set_fuel(FUEL).map_err(misfit)?;
        // Nothing is offered: a strategy that imports a function is refused here, by name.
        let linker = Linker::new(&engines.strategy);
        let world = wit::Strategy::instantiate(&mut store, &component, &linker)
            .map_err(|e| ComponentFault::NotAComponent(whole_line(&e)))?;
        Ok(Box::new(Running {
            store,
            world,
            fuel: FUEL,
        }))
    }

    fn component(&self) -> Option<Component> {
        Some(Component::new(&self.name, None, &self.bytes))
    }
}

struct Running {
    store: Store<StoreLimits>,
    world: wit::Strategy,
    fuel: u64,
}

impl Running {
    fn refuel(&mut self, words: usize) -> Result<(), ComponentFault> {
        self.fuel = FUEL.saturating_add(FUEL_PER_WORD.saturating_mul(words as u64));
        self.store
            .set_fuel(self.fuel)
            .map_err(|e| fault(&e, self.fuel))
    }
}

fn told(geometry: Geometry) -> face::Geometry {
    face::Geometry {
        size: geometry.size,
        granule: geometry.granule,
    }
}

fn settle(
    ended: wasmtime::Result<Result<(), face::Refusal>>,
    fuel: u64,
) -> Result<(), ComponentFault> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refusal)) => Err(ComponentFault::Restore(format!("{refusal:?}"))),
        Err(error) => Err(fault(&error, fuel)),
    }
}

impl Strategy for Running {
    fn init(&mut self, geometry: Geometry) -> Result<(), ComponentFault> {
        self.refuel(0)?;
        let face = self.world.gpumm_memory_allocator();
        settle(face.call_init(&mut self.store, told(geometry)), self.fuel)
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), ComponentFault> {
        self.refuel(0)?;
        let face = self.world.gpumm_memory_allocator();
        settle(face.call_resize(&mut self.store, told(geometry)), self.fuel)
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), ComponentFault> {
        self.refuel(0)?;
        let face = self.world.gpumm_memory_allocator();
        settle(
            face.call_restore_begin(&mut self.store, told(geometry)),
            self.fuel,
        )
    }

    fn restore_part(&mut self, live: &[(AllocationId, Extents)]) -> Result<(), ComponentFault> {
        let mut list = Writer::new(Kind::Answers);
        if !live
            .iter()
            .all(|(number, extents)| encode_extents(*number, extents, &mut list))
        {
            return Err(ComponentFault::Restore(
                "an allocation has too many extents".into(),
            ));
        }
        self.refuel(list.len())?;
        let face = self.world.gpumm_memory_allocator();
        settle(
            face.call_restore_part(&mut self.store, list.words()),
            self.fuel,
        )
    }

    fn restore_end(&mut self, live: usize) -> Result<(), ComponentFault> {
        // The end may sort everything that came in parts.
        self.refuel(live.saturating_mul(4))?;
        let face = self.world.gpumm_memory_allocator();
        settle(face.call_restore_end(&mut self.store), self.fuel)
    }

    fn execute(&mut self, commands: &[u64]) -> Result<Vec<u64>, ComponentFault> {
        self.refuel(commands.len())?;
        let face = self.world.gpumm_memory_allocator();
        face.call_execute(&mut self.store, commands)
            .map_err(|e| fault(&e, self.fuel))
    }

    fn allocate_one(
        &mut self,
        number: AllocationId,
        bytes: u64,
    ) -> Result<Option<u64>, ComponentFault> {
        self.refuel(0)?;
        let face = self.world.gpumm_memory_allocator();
        let offset = face.call_allocate_one(&mut self.store, number.0, bytes);
        let offset = offset.map_err(|e| fault(&e, self.fuel))?;
        Ok((offset != u64::MAX).then_some(offset))
    }

    fn free_one(&mut self, number: AllocationId) -> Result<bool, ComponentFault> {
        self.refuel(0)?;
        let face = self.world.gpumm_memory_allocator();
        face.call_free_one(&mut self.store, number.0)
            .map_err(|e| fault(&e, self.fuel))
    }

    fn statistics(&mut self) -> Result<Statistics, ComponentFault> {
        self.refuel(0)?;
        let face = self.world.gpumm_memory_allocator();
        let told = face.call_statistics(&mut self.store);
        let told = told.map_err(|e| fault(&e, self.fuel))?;
        Ok(Statistics {
            used_bytes: told.used_bytes,
            free_bytes: told.free_bytes,
            largest_hole: told.largest_hole,
            allocations: told.allocations,
            holes: told.holes,
        })
    }
}
