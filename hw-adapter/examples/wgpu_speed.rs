//! Lists the GPUs, and measures the best one:
//! `cargo run --release --features wgpu --example wgpu_speed`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gpumm_hw::wgpu::{AdapterChoice, WgpuConfig, WgpuDevice, list};
use gpumm_hw::{
    Command, Device, DeviceError, EngineId, Kernel, Outcome, OutcomeValue, PatternKey, Segment,
    Submission, SystemMemory, Timelines,
};

const BYTES: u64 = 64 << 20;

/// The best of five.
fn measure(
    name: &str,
    device: &WgpuDevice,
    command: &Command,
    bytes: u64,
) -> Result<(), DeviceError> {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let outcome = Arc::new(Outcome::new());
        let submission = Submission::new(command.clone()).outcome(&outcome);
        let start = Instant::now();
        device.submit(EngineId(0), submission)?;
        if let Some(OutcomeValue::Failed(error)) = outcome.wait(None) {
            return Err(*error);
        }
        best = best.min(start.elapsed());
    }
    let speed = bytes as f64 / best.as_secs_f64() / f64::from(1 << 30);
    println!("{name:>28}: {best:10.2?}, {speed:5.2} GiB/s");
    Ok(())
}

/// Every second page of a half of vram, in an order that is not theirs.
fn scattered(page: u64, base: u64) -> Arc<[Segment]> {
    let pages = BYTES / page;
    (0..pages)
        .map(|index| Segment::vram(base + index * 2_654_435_761 % pages * 2 * page, page))
        .collect()
}

fn main() -> Result<(), DeviceError> {
    for adapter in list() {
        println!("{} ({}, {:?})", adapter.name, adapter.backend, adapter.kind);
    }
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(BYTES)?);
    let config = WgpuConfig::new("gpu", 4 * BYTES);
    let device = WgpuDevice::new(&AdapterChoice::Best, config, timelines, system)?;
    device.map_dma(&[Segment::system(0, BYTES)])?;
    let vram = |offset| -> Arc<[Segment]> { [Segment::vram(offset, BYTES)].into() };
    let host: Arc<[Segment]> = [Segment::system(0, BYTES)].into();
    let copy = |src: &Arc<[Segment]>, dst: &Arc<[Segment]>, bytes| Command::Copy {
        src: Arc::clone(src),
        dst: Arc::clone(dst),
        src_offset: 0,
        dst_offset: 0,
        bytes,
    };
    let fill = |pattern| Command::Fill {
        dst: vram(0),
        offset: 0,
        bytes: BYTES,
        pattern,
    };
    let key = PatternKey {
        buffer: 1,
        generation: 1,
    };
    let (dst, bytes) = (vram(0), BYTES);
    let write = Command::Run(Kernel::WritePattern { dst, bytes, key });
    let (src, bytes) = (vram(0), BYTES);
    let check = Command::Run(Kernel::CheckPattern { src, bytes, key });
    measure("fill with zeroes", &device, &fill(0), BYTES)?;
    measure("fill with a pattern", &device, &fill(7), BYTES)?;
    measure(
        "system to vram",
        &device,
        &copy(&host, &vram(0), BYTES),
        BYTES,
    )?;
    measure(
        "vram to system",
        &device,
        &copy(&vram(0), &host, BYTES),
        BYTES,
    )?;
    let between = copy(&vram(0), &vram(2 * BYTES), BYTES);
    measure("between chunks", &device, &between, BYTES)?;
    for page in [4 << 10, 64 << 10] {
        let (src, dst) = (scattered(page, 0), scattered(page, 2 * BYTES));
        let name = format!("pages of {} KiB", page >> 10);
        measure(&name, &device, &copy(&src, &dst, BYTES), BYTES)?;
    }
    let (src, dst) = (
        [Segment::vram(0, BYTES / 4)],
        [Segment::vram(BYTES / 2, BYTES / 4)],
    );
    let within = copy(&src.into(), &dst.into(), BYTES / 4);
    measure("a quarter, within a chunk", &device, &within, BYTES / 4)?;
    let (src, dst) = ([Segment::vram(1, BYTES)], [Segment::vram(2 * BYTES, BYTES)]);
    let shifted = copy(&src.into(), &dst.into(), BYTES);
    measure("shifted by a byte", &device, &shifted, BYTES)?;
    measure("write a pattern", &device, &write, BYTES)?;
    measure("check a pattern", &device, &check, BYTES)
}
