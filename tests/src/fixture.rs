//! Runtimes whose engines a test can hold.

use gpumm::parts::Parts;
use gpumm::{Pacing, Runtime, RuntimeBuilder};
use gpumm_hw::sim::{Sim, SimConfig, SimControl};
use std::sync::mpsc::channel;

/// A Runtime with one simulated device, and the device's control.
pub fn runtime(
    vram: u64,
    system: u64,
    parts: Option<Parts>,
    pacing: Pacing,
    more: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
) -> (Runtime, SimControl) {
    made(SimConfig::new("sim", vram), system, parts, pacing, more)
}

fn made(
    config: SimConfig,
    system: u64,
    parts: Option<Parts>,
    pacing: Pacing,
    more: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
) -> (Runtime, SimControl) {
    let (give, take) = channel();
    let builder = Runtime::builder()
        .system_memory(system)
        .pacing(pacing)
        .device(move |timelines, memory| {
            let sim = Sim::new(config, timelines, memory)?;
            give.send(sim.control()).expect("the test waits");
            Ok(sim)
        });
    let builder = match parts {
        Some(parts) => builder.parts(parts),
        None => builder,
    };
    let runtime = more(builder).build().expect("a runtime");
    (runtime, take.recv().expect("the device was made"))
}

/// As [`runtime`], of a device with page tables and queues.
pub fn with_queues(
    vram: u64,
    system: u64,
    parts: Option<Parts>,
    pacing: Pacing,
    more: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
) -> (Runtime, SimControl) {
    made(
        SimConfig::new("sim", vram).rings(1).bind_engine(),
        system,
        parts,
        pacing,
        more,
    )
}
