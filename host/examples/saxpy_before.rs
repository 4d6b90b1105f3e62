//! A program that computes on a GPU with wgpu: all its vectors are in GPU memory.
//!
//! `saxpy_after.rs` is the same program with gpumm, in half of the memory; compare the two.

#[path = "saxpy/gpu.rs"]
mod gpu;

use gpu::{BYTES, Gpu, PASSES, Result, VECTORS, first, sum};

#[allow(dead_code, reason = "a test runs it without")]
fn main() -> Result<()> {
    run().map(drop)
}

/// Computes; the content of all vectors.
pub(crate) fn run() -> Result<Vec<u8>> {
    let gpu = Gpu::new("read")?;
    let usage =
        wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let mut vectors = Vec::new();
    for n in 0..VECTORS {
        let vector = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: BYTES,
            usage,
            mapped_at_creation: false,
        });
        gpu.queue.write_buffer(&vector, 0, &first(n));
        vectors.push(vector);
    }
    for pass in 0..PASSES {
        for n in 0..VECTORS {
            let (x, y) = (&vectors[(n + pass + 1) % VECTORS], &vectors[n]);
            gpu.saxpy(x.as_entire_binding(), y.as_entire_binding());
        }
    }
    let mut all = Vec::new();
    for vector in &vectors {
        all.extend(gpu.read(vector)?);
    }
    let mib = (BYTES * VECTORS as u64) >> 20;
    println!(
        "{VECTORS} vectors, {mib} MiB, {PASSES} passes; their sum is {:e}",
        sum(&all)
    );
    println!("GPU memory: {mib} MiB");
    Ok(all)
}
