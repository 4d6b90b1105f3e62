//! A rough time per operation, printed: `cargo test --release -- --ignored --nocapture speed`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use gpumm_allocator_buddy::Buddy;
use gpumm_contract::AllocationId;
use gpumm_contract::allocator::{Allocate, Allocator, Geometry};
use std::time::Instant;

/// Keeps `live` allocations alive, replacing a random one in every round.
fn run(name: &str, live: u32, wish: impl Fn(&mut fastrand::Rng) -> (u64, u64)) {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut strategy = Buddy::new();
    strategy
        .init(Geometry {
            size: 24 << 30,
            granule: 4096,
        })
        .unwrap();
    let mut extents = Vec::new();
    let rounds = 2_000_000;
    let plan: Vec<_> = (0..rounds)
        .map(|_| (AllocationId(rng.u32(..live)), wish(&mut rng)))
        .collect();
    let (mut begin, mut operations, mut refused) = (Instant::now(), 0u32, 0u32);
    for (round, &(number, (bytes, alignment))) in plan.iter().enumerate() {
        if round == rounds / 2 {
            // The first half fills the arena.
            (begin, operations) = (Instant::now(), 0);
        }
        operations += 1 + u32::from(strategy.free(number).is_ok());
        extents.clear();
        let wish = Allocate {
            alignment,
            ..Allocate::plain(number, bytes)
        };
        refused += u32::from(strategy.allocate(&wish, &mut extents).is_err());
    }
    let nanos = begin.elapsed().as_nanos() as f64 / f64::from(operations);
    let statistics = strategy.statistics();
    println!("{name}, {live} live: {nanos:.1} ns/op, {refused} refused, {statistics:?}");
    strategy.validate().unwrap();
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    for live in [1_000, 10_000, 100_000] {
        run("4K..64K", live, |rng| (rng.u64(1..=16) << 12, 0));
        run("log-uniform 4K..1M", live, |rng| {
            ((rng.u64(1..=256) >> rng.u32(..8)).max(1) << 12, 0)
        });
        run("textures", live, |rng| {
            (rng.u64(1..=64) << 12, 1 << rng.u32(12..=16))
        });
    }
}
