//! The device on a GPU: memory that grows, and memory as a program sees it that uses the same GPU.

#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used)]

mod gpu;

use std::sync::Arc;

use gpu::{Bench, has_gpu};
use gpumm_hw::wgpu::{AdapterChoice, WgpuConfig, WgpuDevice};
use gpumm_hw::{Command, Device, DeviceError, MemorySpace, Segment, SystemMemory, Timelines};

const CHUNK: u64 = 64 << 10;

fn bench(vram_bytes: u64) -> Bench {
    let mut config = WgpuConfig::new("gpu", vram_bytes);
    config.chunk_bytes = Some(CHUNK);
    Bench::new(config, 1 << 20)
}

#[test]
fn memory_grows_in_steps_that_double() {
    if !has_gpu() {
        return;
    }
    let bench = bench(11 * CHUNK + 4096);
    let grow = |bytes| bench.device.grow(MemorySpace::Vram, bytes).unwrap();
    let initial = bench
        .device
        .properties()
        .memory(MemorySpace::Vram)
        .unwrap()
        .initial;
    assert_eq!(initial, CHUNK);
    let mut has = Vec::new();
    for bytes in [0, 1, 4096, 1, 4096, 1, 0] {
        has.push(grow(bytes));
        // What it has is made, not promised; the last chunk is as long as what is left.
        assert_eq!(bench.device.chunk_memory(), *has.last().unwrap());
    }
    let chunks = [CHUNK, 2 * CHUNK, 4 * CHUNK, 8 * CHUNK];
    let all = 11 * CHUNK + 4096;
    assert_eq!(has, [&chunks[..], &[all; 3]].concat());
    // A wish larger than what there is counts.
    let bench = self::bench(64 * CHUNK);
    let grown = bench
        .device
        .grow(MemorySpace::Vram, 20 * CHUNK + 1)
        .unwrap();
    assert_eq!(grown, 22 * CHUNK);
    // What was made once is made again.
    bench.device.reset().unwrap();
    assert_eq!(bench.device.chunk_memory(), 22 * CHUNK);
    assert_eq!(bench.device.grow(MemorySpace::Vram, 0), Ok(22 * CHUNK));
}

#[test]
fn a_lost_device_grows_no_more_and_has_all_again_after_a_reset() {
    if !has_gpu() {
        return;
    }
    let bench = bench(64 * CHUNK);
    bench.device.grow(MemorySpace::Vram, CHUNK).unwrap();
    bench.device.wgpu().0.destroy();
    let refused = bench.device.grow(MemorySpace::Vram, CHUNK);
    assert_eq!(refused, Err(DeviceError::Lost));
    bench.device.reset().unwrap();
    assert_eq!(bench.device.chunk_memory(), 2 * CHUNK);
    let grown = bench.device.grow(MemorySpace::Vram, 1).unwrap();
    assert_eq!(grown, 4 * CHUNK);
}

#[test]
fn slices_are_cut_where_chunks_end_and_nowhere_else() {
    if !has_gpu() {
        return;
    }
    let bench = bench(4 * CHUNK);
    let slices = |segments: &[Segment]| {
        let slices = bench.device.slices(segments).unwrap();
        let buffers: Vec<_> = slices.iter().map(|s| s.buffer.clone()).collect();
        let places = slices.iter().map(|s| (s.offset, s.size));
        (buffers, places.collect::<Vec<_>>())
    };
    let (one, places) = slices(&[Segment::vram(4096, 8192), Segment::vram(12_288, 100)]);
    assert_eq!(places, [(4096, 8292)], "what goes on is one slice");
    let (two, places) = slices(&[Segment::vram(CHUNK - 4096, 8192)]);
    assert_eq!(places, [(CHUNK - 4096, 4096), (0, 4096)]);
    assert_eq!(one[0], two[0]);
    assert_ne!(two[0], two[1]);
    let (_, places) = slices(&[Segment::vram(4096, 4096), Segment::vram(0, 4096)]);
    assert_eq!(
        places,
        [(4096, 4096), (0, 4096)],
        "the order is that of the list"
    );
    let (three, places) = slices(&[Segment::vram(100, 3 * CHUNK)]);
    assert_eq!(
        places,
        [(100, CHUNK - 100), (0, CHUNK), (0, CHUNK), (0, 100)]
    );
    assert_eq!(three[3].size(), CHUNK);
    assert_eq!(slices(&[]).1, []);
    let outside = Segment::vram(4 * CHUNK - 1, 2);
    let refused = bench.device.slices(&[outside]);
    assert!(
        matches!(refused, Err(DeviceError::OutOfBounds { offset, .. }) if offset == outside.offset)
    );
    let elsewhere = Segment::system(0, 8);
    let refused = bench.device.slices(&[elsewhere]);
    assert_eq!(refused, Err(DeviceError::NotInVram(elsewhere)));
}

#[test]
fn what_a_program_does_with_a_slice_is_in_order_with_commands() {
    if !has_gpu() {
        return;
    }
    let bench = bench(4 * CHUNK);
    let (device, queue) = bench.device.wgpu();
    let (here, there) = (Segment::vram(8192, 256), Segment::vram(2 * CHUNK, 256));
    for turn in 1..20u8 {
        bench.write(0, &[here], 0, &[turn; 256]);
        let from = &bench.device.slices(&[here]).unwrap()[0];
        let to = &bench.device.slices(&[there]).unwrap()[0];
        let mut encoder = device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&from.buffer, from.offset, &to.buffer, to.offset, from.size);
        // Not waited for: what the device does next goes through the same queue.
        queue.submit([encoder.finish()]);
        let overwritten = Command::Fill {
            dst: [here].into(),
            offset: 0,
            bytes: 256,
            pattern: 0,
        };
        bench.done(0, overwritten);
        assert_eq!(bench.read(1, &[there], 0, 256), [turn; 256]);
    }
}

/// Says to a process that it is the one with little address space.
#[cfg(target_os = "linux")]
const LIMITED: &str = "GPUMM_TEST_LIMITED";

/// What the GPU has no memory for ends in an error with a name, and the device goes on. The GPU is
/// one that computes on the CPU, in a process that may not have much: others have their own memory,
/// which a test should not fill.
#[cfg(target_os = "linux")]
#[test]
fn a_gpu_without_memory_refuses_to_grow() {
    if !has_gpu() {
        return;
    }
    if std::env::var_os(LIMITED).is_none() {
        // The address space of vram is reserved twice, for the device and for its engine.
        let limited = "ulimit -v $((2 * 8 * 1024 * 1024 + 3 * 1024 * 1024)) && exec \"$0\" \"$@\"";
        let test = [
            "--exact",
            "a_gpu_without_memory_refuses_to_grow",
            "--nocapture",
        ];
        let exe = std::env::current_exe().unwrap();
        let mut child = std::process::Command::new("sh");
        child
            .arg("-c")
            .arg(limited)
            .arg(exe)
            .args(test)
            .env(LIMITED, "1");
        let out = child.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        eprintln!("{said}");
        return;
    }
    let adapters = gpumm_hw::wgpu::list();
    let cpu = adapters
        .iter()
        .position(|a| format!("{:?}", a.kind) == "Cpu");
    let Some(cpu) = cpu else {
        eprintln!("skipped: no GPU that computes on the CPU");
        return;
    };
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(4096).unwrap());
    let mut config = WgpuConfig::new("huge", 8 << 30);
    config.engines.truncate(1);
    let device = WgpuDevice::new(&AdapterChoice::Index(cpu), config, timelines, system).unwrap();
    let grow = |bytes| device.grow(MemorySpace::Vram, bytes);
    let initial = grow(0).unwrap();
    assert_eq!(
        grow(u64::MAX),
        Err(DeviceError::GpuMemory),
        "{:?}",
        device.last_message()
    );
    assert_eq!(grow(0), Ok(initial));
    assert_eq!(device.chunk_memory(), initial, "nothing has grown");
    assert!(!device.is_lost());
    // Steps that double come to an end, one by what there is.
    let mut has = initial;
    while let Ok(more) = grow(1) {
        assert!(more > has);
        has = more;
    }
    assert_eq!(grow(1), Err(DeviceError::GpuMemory));
    assert!(has > 4 * initial, "{has}");
    assert_eq!(device.chunk_memory(), has);
    eprintln!("{has} bytes, then: {:?}", device.last_message());
}
