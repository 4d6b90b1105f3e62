//! WIT shell of manager.

use bindings::exports::gpumm::memory::manager as wit;
use bindings::gpumm::memory::slots;
use gpumm_contract::{AllocationId, MemoryTypeId};
use gpumm_manager::{Manager, RestoreError, Slots};
use gpumm_shell_support::State;
use gpumm_shell_support::trap::{at, site};

mod keeper;
mod vms;

mod bindings {
    wit_bindgen::generate!({ world: "manager-part", path: "../../../wit", generate_all });
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
    static STATE: State<Manager<keeper::Keeper, vms::Vms, Broker>> =
        State::new(Manager::new(keeper::Keeper, vms::Vms, Broker));
}

fn with<R>(act: impl FnOnce(&mut Manager<keeper::Keeper, vms::Vms, Broker>) -> R) -> R {
    STATE.with(|state| state.with(act))
}

impl wit::Guest for Shell {
    fn restore_begin() {
        at(site::MANAGER_RESTORE_BEGIN);
        with(|manager| manager.restore_begin());
    }

    fn restore_part(facts: Vec<u64>) -> Result<(), wit::RestoreError> {
        at(site::MANAGER_RESTORE_PART);
        with(|manager| manager.restore_part(&facts)).map_err(error)
    }

    fn restore_end() -> Result<(), wit::RestoreError> {
        at(site::MANAGER_RESTORE_END);
        with(|manager| manager.restore_end()).map_err(error)
    }

    fn execute(requests: Vec<u64>) -> Vec<u64> {
        at(site::MANAGER_EXECUTE);
        let plan = with(|manager| manager.execute(&requests));
        at(site::MANAGER_EXECUTED);
        plan
    }
}

fn error(why: RestoreError) -> wit::RestoreError {
    match why {
        RestoreError::Malformed => wit::RestoreError::Malformed,
        RestoreError::UnknownReference => wit::RestoreError::UnknownReference,
        RestoreError::Contradiction => wit::RestoreError::Contradiction,
    }
}

/// The host's broker, behind the import `slots`.
struct Broker;

impl Slots for Broker {
    fn allocate(&mut self, memory: MemoryTypeId, commands: &[u64]) -> Vec<u64> {
        at(site::MANAGER_BEFORE_SLOT);
        let answers = slots::allocate(memory.0, commands);
        at(site::MANAGER_AFTER_SLOT);
        answers
    }

    fn map_dma(&mut self, allocations: &[AllocationId]) -> Vec<bool> {
        at(site::MANAGER_BEFORE_SLOT);
        let numbers: Vec<u32> = allocations.iter().map(|n| n.0).collect();
        let mapped = slots::map_dma(&numbers);
        at(site::MANAGER_AFTER_SLOT);
        mapped
    }
}
