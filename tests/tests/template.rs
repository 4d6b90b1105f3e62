//! A new strategy is one folder: the template, copied into a copy of the workspace, is tested, built,
//! found and served without an edit elsewhere.
#![allow(clippy::unwrap_used)]

use gpumm::Pacing;
use gpumm::parts::Parts;
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm_tests::fixture;
use gpumm_tests::life::Life;
use gpumm_tests::native;
use gpumm_tests::template::Copy;
use std::path::Path;
use std::sync::Arc;

#[test]
fn a_copied_folder_is_a_strategy() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("template");
    let copy = Copy::with_strategy(&folder, "probe", "Probe");
    // The suite of all strategies, natively.
    copy.cargo("test --package gpumm-allocator-probe");
    // The component, found by its exports.
    let component = copy.component("probe");

    // It serves a whole life, and nobody has to stand in for it.
    let parts = Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy: Arc::new(WasmStrategy::new("probe", component)),
        fallback: native::strategy("tlsf"),
    };
    let (vram, system) = (4 << 20, 256 << 20);
    let pacing = Pacing::Window(3);
    let (runtime, _) = fixture::runtime(vram, system, Some(parts), pacing, |builder| builder);
    let device = runtime.device(0).unwrap();
    let mut life = Life::new(&runtime, 5, 2, vram / 4);
    (0..100).for_each(|_| life.step());
    device.restart_strategies().unwrap();
    (0..100).for_each(|_| life.step());
    let tally = life.end();
    assert!(tally.created > 50 && tally.verified > 0, "{tally:?}");
    assert_eq!((tally.corrupt, tally.failed), (0, 0));
    assert!(device.strategy_faults().unwrap().is_empty());
}
