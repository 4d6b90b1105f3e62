//! Device memory that grows while buffers live and move.
#![allow(clippy::unwrap_used)]

use gpumm::log::LogReader;
use gpumm::parts::{Parts, StrategySource};
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm::{
    BufferDesc, Error, LogReport, Pacing, Runtime, RuntimeBuilder, StrategyFault, replay_log,
};
use gpumm_components::{patch_trap, strategy_trap, trap_site as site};
use gpumm_contract::Extent;
use gpumm_contract::allocator::Answer;
use gpumm_hw::sim::SimConfig;
use gpumm_tests::fixture;
use gpumm_tests::growing::{Growing, Growth};
use gpumm_tests::life::{Life, Tally};
use gpumm_tests::native;
use gpumm_tests::strategies::Twisted;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

const MOST: u64 = 4 << 20;
const CHUNK: u64 = 256 << 10;
const SYSTEM: u64 = 256 << 20;

fn parts(strategy: Arc<dyn StrategySource>) -> Parts {
    Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy,
        fallback: Arc::new(WasmStrategy::built_in("tlsf").unwrap()),
    }
}

fn component(name: &str) -> Parts {
    parts(Arc::new(WasmStrategy::built_in(name).unwrap()))
}

/// A Runtime whose device has `limit` bytes at most.
fn runtime(
    limit: u64,
    parts: Parts,
    more: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
) -> (Runtime, Arc<Growth>) {
    let growth = Arc::new(Growth::default());
    growth.limit.store(limit, Ordering::SeqCst);
    let seen = growth.clone();
    let builder = Runtime::builder()
        .system_memory(SYSTEM)
        .pacing(Pacing::Window(3))
        .parts(parts)
        .device(move |timelines, memory| {
            Growing::new(
                SimConfig::new("sim", MOST),
                CHUNK,
                growth,
                timelines,
                memory,
            )
        });
    (more(builder).build().unwrap(), seen)
}

/// Nothing was wrong, and no operation left what there was or crossed a border.
fn sound(runtime: &Runtime, growth: &Growth, tally: Tally) {
    let device = runtime.device(0).unwrap();
    device.drain().unwrap();
    assert_eq!((tally.corrupt, tally.failed), (0, 0), "{tally:?}");
    let faults = device.strategy_faults().unwrap();
    let faults: Vec<_> = faults.iter().map(StrategyFault::sentence).collect();
    assert_eq!(faults, [""; 0]);
    assert!(device.hardware().take_faults().is_empty());
    let wrong = [&growth.outside, &growth.crossing].map(Growth::get);
    assert_eq!(wrong, [0, 0], "outside, crossing");
    let report = device.report().unwrap();
    assert_eq!(report.vram_bytes, Growth::get(&growth.has));
    assert!(report.high_water_bytes <= report.vram_bytes);
}

#[test]
fn memory_grows_before_anybody_is_evicted() {
    let (runtime, growth) = runtime(MOST, component("tlsf"), |b| b);
    let client = runtime.client();
    let device = runtime.device(0).unwrap();
    assert_eq!(device.report().unwrap().vram_bytes, CHUNK);
    let mut buffers = Vec::new();
    for n in 0..MOST / (64 << 10) {
        let buffer = client.create(BufferDesc::new(64 << 10)).unwrap();
        buffer.fill(n).unwrap();
        buffers.push(buffer);
    }
    let report = device.report().unwrap();
    assert_eq!((report.counts.evictions, report.vram_bytes), (0, MOST));
    let one_more = client.create(BufferDesc::new(64 << 10)).unwrap();
    one_more.fill(7).unwrap();
    assert_eq!(device.report().unwrap().counts.evictions, 1);
    for (n, buffer) in (0u64..).zip(&buffers) {
        assert_eq!(buffer.read(0, 8).unwrap(), n.to_le_bytes());
    }
    // At the most there is nobody to ask.
    assert!(Growth::get(&growth.asked) < MOST / CHUNK);
    sound(&runtime, &growth, Tally::default());
}

#[test]
fn what_fits_into_no_memory_is_refused_and_what_fits_into_the_most_is_not() {
    let (runtime, growth) = runtime(MOST, component("tlsf"), |b| b);
    let client = runtime.client();
    let refused = client.create(BufferDesc::new(MOST + 1));
    assert!(refused.is_err_and(|e| e.is_out_of_memory()));
    assert_eq!(Growth::get(&growth.asked), 0);
    // Larger than a chunk, so borders do not count.
    let whole = client.create(BufferDesc::new(MOST)).unwrap();
    whole.fill(3).unwrap().wait().unwrap();
    assert_eq!(whole.read(MOST - 8, 8).unwrap(), 3u64.to_le_bytes());
    sound(&runtime, &growth, Tally::default());
}

#[test]
fn a_device_that_refuses_is_left_alone_until_something_is_freed() {
    let limit = 2 * CHUNK;
    let (runtime, growth) = runtime(limit, component("tlsf"), |b| b);
    let client = runtime.client();
    let device = runtime.device(0).unwrap();
    let bytes = 32 << 10;
    let buffers: Vec<_> = (0..64u64)
        .map(|n| {
            let buffer = client.create(BufferDesc::new(bytes)).unwrap();
            buffer.fill(n).unwrap();
            buffer
        })
        .collect();
    let report = device.report().unwrap();
    let away = 64 * bytes - limit;
    assert_eq!(report.counts.evictions, away / bytes);
    assert_eq!(report.vram_bytes, limit);
    // Once for each chunk that has gone away since.
    let refused = Growth::get(&growth.refused);
    assert!((1..=away / CHUNK + 1).contains(&refused), "{refused}");
    // More is there again: it is used before long.
    growth.limit.store(MOST, Ordering::SeqCst);
    for _ in 0..3 {
        for (n, buffer) in (0u64..).zip(&buffers) {
            assert_eq!(buffer.read(0, 8).unwrap(), n.to_le_bytes());
        }
    }
    assert_eq!(device.report().unwrap().vram_bytes, 64 * bytes);
    sound(&runtime, &growth, Tally::default());
}

/// A wish that waits for the memory to grow is one wish, and no refusal.
#[test]
fn a_shadow_is_told_of_a_wish_once() {
    let limit = 4 * CHUNK;
    let (runtime, growth) = runtime(limit, component("tlsf"), |b| b);
    let client = runtime.client();
    let device = runtime.device(0).unwrap();
    let same = Arc::new(WasmStrategy::built_in("tlsf").unwrap());
    device.shadow_strategy(same).unwrap();
    let bytes = 64 << 10;
    let fill = |n: u64| {
        let buffer = client.create(BufferDesc::new(bytes)).unwrap();
        buffer.fill(n).unwrap();
        buffer
    };
    let buffers: Vec<_> = (0..limit / bytes).map(fill).collect();
    let told = device.shadow_report().unwrap().unwrap();
    assert_eq!(told.wishes, limit / bytes);
    assert_eq!((told.refusals.serving, told.refusals.shadow), (0, 0));
    assert_eq!(Growth::get(&growth.has), limit);
    // The device refuses: so the strategies have, both of them.
    let _one_more = fill(7);
    let told = device.shadow_report().unwrap().unwrap();
    assert!(told.refusals.serving > 0);
    assert_eq!(told.refusals.shadow, told.refusals.serving);
    assert_eq!(told.wishes, limit / bytes + 1 + told.refusals.serving);
    drop(buffers);
    sound(&runtime, &growth, Tally::default());
}

/// Random lives under every general strategy, with swaps and a shadow in the midst of growing; the
/// device refuses for a while.
#[test]
fn strategies_take_over_from_one_another_in_a_growing_memory() {
    let names = ["tlsf", "range", "buddy"];
    for (turn, first) in names.into_iter().enumerate() {
        let (runtime, growth) = runtime(CHUNK, component(first), |b| b);
        let device = runtime.device(0).unwrap();
        let mut life = Life::new(&runtime, 5 + turn as u64, 2, CHUNK / 2);
        for step in 0..900usize {
            if step.is_multiple_of(60) {
                // More and more of it.
                let limit = CHUNK * (1 + step as u64 / 60);
                growth.limit.store(limit, Ordering::SeqCst);
            }
            match step % 150 {
                40 => {
                    let next = names[(turn + step / 150) % 3];
                    let swap = device.swap_strategy(native::strategy(next)).unwrap();
                    assert_eq!(swap.to, next);
                }
                80 => drop(device.roll_back_strategy().unwrap()),
                100 => device.shadow_strategy(native::strategy("range")).unwrap(),
                130 => {
                    let report = device.shadow_report().unwrap().unwrap();
                    assert!(report.fault.is_none(), "{report:?}");
                    device.end_shadow().unwrap();
                }
                140 => device.restart_strategies().unwrap(),
                145 => device.restart_mechanism().unwrap(),
                _ => {}
            }
            life.step();
        }
        let tally = life.end();
        assert!(Growth::get(&growth.has) > 8 * CHUNK, "{first}");
        let swaps = device.strategy_swaps().unwrap();
        assert!(swaps.iter().all(|swap| !swap.rolled_back), "{swaps:?}");
        sound(&runtime, &growth, tally);
    }
}

#[test]
fn swaps_while_memory_grows_keep_up_with_it() {
    let (runtime, growth) = runtime(MOST, parts(native::strategy("tlsf")), |b| b);
    let device = runtime.device(0).unwrap();
    let ended = std::sync::atomic::AtomicBool::new(false);
    let (tally, swaps) = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0;
            while !ended.load(Ordering::Relaxed) {
                let name = ["buddy", "range", "tlsf"][swaps % 3];
                device.swap_strategy(native::strategy(name)).unwrap();
                swaps += 1;
                if swaps % 5 == 0 {
                    device.roll_back_strategy().unwrap();
                }
            }
            swaps
        });
        let mut life = Life::new(&runtime, 7, 3, MOST / 64);
        (0..1500).for_each(|_| life.step());
        ended.store(true, Ordering::Relaxed);
        (life.end(), swapper.join().unwrap())
    });
    assert!(swaps >= 10, "only {swaps} swaps");
    assert!(Growth::get(&growth.has) > CHUNK);
    sound(&runtime, &growth, tally);
}

#[test]
fn a_strategy_that_does_not_take_more_memory_is_replaced() {
    let bytes = patch_trap(strategy_trap("tlsf").unwrap(), site::STRATEGY_RESIZE, 2).unwrap();
    let trap = parts(Arc::new(WasmStrategy::new("trap", bytes)));
    let (runtime, growth) = runtime(MOST, trap, |b| b);
    let device = runtime.device(0).unwrap();
    let mut life = Life::new(&runtime, 3, 2, CHUNK / 2);
    (0..300).for_each(|_| life.step());
    let tally = life.end();
    device.drain().unwrap();
    let faults = device.strategy_faults().unwrap();
    assert!(!faults.is_empty() && faults.iter().all(|f| f.name == "trap"));
    assert_eq!((tally.corrupt, tally.failed), (0, 0));
    assert!(Growth::get(&growth.has) > 4 * CHUNK);
    assert_eq!(Growth::get(&growth.outside), 0);
}

#[test]
fn what_is_not_there_yet_cannot_be_given() {
    let outside = |answers: &mut Vec<Answer>| {
        if let Some(Answer::Extents(_, extents)) = answers.first_mut() {
            let bytes = extents[0].bytes;
            *extents = [Extent {
                offset: MOST / 2,
                bytes,
            }]
            .into_iter()
            .collect();
        }
    };
    let twisted = Twisted::new(native::strategy("tlsf"), 3, outside);
    let (runtime, growth) = runtime(MOST, parts(Arc::new(twisted)), |b| b);
    let client = runtime.client();
    let made: Vec<_> = (0..5u64)
        .map(|_| client.create(BufferDesc::new(4096)).unwrap())
        .collect();
    drop(made);
    let faults = runtime.device(0).unwrap().strategy_faults().unwrap();
    let told = faults[0].fault.to_string();
    assert!(told.contains("leave the arena"), "{told}");
    assert_eq!(Growth::get(&growth.has), CHUNK);
}

/// A writer whose bytes the test keeps.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn again(log: &[u8], grown: bool) -> Result<LogReport, Error> {
    let mut reader = LogReader::new(log)?;
    let header = reader.header().clone();
    let builder = Runtime::builder()
        .sim(header.vram_bytes)
        .system_memory(header.system_bytes)
        .parts(component(&header.strategy))
        .pacing(Pacing::Given);
    let builder = match grown {
        true => builder.grown_as(&header),
        false => builder,
    };
    replay_log(&mut reader, &builder.build()?, |_| {})
}

/// The device refuses at times that the log does not know of; its answers are in it.
#[test]
fn a_log_says_how_memory_grew() {
    for name in ["tlsf", "buddy"] {
        let kept = Kept::default();
        let (runtime, growth) = runtime(CHUNK, component(name), |b| b.log(kept.clone()));
        let device = runtime.device(0).unwrap();
        let mut life = Life::new(&runtime, 11, 2, CHUNK / 2);
        for step in 0..400u64 {
            let limit = if step < 200 { 3 } else { 11 };
            growth.limit.store(CHUNK * limit, Ordering::SeqCst);
            life.step();
        }
        let tally = life.end();
        sound(&runtime, &growth, tally);
        assert!(Growth::get(&growth.refused) > 0);
        assert_eq!(Growth::get(&growth.has), 11 * CHUNK);
        let report = device.report().unwrap();
        assert!(report.counts.evictions > 0);
        device.end_log().unwrap();
        let log = kept.0.lock().unwrap().clone();
        let same = again(&log, true).unwrap();
        assert_eq!((same.different, same.corrupt_bytes), (0, 0), "{same:?}");
        assert_eq!(same.device.vram_bytes, 11 * CHUNK);
        assert_eq!(same.device.plans_digest, report.plans_digest);
        // It is what makes the plans what they are.
        assert!(again(&log, false).unwrap().different > 0);
    }
}

#[test]
fn a_device_with_all_its_memory_says_nothing_of_growing_in_its_log() {
    let kept = Kept::default();
    let (runtime, _) = fixture::runtime(1 << 20, SYSTEM, None, Pacing::Window(2), |b| {
        b.log(kept.clone())
    });
    runtime.device(0).unwrap().end_log().unwrap();
    let log = kept.0.lock().unwrap().clone();
    let text = String::from_utf8_lossy(&log).into_owned();
    assert!(!text.contains("initial_bytes") && !text.contains("chunk_bytes"));
    let header = LogReader::new(&log[..]).unwrap().header().clone();
    assert_eq!((header.initial_bytes, header.chunk_bytes), (None, None));
}
