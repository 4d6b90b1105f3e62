//! What happens when a component traps inside a call, lies, or when the executor is sabotaged.
#![allow(clippy::unwrap_used)]

use gpumm::job::PatternKey;
use gpumm::parts::{Executed, Mechanism, MechanismSource, Parts, SlotDesk, StrategySource};
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm::{BufferDesc, ComponentFault, DeviceReport, Error, Job, Pacing, Refusal};
use gpumm_components::{
    MECHANISM_TRAP, TRAP_GROW, TRAP_LOOP, patch_trap, strategy_trap, trap_site as site,
};
use gpumm_contract::allocator::{Allocate, Answer, Command};
use gpumm_contract::table::{Hold, Holder, Limits, TableError, TableState, Tables};
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{AllocationId, Extent, Point, Segment, TableId};
use gpumm_hw::OutcomeValue;
use gpumm_hw::sim::Sabotage;
use gpumm_sg_table::SgTables;
use gpumm_tests::fixture;
use gpumm_tests::life::{Life, Tally};
use gpumm_tests::native::{self, NativeManager};
use gpumm_tests::strategies::{Twist, Twisted};
use std::sync::Arc;

const VRAM: u64 = 4 << 20;
/// Enough for everything: what is refused must not hang on the order of evictions.
const SYSTEM: u64 = 256 << 20;

fn life(parts: Parts, steps: usize) -> (Tally, DeviceReport) {
    let (runtime, _) = fixture::runtime(VRAM, SYSTEM, Some(parts), Pacing::Window(3), |b| b);
    let device = runtime.device(0).unwrap();
    let mut life = Life::new(&runtime, 5, 2, VRAM / 4);
    (0..steps).for_each(|_| life.step());
    let tally = life.end();
    device.drain().unwrap();
    assert!(device.hardware().take_faults().is_empty());
    (tally, device.report().unwrap())
}

fn trapping_mechanism(at: u64, countdown: u64) -> Arc<dyn MechanismSource> {
    let bytes = patch_trap(MECHANISM_TRAP, at, countdown).unwrap();
    Arc::new(WasmMechanism::new("trapping", bytes))
}

fn trapping_strategy(name: &str, at: u64, countdown: u64) -> Arc<dyn StrategySource> {
    let bytes = patch_trap(strategy_trap(name).unwrap(), at, countdown).unwrap();
    Arc::new(WasmStrategy::new("trapping", bytes))
}

fn built_in(name: &str) -> Arc<dyn StrategySource> {
    Arc::new(WasmStrategy::built_in(name).unwrap())
}

/// What must not depend on traps: which buffers live with which content, and that nothing is
/// corrupt, refused or failed that was not before.
#[track_caller]
fn same_but_for_restarts(
    good: &Tally,
    trapped: &(Tally, DeviceReport),
    again: &(Tally, DeviceReport),
) {
    assert!(trapped.1.restarts > 0, "the site was never passed");
    assert_eq!(trapped, again, "twice the same");
    assert_eq!(
        (trapped.0.corrupt, trapped.0.failed, good.refused),
        (0, 0, 0)
    );
    assert_eq!(&trapped.0, good);
}

#[test]
fn a_mechanism_that_traps_at_any_import_or_export_loses_nothing() {
    let parts = |mechanism| Parts {
        mechanism,
        strategy: built_in("buddy"),
        fallback: built_in("tlsf"),
    };
    let good = life(parts(Arc::new(WasmMechanism::built_in())), 250).0;
    let sites = [
        (site::MANAGER_EXECUTE, 9),
        (site::MANAGER_EXECUTED, 9),
        (site::MANAGER_BEFORE_SLOT, 23),
        (site::MANAGER_AFTER_SLOT, 23),
        (site::MANAGER_BEFORE_TABLE, 401),
        (site::MANAGER_AFTER_TABLE, 401),
        (site::TABLE_BUILD, 41),
        (site::TABLE_HOLD, 41),
        (site::TABLE_PUT_LAYOUT, 31),
        (site::TABLE_RETIRE, 41),
    ];
    for (at, countdown) in sites {
        let run = || life(parts(trapping_mechanism(at, countdown)), 250);
        same_but_for_restarts(&good, &run(), &run());
    }
}

#[test]
fn a_strategy_that_traps_loses_nothing() {
    let parts = |strategy| Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy,
        fallback: built_in("buddy"),
    };
    // With buddy everything fits that fits by its bytes, so the outcome does not hang on layout.
    let good = life(parts(built_in("buddy")), 250).0;
    for (at, countdown) in [
        (site::STRATEGY_EXECUTE, 17),
        (site::STRATEGY_EXECUTED, 17),
        (site::STRATEGY_EXECUTE, 2),
    ] {
        let run = || life(parts(trapping_strategy("buddy", at, countdown)), 250);
        same_but_for_restarts(&good, &run(), &run());
    }
    // One that cannot even be restored is replaced by the built-in one.
    let run = || {
        life(
            parts(trapping_strategy("buddy", site::STRATEGY_EXECUTE, 1)),
            100,
        )
    };
    assert_eq!(run().0, life(parts(built_in("buddy")), 100).0);
}

#[test]
fn a_mechanism_that_traps_at_every_start_stops_the_device_by_name() {
    let parts = Parts {
        mechanism: trapping_mechanism(site::MANAGER_EXECUTE, 1),
        strategy: built_in("tlsf"),
        fallback: built_in("tlsf"),
    };
    let (runtime, _) = fixture::runtime(VRAM, SYSTEM, Some(parts), Pacing::Window(3), |b| b);
    let error = runtime.client().create(BufferDesc::new(4096)).unwrap_err();
    assert!(
        matches!(&error, Error::Request(ComponentFault::Trap(_))),
        "{error}"
    );
    let parts = Parts {
        mechanism: trapping_mechanism(site::MANAGER_RESTORE_END, 1),
        strategy: built_in("tlsf"),
        fallback: built_in("tlsf"),
    };
    let error = gpumm::Runtime::builder()
        .sim(VRAM)
        .parts(parts)
        .build()
        .unwrap_err();
    assert!(error.is_component_failure(), "{error}");
}

#[test]
fn components_that_trap_while_they_are_restored_are_replaced_or_named() {
    // A strategy that starts but cannot be restored: the built-in one takes over for good.
    let parts = |strategy| Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy,
        fallback: built_in("buddy"),
    };
    let run = |strategy: Arc<dyn StrategySource>| {
        let parts = Some(parts(strategy));
        let (runtime, _) = fixture::runtime(VRAM, SYSTEM, parts, Pacing::Window(3), |b| b);
        let device = runtime.device(0).unwrap();
        let mut life = Life::new(&runtime, 5, 2, VRAM / 4);
        (0..60).for_each(|_| life.step());
        device.restart_strategies().unwrap();
        (0..60).for_each(|_| life.step());
        (life.end(), device.strategy_faults().unwrap())
    };
    let good = run(built_in("buddy")).0;
    for at in [
        site::STRATEGY_RESTORE_BEGIN,
        site::STRATEGY_RESTORE_PART,
        site::STRATEGY_RESTORE_END,
    ] {
        let (tally, faults) = run(trapping_strategy("buddy", at, 1));
        assert_eq!(tally, good);
        assert_eq!(faults.last().map(|f| f.replaced_by.as_str()), Some("buddy"));
    }
    // What cannot even start is named when the Runtime is built.
    let start = |parts| gpumm::Runtime::builder().sim(VRAM).parts(parts).build();
    let error = start(parts(trapping_strategy("buddy", site::STRATEGY_INIT, 1))).unwrap_err();
    assert!(error.is_component_failure(), "{error}");
    for at in [
        site::MANAGER_RESTORE_BEGIN,
        site::MANAGER_RESTORE_PART,
        site::MANAGER_RESTORE_END,
        site::TABLE_CLEAR,
    ] {
        let mechanism = trapping_mechanism(at, 1);
        let parts = Parts {
            mechanism,
            ..native::parts("tlsf")
        };
        let error = start(parts).unwrap_err();
        assert!(error.is_component_failure(), "{error}");
    }
    // A mechanism that starts but cannot take over live tables stops its device by name.
    let mechanism = trapping_mechanism(site::TABLE_ADOPT, 1);
    let parts = Parts {
        mechanism,
        ..native::parts("tlsf")
    };
    let runtime = start(parts).unwrap();
    let client = runtime.client();
    let buffer = client.create(BufferDesc::new(4096)).unwrap();
    let error = runtime.device(0).unwrap().restart_mechanism().unwrap_err();
    assert!(error.is_component_failure(), "{error}");
    drop(buffer);
}

#[test]
fn a_strategy_without_end_or_bound_is_stopped_by_fuel_and_cap() {
    let good = life(
        Parts {
            mechanism: Arc::new(WasmMechanism::built_in()),
            strategy: built_in("buddy"),
            fallback: built_in("buddy"),
        },
        40,
    );
    for (mode, named) in [(TRAP_LOOP, "fuel"), (TRAP_GROW, "trapped")] {
        let parts = Parts {
            mechanism: Arc::new(WasmMechanism::built_in()),
            strategy: trapping_strategy("buddy", site::STRATEGY_EXECUTE | mode, 9),
            fallback: built_in("buddy"),
        };
        let (runtime, _) = fixture::runtime(VRAM, SYSTEM, Some(parts), Pacing::Window(3), |b| b);
        let device = runtime.device(0).unwrap();
        let mut life = Life::new(&runtime, 5, 2, VRAM / 4);
        (0..40).for_each(|_| life.step());
        let tally = life.end();
        let faults = device.strategy_faults().unwrap();
        assert!(!faults.is_empty() && tally == good.0);
        assert!(
            faults.iter().all(|f| f.fault.to_string().contains(named)),
            "{faults:?}"
        );
    }
}

#[test]
fn strategies_that_lie_are_replaced_within_the_request() {
    fn first_extents(list: &mut [Answer], change: fn(&mut Vec<Extent>)) {
        if let Some(Answer::Extents(_, extents)) =
            list.iter_mut().find(|a| matches!(a, Answer::Extents(..)))
        {
            change(extents);
        }
    }
    let twists: [(&str, Twist); 9] = [
        ("overlap", |l| first_extents(l, |e| e[0].offset = 0)),
        ("outside", |l| first_extents(l, |e| e[0].offset = VRAM)),
        ("overflow", |l| {
            first_extents(l, |e| e[0].offset = u64::MAX - 4095)
        }),
        ("granule", |l| first_extents(l, |e| e[0].offset += 1)),
        ("too small", |l| {
            first_extents(l, |e| e[0].bytes -= 4096.min(e[0].bytes))
        }),
        ("too large", |l| first_extents(l, |e| e[0].bytes += 4096)),
        ("twice", |l| {
            first_extents(l, |e| {
                let half = Extent {
                    bytes: e[0].bytes / 2,
                    ..e[0]
                };
                *e = vec![half, half];
            })
        }),
        ("too few", |l| _ = l.pop()),
        ("too many", |l| l.push(Answer::Freed(AllocationId(3)))),
    ];
    let good = life(native::parts("buddy"), 120).0;
    for (name, twist) in twists {
        for at in [3, 20] {
            let strategy = Arc::new(Twisted::new(native::strategy("buddy"), at, twist));
            let fallback = native::strategy("buddy");
            let run = life(
                Parts {
                    strategy,
                    fallback,
                    ..native::parts("buddy")
                },
                120,
            );
            assert!(run.1.restarts > 0, "'{name}' went unnoticed");
            assert_eq!(run.0, good, "'{name}' changed what clients see");
        }
    }
}

/// A table keeper that forgets one of the mechanism's holds.
#[derive(Debug, Default)]
struct Forgetful {
    inner: SgTables,
    holds: u32,
}

impl Tables for Forgetful {
    fn clear(&mut self) {
        self.inner.clear();
    }
    fn build(
        &mut self,
        t: TableId,
        e: &[Extent],
        b: u64,
        m: u64,
    ) -> Result<Vec<Segment>, TableError> {
        self.inner.build(t, e, b, m)
    }
    fn build_clamped(
        &mut self,
        t: TableId,
        e: &[Extent],
        b: u64,
        l: Limits,
    ) -> Result<Vec<Segment>, TableError> {
        self.inner.build_clamped(t, e, b, l)
    }
    fn adopt(&mut self, t: TableId, s: &[Segment], l: bool, h: &[Hold]) -> Result<(), TableError> {
        self.inner.adopt(t, s, l, h)
    }
    fn hold(&mut self, table: TableId, hold: Hold) -> Result<(), TableError> {
        self.holds += 1;
        if self.holds.is_multiple_of(5) {
            Ok(())
        } else {
            self.inner.hold(table, hold)
        }
    }
    fn get(&mut self, table: TableId, holder: Holder) -> Result<(), TableError> {
        self.inner.get(table, holder)
    }
    fn put(&mut self, table: TableId, holder: Holder) -> Result<bool, TableError> {
        self.inner.put(table, holder)
    }
    fn put_layout(&mut self, table: TableId) -> Result<bool, TableError> {
        self.inner.put_layout(table)
    }
    fn retire(&mut self, reached: Point) -> Vec<TableId> {
        self.inner.retire(reached)
    }
    fn dump(&self) -> Vec<TableState> {
        self.inner.dump()
    }
}

#[test]
fn a_forgotten_hold_of_a_table_is_refused_by_the_ledger() {
    let mechanism = Arc::new(NativeManager::<Forgetful>::default());
    let parts = Parts {
        mechanism,
        ..native::parts("tlsf")
    };
    let (runtime, sim) = fixture::runtime(VRAM, SYSTEM, Some(parts), Pacing::Window(2), |b| b);
    // Held, so that every use is still in flight when its table is let go.
    sim.hold_all();
    let client = runtime.client();
    let mut refused = 0;
    for n in 0..12 {
        let buffer = client.create(BufferDesc::new(8192)).unwrap();
        let key = PatternKey {
            buffer: n,
            generation: 1,
        };
        let mut batch = client.batch();
        let run = batch.access(Job::WritePattern(key), &[&buffer], false);
        let release = batch.release(buffer);
        sim.release_all();
        let mut ended = batch.submit().unwrap();
        ended.take(run).unwrap();
        match ended.done(release) {
            Ok(()) => {}
            Err(Error::Request(ComponentFault::Refused(Refusal::TableInUse(_)))) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        sim.hold_all();
    }
    sim.release_all();
    let restarts = runtime.device(0).unwrap().report().unwrap().restarts;
    assert!(
        restarts > 0 || refused > 0,
        "a hold was forgotten and nobody noticed"
    );
}

/// Writes a buffer of several segments, evicts it, brings it back, checks it.
fn corrupted_by(sabotage: Option<Sabotage>) -> u64 {
    let (runtime, sim) = fixture::runtime(
        1 << 20,
        8 << 20,
        Some(native::parts("buddy")),
        Pacing::Window(2),
        |b| b,
    );
    let client = runtime.client();
    // Every second page stays taken by what is evicted last, so the buffer lies in single pages.
    let page = BufferDesc {
        priority: 3,
        ..BufferDesc::new(4096)
    };
    let mut pages: Vec<_> = client
        .create_many(&vec![page; 256])
        .unwrap()
        .into_iter()
        .map(|b| b.unwrap())
        .collect();
    let mut at = 0;
    pages.retain(|_| {
        at += 1;
        at % 2 == 0
    });
    let buffer = client.create(BufferDesc::new(100 * 4096 + 1000)).unwrap();
    let key = PatternKey {
        buffer: 9,
        generation: 1,
    };
    client
        .run(Job::WritePattern(key), &[&buffer])
        .unwrap()
        .wait()
        .unwrap();
    if let Some(sabotage) = sabotage {
        sim.sabotage(sabotage).unwrap();
    }
    // Out (command 0), filled (1), out (2), and the first one back in (3).
    let other = client.create(BufferDesc::new(100 * 4096)).unwrap();
    other.fill(7).unwrap().wait().unwrap();
    match client
        .run(Job::CheckPattern(key), &[&buffer])
        .unwrap()
        .outcome()
        .unwrap()
    {
        OutcomeValue::Checked(report) => {
            assert_eq!(report.bytes_verified, 100 * 4096 + 1000);
            report.corrupt_bytes
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dropped_or_exchanged_segment_is_seen() {
    assert_eq!(corrupted_by(None), 0);
    assert!(
        corrupted_by(Some(Sabotage::DropSegment {
            nth_command: 0,
            segment: 0
        })) > 0
    );
    assert!(
        corrupted_by(Some(Sabotage::DropSegment {
            nth_command: 3,
            segment: 40
        })) > 0
    );
    assert!(
        corrupted_by(Some(Sabotage::SwapSegments {
            nth_command: 3,
            a: 3,
            b: 60
        })) > 0
    );
}

/// A mechanism that asks its strategies for what makes no sense, and then plans nothing.
#[derive(Debug)]
struct Asking(fn(&mut Writer));

impl MechanismSource for Asking {
    fn name(&self) -> &str {
        "asking"
    }
    fn build(&self) -> Result<Box<dyn Mechanism>, ComponentFault> {
        Ok(Box::new(Asking(self.0)))
    }
}

impl Mechanism for Asking {
    fn restore(&mut self, _: &[Vec<u64>]) -> Result<(), ComponentFault> {
        Ok(())
    }
    fn execute(&mut self, _: &[u64], mut desk: Box<dyn SlotDesk>) -> Executed {
        let mut commands = Writer::new(Kind::Commands);
        (self.0)(&mut commands);
        let answered = desk.allocate(gpumm::VRAM, commands.words());
        (desk, answered)
    }
}

#[test]
fn nonsense_of_a_mechanism_is_not_blamed_on_the_strategy() {
    let asked: [fn(&mut Writer); 6] = [
        |w| plain(1, 0).encode(w),
        |w| plain(1, 4097).encode(w),
        |w| Command::free(AllocationId(1)).encode(w),
        |w| {
            plain(1, 4096).encode(w);
            plain(1, 4096).encode(w);
        },
        |w| {
            plain(1, 4096).encode(w);
            Command::free(AllocationId(1)).encode(w);
        },
        |w| _ = w.item(9, 0, |_| ()),
    ];
    for (n, ask) in asked.into_iter().enumerate() {
        let parts = Parts {
            mechanism: Arc::new(Asking(ask)),
            ..native::parts("tlsf")
        };
        let (runtime, _) = fixture::runtime(VRAM, SYSTEM, Some(parts), Pacing::Window(3), |b| b);
        let error = runtime.client().create(BufferDesc::new(4096)).unwrap_err();
        assert!(
            matches!(&error, Error::Request(ComponentFault::Nonsense(_))),
            "{n}: {error}"
        );
        assert!(
            runtime
                .device(0)
                .unwrap()
                .strategy_faults()
                .unwrap()
                .is_empty(),
            "{n}"
        );
    }
}

fn plain(number: u32, bytes: u64) -> Command {
    Command::Allocate(Allocate::plain(AllocationId(number), bytes))
}
