//! WIT shell of gpuvm.

use bindings::exports::gpumm::memory::gpuvm as wit;
use convert::{error, mapping, mappings, refused, span, steps};
use gpumm_contract::vm::{AddressSpaces, Op, VirtualMemory, VmError, VmId};
use gpumm_contract::{BufferId, TableId};
use gpumm_gpuvm::GpuVm;
use gpumm_shell_support::State;

mod convert;

mod bindings {
    wit_bindgen::generate!({ world: "gpuvm-keeper", path: "../../../wit", generate_all });
}

#[cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, reason = "only the export names it")
)]
struct Shell;

// Elsewhere the names of the exports are no names for a linker.
#[cfg(target_arch = "wasm32")]
bindings::export!(Shell with_types_in bindings);

thread_local! {
    static STATE: State<GpuVm> = State::default();
}

fn with<R>(act: impl FnOnce(&mut GpuVm) -> R) -> R {
    STATE.with(|state| state.with(act))
}

/// A call that appends steps.
fn stepping<T>(
    act: impl FnOnce(&mut GpuVm, &mut Vec<Op>) -> Result<T, VmError>,
) -> Result<(Vec<wit::Step>, T), wit::VmError> {
    let mut done = Vec::new();
    let ended = with(|vms| act(vms, &mut done)).map_err(error)?;
    Ok((steps(done), ended))
}

impl wit::Guest for Shell {
    fn clear() {
        with(AddressSpaces::clear);
    }

    fn create(vm: u64, config: wit::VmConfig) -> Result<(), wit::VmError> {
        with(|vms| vms.create(VmId(vm), convert::config(config))).map_err(error)
    }

    fn close(vm: u64) -> Result<(Vec<wit::Step>, bool), wit::VmError> {
        stepping(|vms, steps| vms.close(VmId(vm), steps))
    }

    fn obtain(vm: u64, buffer: u64, external: bool) -> Result<u32, wit::VmError> {
        with(|vms| vms.obtain(VmId(vm), BufferId(buffer), external)).map_err(error)
    }

    fn put(vm: u64, buffer: u64) -> Result<wit::Ended, wit::VmError> {
        let ended = with(|vms| vms.put(VmId(vm), BufferId(buffer))).map_err(error)?;
        Ok(wit::Ended {
            vm_bo: ended.vm_bo,
            vm: ended.vm,
        })
    }

    fn sm_bind(vm: u64, binds: Vec<u64>) -> Result<Vec<u64>, wit::BindError> {
        with(|vms| vms.bind_packed(VmId(vm), &binds, Vec::new())).map_err(refused)
    }

    fn sm_bind_typed(vm: u64, binds: Vec<wit::Bind>) -> Result<Vec<wit::Step>, wit::BindError> {
        let binds: Vec<_> = binds.into_iter().map(convert::bind).collect();
        let mut done = Vec::new();
        with(|vms| vms.bind(VmId(vm), &binds, &mut done)).map_err(refused)?;
        Ok(steps(done))
    }

    fn adopt(vm: u64, new: wit::Mapping) -> Result<(), wit::VmError> {
        with(|vms| vms.adopt(VmId(vm), mapping(new))).map_err(error)
    }

    fn unmap_buffer(vm: u64, buffer: u64) -> Result<Vec<wit::Step>, wit::VmError> {
        let done = stepping(|vms, steps| vms.unmap_buffer(VmId(vm), BufferId(buffer), steps));
        Ok(done?.0)
    }

    fn mappings_of(vm: u64, buffer: u64) -> Result<Vec<wit::Mapping>, wit::VmError> {
        let found = with(|vms| vms.mappings_of(VmId(vm), BufferId(buffer)));
        found.map(mappings).map_err(error)
    }

    fn find(vm: u64, at: wit::Span) -> Option<wit::Mapping> {
        with(|vms| vms.find(VmId(vm), span(at))).map(convert::told)
    }

    fn find_first(vm: u64, at: wit::Span) -> Option<wit::Mapping> {
        with(|vms| vms.find_first(VmId(vm), span(at))).map(convert::told)
    }

    fn find_previous(vm: u64, address: u64) -> Option<wit::Mapping> {
        with(|vms| vms.find_previous(VmId(vm), address)).map(convert::told)
    }

    fn find_next(vm: u64, address: u64) -> Option<wit::Mapping> {
        with(|vms| vms.find_next(VmId(vm), address)).map(convert::told)
    }

    fn find_range(vm: u64, at: wit::Span, limit: u32) -> Vec<wit::Mapping> {
        mappings(with(|vms| {
            vms.find_range(VmId(vm), span(at), limit as usize)
        }))
    }

    fn prefetch(vm: u64, at: wit::Span) -> Result<Vec<wit::Mapping>, wit::VmError> {
        let found = with(|vms| vms.prefetch(VmId(vm), span(at)));
        found.map(mappings).map_err(error)
    }

    fn evict(vm: u64, buffer: u64) -> Result<(), wit::VmError> {
        with(|vms| vms.evict(VmId(vm), BufferId(buffer))).map_err(error)
    }

    fn show(vm: u64, buffer: u64, table: u32) -> Result<(), wit::VmError> {
        with(|vms| vms.show(VmId(vm), BufferId(buffer), TableId(table))).map_err(error)
    }

    fn validate(vm: u64) -> Result<wit::Needs, wit::VmError> {
        with(|vms| VirtualMemory::validate(vms, VmId(vm)))
            .map(convert::needs)
            .map_err(error)
    }

    fn vm_bos(vm: u64) -> Result<Vec<wit::VmBo>, wit::VmError> {
        let members = with(|vms| vms.vm_bos(VmId(vm))).map_err(error)?;
        Ok(members.into_iter().map(convert::vm_bo).collect())
    }

    fn vms_of(buffer: u64) -> Vec<u64> {
        let vms = with(|vms| vms.vms_of(BufferId(buffer)));
        vms.into_iter().map(|vm| vm.0).collect()
    }
}
