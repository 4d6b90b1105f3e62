//! The restore property, differential runs, and components that are killed between calls.
#![allow(clippy::unwrap_used)]

use gpumm::parts::Parts;
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm::{DeviceReport, Pacing};
use gpumm_sg_table::SgTables;
use gpumm_tests::fixture;
use gpumm_tests::life::{Life, Tally};
use gpumm_tests::native::{self, NativeManager};
use gpumm_tests::shadow::Shadowed;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const VRAM: u64 = 4 << 20;
const SYSTEM: u64 = 24 << 20;

fn wasm(strategy: &str) -> Parts {
    Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy: Arc::new(WasmStrategy::built_in(strategy).unwrap()),
        fallback: Arc::new(WasmStrategy::built_in("tlsf").unwrap()),
    }
}

fn live(parts: Parts, seed: u64, steps: usize, kill_every: usize) -> (Tally, DeviceReport) {
    let (runtime, _) = fixture::runtime(VRAM, SYSTEM, Some(parts), Pacing::Window(3), |b| b);
    let device = runtime.device(0).unwrap();
    let mut life = Life::new(&runtime, seed, 2, VRAM / 4);
    for step in 0..steps {
        life.step();
        if kill_every > 0 && step % kill_every == 0 {
            device.restart_mechanism().unwrap();
        }
    }
    let tally = life.end();
    device.drain().unwrap();
    let report = device.report().unwrap();
    assert_eq!(tally.corrupt, 0);
    assert_eq!(tally.failed, 0);
    assert!(device.hardware().take_faults().is_empty());
    (tally, report)
}

#[test]
fn a_restored_native_mechanism_plans_the_next_hundred_alike() {
    for seed in 0..3 {
        let shadowed = Shadowed::new(Arc::new(NativeManager::<SgTables>::default()), 100);
        let compared = shadowed.compared();
        let parts = Parts {
            mechanism: Arc::new(shadowed),
            ..native::parts("tlsf")
        };
        let (tally, report) = live(parts, seed, 400, 0);
        assert!(
            report.counts.evictions > 20 && report.counts.swap_ins > 20,
            "{report:?}"
        );
        assert!(tally.verified > 0 && compared.load(Ordering::Relaxed) > 20_000);
    }
}

#[test]
fn a_restored_component_plans_the_next_hundred_alike() {
    let shadowed = Shadowed::new(Arc::new(WasmMechanism::built_in()), 100);
    let compared = shadowed.compared();
    let parts = Parts {
        mechanism: Arc::new(shadowed),
        ..wasm("buddy")
    };
    let (_, report) = live(parts, 7, 250, 0);
    assert!(report.counts.evictions > 20, "{report:?}");
    assert!(compared.load(Ordering::Relaxed) > 10_000);
}

#[test]
fn library_and_component_plan_alike() {
    for strategy in ["tlsf", "buddy"] {
        for seed in 0..4 {
            let (native_tally, native) = live(native::parts(strategy), seed, 600, 0);
            let (wasm_tally, wasm) = live(wasm(strategy), seed, 600, 0);
            assert_eq!(
                (native_tally, native),
                (wasm_tally, wasm),
                "{strategy} seed {seed}"
            );
        }
    }
}

#[test]
fn a_mechanism_killed_between_calls_changes_nothing_but_the_count() {
    for (seed, every) in [(1, 1), (2, 7), (3, 50)] {
        let (undisturbed_tally, undisturbed) = live(wasm("tlsf"), seed, 500, 0);
        let (killed_tally, killed) = live(wasm("tlsf"), seed, 500, every);
        assert_eq!(undisturbed_tally, killed_tally);
        assert!(killed.restarts >= (500 / every) as u64 && undisturbed.restarts == 0);
        assert_eq!(
            DeviceReport {
                restarts: 0,
                ..killed
            },
            undisturbed
        );
    }
}
