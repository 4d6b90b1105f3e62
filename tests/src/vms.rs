//! The gpuvm component alone, behind the same trait as its logic library.

use gpumm_contract::vm::packed::decode_steps;
use gpumm_contract::vm::{
    AddressSpaces, Bind, BindError, Ended, Mapping, Needs, Op, Span, VirtualMemory, VmBo, VmConfig,
    VmError, VmId, packed::encode_binds,
};
use gpumm_contract::{BufferId, TableId};
use std::cell::RefCell;
use std::sync::OnceLock;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};
use wit::exports::gpumm::memory::gpuvm as face;

mod wit {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
    wasmtime::component::bindgen!({ path: "../wit", world: "gpumm:memory/gpuvm-keeper" });
}

/// A gpuvm component in its Store. A trap ends the test.
///
/// Lists of binds go packed; steps of the other calls come typed, and are read as far as the
/// contract has the same words.
pub struct VmComponent(RefCell<(Store<()>, wit::GpuvmKeeper)>);

impl VmComponent {
    /// The component as it is built.
    pub fn built() -> Self {
        static BUILT: OnceLock<(Engine, Component)> = OnceLock::new();
        let (engine, component) = BUILT.get_or_init(|| {
            let mut config = Config::new();
            config.concurrency_support(false);
            let engine = Engine::new(&config).unwrap();
            let bytes = gpumm_components::part("gpuvm").unwrap();
            let component = Component::new(&engine, bytes).unwrap();
            (engine, component)
        });
        let mut store = Store::new(engine, ());
        // Nothing is offered: it imports nothing.
        let linker = Linker::new(engine);
        let world = wit::GpuvmKeeper::instantiate(&mut store, component, &linker).unwrap();
        VmComponent(RefCell::new((store, world)))
    }

    fn ask<R>(&self, call: impl FnOnce(&face::Guest, &mut Store<()>) -> wasmtime::Result<R>) -> R {
        let (store, world) = &mut *self.0.borrow_mut();
        call(world.gpumm_memory_gpuvm(), store).expect("the component traps")
    }
}

impl AddressSpaces for VmComponent {
    fn clear(&mut self) {
        self.ask(|face, store| face.call_clear(store));
    }

    fn create(&mut self, vm: VmId, config: VmConfig) -> Result<(), VmError> {
        let config = face::VmConfig {
            range: span(config.range),
            kernel: span(config.kernel),
            mappings: config.mappings,
            mappings_per_buffer: config.mappings_per_buffer,
        };
        self.ask(|face, store| face.call_create(store, vm.0, config))
            .map_err(error)
    }

    fn close(&mut self, vm: VmId, steps: &mut Vec<Op>) -> Result<bool, VmError> {
        let closed = self.ask(|face, store| face.call_close(store, vm.0));
        let (done, ended) = closed.map_err(error)?;
        steps.extend(done.into_iter().map(step));
        Ok(ended)
    }

    fn obtain(&mut self, vm: VmId, buffer: BufferId, external: bool) -> Result<u32, VmError> {
        self.ask(|face, store| face.call_obtain(store, vm.0, buffer.0, external))
            .map_err(error)
    }

    fn put(&mut self, vm: VmId, buffer: BufferId) -> Result<Ended, VmError> {
        let ended = self.ask(|face, store| face.call_put(store, vm.0, buffer.0));
        let ended = ended.map_err(error)?;
        Ok(Ended {
            vm_bo: ended.vm_bo,
            vm: ended.vm,
        })
    }

    fn bind_packed(&mut self, vm: VmId, binds: &[u64], _: Vec<u64>) -> Result<Vec<u64>, BindError> {
        let bound = self.ask(|face, store| face.call_sm_bind(store, vm.0, binds));
        bound.map_err(|refused| BindError {
            request: refused.request,
            why: error(refused.why),
        })
    }

    fn adopt(&mut self, vm: VmId, mapping: Mapping) -> Result<(), VmError> {
        self.ask(|face, store| face.call_adopt(store, vm.0, told(mapping)))
            .map_err(error)
    }

    fn unmap_buffer(
        &mut self,
        vm: VmId,
        buffer: BufferId,
        steps: &mut Vec<Op>,
    ) -> Result<(), VmError> {
        let done = self.ask(|face, store| face.call_unmap_buffer(store, vm.0, buffer.0));
        steps.extend(done.map_err(error)?.into_iter().map(step));
        Ok(())
    }

    fn mappings_of(&self, vm: VmId, buffer: BufferId) -> Result<Vec<Mapping>, VmError> {
        let found = self.ask(|face, store| face.call_mappings_of(store, vm.0, buffer.0));
        found.map(mappings).map_err(error)
    }

    fn find_range(&self, vm: VmId, at: Span, limit: usize) -> Vec<Mapping> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        mappings(self.ask(|face, store| face.call_find_range(store, vm.0, span(at), limit)))
    }

    fn evict(&mut self, vm: VmId, buffer: BufferId) -> Result<(), VmError> {
        self.ask(|face, store| face.call_evict(store, vm.0, buffer.0))
            .map_err(error)
    }

    fn show(&mut self, vm: VmId, buffer: BufferId, table: TableId) -> Result<(), VmError> {
        self.ask(|face, store| face.call_show(store, vm.0, buffer.0, table.0))
            .map_err(error)
    }

    fn vm_bos(&self, vm: VmId) -> Result<Vec<VmBo>, VmError> {
        let members = self.ask(|face, store| face.call_vm_bos(store, vm.0));
        let member = |of: face::VmBo| VmBo {
            buffer: BufferId(of.buffer),
            external: of.external,
            evicted: of.evicted,
            table: of.table.map(TableId),
            held: of.held,
            mappings: of.mappings,
        };
        Ok(members.map_err(error)?.into_iter().map(member).collect())
    }

    fn vms_of(&self, buffer: BufferId) -> Vec<VmId> {
        let vms = self.ask(|face, store| face.call_vms_of(store, buffer.0));
        vms.into_iter().map(VmId).collect()
    }
}

impl VirtualMemory for VmComponent {
    fn bind(&mut self, vm: VmId, binds: &[Bind], steps: &mut Vec<Op>) -> Result<(), BindError> {
        let packed = self.bind_packed(vm, &encode_binds(binds, Vec::new()), Vec::new())?;
        steps.extend(decode_steps(&packed).expect("steps"));
        Ok(())
    }

    fn find(&self, vm: VmId, at: Span) -> Option<Mapping> {
        self.ask(|face, store| face.call_find(store, vm.0, span(at)))
            .map(mapping)
    }

    fn find_first(&self, vm: VmId, at: Span) -> Option<Mapping> {
        self.ask(|face, store| face.call_find_first(store, vm.0, span(at)))
            .map(mapping)
    }

    fn find_previous(&self, vm: VmId, address: u64) -> Option<Mapping> {
        self.ask(|face, store| face.call_find_previous(store, vm.0, address))
            .map(mapping)
    }

    fn find_next(&self, vm: VmId, address: u64) -> Option<Mapping> {
        self.ask(|face, store| face.call_find_next(store, vm.0, address))
            .map(mapping)
    }

    fn prefetch(&self, vm: VmId, at: Span) -> Result<Vec<Mapping>, VmError> {
        let found = self.ask(|face, store| face.call_prefetch(store, vm.0, span(at)));
        found.map(mappings).map_err(error)
    }

    fn validate(&self, vm: VmId) -> Result<Needs, VmError> {
        let needs = self.ask(|face, store| face.call_validate(store, vm.0));
        let needs = needs.map_err(error)?;
        let buffers = |of: Vec<u64>| of.into_iter().map(BufferId).collect();
        Ok(Needs {
            evicted: buffers(needs.evicted),
            external: buffers(needs.external),
            private: buffers(needs.private),
            tables: needs.tables.into_iter().map(TableId).collect(),
        })
    }
}

fn span(at: Span) -> face::Span {
    face::Span {
        start: at.start,
        bytes: at.bytes,
    }
}

fn told(mapping: Mapping) -> face::Mapping {
    face::Mapping {
        at: span(mapping.at),
        buffer: mapping.buffer.map(|buffer| buffer.0),
        offset: mapping.offset,
        attributes: mapping.attributes,
    }
}

fn mapping(mapping: face::Mapping) -> Mapping {
    Mapping {
        at: Span {
            start: mapping.at.start,
            bytes: mapping.at.bytes,
        },
        buffer: mapping.buffer.map(BufferId),
        offset: mapping.offset,
        attributes: mapping.attributes,
    }
}

fn mappings(found: Vec<face::Mapping>) -> Vec<Mapping> {
    found.into_iter().map(mapping).collect()
}

/// A step of a call that ends whole mappings.
fn step(step: face::Step) -> Op {
    match step {
        face::Step::Unmap(gone) => Op::Unmap(gpumm_contract::vm::Unmap {
            mapping: mapping(gone.mapping),
            keep: gone.keep,
        }),
        face::Step::Map(new) => Op::Map(mapping(new)),
        face::Step::Ended(buffer) => Op::Ended(BufferId(buffer)),
        face::Step::Remap(remap) => panic!("a part of a mapping ends: {remap:?}"),
    }
}

fn error(why: face::VmError) -> VmError {
    match why {
        face::VmError::UnknownVm => VmError::UnknownVm,
        face::VmError::VmExists => VmError::VmExists,
        face::VmError::Closed => VmError::Closed,
        face::VmError::Empty => VmError::Empty,
        face::VmError::Misaligned => VmError::Misaligned,
        face::VmError::Range => VmError::Range,
        face::VmError::KernelArea => VmError::KernelArea,
        face::VmError::Limits => VmError::Limits,
        face::VmError::UnknownBuffer => VmError::UnknownBuffer,
        face::VmError::NotHeld => VmError::NotHeld,
        face::VmError::TooManyHolds => VmError::TooManyHolds,
        face::VmError::TooManyMappings => VmError::TooManyMappings,
        face::VmError::TooManyOfBuffer => VmError::TooManyOfBuffer,
        face::VmError::Overlap => VmError::Overlap,
        face::VmError::Packed(text) => panic!("a packed list was not read: {text}"),
    }
}
