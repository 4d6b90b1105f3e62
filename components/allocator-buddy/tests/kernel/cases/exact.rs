//! Exact ranges.

use super::pool::{G, K, M, Pool, ask};
use crate::each;
use gpumm_contract::allocator::{Failure, Refusal};

#[test]
fn a_10_exact_whole() {
    each(|s| {
        let mut p = Pool::new(s, 16 * M, 4 * K);
        let whole = p.exact(0, 16 * M);
        assert_eq!(p.avail(), 0);
        p.fails(ask(4 * K).within(0, 4 * K));
        p.free(whole.number);
        assert_eq!(p.avail(), 16 * M);
        p.fini();
    });
}

#[test]
fn a_11_quarters() {
    each(|s| {
        let mut p = Pool::new(s, 16 * M, 4 * K);
        for part in [0, 3, 1, 2] {
            p.exact(part * 4 * M, (part + 1) * 4 * M);
        }
        assert_eq!(p.avail(), 0);
        p.fini();
    });
}

#[test]
fn a_12_edge_pages() {
    each(|s| {
        let mut p = Pool::new(s, 16 * M, 4 * K);
        for page in [0, 8 * M, 16 * M - 4 * K] {
            p.exact(page, page + 4 * K);
        }
        assert_eq!(p.subject.statistics().used_bytes, 12 * K);
        p.fini();
    });
}

#[test]
fn a_13_roots() {
    each(|s| {
        let mut p = Pool::new(s, 7 * M, 4 * K);
        assert_eq!(p.subject.statistics().holes, 3);
        let parts = [(0, 4), (4, 6), (6, 7)].map(|(start, end)| p.exact(start * M, end * M));
        assert_eq!(p.avail(), 0);
        parts.into_iter().for_each(|got| p.free(got.number));
        p.exact(0, 7 * M);
        assert_eq!(p.avail(), 0);
        p.fini();
    });
}

#[test]
fn a_14_random_slices() {
    each(|s| {
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut p = Pool::new(s, 16 * M, 4 * K);
            let cut = |_| rng.u64(1..4096) * 4 * K;
            let mut cuts: Vec<_> = (0..15).map(cut).chain([0, 16 * M]).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let mut slices: Vec<_> = cuts.windows(2).map(|cut| (cut[0], cut[1])).collect();
            rng.shuffle(&mut slices);
            for (start, end) in slices {
                p.exact(start, end);
            }
            assert_eq!(p.avail(), 0);
            p.fini();
        }
    });
}

#[test]
fn a_15_conflicts() {
    each(|s| {
        let mut p = Pool::new(s, 16 * M, 4 * K);
        p.exact(0, 8 * M);
        p.fails(ask(16 * M).within(0, 16 * M));
        p.fails(ask(8 * M).within(0, 8 * M));
        p.exact(8 * M, 16 * M);
        p.fini();
    });
}

#[test]
fn a_16_checkerboard() {
    each(|s| {
        let mut p = Pool::new(s, 64 * K, 4 * K);
        for page in (0..16).step_by(2) {
            p.exact(page * 4 * K, (page + 1) * 4 * K);
        }
        p.fails(ask(8 * K).within(0, 8 * K));
        p.exact(4 * K, 8 * K);
        p.fini();
    });
}

#[test]
fn a_17_misaligned() {
    each(|s| {
        let mut p = Pool::new(s, 16 * M, 4 * K);
        // Its whole pages have no room.
        p.fails(ask(4 * K).within(2 * K, 6 * K));
        p.refused(ask(4 * K + 1).within(0, 4 * K + 1), Refusal::Size);
        let beyond = ask(4 * K).within(16 * M, 16 * M + 4 * K);
        assert_eq!(
            p.try_get(beyond).unwrap_err(),
            Failure::Refused(Refusal::Range)
        );
        p.fini();
    });
}

#[test]
fn a_18_again() {
    each(|s| {
        let mut p = Pool::new(s, 16 * M, 4 * K);
        for _ in 0..5 {
            let got = p.exact(4 * M, 6 * M);
            assert_eq!(p.avail(), 14 * M);
            p.free(got.number);
            assert_eq!(p.avail(), 16 * M);
        }
        p.fini();
    });
}

#[test]
fn a_19_mixed_orders() {
    each(|s| {
        let mut p = Pool::new(s, 16 * M, 4 * K);
        for (start, bytes) in [(0, 4 * K), (64 * K, 64 * K), (M, M), (4 * M, 4 * M)] {
            p.exact(start, start + bytes);
        }
        let used = p.subject.statistics().used_bytes;
        assert_eq!(used, 4 * K + 64 * K + 5 * M);
        p.fini();
    });
}

#[test]
fn a_35_reserve() {
    each(|s| {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut p = Pool::new(s, 2 * G, 4 * K);
        for chunk in 0..64 {
            if rng.bool() {
                p.exact(chunk * 32 * M, (chunk + 1) * 32 * M);
            }
        }
        let before = p.avail();
        let mut total = 0;
        // The pool finds overlaps with what is reserved.
        while p.try_get(ask(8 * M)).is_ok() {
            total += 8 * M;
        }
        assert_eq!(total, before);
        p.fini();
    });
}

/// Whatever is asked for besides, an exact range is taken as it is.
#[test]
fn an_exact_range_ignores_every_hint() {
    each(|s| {
        let mut p = Pool::new(s, 64 * K, 4 * K);
        let cleared = p.exact(8 * K, 12 * K);
        p.free_as(cleared.number, true);
        let wish = ask(12 * K).within(8 * K, 20 * K).min(8 * K);
        let got = p.get(wish.clear().top().contiguous().keep());
        assert_eq!(got.kib(), [(8, 12)]);
        // Blocks of both classes, each as large as it was.
        let owner = Some(got.number);
        let rows = [(8, 4, owner), (12, 4, owner), (16, 4, owner)];
        assert!(rows.iter().all(|row| p.map().contains(row)));
        p.assert_clear_bytes(0);
        p.fini();
    });
}
