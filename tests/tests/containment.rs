//! Strategies that do harm, as components: each is found out, named and replaced within the request,
//! and neither tenant notices. The adversaries are in `tests/adversaries`.
#![allow(clippy::unwrap_used)]

use gpumm::parts::Parts;
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm::{ComponentFault, DeviceReport, Error, Pacing, StrategyFault};
use gpumm_adversaries::{ADVERSARIES, Adversary, Expected, Fault, Kind, Wishes, component, honest};
use gpumm_tests::demanding::Demanding;
use gpumm_tests::fixture;
use gpumm_tests::life::{Life, Tally};
use std::sync::{Arc, OnceLock};

const VRAM: u64 = 4 << 20;
/// Enough for everything: what is refused must not hang on the order of evictions.
const SYSTEM: u64 = 256 << 20;
/// Turns, of one batch per tenant each.
const TURNS: usize = 120;
/// Late enough for others to have memory that can be harmed.
const CHANCE: u64 = 12;
/// What takes an adversary's place.
const BUILT_IN: &str = "tlsf";

/// How a run ended.
#[derive(Debug)]
struct Ended {
    /// What each tenant has seen.
    tenants: [Tally; 2],
    report: DeviceReport,
    faults: Vec<StrategyFault>,
    /// How many faults there were after each batch.
    counted: Vec<usize>,
}

fn parts(strategy: WasmStrategy, wishes: Wishes) -> Parts {
    let mechanism = Arc::new(WasmMechanism::built_in());
    Parts {
        mechanism: Arc::new(Demanding::new(mechanism, wishes, VRAM)),
        strategy: Arc::new(strategy),
        fallback: Arc::new(WasmStrategy::built_in(BUILT_IN).unwrap()),
    }
}

/// Two tenants on one device, in turns.
fn run(strategy: WasmStrategy, wishes: Wishes) -> Ended {
    let parts = Some(parts(strategy, wishes));
    let (runtime, _) = fixture::runtime(VRAM, SYSTEM, parts, Pacing::Window(3), |b| b);
    let device = runtime.device(0).unwrap();
    let mut lives = [5, 6].map(|seed| Life::new(&runtime, seed, 1, VRAM / 4));
    let mut counted = Vec::new();
    for _ in 0..TURNS {
        for life in &mut lives {
            life.step();
            counted.push(device.strategy_faults().unwrap().len());
        }
    }
    let tenants = lives.map(Life::end);
    device.drain().unwrap();
    assert!(device.hardware().take_faults().is_empty());
    Ended {
        tenants,
        report: device.report().unwrap(),
        faults: device.strategy_faults().unwrap(),
        counted,
    }
}

/// How it ends without an adversary.
fn good(wishes: Wishes) -> &'static Ended {
    static GOOD: [OnceLock<Ended>; 4] = [const { OnceLock::new() }; 4];
    GOOD[wishes as usize].get_or_init(|| {
        let good = run(WasmStrategy::built_in(BUILT_IN).unwrap(), wishes);
        assert!(good.faults.is_empty() && good.report.counts.evictions > 0);
        for tally in good.tenants {
            assert!(tally.created > 0 && tally.verified > 0);
            let wrong = [
                tally.corrupt,
                tally.failed,
                tally.refused,
                tally.access_refused,
            ];
            assert_eq!(wrong, [0; 4]);
        }
        good
    })
}

fn is(fault: &ComponentFault, expected: Fault) -> bool {
    let kind = match fault {
        ComponentFault::Trap(_) => Kind::Trap,
        ComponentFault::Fuel(_) => Kind::Fuel,
        ComponentFault::Lie(_) => Kind::Lie,
        ComponentFault::Restore(_) => Kind::Restore,
        ComponentFault::NotAComponent(_) => Kind::NotAComponent,
        _ => return false,
    };
    kind == expected.kind && fault.to_string().contains(expected.text)
}

fn adversary(name: &str) -> (&'static Adversary, WasmStrategy) {
    let row = ADVERSARIES.iter().find(|row| row.name == name);
    let row = row.expect("an adversary");
    let chance = match row.expected {
        // The host looks for it only now and then.
        Expected::AtOnce(_) => 1,
        _ => CHANCE,
    };
    let bytes = component(name, chance).expect("an adversary");
    (row, WasmStrategy::new(name, bytes))
}

/// Runs an adversary that the host must stop.
#[track_caller]
fn contain(name: &str) {
    let (row, strategy) = adversary(name);
    // Its own fault and that of its restarted self, after which the built-in one stays.
    let expected: Vec<(Fault, &str)> = match row.expected {
        Expected::Faults([first, second]) => vec![(first, name), (second, BUILT_IN)],
        Expected::AtOnce(fault) => vec![(fault, BUILT_IN)],
        Expected::NotStarted(_) => panic!("{name} is not expected to serve"),
    };
    let good = good(row.wishes);
    let bad = run(strategy.clone(), row.wishes);
    assert_eq!(bad.faults.len(), expected.len(), "{:?}", bad.faults);
    for (fault, &(expected, by)) in bad.faults.iter().zip(&expected) {
        assert!(is(&fault.fault, expected), "{}", fault.fault);
        assert_eq!((&*fault.name, &*fault.replaced_by), (name, by));
    }
    let all = expected.len();
    assert!(
        bad.counted.iter().all(|&count| count == 0 || count == all),
        "replaced by itself in one batch, by the built-in in another: {:?}",
        bad.counted
    );
    assert_eq!(bad.report.restarts, all as u64);
    // No byte is wrong, nothing is refused or failed that was not, for either tenant.
    assert_eq!(bad.tenants, good.tenants);

    let again = run(strategy, row.wishes);
    assert_eq!(again.report, bad.report);
    assert_eq!(again.tenants, bad.tenants);
    assert_eq!(again.counted, bad.counted);
    assert_eq!(format!("{:?}", again.faults), format!("{:?}", bad.faults));
}

/// The tests by the name of their adversary, and the list of those that have one.
macro_rules! contained {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            contain(&stringify!($name).replace('_', "-"));
        })*

        const CONTAINED: &[&str] = &[$(stringify!($name)),*];
    };
}

contained! {
    overlaps_a_live_extent
    overlaps_by_a_granule
    frees_a_neighbour
    same_extent_twice
    one_place_for_two
    leaves_the_arena
    straddles_the_end
    overflows
    leaves_the_range
    off_the_granule
    misaligned
    zero_length
    too_small
    too_large
    pieces_for_contiguous
    too_many_answers
    too_few_answers
    answers_another_number
    frees_for_an_allocate
    frees_another
    refuses_a_good_command
    wrong_version
    truncated_item
    wrong_count
    unknown_operation
    long_list
    huge_list
    traps
    endless_loop
    endless_growth
    overflows_the_stack
    traps_while_restoring
    endless_restore
    refuses_to_be_restored
    statistics
    refuses_with_room
}

#[test]
fn every_adversary_that_serves_has_a_test() {
    let serves = |row: &&Adversary| !matches!(row.expected, Expected::NotStarted(_));
    let names = ADVERSARIES.iter().filter(serves);
    let names: Vec<String> = names.map(|row| row.name.replace('-', "_")).collect();
    assert_eq!(names, CONTAINED);
}

/// Why a Runtime with a strategy that cannot be started is not built.
fn not_started(name: &str) -> (String, ComponentFault) {
    let (row, strategy) = adversary(name);
    let parts = parts(strategy, row.wishes);
    let built = gpumm::Runtime::builder().sim(VRAM).parts(parts).build();
    match built.unwrap_err() {
        Error::Component { name, fault } => (name, fault),
        other => panic!("{other}"),
    }
}

#[test]
fn imports_is_refused_when_the_runtime_is_built() {
    let row = ADVERSARIES.iter().find(|row| row.name == "imports");
    let Some(Expected::NotStarted(expected)) = row.map(|row| row.expected) else {
        panic!("it cannot be started");
    };
    let (name, fault) = not_started("imports");
    assert_eq!(name, "imports");
    assert!(is(&fault, expected), "{fault}");
}

#[test]
fn what_imports_wants_is_in_the_refusal() {
    let (_, fault) = not_started("imports");
    assert!(fault.to_string().contains("`now`"), "{fault}");
}

#[test]
fn without_a_number_the_adversary_is_honest() {
    for wishes in [
        Wishes::Plain,
        Wishes::Aligned,
        Wishes::Ranged,
        Wishes::Contiguous,
    ] {
        let run = run(WasmStrategy::new("honest", honest()), wishes);
        assert!(run.faults.is_empty(), "{:?}", run.faults);
        assert_eq!(run.tenants, good(wishes).tenants);
        assert_eq!(run.report, good(wishes).report);
    }
}
