//! The device suite on the simulated device.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use gpumm_hw::conformance::{self, Fixture, MEMORY};
use gpumm_hw::sim::{Sim, SimConfig};
use gpumm_hw::{EngineKind, SystemMemory, Timelines};

fn fixture(config: SimConfig) -> Fixture {
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(MEMORY).unwrap());
    let device = Box::new(Sim::new(config, Arc::clone(&timelines), system).unwrap());
    Fixture { device, timelines }
}

fn all_pass(config: &SimConfig) {
    let results = conformance::run(&|| fixture(config.clone()));
    let failed: Vec<_> = results.iter().filter(|(_, v)| v.is_err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(results.len(), conformance::cases().len());
}

#[test]
fn the_default_device_passes() {
    all_pass(&SimConfig::new("sim", MEMORY));
}

#[test]
fn a_device_with_one_engine_passes() {
    let mut config = SimConfig::new("small", 2 * MEMORY);
    config.engines = vec![("all".into(), EngineKind::Compute)];
    config.granule = 65536;
    all_pass(&config);
}

#[test]
fn a_device_that_reaches_everything_passes() {
    let mut config = SimConfig::new("open", MEMORY).copy_engines(3);
    config.iommu = false;
    all_pass(&config);
}
