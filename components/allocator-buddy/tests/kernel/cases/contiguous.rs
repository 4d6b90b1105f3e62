//! Contiguous wishes.

use super::pool::{G, K, M, Pool, ask};
use crate::each;

#[test]
fn a_5_contiguous() {
    each(|s| {
        let mut p = Pool::new(s, 48 * 4 * K, 4 * K);
        let mut lists = [const { Vec::new() }; 3];
        for page in 0..48 {
            lists[page % 3].push(p.get(ask(4 * K)).number);
        }
        let [left, middle, right] = lists;
        let three = ask(12 * K).contiguous();
        let two = ask(8 * K).contiguous();
        p.fails(three);
        middle.into_iter().for_each(|number| p.free(number));
        p.fails(three);
        p.fails(two);
        right.into_iter().for_each(|number| p.free(number));
        p.fails(three);
        assert_eq!(p.get(two).kib(), [(168, 8)]);
        left.into_iter().for_each(|number| p.free(number));
        p.get(three);
        assert_eq!(p.subject.statistics().used_bytes, 20 * K);
        p.fini();
    });
}

#[test]
fn a_22_exceeds_the_largest_order() {
    each(|s| {
        let mut p = Pool::new(s, 10 * G, 4 * K);
        let got = p.get(ask(9 * G).min(4 * K).contiguous());
        assert_eq!(got.extents, [(0, 9 * G)]);
        let blocks = p.subject.blocks(0, 2);
        let blocks: Vec<_> = blocks
            .iter()
            .map(|b| (b.extent.offset, b.extent.bytes))
            .collect();
        assert_eq!(blocks, [(0, 8 * G), (8 * G, G)]);
        p.free(got.number);
        p.fails(ask(9 * G).min(8 * G));
        p.fails(ask(9 * G).min(8 * G).within(0, 10 * G));
        p.fails(ask(9 * G).min(4 * K).contiguous().within(0, 10 * G));
        p.fini();
    });
}

#[test]
fn a_28_non_pow2() {
    each(|s| {
        let mut p = Pool::new(s, 64 * K, 4 * K);
        assert_eq!(p.get(ask(12 * K)).kib(), [(56, 8), (52, 4)]);
        p.fini();
        let mut p = Pool::new(s, 64 * K, 4 * K);
        let got = p.get(ask(12 * K).contiguous());
        assert_eq!(got.kib(), [(48, 12)]);
        let owner = Some(got.number);
        let end = [(48, 8, owner), (56, 4, owner), (60, 4, None)];
        assert!(p.map().ends_with(&end));
        assert_eq!(p.avail(), 52 * K);
        p.fini();
        let mut p = Pool::new(s, 64 * K, 4 * K);
        let got = p.get(ask(12 * K).contiguous().keep());
        assert_eq!(got.kib(), [(48, 16)]);
        p.fini();
    });
}

#[test]
fn a_36_region_contiguous() {
    each(|s| {
        let total = 8 * M;
        let mut rng = fastrand::Rng::with_seed(6);
        let mut p = Pool::new(s, total, 4 * K);
        for bytes in [4 * K, total] {
            let got = p.get(ask(bytes).contiguous());
            p.free(got.number);
        }
        // What a size was rounded up by is not lost.
        for _ in 0..20 {
            let bytes = rng.u64(1..total / 4 / K) * 4 * K;
            let got = p.get(ask(bytes).contiguous());
            assert_eq!(p.avail(), total - bytes);
            let rest = p.get(ask(total - bytes));
            assert_eq!(p.avail(), 0);
            p.free(got.number);
            p.free(rest.number);
        }
        let full: Vec<_> = (0..total / (64 * K))
            .map(|_| p.get(ask(64 * K).contiguous()))
            .collect();
        let mut by_address: Vec<_> = full.iter().map(|got| (got.offset(), got.number)).collect();
        by_address.sort_unstable();
        for &(_, number) in by_address.iter().step_by(2) {
            p.free(number);
        }
        let half = p.get(ask(total / 2));
        assert_eq!(p.avail(), 0);
        p.free(half.number);
        for bytes in [68 * K, 128 * K, total / 2] {
            p.fails(ask(bytes).contiguous());
        }
        for bytes in [64 * K, 60 * K, 4 * K] {
            p.get(ask(bytes).contiguous());
        }
        p.fini();
    });
}

#[test]
fn a_37_splintered() {
    each(|s| {
        let size = 4 * G - 4 * K;
        let mut p = Pool::new(s, size, 4 * K);
        assert_eq!(p.subject.statistics().largest_hole, (4 * K) << 19);
        let got = p.get(ask(size));
        assert_eq!(p.avail(), 0);
        p.free(got.number);
        // By joining roots that follow each other.
        for (bytes, blocks) in [(size, 20), (3 * G, 2), (4 * G - 8 * K, 19), (2 * G, 1)] {
            let got = p.get(ask(bytes).contiguous());
            assert_eq!(got.extents, [(0, bytes)]);
            let all = p.subject.blocks(0, usize::MAX);
            let taken = all.iter().filter(|block| block.owner.is_some()).count();
            assert_eq!(taken, blocks);
            p.free(got.number);
        }
        p.fini();
    });
}

#[test]
fn a_38_small_bar() {
    each(|s| {
        let (total, visible) = (64 * M, 16 * M);
        let mut p = Pool::new(s, total, 4 * K);
        let used_visible = |p: &Pool<'_>| {
            let blocks = p.subject.blocks(0, usize::MAX);
            let used = blocks.iter().filter(|block| block.owner.is_some());
            let low = used.filter(|block| block.extent.offset < visible);
            low.map(|block| block.extent.bytes.min(visible - block.extent.offset))
                .sum::<u64>()
        };
        // What the CPU need not see goes to the top, and leaves the visible part alone.
        let mut hidden = Vec::new();
        while p.avail() > visible {
            hidden.push(p.get(ask(2 * M).top()));
            assert_eq!(used_visible(&p), 0);
        }
        let mut seen = Vec::new();
        while let Ok(got) = p.try_get(ask(M).within(0, visible)) {
            seen.push(got);
        }
        assert_eq!(used_visible(&p), visible);
        p.free(hidden.pop().unwrap().number);
        assert!(p.avail() > 0);
        p.fails(ask(4 * K).within(0, visible));
        seen.into_iter().for_each(|got| p.free(got.number));
        assert_eq!(used_visible(&p), 0);
        p.fini();
    });
}

/// What lies to the left of the largest block is taken as well, and comes first.
#[test]
fn a_contiguous_wish_extends_to_the_left() {
    each(|s| {
        let mut p = Pool::new(s, 64 * K, 4 * K);
        let blocks = [(0, 8), (24, 32), (32, 64)].map(|(a, b)| p.exact(a * K, b * K));
        // Free is 8K..24K: no block of 16K, but 8K at 8K and 8K at 16K.
        let got = p.get(ask(12 * K).contiguous());
        assert_eq!(got.kib(), [(12, 12)]);
        p.free(got.number);
        // The left part is a multiple of the least block, so the extent begins at one.
        let got = p.get(ask(12 * K).min(8 * K).contiguous().keep());
        assert_eq!(got.kib(), [(8, 16)]);
        p.free(got.number);
        let got = p.get(ask(12 * K).min(8 * K).contiguous());
        assert_eq!(got.kib(), [(8, 12)]);
        p.free(got.number);
        p.fails(ask(16 * K).min(16 * K).contiguous());
        p.fails(ask(20 * K).contiguous());
        // In a range only the power of two counts.
        p.fails(ask(12 * K).contiguous().within(4 * K, 32 * K));
        blocks.into_iter().for_each(|got| p.free(got.number));
        p.fini();
    });
}

/// A pair of pages of which one is in use is not looked into while no memory is clear, so that the
/// free one to the right of the block is left; with clear memory anywhere it is taken.
#[test]
fn a_contiguous_wish_stops_at_a_split_block() {
    each(|s| {
        for (clear, expected) in [(false, 20), (true, 24)] {
            let mut p = Pool::new(s, 64 * K, 4 * K);
            let cleared = p.exact(0, 4 * K);
            p.exact(4 * K, 20 * K);
            p.exact(52 * K, 64 * K);
            if clear {
                p.free_as(cleared.number, true);
            }
            // Free are the pages 5 to 12; the block of four is at page 8.
            let got = p.get(ask(28 * K).contiguous());
            assert_eq!(got.kib(), [(expected, 28)]);
            p.fini();
        }
    });
}
