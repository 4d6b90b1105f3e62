//! Clear memory.

use super::pool::{G, K, M, Pool, ask};
use crate::each;

/// Whether every extent lies in one of the others.
fn inside(extents: &[(u64, u64)], others: &[(u64, u64)]) -> bool {
    let within = |&(at, bytes): &(u64, u64)| {
        let holds = |other: &(u64, u64)| at >= other.0 && at + bytes <= other.0 + other.1;
        others.iter().any(holds)
    };
    extents.iter().all(within)
}

#[test]
fn a_6_clear_basic() {
    each(|s| {
        let mut p = Pool::new(s, (4 * K) << 12, 4 * K);
        let first = p.get(ask(20 * K).top());
        p.free_as(first.number, true);
        p.assert_clear_bytes(20 * K);
        let (mut clean, mut dirty) = (Vec::new(), Vec::new());
        for page in 0..10 {
            let wish = ask(4 * K);
            let (clear, list) = if page % 2 == 0 {
                (false, &mut dirty)
            } else {
                (true, &mut clean)
            };
            let got = p.get(if clear { wish.clear() } else { wish });
            p.assert_clear(got.number, clear);
            // Where it lies says the same.
            assert_eq!(inside(&got.extents, &first.extents), clear);
            list.push(got.number);
        }
        clean.into_iter().for_each(|number| p.free_as(number, true));
        p.assert_clear_bytes(20 * K);
        // More than is clear: 32K that are not, and 8K of the 16K that are one block.
        p.get(ask(40 * K).clear());
        p.assert_clear_bytes(12 * K);
        p.fini();
    });
}

#[test]
fn a_7_clear_and_merge() {
    each(|s| {
        let size = (4 * K) << 12;
        let mut p = Pool::new(s, size, 4 * K);
        let pages: Vec<_> = (0..4096).map(|_| p.get(ask(4 * K)).number).collect();
        for (page, number) in pages.into_iter().enumerate() {
            p.free_as(number, page % 2 == 0);
        }
        p.assert_clear_bytes(size / 2);
        for order in 1..=12 {
            let bytes = (4 * K) << order;
            let got = p.get(ask(bytes).min(bytes).clear());
            assert_eq!(got.extents.iter().map(|e| e.1).sum::<u64>(), bytes);
            // What joining made is dirty. The whole arena is an exact range, whatever its class.
            if bytes != size {
                p.assert_clear(got.number, false);
            }
            p.free(got.number);
        }
        p.fini();
    });
}

#[test]
fn a_8_clear_over_several_roots() {
    each(|s| {
        let mut p = Pool::new(s, 20 * M, 4 * K);
        let got = p.get(ask(16 * K).within(0, 16 * M));
        p.free_as(got.number, true);
        let got = p.get(ask(8 * K).clear());
        p.assert_clear(got.number, true);
        p.free_as(got.number, true);
        let got = p.get(ask(4 * K).within(16 * M, 20 * M));
        p.free_as(got.number, true);
        p.assert_clear_bytes(20 * K);
        // Only the two roots are left in the end.
        p.fini();
    });
}

#[test]
fn a_9_reset_clear() {
    each(|s| {
        let mut p = Pool::new(s, 20 * M, 4 * K);
        for (clear, expected) in [(false, 0), (true, 20 * M)] {
            let pages: Vec<_> = (0..20 * M / (8 * K))
                .map(|_| p.get(ask(4 * K)).number)
                .collect();
            pages.into_iter().for_each(|number| p.free_as(number, true));
            p.assert_clear_bytes(10 * M);
            assert_eq!(p.subject.reset_clear(clear), Ok(()));
            p.assert_clear_bytes(expected);
            // Whole again, each root of one class.
            assert_eq!(p.subject.statistics().holes, 2);
        }
        let got = p.get(ask(64 * K).clear());
        p.assert_clear(got.number, true);
        // What is taken has no part in it.
        assert_eq!(p.subject.reset_clear(false), Ok(()));
        p.assert_clear_bytes(0);
        p.fini();
    });
}

#[test]
fn a_25_fragmentation() {
    each(|s| {
        let mut p = Pool::new(s, 4 * G, 4 * K);
        let small: Vec<_> = (0..65536)
            .map(|_| p.get(ask(8 * K).min(64 * K)).number)
            .collect();
        for (index, number) in small.into_iter().enumerate() {
            p.free_as(number, matches!(index % 4, 0 | 3));
        }
        p.assert_clear_bytes(4 * G / 16);
        for _ in 0..65536 {
            p.get(ask(64 * K).min(64 * K));
        }
        assert_eq!(p.avail(), 0);
        p.fini();
    });
}

#[test]
fn a_32_life_of_the_clear_flag() {
    each(|s| {
        let mut p = Pool::new(s, 64 * K, 4 * K);
        let got = p.get(ask(16 * K));
        p.free_as(got.number, true);
        p.assert_clear_bytes(16 * K);
        // Without the wish what is dirty is preferred.
        let other = p.get(ask(16 * K));
        p.assert_clear(other.number, false);
        assert_ne!(other.extents, got.extents);
        let clear = p.get(ask(16 * K).clear());
        assert_eq!(clear.extents, got.extents);
        p.assert_clear(clear.number, true);
        p.assert_clear_bytes(0);
        p.free(clear.number);
        p.assert_clear_bytes(0);
        let dirty = p.get(ask(16 * K).clear());
        p.assert_clear(dirty.number, false);
        p.free_as(dirty.number, true);
        // When nothing dirty fits, the flag shows without the wish.
        p.get(ask(32 * K));
        let last = p.get(ask(16 * K));
        p.assert_clear(last.number, true);
        p.fini();
    });
}

/// Joined buddies are dirty, and stay joined though the wish fails.
#[test]
fn joining_for_a_wish_that_fails_costs_clear_memory() {
    each(|s| {
        let mut p = Pool::new(s, 32 * K, 4 * K);
        let parts = [0, 4, 8, 12, 16, 20, 24, 28].map(|at| p.exact(at * K, (at + 4) * K));
        for (part, cleared) in [(0, true), (1, false), (6, true), (4, true)] {
            p.free_as(parts[part].number, cleared);
        }
        p.assert_clear_bytes(12 * K);
        // 4K clear beside 4K dirty make 8K, which is not enough; what has no free buddy stays.
        p.fails(ask(16 * K).min(16 * K));
        p.assert_clear_bytes(8 * K);
        assert!(p.map().contains(&(0, 8, None)));
        // Blocks of a single page need no joining.
        let got = p.get(ask(8 * K).min(4 * K).clear());
        assert_eq!(got.kib(), [(0, 8)]);
        p.fini();
    });
}
