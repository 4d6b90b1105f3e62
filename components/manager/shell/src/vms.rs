//! The keeper of address spaces, behind the import `gpuvm`: another component of the composition.

mod convert;

use crate::bindings::gpumm::memory::gpuvm as wit;
use convert::{error, mappings, refused, span, steps, vm_bo};
use gpumm_contract::vm::{
    AddressSpaces, BindError, Ended, Mapping, Op, Span, VmBo, VmConfig, VmError, VmId,
};
use gpumm_contract::{BufferId, TableId};
use gpumm_shell_support::trap::{at, site};

/// The composed keeper.
pub(crate) struct Vms;

/// A call of the keeper between its two trap sites.
fn asked<R>(call: impl FnOnce() -> R) -> R {
    at(site::MANAGER_BEFORE_VM);
    let answer = call();
    at(site::MANAGER_AFTER_VM);
    answer
}

impl AddressSpaces for Vms {
    fn clear(&mut self) {
        asked(wit::clear);
    }

    fn create(&mut self, vm: VmId, config: VmConfig) -> Result<(), VmError> {
        let config = wit::VmConfig {
            range: span(config.range),
            kernel: span(config.kernel),
            mappings: config.mappings,
            mappings_per_buffer: config.mappings_per_buffer,
        };
        asked(|| wit::create(vm.0, config)).map_err(error)
    }

    fn close(&mut self, vm: VmId, done: &mut Vec<Op>) -> Result<bool, VmError> {
        let (closed, ended) = asked(|| wit::close(vm.0)).map_err(error)?;
        done.extend(steps(closed));
        Ok(ended)
    }

    fn obtain(&mut self, vm: VmId, buffer: BufferId, external: bool) -> Result<u32, VmError> {
        asked(|| wit::obtain(vm.0, buffer.0, external)).map_err(error)
    }

    fn put(&mut self, vm: VmId, buffer: BufferId) -> Result<Ended, VmError> {
        let ended = asked(|| wit::put(vm.0, buffer.0)).map_err(error)?;
        Ok(Ended {
            vm_bo: ended.vm_bo,
            vm: ended.vm,
        })
    }

    fn bind_packed(
        &mut self,
        vm: VmId,
        binds: &[u64],
        _reuse: Vec<u64>,
    ) -> Result<Vec<u64>, BindError> {
        asked(|| wit::sm_bind(vm.0, binds)).map_err(refused)
    }

    fn adopt(&mut self, vm: VmId, new: Mapping) -> Result<(), VmError> {
        asked(|| wit::adopt(vm.0, convert::told(new))).map_err(error)
    }

    fn unmap_buffer(
        &mut self,
        vm: VmId,
        buffer: BufferId,
        done: &mut Vec<Op>,
    ) -> Result<(), VmError> {
        done.extend(steps(
            asked(|| wit::unmap_buffer(vm.0, buffer.0)).map_err(error)?,
        ));
        Ok(())
    }

    fn mappings_of(&self, vm: VmId, buffer: BufferId) -> Result<Vec<Mapping>, VmError> {
        let found = asked(|| wit::mappings_of(vm.0, buffer.0));
        found.map(mappings).map_err(error)
    }

    fn find_range(&self, vm: VmId, at: Span, limit: usize) -> Vec<Mapping> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        mappings(asked(|| wit::find_range(vm.0, span(at), limit)))
    }

    fn evict(&mut self, vm: VmId, buffer: BufferId) -> Result<(), VmError> {
        asked(|| wit::evict(vm.0, buffer.0)).map_err(error)
    }

    fn show(&mut self, vm: VmId, buffer: BufferId, table: TableId) -> Result<(), VmError> {
        asked(|| wit::show(vm.0, buffer.0, table.0)).map_err(error)
    }

    fn vm_bos(&self, vm: VmId) -> Result<Vec<VmBo>, VmError> {
        let members = asked(|| wit::vm_bos(vm.0)).map_err(error)?;
        Ok(members.into_iter().map(vm_bo).collect())
    }

    fn vms_of(&self, buffer: BufferId) -> Vec<VmId> {
        let vms = asked(|| wit::vms_of(buffer.0));
        vms.into_iter().map(VmId).collect()
    }
}
