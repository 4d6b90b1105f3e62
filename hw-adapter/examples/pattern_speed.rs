//! Measures content words on one core: `cargo run --release --example pattern_speed`.

use std::hint::black_box;
use std::time::Instant;

use gpumm_hw::{PatternKey, pattern};

fn best(name: &str, bytes: usize, mut work: impl FnMut()) {
    let mut least = f64::INFINITY;
    for _ in 0..7 {
        let rounds = (256 << 20) / bytes;
        let start = Instant::now();
        for _ in 0..rounds {
            work();
        }
        least = least.min(start.elapsed().as_secs_f64() / rounds as f64);
    }
    println!(
        "{name:>8} {bytes:>10} B {:7.1} GB/s",
        bytes as f64 / least / 1e9
    );
}

fn main() {
    let key = PatternKey {
        buffer: 1,
        generation: 2,
    };
    for bytes in [4 << 10, 64 << 10, 1 << 20, 64 << 20] {
        let mut memory = vec![0_u8; bytes];
        let mut other = vec![1_u8; bytes];
        best("write", bytes, || {
            pattern::write(black_box(&mut memory), 0, key)
        });
        best("check", bytes, || {
            assert!(pattern::check(black_box(&memory), 0, key).is_clean());
        });
        best("rewrite", bytes, || {
            for (index, block) in memory.chunks_mut(4096).enumerate() {
                let offset = index as u64 * 4096;
                black_box(pattern::check(block, offset, key));
                pattern::write(black_box(block), offset, key);
            }
        });
        best("memcpy", bytes, || {
            black_box(&mut other).copy_from_slice(black_box(&memory));
        });
        best("memset", bytes, || black_box(&mut other).fill(0));
    }
}
