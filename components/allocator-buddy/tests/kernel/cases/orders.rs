//! Orders, places and refusals.

use super::pool::{G, K, M, Pool, ask};
use crate::each;
use gpumm_contract::allocator::{Geometry, Refusal};

/// A wish for one block of an order of 4 KiB pages.
fn order(order: u32) -> super::pool::Ask {
    let bytes = (4 * K) << order;
    ask(bytes).min(bytes)
}

#[test]
fn a_1_limit() {
    each(|s| {
        let mut p = Pool::new(s, u64::MAX, 4 * K);
        assert_eq!(p.subject.statistics().largest_hole, (4 * K) << 51);
        let got = p.exact(0, (4 * K) << 51);
        // One block: the other 51 roots are free.
        let blocks = p.subject.blocks(0, usize::MAX);
        assert_eq!(blocks.len(), 52);
        assert_eq!(blocks[0].extent.bytes, 1 << 63);
        p.free(got.number);
        p.fini();
    });
}

#[test]
fn a_2_optimistic() {
    each(|s| {
        let mut p = Pool::new(s, 4 * K * ((1 << 17) - 1), 4 * K);
        assert_eq!(p.subject.statistics().holes, 17);
        assert_eq!(p.subject.statistics().largest_hole, (4 * K) << 16);
        for o in 0..=16 {
            assert_eq!(p.get(order(o)).extents.len(), 1);
        }
        p.fails(order(0));
        p.fini();
    });
}

#[test]
fn a_3_pessimistic() {
    each(|s| {
        let mut p = Pool::new(s, (4 * K) << 16, 4 * K);
        let held: Vec<_> = (0..16).map(|o| p.get(order(o)).number).collect();
        let extra = p.get(order(0)).number;
        for o in (0..16).rev() {
            p.fails(order(o));
        }
        p.free(extra);
        for (number, o) in held.into_iter().zip(1..) {
            p.free(number);
            let got = p.get(order(o));
            assert_eq!(got.extents.len(), 1);
            p.free(got.number);
        }
        p.get(order(16));
        p.fini();
    });
}

#[test]
fn a_4_pathological() {
    each(|s| {
        let mut p = Pool::new(s, (4 * K) << 3, 4 * K);
        let (mut held, mut holes) = (Vec::new(), Vec::new());
        for top in [3, 2, 1] {
            // The largest held is the first of the last round.
            if let Some(number) = held.pop() {
                p.free(number);
            }
            let round: Vec<_> = (0..top).rev().map(|o| p.get(order(o)).number).collect();
            holes.push(p.get(order(0)).number);
            p.fails(order(top));
            held.extend(round.into_iter().rev());
        }
        for hole in holes {
            p.free(hole);
        }
        for o in 1..=3 {
            p.fails(order(o));
        }
        p.fini();
    });
}

#[test]
fn a_26_address_policy() {
    each(|s| {
        let mut p = Pool::new(s, 32 * K, 4 * K);
        let got = [0; 3].map(|_| p.get(ask(4 * K)));
        let offsets = [0, 1, 2].map(|at| got[at].offset() / K);
        assert_eq!(offsets, [28, 24, 20]);
        p.free(got[0].number);
        p.free(got[1].number);
        assert!(p.map().contains(&(24, 8, None)));
        p.fini();
    });
}

#[test]
fn a_27_topdown_and_default() {
    each(|s| {
        for (high, expected) in [(false, 4 * K), (true, 28 * K)] {
            let mut p = Pool::new(s, 32 * K, 4 * K);
            p.exact(0, 4 * K);
            let wish = ask(4 * K);
            let got = p.get(if high { wish.top() } else { wish });
            assert_eq!(got.offset(), expected);
            p.fini();
        }
    });
}

#[test]
fn a_29_min_block() {
    each(|s| {
        let mut p = Pool::new(s, 64 * K, 4 * K);
        let got = p.get(ask(20 * K).min(8 * K));
        // The upper half, and of the highest 8K below it the lower half.
        assert_eq!(got.kib(), [(48, 16), (40, 4)]);
        assert_eq!(p.avail(), 44 * K);
        p.fini();
    });
}

#[test]
fn a_30_validation() {
    each(|s| {
        for (size, granule) in [(2 * K, 4 * K), (16 * K, 12 * K), (0, 4 * K), (8193, 4 * K)] {
            assert_eq!(s.init(Geometry { size, granule }), Err(Refusal::Geometry));
        }
        let mut p = Pool::new(s, 4097 + 4096, 4 * K);
        assert_eq!(p.avail(), 8 * K);
        p.refused(ask(0), Refusal::Size);
        p.refused(ask(2 * K), Refusal::Size);
        p.refused(ask(4 * K + 1), Refusal::Size);
        p.refused(ask(4 * K).min(12 * K), Refusal::Alignment);
        p.refused(ask(4 * K).within(0, 8 * K + 1), Refusal::Range);
        p.refused(ask(4 * K).within(4 * K, 12 * K), Refusal::Range);
        p.refused(ask(4 * K).within(4 * K, 4 * K), Refusal::Range);
        // No place is possible, so there is no space.
        p.fails(ask(12 * K));
        p.fails(ask(8 * K).within(4 * K, 8 * K));
        p.fails(ask(!4095));
        p.fails(ask(!4095).within(4 * K, 8 * K));
        // Ranges are cut down to whole pages, and a coarser page asks for less.
        assert_eq!(p.get(ask(4 * K).within(1, 8 * K)).offset(), 4 * K);
        assert_eq!(p.get(ask(4 * K).min(2 * K)).offset(), 0);
        p.fini();
    });
}

#[test]
fn a_33_enospc_rollback() {
    each(|s| {
        let mut p = Pool::new(s, 64 * K, 4 * K);
        let pages: Vec<_> = (0..16)
            .map(|page| p.exact(page * 4 * K, (page + 1) * 4 * K).number)
            .collect();
        for page in [0, 2, 4, 8, 9] {
            p.free(pages[page]);
        }
        let before = p.map();
        // One block of 8K is found and given back.
        p.fails(ask(12 * K).min(8 * K));
        assert_eq!(p.map(), before);
        // What is given back keeps its class.
        p.free_as(pages[11], true);
        p.fails(ask(12 * K).min(8 * K).clear());
        p.assert_clear_bytes(4 * K);
        p.fails(ask(28 * K).clear());
        p.assert_clear_bytes(4 * K);
        p.fini();
    });
}

#[test]
fn a_34_fill_by_primes() {
    each(|s| {
        for pages in [31u64, 127, 1021, 8191, 131_071] {
            let mut p = Pool::new(s, 2 * G, 4 * K);
            let mut total = 0;
            while p.try_get(ask(pages * 4 * K)).is_ok() {
                total += pages * 4 * K;
            }
            assert_eq!(total, 2 * G - 2 * G % (pages * 4 * K));
            p.fini();
            let mut p = Pool::new(s, 2 * G, 4 * K);
            p.get(ask(2 * G));
            p.fini();
        }
        // The same pool, filled and emptied.
        let mut p = Pool::new(s, 256 * M, 4 * K);
        let mut held = Vec::new();
        while let Ok(got) = p.try_get(ask(1021 * 4 * K)) {
            held.push(got.number);
        }
        held.into_iter().for_each(|number| p.free(number));
        p.get(ask(256 * M));
        p.fini();
    });
}
