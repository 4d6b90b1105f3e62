//! Programs that use the same GPU as a Runtime, on Mesa's lavapipe where there is no other GPU.
#![allow(clippy::unwrap_used)]
// Each example has the file that both share.
#![allow(clippy::duplicate_mod)]

#[path = "../examples/saxpy_after.rs"]
mod after;
#[path = "../examples/saxpy_before.rs"]
mod before;

use gpumm::hw::conformance::has_gpu;
use gpumm::hw::wgpu::{AdapterChoice, WgpuConfig, WgpuDevice};
use gpumm::{BufferDesc, Client, Error, OnMove, Runtime, VRAM};

const CHUNK: u64 = 256 << 10;

/// A Runtime on a device of small chunks.
fn runtime(chunks: u64, strategy: &str) -> (Runtime, Client) {
    let mut config = WgpuConfig::new("wgpu", chunks * CHUNK);
    config.chunk_bytes = Some(CHUNK);
    let runtime = Runtime::builder()
        .device(move |timelines, memory| {
            WgpuDevice::new(&AdapterChoice::Best, config, timelines, memory)
        })
        .strategy(strategy)
        .system_memory(64 << 20)
        .build()
        .unwrap();
    let client = runtime.client();
    (runtime, client)
}

#[test]
fn the_same_program_in_half_of_the_memory_computes_the_same() {
    if has_gpu() {
        let (before, after) = (before::run().unwrap(), after::run().unwrap());
        assert_eq!(before.len(), 24 << 20);
        assert!(before == after, "the contents differ");
    }
}

/// A program copies on the GPU between buffers that do not fit at once, and leaves the rest to the
/// Runtime.
#[test]
fn held_buffers_come_in_together_and_lie_in_one_piece() {
    if !has_gpu() {
        return;
    }
    let (runtime, client) = runtime(8, "tlsf");
    let device = runtime.device(0).unwrap();
    let (gpu, queue) = device.wgpu().unwrap();
    let bytes = 100_000;
    let buffers: Vec<_> = (0..40u64)
        .map(|n| {
            let buffer = client.create(BufferDesc::new(bytes)).unwrap();
            buffer.fill(n).unwrap();
            buffer
        })
        .collect();
    let report = device.report().unwrap();
    assert_eq!(report.vram_bytes, 8 * CHUNK, "it has grown to its size");
    assert!(report.counts.evictions >= 20);
    let mut words: Vec<u64> = (0..40).collect();
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..200 {
        let (from, to) = (rng.usize(0..40), rng.usize(0..40));
        if from == to {
            continue;
        }
        let (x, y) = (&buffers[from], &buffers[to]);
        let held = client.gpu_access(&[x], &[y]).unwrap();
        let (src, dst) = (held.slice(x).unwrap(), held.slice(y).unwrap());
        for slice in [src, dst] {
            assert_eq!((slice.size, slice.offset % 4096), (bytes, 0));
            assert!(slice.offset + slice.size <= CHUNK);
        }
        // wgpu copies between different buffers only.
        let staging = gpu.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = gpu.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&src.buffer, src.offset, &staging, 0, bytes);
        encoder.copy_buffer_to_buffer(&staging, 0, &dst.buffer, dst.offset, bytes);
        queue.submit([encoder.finish()]);
        words[to] = words[from];
    }
    for (buffer, word) in buffers.iter().zip(words) {
        let content = buffer.read(0, bytes).unwrap();
        assert!(content.chunks_exact(8).all(|w| w == word.to_le_bytes()));
    }
    assert!(device.hardware().take_faults().is_empty());
    assert_eq!(device.strategy_fault_count(), 0);
}

#[test]
fn what_is_held_stays_and_what_needs_its_place_is_refused() {
    if !has_gpu() {
        return;
    }
    let (runtime, client) = runtime(2, "tlsf");
    let new = || client.create(BufferDesc::new(CHUNK)).unwrap();
    let (one, two, three) = (new(), new(), new());
    for (n, buffer) in [&one, &two, &three].into_iter().enumerate() {
        buffer.fill(n as u64).unwrap();
    }
    let held = client.gpu_access(&[&one], &[&two]).unwrap();
    let place = held.slice(&one).unwrap().clone();
    let refused = three.gpu_access(false).unwrap_err();
    assert!(refused.is_out_of_memory(), "{refused}");
    assert_eq!(one.state().unwrap().place, VRAM);
    let other = held.slice(&three);
    assert!(matches!(other, Err(Error::Argument(_))));
    // Readers do not wait for each other.
    assert_eq!(one.read(0, 8).unwrap(), [0; 8]);
    let again = one.gpu_access(false).unwrap();
    assert_eq!(again.slice(&one).unwrap(), &place);
    drop((held, again));
    drop(three.gpu_access(true).unwrap());
    assert_ne!(
        two.state().unwrap().place,
        VRAM,
        "it was used least recently"
    );
    let all = client.gpu_access(&[&one, &two, &three], &[]).unwrap_err();
    assert!(all.is_out_of_memory(), "{all}");
    let twice = client.gpu_access(&[&one], &[&one]).unwrap_err();
    assert!(matches!(twice, Error::Refused(_)), "{twice}");
    let foreign = runtime.client().gpu_access(&[&one], &[]).unwrap_err();
    assert!(matches!(foreign, Error::Argument(_)));
    let cpu = one.cpu_access(false, OnMove::Wait).unwrap();
    assert_eq!(cpu.read(0, 8).unwrap(), [0; 8]);
}

#[test]
fn a_buffer_in_pieces_is_told_where_it_is_cut() {
    if !has_gpu() {
        return;
    }
    let (_runtime, client) = runtime(8, "tlsf");
    let bytes = 2 * CHUNK + 100;
    let long = client.create(BufferDesc::new(bytes)).unwrap();
    let data: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
    long.write(0, &data).unwrap();
    let held = long.gpu_access(false).unwrap();
    let cut = held.slice(&long);
    assert!(matches!(cut, Err(Error::Cut { pieces: 3, first }) if first == CHUNK));
    let sizes = held.slices(&long).unwrap().iter().map(|s| s.size);
    assert_eq!(sizes.collect::<Vec<_>>(), [CHUNK, CHUNK, 100]);
    // A shorter one is in one piece.
    let short = client.create(BufferDesc::new(CHUNK)).unwrap();
    short.fill(1).unwrap();
    drop(held);
    let held = short.gpu_access(true).unwrap();
    assert_eq!(held.slice(&short).unwrap().size, CHUNK);
}

#[test]
fn a_device_without_a_gpu_has_no_slices() {
    let runtime = Runtime::builder().sim(1 << 20).build().unwrap();
    let buffer = runtime.client().create(BufferDesc::new(4096)).unwrap();
    assert!(matches!(buffer.gpu_access(false), Err(Error::Argument(_))));
    assert!(runtime.device(0).unwrap().wgpu().is_none());
}
