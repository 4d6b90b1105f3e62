//! A program that computes on a GPU with wgpu: gpumm gives its vectors half of the memory that they
//! need, and they take turns.
//!
//! `saxpy_before.rs` is the same program without gpumm; compare the two.

#[path = "saxpy/gpu.rs"]
mod gpu;

use gpu::{BYTES, Gpu, PASSES, Result, VECTORS, first, sum};
use gpumm::{BufferDesc, Runtime};

#[allow(dead_code, reason = "a test runs it without")]
fn main() -> Result<()> {
    run().map(drop)
}

/// Computes; the content of all vectors.
pub(crate) fn run() -> Result<Vec<u8>> {
    // Vectors share wgpu buffers, and one dispatch must use a buffer in one way.
    let gpu = Gpu::new("read_write")?;
    let runtime = Runtime::builder()
        .wgpu_existing(&gpu.device, &gpu.queue, BYTES * VECTORS as u64 / 2)
        .build()?;
    let client = runtime.client();
    let mut vectors = Vec::new();
    for n in 0..VECTORS {
        let vector = client.create(BufferDesc::new(BYTES))?;
        vector.write(0, &first(n))?;
        vectors.push(vector);
    }
    for pass in 0..PASSES {
        for n in 0..VECTORS {
            let (x, y) = (&vectors[(n + pass + 1) % VECTORS], &vectors[n]);
            // Once the work is submitted, they may move again: behind it.
            let held = client.gpu_access(&[x], &[y])?;
            gpu.saxpy(held.slice(x)?.binding(), held.slice(y)?.binding());
        }
    }
    let mut all = Vec::new();
    for vector in &vectors {
        all.extend(vector.read(0, BYTES)?);
    }
    let mib = (BYTES * VECTORS as u64) >> 20;
    println!(
        "{VECTORS} vectors, {mib} MiB, {PASSES} passes; their sum is {:e}",
        sum(&all)
    );
    let report = runtime.device(0)?.report()?;
    let (away, back) = (report.counts.evictions, report.counts.swap_ins);
    println!(
        "GPU memory: {} MiB; vectors left it {away} times and came back {back} times",
        report.vram_bytes >> 20
    );
    Ok(all)
}
