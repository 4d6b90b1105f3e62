//! Jobs on the simulated device; see `kernels`.

#![allow(clippy::unwrap_used)]

mod common;
mod kernels;
#[path = "common/vm_model.rs"]
mod vm_model;

use common::Machine;
use gpumm_hw::sim::SimConfig;

#[test]
fn jobs_do_what_the_model_does() {
    let (sim, _) = Machine::new().sim_with(SimConfig::new("sim", kernels::VRAM));
    let faults = kernels::jobs_do_what_the_model_does(&sim, 280);
    assert_eq!(sim.statistics().mmu.faults, faults);
    assert_eq!(sim.statistics().mmu.stale_accesses, 0);
}

#[test]
fn elements_that_cross_pages() {
    kernels::elements_that_cross_pages(&Machine::new().sim("sim").0);
}

#[test]
fn memory_that_stands_behind_two_addresses() {
    kernels::memory_that_stands_behind_two_addresses(&Machine::new().sim("sim").0);
}

#[test]
fn the_ends_of_what_addresses_can_be() {
    kernels::the_ends_of_what_addresses_can_be(&Machine::new().sim("sim").0);
}
