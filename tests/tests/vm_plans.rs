//! Plans for address spaces: restored, killed and swapped mechanisms go on alike, library and
//! component plan the same, and no wait and no invalidation can be left out.
#![allow(clippy::unwrap_used)]

use gpumm::parts::{Executed, Mechanism, MechanismSource, Parts, SlotDesk};
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm::{ComponentFault, DeviceReport, Pacing, Refusal};
use gpumm_contract::plan::{self, Op};
use gpumm_contract::wire::{Kind, Writer};
use gpumm_sg_table::SgTables;
use gpumm_tests::fixture;
use gpumm_tests::native::{self, NativeManager};
use gpumm_tests::shadow::Shadowed;
use gpumm_tests::vm_life::{PAGE, Tally, VmLife};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

const VRAM: u64 = 96 * PAGE;
const SYSTEM: u64 = 8 << 20;

fn wasm() -> Parts {
    let strategy = || Arc::new(WasmStrategy::built_in("tlsf").unwrap());
    Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy: strategy(),
        fallback: strategy(),
    }
}

fn live(parts: Parts, seed: u64, steps: usize, kill_every: usize) -> (Tally, DeviceReport) {
    let pacing = Pacing::Window(3);
    let (runtime, sim) = fixture::with_queues(VRAM, SYSTEM, Some(parts), pacing, |b| b);
    let device = runtime.device(0).unwrap();
    let mut life = VmLife::new(&device, seed, 24);
    for step in 0..steps {
        life.step();
        if kill_every > 0 && step % kill_every == 0 {
            device.restart_mechanism().unwrap();
        }
    }
    life.end();
    let mmu = sim.statistics().mmu;
    assert_eq!(mmu.stale_accesses, 0);
    assert_eq!(mmu.faults, life.tally.faults);
    assert_eq!(device.hardware().take_faults(), []);
    (life.tally, device.report().unwrap())
}

#[test]
fn a_random_life_sees_its_own_bytes_and_faults_where_it_must() {
    let mut sum = Tally::default();
    for seed in 0..6 {
        let (tally, report) = live(native::parts("tlsf"), seed, 1500, 0);
        assert_eq!(report.restarts, 0, "seed {seed}");
        assert!(report.counts.evictions > 20, "{report:?}");
        assert!(report.counts.rebinds > 20, "{report:?}");
        sum.jobs += tally.jobs;
        sum.faults += tally.faults;
    }
    assert!(sum.jobs > 1000 && sum.faults > 1000, "{sum:?}");
}

#[test]
fn a_restored_mechanism_plans_the_next_hundred_alike() {
    let shadows: [Arc<dyn MechanismSource>; 2] = [
        Arc::new(NativeManager::<SgTables>::default()),
        Arc::new(WasmMechanism::built_in()),
    ];
    for (shadow, steps) in shadows.into_iter().zip([500, 200]) {
        let shadowed = Shadowed::new(shadow, 100);
        let compared = shadowed.compared();
        let parts = Parts {
            mechanism: Arc::new(shadowed),
            ..native::parts("tlsf")
        };
        let (_, report) = live(parts, 11, steps, 0);
        assert!(report.counts.rebinds > 5, "{report:?}");
        assert!(compared.load(Ordering::Relaxed) > 1000);
    }
}

#[test]
fn library_and_component_plan_alike() {
    for seed in 0..3 {
        let (native_tally, native) = live(native::parts("tlsf"), seed, 600, 0);
        let (wasm_tally, wasm) = live(wasm(), seed, 600, 0);
        assert_eq!((native_tally, native), (wasm_tally, wasm), "seed {seed}");
    }
}

#[test]
fn a_mechanism_killed_between_calls_changes_nothing_but_the_count() {
    let (tally, undisturbed) = live(wasm(), 5, 400, 0);
    let (killed_tally, killed) = live(wasm(), 5, 400, 3);
    assert_eq!(tally, killed_tally);
    assert!(killed.restarts > 100);
    let restarts = 0;
    assert_eq!(DeviceReport { restarts, ..killed }, undisturbed);
}

/// A mechanism that leaves out one operation of its plans, once.
#[derive(Debug)]
struct Forgetful {
    inner: NativeManager<SgTables>,
    what: fn(&Op<'_>) -> bool,
    /// How many of these operations still come before the one that is left out.
    left: Arc<AtomicI64>,
    seen: Arc<AtomicU64>,
}

struct Running {
    inner: Box<dyn Mechanism>,
    what: fn(&Op<'_>) -> bool,
    left: Arc<AtomicI64>,
    seen: Arc<AtomicU64>,
}

impl MechanismSource for Forgetful {
    fn name(&self) -> &str {
        "forgetful"
    }

    fn build(&self) -> Result<Box<dyn Mechanism>, ComponentFault> {
        Ok(Box::new(Running {
            inner: self.inner.build()?,
            what: self.what,
            left: self.left.clone(),
            seen: self.seen.clone(),
        }))
    }
}

impl Mechanism for Running {
    fn restore(&mut self, facts: &[Vec<u64>]) -> Result<(), ComponentFault> {
        self.inner.restore(facts)
    }

    fn execute(&mut self, requests: &[u64], desk: Box<dyn SlotDesk>) -> Executed {
        let (desk, plan) = self.inner.execute(requests, desk);
        let plan = plan.map(|words| {
            let ops = plan::decode(&words).unwrap();
            let mut out = Writer::new(Kind::Plan);
            let mut skipped = None;
            for op in ops {
                if (self.what)(&op) {
                    self.seen.fetch_add(1, Ordering::Relaxed);
                    if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
                        if let Op::InvalidateTlb { at, .. } = op {
                            // Only the invalidation is missing, not its point.
                            assert!(Op::Signal { at }.encode(&mut out));
                        }
                        skipped = Some(op);
                        continue;
                    }
                }
                assert!(op.encode(&mut out));
            }
            if let Some(op) = skipped.filter(|_| std::env::var_os("VM_PLANS_SHOW").is_some()) {
                let batch = gpumm_contract::request::Batch::decode(requests).unwrap();
                eprintln!(
                    "without {op:?}: {:?}\n{:?}",
                    batch.requests,
                    plan::decode(&words)
                );
            }
            out.finish()
        });
        (desk, plan)
    }
}

/// Lives with each of the operations left out once; which of them were not missed, and of how many.
fn forget(what: fn(&Op<'_>) -> bool, every: usize) -> (Vec<u64>, usize) {
    let run = |left: i64| {
        let seen = Arc::new(AtomicU64::new(0));
        let source = Forgetful {
            inner: NativeManager::default(),
            what,
            left: Arc::new(AtomicI64::new(left)),
            seen: seen.clone(),
        };
        let parts = Parts {
            mechanism: Arc::new(source),
            ..native::parts("tlsf")
        };
        let (_, report) = live(parts, 3, 160, 0);
        (seen.load(Ordering::Relaxed), report.restarts)
    };
    let all = run(i64::MAX).0;
    let chosen: Vec<u64> = (0..all).step_by(every).collect();
    let left: Vec<u64> = chosen
        .iter()
        .copied()
        .filter(|&n| run(n as i64).1 == 0)
        .collect();
    (left, chosen.len())
}

#[test]
fn no_invalidation_can_be_left_out() {
    let (missing, all) = forget(|op| matches!(op, Op::InvalidateTlb { .. }), 1);
    assert!(all > 20);
    assert_eq!(missing, [0; 0], "of {all}");
}

#[test]
fn no_wait_can_be_left_out_that_others_do_not_imply() {
    // The ledger lets those pass that other waits imply, and nothing comes of leaving them out: every
    // life compares its bytes.
    let (missing, all) = forget(|op| matches!(op, Op::Wait { .. }), 3);
    assert!(all > 20);
    assert!(missing.len() * 10 <= all * 3, "{missing:?} of {all}");
}

#[test]
fn a_refusal_says_what_is_missing() {
    let told = Refusal::StaleTlb(gpumm_contract::vm::VmId(3)).to_string();
    assert!(told.contains("vm 3"), "{told}");
}
