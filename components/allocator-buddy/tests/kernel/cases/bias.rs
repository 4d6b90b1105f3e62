//! Ranges wider than the wish, and which class they prefer.

use super::pool::{K, M, Pool, ask};
use crate::each;

/// A random page size, and an arena of nearly 8 MiB of such pages.
fn pages(rng: &mut fastrand::Rng) -> (u64, u64) {
    let ps = (4 * K) << rng.u32(..=8);
    (ps, (8 * M - 1) & !(ps - 1))
}

#[test]
fn a_20_range_bias_uniform() {
    each(|s| {
        for seed in 0..40 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (ps, size) = pages(&mut rng);
            let mut p = Pool::new(s, size, ps);
            let mut windows: Vec<_> = (0..size / M).map(|window| window * M).collect();
            rng.shuffle(&mut windows);
            for start in windows {
                let end = start + M;
                p.fails(ask(M + ps).min(M).within(start, end));
                p.fails(ask(M + ps).min(ps).within(start, end));
                if ps < M {
                    p.fails(ask(M).min(ps).within(start + ps, end));
                }
                if 2 * ps < M {
                    p.fails(ask(512 * K).min(512 * K).within(start + ps, end - ps));
                }
                for (bytes, least) in [(M, M), (ps, M)] {
                    let got = p.get(ask(bytes).min(least).within(start, end));
                    p.free(got.number);
                }
                let mut left = M;
                while left > 0 {
                    p.fails(ask(left + ps).min(ps).within(start, end));
                    let bytes = rng.u64(1..=left / ps) * ps;
                    p.get(ask(bytes).min(ps).within(start, end));
                    left -= bytes;
                }
            }
            p.fini();
        }
    });
}

#[test]
fn a_21_range_bias_growing() {
    each(|s| {
        for seed in 0..40 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (ps, size) = pages(&mut rng);
            let mut p = Pool::new(s, size, ps);
            let mut start = rng.u64(..size / ps) * ps;
            let mut end = start + rng.u64(1..=(size - start) / ps) * ps;
            let mut left = end - start;
            loop {
                if left > 0 {
                    let bytes = rng.u64(1..=left / ps) * ps;
                    p.get(ask(bytes).min(ps).within(start, end));
                    left -= bytes;
                }
                let low = rng.u64(..=start / ps) * ps;
                let high = rng.u64(..=(size - end) / ps) * ps;
                left += low + high;
                (start, end) = (start - low, end + high);
                if left == 0 && (start, end) == (0, size) {
                    break;
                }
            }
            p.fails(ask(ps).min(ps).within(start, end));
            p.fini();
            // Nothing is clear: the wish is served from what is dirty.
            let mut p = Pool::new(s, size, ps);
            let bytes = rng.u64(1..=size / ps) * ps;
            let got = p.get(ask(bytes).min(ps).within(0, size).clear());
            p.assert_clear(got.number, false);
            p.fini();
        }
    });
}

/// First fit by address, though an exact block is free higher up; top down has no effect.
#[test]
fn a_range_is_served_from_its_lowest_place() {
    each(|s| {
        let mut p = Pool::new(s, 64 * K, 4 * K);
        p.exact(32 * K, 36 * K);
        for (high, expected) in [(false, 4), (true, 8)] {
            let wish = ask(4 * K).within(4 * K, 64 * K);
            let got = p.get(if high { wish.top() } else { wish });
            assert_eq!(got.kib(), [(expected, 4)]);
        }
        p.fini();
    });
}

/// A clear block is preferred in a range only while its whole root is one: 4K dirty at 8K beats
/// 4K clear at 20K.
#[test]
fn a_range_prefers_clear_memory_only_as_a_whole_root() {
    each(|s| {
        let mut p = Pool::new(s, 96 * K, 4 * K);
        let cleared = p.exact(20 * K, 24 * K);
        p.free_as(cleared.number, true);
        let got = p.get(ask(4 * K).within(8 * K, 24 * K).clear());
        assert_eq!(got.kib(), [(8, 4)]);
        p.assert_clear(got.number, false);
        // The upper root, all of it clear.
        let root = p.exact(64 * K, 96 * K);
        p.free_as(root.number, true);
        let got = p.get(ask(4 * K).within(8 * K, 96 * K).clear());
        assert_eq!(got.kib(), [(64, 4)]);
        p.assert_clear(got.number, true);
        // And a wish for dirty memory passes over what is clear.
        let got = p.get(ask(4 * K).within(68 * K, 96 * K));
        assert_eq!(got.kib(), [(68, 4)]);
        let got = p.get(ask(8 * K).within(16 * K, 64 * K));
        assert_eq!(got.kib(), [(24, 8)]);
        p.fini();
    });
}
