//! Jobs on a GPU: the same as on the simulated device, by every way to bind memory.

#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used)]

mod common;
mod gpu;
mod kernels;
#[path = "common/vm_model.rs"]
mod vm_model;

use common::MEMORY;
use gpu::{Bench, has_gpu};
use gpumm_hw::wgpu::WgpuConfig;

/// On a device whose ranges are bound directly where they can be, on one whose shaders always
/// walk the page table, and on one of many small chunks.
fn each_way(test: impl Fn(&Bench)) {
    if !has_gpu() {
        return;
    }
    let plain = WgpuConfig::new("gpu", kernels::VRAM);
    let walking = WgpuConfig {
        bind_direct: false,
        ..plain.clone()
    };
    let chunks = WgpuConfig {
        chunk_bytes: Some(1 << 20),
        ..plain.clone()
    };
    for config in [plain, walking, chunks] {
        test(&Bench::new(config, MEMORY));
    }
}

#[test]
fn jobs_do_what_the_model_does() {
    each_way(|bench| {
        kernels::jobs_do_what_the_model_does(&bench.device, 150);
    });
}

#[test]
fn elements_that_cross_pages() {
    each_way(|bench| kernels::elements_that_cross_pages(&bench.device));
}

#[test]
fn memory_that_stands_behind_two_addresses() {
    each_way(|bench| kernels::memory_that_stands_behind_two_addresses(&bench.device));
}

#[test]
fn the_ends_of_what_addresses_can_be() {
    each_way(|bench| kernels::the_ends_of_what_addresses_can_be(&bench.device));
}
