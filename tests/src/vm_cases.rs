//! The gpuvm component where the cases of the library's tests expect the library: it can be copied
//! (by doing everything again), and says what only the library sees is in order.

use crate::vms::VmComponent;
use gpumm_contract::vm::{
    AddressSpaces, Bind, BindError, Ended, Mapping, Needs, Op, PAGE, Span, VirtualMemory, VmBo,
    VmConfig, VmError, VmId,
};
use gpumm_contract::{BufferId, TableId};
use std::collections::BTreeSet;
use std::rc::Rc;

type Call = Rc<dyn Fn(&mut VmComponent)>;

/// The component, with everything that was done to it.
pub struct GpuVm {
    component: VmComponent,
    calls: Vec<Call>,
    named: BTreeSet<VmId>,
}

impl Default for GpuVm {
    fn default() -> Self {
        GpuVm {
            component: VmComponent::built(),
            calls: Vec::new(),
            named: BTreeSet::new(),
        }
    }
}

impl Clone for GpuVm {
    fn clone(&self) -> Self {
        let mut component = VmComponent::built();
        self.calls.iter().for_each(|call| call(&mut component));
        GpuVm {
            component,
            calls: self.calls.clone(),
            named: self.named.clone(),
        }
    }
}

impl GpuVm {
    /// Only the library can look at itself.
    pub fn validate_structure(&self) -> Result<(), &'static str> {
        Ok(())
    }

    /// How many address spaces there are.
    pub fn len(&self) -> usize {
        let there = |vm: &&VmId| self.component.vm_bos(**vm).is_ok();
        self.named.iter().filter(there).count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many mappings an address space has.
    pub fn mappings(&self, vm: VmId) -> usize {
        let all = Span {
            start: 0,
            bytes: u64::MAX / PAGE * PAGE,
        };
        self.find_range(vm, all, usize::MAX).len()
    }

    fn act<R>(&mut self, call: impl Fn(&mut VmComponent) -> R + 'static) -> R {
        let answer = call(&mut self.component);
        self.calls
            .push(Rc::new(move |component| _ = call(component)));
        answer
    }

    fn stepping<R>(
        &mut self,
        steps: &mut Vec<Op>,
        call: impl Fn(&mut VmComponent, &mut Vec<Op>) -> R + 'static,
    ) -> R {
        let (mut done, answer) = self.act(move |component| {
            let mut done = Vec::new();
            let answer = call(component, &mut done);
            (done, answer)
        });
        steps.append(&mut done);
        answer
    }
}

impl AddressSpaces for GpuVm {
    fn clear(&mut self) {
        self.act(AddressSpaces::clear);
    }

    fn create(&mut self, vm: VmId, config: VmConfig) -> Result<(), VmError> {
        self.named.insert(vm);
        self.act(move |c| c.create(vm, config))
    }

    fn close(&mut self, vm: VmId, steps: &mut Vec<Op>) -> Result<bool, VmError> {
        self.stepping(steps, move |c, steps| c.close(vm, steps))
    }

    fn obtain(&mut self, vm: VmId, buffer: BufferId, external: bool) -> Result<u32, VmError> {
        self.act(move |c| c.obtain(vm, buffer, external))
    }

    fn put(&mut self, vm: VmId, buffer: BufferId) -> Result<Ended, VmError> {
        self.act(move |c| c.put(vm, buffer))
    }

    fn bind_packed(
        &mut self,
        vm: VmId,
        binds: &[u64],
        reuse: Vec<u64>,
    ) -> Result<Vec<u64>, BindError> {
        let (binds, _) = (binds.to_vec(), reuse);
        self.act(move |c| c.bind_packed(vm, &binds, Vec::new()))
    }

    fn adopt(&mut self, vm: VmId, mapping: Mapping) -> Result<(), VmError> {
        self.act(move |c| c.adopt(vm, mapping))
    }

    fn unmap_buffer(
        &mut self,
        vm: VmId,
        buffer: BufferId,
        steps: &mut Vec<Op>,
    ) -> Result<(), VmError> {
        self.stepping(steps, move |c, steps| c.unmap_buffer(vm, buffer, steps))
    }

    fn mappings_of(&self, vm: VmId, buffer: BufferId) -> Result<Vec<Mapping>, VmError> {
        self.component.mappings_of(vm, buffer)
    }

    fn find_range(&self, vm: VmId, at: Span, limit: usize) -> Vec<Mapping> {
        self.component.find_range(vm, at, limit)
    }

    fn evict(&mut self, vm: VmId, buffer: BufferId) -> Result<(), VmError> {
        self.act(move |c| c.evict(vm, buffer))
    }

    fn show(&mut self, vm: VmId, buffer: BufferId, table: TableId) -> Result<(), VmError> {
        self.act(move |c| c.show(vm, buffer, table))
    }

    fn vm_bos(&self, vm: VmId) -> Result<Vec<VmBo>, VmError> {
        self.component.vm_bos(vm)
    }

    fn vms_of(&self, buffer: BufferId) -> Vec<VmId> {
        self.component.vms_of(buffer)
    }
}

impl VirtualMemory for GpuVm {
    fn bind(&mut self, vm: VmId, binds: &[Bind], steps: &mut Vec<Op>) -> Result<(), BindError> {
        let binds = binds.to_vec();
        self.stepping(steps, move |c, steps| c.bind(vm, &binds, steps))
    }

    fn find(&self, vm: VmId, at: Span) -> Option<Mapping> {
        self.component.find(vm, at)
    }

    fn find_first(&self, vm: VmId, at: Span) -> Option<Mapping> {
        self.component.find_first(vm, at)
    }

    fn find_previous(&self, vm: VmId, address: u64) -> Option<Mapping> {
        self.component.find_previous(vm, address)
    }

    fn find_next(&self, vm: VmId, address: u64) -> Option<Mapping> {
        self.component.find_next(vm, address)
    }

    fn prefetch(&self, vm: VmId, at: Span) -> Result<Vec<Mapping>, VmError> {
        self.component.prefetch(vm, at)
    }

    fn validate(&self, vm: VmId) -> Result<Needs, VmError> {
        self.component.validate(vm)
    }
}
