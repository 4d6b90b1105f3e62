//! Strategies that take over from one another while buffers live and move.
#![allow(clippy::unwrap_used)]

use gpumm::parts::{Parts, StrategySource};
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm::{DeviceReport, Error, Pacing, StrategySwap};
use gpumm_components::{TRAP_LOOP, patch_trap, strategy_trap, trap_site as site};
use gpumm_contract::allocator::Answer;
use gpumm_contract::{AllocationId, Extent};
use gpumm_tests::fixture;
use gpumm_tests::life::{Life, Tally};
use gpumm_tests::native::{self, NativeManager};
use gpumm_tests::strategies::Twisted;
use std::sync::Arc;

const VRAM: u64 = 4 << 20;
const SYSTEM: u64 = 256 << 20;
/// Those that serve wishes of any size.
const GENERAL: [&str; 3] = ["tlsf", "range", "buddy"];

fn component(name: &str) -> Arc<dyn StrategySource> {
    Arc::new(WasmStrategy::built_in(name).unwrap())
}

fn components(name: &str) -> Parts {
    Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy: component(name),
        fallback: component("tlsf"),
    }
}

fn libraries(name: &str) -> Parts {
    let mechanism = Arc::new(NativeManager::<gpumm_sg_table::SgTables>::default());
    Parts {
        mechanism,
        strategy: native::strategy(name),
        fallback: native::strategy("tlsf"),
    }
}

/// A life with something done to the device at some steps.
fn life(
    parts: Parts,
    steps: usize,
    mut at: impl FnMut(usize, &gpumm::DeviceHandle),
) -> (Tally, DeviceReport, Vec<StrategySwap>, Vec<String>) {
    let (runtime, _) = fixture::runtime(VRAM, SYSTEM, Some(parts), Pacing::Window(3), |b| b);
    let device = runtime.device(0).unwrap();
    let mut life = Life::new(&runtime, 5, 2, VRAM / 4);
    for step in 0..steps {
        at(step, &device);
        life.step();
    }
    let tally = life.end();
    device.drain().unwrap();
    assert!(device.hardware().take_faults().is_empty());
    let faults = device.strategy_faults().unwrap();
    assert_eq!(device.strategy_fault_count(), faults.len() as u64);
    let faults = faults.iter().map(gpumm::StrategyFault::sentence).collect();
    let (report, swaps) = (device.report().unwrap(), device.strategy_swaps().unwrap());
    (tally, report, swaps, faults)
}

#[track_caller]
fn whole(tally: &Tally, honest: &Tally) {
    assert_eq!((tally.corrupt, tally.failed), (0, 0));
    assert_eq!(tally, honest);
}

/// Swaps to `to` and back by hand in the middle of a life.
fn there_and_back(parts: fn(&str) -> Parts, to: &dyn Fn(&str) -> Arc<dyn StrategySource>) {
    let honest = life(parts("tlsf"), 300, |_, _| ()).0;
    for from in GENERAL {
        for newcomer in GENERAL {
            let run = || {
                life(parts(from), 300, |step, device| match step {
                    100 => {
                        let swap = device.swap_strategy(to(newcomer)).unwrap();
                        assert_eq!((swap.from.as_str(), swap.to.as_str()), (from, newcomer));
                        assert!(swap.live > 4, "{swap:?}");
                    }
                    200 => {
                        let back = device.roll_back_strategy().unwrap();
                        assert_eq!((back.from.as_str(), back.to.as_str()), (newcomer, from));
                    }
                    250 => _ = device.roll_back_strategy().unwrap(),
                    _ => {}
                })
            };
            let (tally, report, swaps, faults) = run();
            whole(&tally, &honest);
            assert_eq!(faults, Vec::<String>::new());
            assert_eq!((swaps.len(), report.restarts), (3, 0));
            assert!(swaps.iter().all(|swap| !swap.rolled_back));
            let again = run();
            assert_eq!((tally, report), (again.0, again.1), "{from} {newcomer}");
        }
    }
}

#[test]
fn any_general_strategy_takes_over_from_any_other_and_gives_back() {
    there_and_back(components, &component);
}

#[test]
fn any_general_library_takes_over_from_any_other_and_gives_back() {
    there_and_back(libraries, &native::strategy);
}

/// One thread lives, another one swaps all the time: slices and changes between any two batches.
#[test]
fn swaps_while_requests_are_served_lose_nothing() {
    let parts = libraries("tlsf");
    let (runtime, _) = fixture::runtime(VRAM, SYSTEM, Some(parts), Pacing::Window(3), |b| b);
    let device = runtime.device(0).unwrap();
    let ended = std::sync::atomic::AtomicBool::new(false);
    let (tally, swaps) = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                let name = GENERAL[swaps % GENERAL.len()];
                device.swap_strategy(native::strategy(name)).unwrap();
                swaps += 1;
                if swaps % 5 == 0 {
                    device.roll_back_strategy().unwrap();
                }
            }
            swaps
        });
        let mut life = Life::new(&runtime, 7, 3, VRAM / 16);
        (0..3000).for_each(|_| life.step());
        let tally = life.end();
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        (tally, swapper.join().unwrap())
    });
    device.drain().unwrap();
    assert_eq!((tally.corrupt, tally.failed, tally.refused), (0, 0, 0));
    assert_eq!(device.strategy_fault_count(), 0);
    assert_eq!(device.report().unwrap().restarts, 0);
    assert!(swaps >= 10, "only {swaps} swaps");
}

/// Several threads swap at once, some with newcomers that do not take what lives: nobody ends or
/// uses another one's preparation.
#[test]
fn swaps_at_the_same_time_keep_out_of_each_others_way() {
    let parts = libraries("buddy");
    let (runtime, _) = fixture::runtime(VRAM, SYSTEM, Some(parts), Pacing::Window(3), |b| b);
    let device = runtime.device(0).unwrap();
    let refusing = gpumm_adversaries::component("refuses-to-be-restored", 1).unwrap();
    let source = |name: &str| -> Arc<dyn StrategySource> {
        match name {
            "refusing" => Arc::new(WasmStrategy::new(name, refusing.clone())),
            name => native::strategy(name),
        }
    };
    let made: Vec<usize> = std::thread::scope(|scope| {
        let swapper = |names: [&'static str; 3]| {
            let (device, source) = (&device, &source);
            move || {
                let turn = |at: usize| {
                    let name = names[at % names.len()];
                    match device.swap_strategy(source(name)) {
                        Ok(swap) => {
                            assert_eq!(swap.to, name);
                            1
                        }
                        Err(Error::SwapInProgress) => 0,
                        Err(Error::Component { name: who, .. }) if who == "refusing" => 0,
                        Err(other) => panic!("{name}: {other}"),
                    }
                };
                (0..300).map(turn).sum()
            }
        };
        let all = [
            ["tlsf", "refusing", "range"],
            ["buddy", "buddy", "refusing"],
            GENERAL,
        ];
        let all = all.map(|names| scope.spawn(swapper(names)));
        let mut life = Life::new(&runtime, 7, 3, VRAM / 16);
        (0..1500).for_each(|_| life.step());
        let tally = life.end();
        assert_eq!((tally.corrupt, tally.failed, tally.refused), (0, 0, 0));
        all.into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(
        device.strategy_fault_count(),
        0,
        "{:?}",
        device.strategy_faults()
    );
    let swaps = device.strategy_swaps().unwrap();
    assert_eq!(swaps.len(), made.iter().sum::<usize>());
    assert!(swaps.len() > 50 && swaps.iter().all(|swap| !swap.pause.is_zero()));
}

#[test]
fn who_cannot_take_what_lives_is_refused_and_the_old_one_goes_on() {
    let honest = life(components("buddy"), 300, |_, _| ()).0;
    for name in ["id", "linear"] {
        let (tally, report, swaps, faults) = life(components("buddy"), 300, |step, device| {
            if step == 150 {
                let refused = device.swap_strategy(component(name));
                let Err(Error::Component { name: who, .. }) = refused else {
                    panic!("{refused:?}");
                };
                assert_eq!(who, name);
            }
        });
        whole(&tally, &honest);
        assert_eq!((swaps, faults, report.restarts), (vec![], vec![], 0));
    }
}

#[test]
fn a_newcomer_that_traps_or_lies_soon_is_sent_back_by_itself() {
    let honest = life(components("buddy"), 300, |_, _| ()).0;
    let trap = |name: &str, at, count| {
        let bytes = patch_trap(strategy_trap(name).unwrap(), at, count).unwrap();
        Arc::new(WasmStrategy::new("bad", bytes)) as Arc<dyn StrategySource>
    };
    let overlap: Arc<dyn StrategySource> = Arc::new(Twisted::new(component("tlsf"), 9, |list| {
        for answer in list {
            if let Answer::Extents(_, extents) = answer {
                extents[0].offset = 0;
                extents.push(Extent {
                    offset: 0,
                    bytes: 4096,
                });
            }
        }
    }));
    let cases = [
        (trap("tlsf", site::STRATEGY_EXECUTE, 5), "bad", "trapped"),
        (
            trap("range", site::STRATEGY_EXECUTE | TRAP_LOOP, 5),
            "bad",
            "fuel",
        ),
        (overlap, "twisted", "cannot be true"),
    ];
    for (newcomer, name, why) in cases {
        let (tally, report, swaps, faults) = life(components("buddy"), 300, |step, device| {
            if step == 100 {
                device.swap_strategy(newcomer.clone()).unwrap();
            }
        });
        whole(&tally, &honest);
        let [swap] = &swaps[..] else {
            panic!("{swaps:?}");
        };
        assert!(swap.rolled_back, "{swap:?}");
        assert!(swap.reason.as_deref().unwrap().contains(why), "{swap:?}");
        assert_eq!((faults.len(), report.restarts), (1, 1), "{faults:?}");
        let sentence = &faults[0];
        assert!(
            sentence.starts_with(&format!("strategy {name} failed (")),
            "{sentence}"
        );
        assert!(sentence.ends_with("buddy took over"), "{sentence}");
    }
}

#[test]
fn a_newcomer_that_fails_late_is_treated_like_any_other() {
    let bytes = patch_trap(strategy_trap("tlsf").unwrap(), site::STRATEGY_EXECUTE, 1500).unwrap();
    let late: Arc<dyn StrategySource> = Arc::new(WasmStrategy::new("late", bytes));
    let (tally, _, swaps, faults) = life(components("range"), 3000, |step, device| {
        if step == 100 {
            device.swap_strategy(late.clone()).unwrap();
        }
    });
    assert_eq!((tally.corrupt, tally.failed), (0, 0));
    assert!(!swaps[0].rolled_back);
    assert!(faults[0].ends_with("late took over"), "{faults:?}");
}

#[test]
fn a_runtime_swaps_the_strategy_of_all_its_devices() {
    let builder = gpumm::Runtime::builder().sim(VRAM).sim(VRAM);
    let runtime = builder.system_memory(SYSTEM).build().unwrap();
    let swaps = runtime.swap_strategy(&component("range")).unwrap();
    let told: Vec<&str> = swaps.iter().map(|swap| swap.to.as_str()).collect();
    assert_eq!(told, ["range", "range"]);
    for index in 0..2 {
        let device = runtime.device(index).unwrap();
        let buffer = device
            .client()
            .create(gpumm::BufferDesc::new(4096))
            .unwrap();
        buffer.fill(7).unwrap();
        assert_eq!(buffer.read(0, 8).unwrap(), 7u64.to_le_bytes());
        assert_eq!(device.strategy_fault_count(), 0);
    }
}

#[test]
fn there_is_no_way_back_before_a_swap() {
    life(components("tlsf"), 10, |_, device| {
        assert!(matches!(device.roll_back_strategy(), Err(Error::NoWayBack)));
    });
}

#[test]
fn a_shadow_decides_beside_without_effect() {
    let honest = life(components("tlsf"), 300, |_, _| ());
    let mut report = None;
    let (tally, device, ..) = life(components("tlsf"), 300, |step, device| {
        if step == 50 {
            device.shadow_strategy(component("buddy")).unwrap();
        }
        if step == 299 {
            report = device.shadow_report().unwrap();
            device.end_shadow().unwrap();
            assert!(device.shadow_report().unwrap().is_none());
        }
    });
    assert_eq!((tally, device), (honest.0, honest.1));
    let report = report.unwrap();
    assert_eq!(
        (report.serving.as_str(), report.shadow.as_str()),
        ("tlsf", "buddy")
    );
    assert!(report.fault.is_none(), "{report:?}");
    assert!(report.wishes > 100, "{report:?}");
    assert!(
        report.refusals.serving > 0 && report.holes.shadow > 0,
        "{report:?}"
    );
    for high in [
        report.high_water_bytes.serving,
        report.high_water_bytes.shadow,
    ] {
        assert!(high > VRAM / 2 && high <= VRAM, "{report:?}");
    }
}

#[test]
fn a_shadow_of_the_same_strategy_decides_the_same() {
    let mut report = None;
    life(libraries("range"), 200, |step, device| {
        match step {
            0 => device.shadow_strategy(native::strategy("range")).unwrap(),
            199 => report = device.shadow_report().unwrap(),
            _ => {}
        };
    });
    let report = report.unwrap();
    assert!(report.wishes > 100 && report.fault.is_none(), "{report:?}");
    for pair in [
        report.refusals,
        report.high_water_bytes,
        report.holes,
        report.largest_hole_bytes,
    ] {
        assert_eq!(pair.serving, pair.shadow, "{report:?}");
    }
}

#[test]
fn a_shadow_that_lies_ends_and_nothing_else() {
    let lying: Arc<dyn StrategySource> = Arc::new(Twisted::new(component("tlsf"), 30, |list| {
        list[0] = Answer::Freed(AllocationId(77));
    }));
    let honest = life(components("tlsf"), 300, |_, _| ());
    let mut fault = None;
    let (tally, device, ..) = life(components("tlsf"), 300, |step, device| {
        match step {
            10 => device.shadow_strategy(lying.clone()).unwrap(),
            299 => fault = device.shadow_report().unwrap().unwrap().fault,
            _ => {}
        };
    });
    assert_eq!((tally, device), (honest.0, honest.1));
    assert!(fault.unwrap().to_string().contains("cannot be true"));
}
