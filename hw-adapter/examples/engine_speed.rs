//! Measures the simulated device: `cargo run --release --example engine_speed`.

use std::sync::Arc;
use std::time::Instant;

use gpumm_hw::sim::{Sim, SimConfig};
use gpumm_hw::{
    Check, Command, Device, DeviceError, EngineId, Kernel, PatternKey, Point, Segment, Submission,
    SystemMemory, Timelines,
};

const VRAM: u64 = 256 << 20;

fn measure(
    name: &str,
    sim: &Sim,
    timelines: &Timelines,
    count: u64,
    command: &Command,
) -> Result<(), DeviceError> {
    let engine = EngineId(0);
    let timeline = sim.properties().engines[0].timeline;
    let before = sim.statistics().total();
    let base = timelines.completed(timeline);
    // Held while submitting: otherwise the two threads fight for the list's cache line.
    let control = sim.control();
    control.hold_all();
    let start = Instant::now();
    for value in base + 1..=base + count {
        sim.submit(engine, Submission::new(command.clone()).signal(value))?;
    }
    let submitted = start.elapsed();
    let start = Instant::now();
    control.release_all();
    let value = base + count;
    let waited = timelines.wait(Point { timeline, value }, None);
    assert_eq!(waited, Ok(()));
    let total = start.elapsed();
    let after = sim.statistics().total();
    let bytes = after.bytes_copied + after.bytes_run + after.bytes_filled
        - (before.bytes_copied + before.bytes_run + before.bytes_filled);
    println!(
        "{name:>24}: submit {:6.0} ns, work {:8.0} ns, busy {:8.0} ns, {:5.1} GB/s",
        submitted.as_nanos() as f64 / count as f64,
        total.as_nanos() as f64 / count as f64,
        (after.busy - before.busy).as_nanos() as f64 / count as f64,
        bytes as f64 / (after.busy - before.busy).as_secs_f64() / 1e9,
    );
    Ok(())
}

fn copy(src: &[Segment], dst: &[Segment], bytes: u64) -> Command {
    Command::Copy {
        src: src.into(),
        dst: dst.into(),
        src_offset: 0,
        dst_offset: 0,
        bytes,
    }
}

fn main() -> Result<(), DeviceError> {
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(VRAM)?);
    system.commit(0, VRAM)?;
    let config = SimConfig::new("sim", VRAM);
    let sim = Sim::new(config, Arc::clone(&timelines), system)?;
    let key = PatternKey {
        buffer: 1,
        generation: 1,
    };
    let (v, s) = ([Segment::vram(0, VRAM)], [Segment::system(0, VRAM)]);
    sim.map_dma(&s)?;
    let write = Command::Run(Kernel::WritePattern {
        dst: v.into(),
        bytes: VRAM,
        key,
    });
    measure("write 256 MiB, first", &sim, &timelines, 1, &write)?;
    let rewrite = Command::Run(Kernel::Rewrite {
        mem: v.into(),
        bytes: VRAM,
        old: key,
        new: key,
        check: Check::Full,
    });
    measure("rewrite 256 MiB", &sim, &timelines, 4, &rewrite)?;
    measure("nop", &sim, &timelines, 200_000, &Command::Nop)?;
    let c = |bytes| copy(&v, &s, bytes);
    measure("copy 64 B", &sim, &timelines, 200_000, &c(64))?;
    measure("copy 4 KiB", &sim, &timelines, 200_000, &c(4096))?;
    measure("copy 1 MiB", &sim, &timelines, 500, &c(1 << 20))?;
    measure("copy 256 MiB", &sim, &timelines, 4, &c(VRAM))?;
    let pages: Vec<_> = (0..32768)
        .rev()
        .map(|n| Segment::vram(n * 8192, 4096))
        .collect();
    let scattered = copy(&pages, &s, VRAM / 2);
    measure("copy 32768 pages", &sim, &timelines, 4, &scattered)?;
    assert!(sim.take_faults().is_empty());
    Ok(())
}
