//! A mechanism in its Store.

use super::bindings::mechanism as wit;
use super::{Role, engines, fault, one_line};
use crate::capture::Component;
use crate::error::ComponentFault;
use crate::parts::{Executed, Mechanism, MechanismSource, SlotDesk};
use gpumm_contract::{AllocationId, MemoryTypeId};
use std::borrow::Cow;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder};

/// Epochs (of 100 ms) that one call may last: a backstop, not a limit anybody should meet.
const DEADLINE: u64 = 600;
/// What a mechanism's memory may grow to, in bytes.
const MEMORY: usize = 2 << 30;

/// A mechanism component as bytes.
#[derive(Clone)]
pub struct WasmMechanism {
    name: String,
    bytes: Cow<'static, [u8]>,
}

impl std::fmt::Debug for WasmMechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasmMechanism")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl WasmMechanism {
    /// A mechanism from a component's bytes.
    pub fn new(name: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        WasmMechanism {
            name: name.into(),
            bytes: bytes.into(),
        }
    }

    /// The built-in mechanism.
    pub fn built_in() -> Self {
        Self::new("mechanism", gpumm_components::MECHANISM)
    }
}

impl MechanismSource for WasmMechanism {
    fn name(&self) -> &str {
        &self.name
    }

    fn build(&self) -> Result<Box<dyn Mechanism>, ComponentFault> {
        let engines = engines()?;
        let component = engines.compile(Role::Mechanism, &self.bytes)?;
        let misfit = |e: wasmtime::Error| ComponentFault::NotAComponent(one_line(&e));
        let mut linker = Linker::new(&engines.mechanism);
        wit::gpumm::memory::slots::add_to_linker::<_, HasSelf<State>>(&mut linker, |s| s)
            .map_err(misfit)?;
        let limits = StoreLimitsBuilder::new()
            .memory_size(MEMORY)
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(
            &engines.mechanism,
            State {
                desk: None,
                fault: None,
                limits,
            },
        );
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(DEADLINE);
        let world = wit::Mechanism::instantiate(&mut store, &component, &linker).map_err(misfit)?;
        Ok(Box::new(Running { store, world }))
    }

    fn component(&self) -> Option<Component> {
        let version = Some(env!("CARGO_PKG_VERSION"));
        Some(Component::new(&self.name, version, &self.bytes))
    }
}

struct State {
    /// Here only while a call is in progress.
    desk: Option<Box<dyn SlotDesk>>,
    /// Why the last import ended the call.
    fault: Option<ComponentFault>,
    limits: StoreLimits,
}

impl State {
    /// Has the desk answer an import. An error ends the mechanism's Store; the planner rebuilds
    /// it from the facts.
    fn ask<R>(
        &mut self,
        ask: impl FnOnce(&mut dyn SlotDesk) -> Result<R, ComponentFault>,
    ) -> wasmtime::Result<R> {
        let asked = match self.desk.as_deref_mut() {
            Some(desk) => ask(desk),
            None => Err(ComponentFault::Nonsense(
                "it asked the host while being restored".into(),
            )),
        };
        asked.map_err(|fault| {
            let error = wasmtime::Error::msg(fault.to_string());
            self.fault = Some(fault);
            error
        })
    }
}

impl wit::gpumm::memory::slots::Host for State {
    fn allocate(&mut self, memory: u8, commands: Vec<u64>) -> wasmtime::Result<Vec<u64>> {
        self.ask(|desk| desk.allocate(MemoryTypeId(memory), &commands))
    }

    fn map_dma(&mut self, allocations: Vec<u32>) -> wasmtime::Result<Vec<bool>> {
        let numbers = allocations.into_iter().map(AllocationId);
        self.ask(|desk| numbers.map(|number| desk.map_dma(number)).collect())
    }
}

struct Running {
    store: Store<State>,
    world: wit::Mechanism,
}

impl Running {
    fn fault(&mut self, error: &wasmtime::Error) -> ComponentFault {
        self.store
            .data_mut()
            .fault
            .take()
            .unwrap_or_else(|| fault(error, 0))
    }
}

impl Mechanism for Running {
    fn restore(&mut self, facts: &[Vec<u64>]) -> Result<(), ComponentFault> {
        self.store.set_epoch_deadline(DEADLINE);
        let manager = self.world.gpumm_memory_manager();
        let store = &mut self.store;
        let refused = |e| ComponentFault::Restore(format!("{e:?}"));
        let mut run = || -> wasmtime::Result<Result<(), ComponentFault>> {
            manager.call_restore_begin(&mut *store)?;
            for list in facts {
                if let Err(e) = manager.call_restore_part(&mut *store, list)? {
                    return Ok(Err(refused(e)));
                }
            }
            Ok(manager.call_restore_end(&mut *store)?.map_err(refused))
        };
        let ended = run();
        ended.unwrap_or_else(|e| Err(self.fault(&e)))
    }

    fn execute(&mut self, requests: &[u64], desk: Box<dyn SlotDesk>) -> Executed {
        self.store.set_epoch_deadline(DEADLINE);
        self.store.data_mut().desk = Some(desk);
        let ended = self
            .world
            .gpumm_memory_manager()
            .call_execute(&mut self.store, requests);
        let ended = ended.map_err(|e| self.fault(&e));
        // INVARIANT: only this function moves the desk in and out, and a Store keeps its data
        // when its component traps.
        match self.store.data_mut().desk.take() {
            Some(desk) => (desk, ended),
            None => unreachable!("the desk was put into the store above"),
        }
    }
}
