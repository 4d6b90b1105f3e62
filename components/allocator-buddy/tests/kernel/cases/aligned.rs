//! Offsets coarser than the block.

use super::pool::{K, M, Pool, ask};
use crate::each;

#[test]
fn a_23_offset_aligned() {
    each(|s| {
        let mut p = Pool::new(s, 4 * M, 4 * K);
        let small = [0; 16].map(|_| p.get(ask(8 * K).min(256 * K)));
        for got in &small {
            assert!(got.offset().is_multiple_of(256 * K));
            assert_eq!(got.extents[0].1, 8 * K);
        }
        small.iter().for_each(|got| p.free(got.number));
        let wish = ask(16 * K).min(256 * K);
        let held = [0; 16].map(|_| p.get(wish).number);
        held.iter().step_by(2).for_each(|&number| p.free(number));
        for _ in 0..8 {
            p.get(wish);
        }
        p.fails(wish);
        p.fini();
    });
}

#[test]
fn a_24_each_alignment_is_used_up() {
    each(|s| {
        let mut p = Pool::new(s, 2 * M, 4 * K);
        let stages = [2, 2, 4, 8, 16, 32, 64, 128];
        let mut held = Vec::new();
        for (stage, blocks) in stages.into_iter().enumerate() {
            let align = M >> stage;
            // Half that alignment is the best that is left after the stage before.
            let mut found = Vec::new();
            while let Ok(got) = p.try_get(ask(4 * K).min(align)) {
                assert!(got.offset().is_multiple_of(align));
                found.push(got.number);
            }
            assert_eq!(found.len(), blocks, "{align}");
            held.push((align, found));
        }
        for (align, found) in held.into_iter().rev() {
            p.fails(ask(4 * K).min(align));
            found.into_iter().for_each(|number| p.free(number));
            let got = p.get(ask(4 * K).min(align));
            p.free(got.number);
        }
        p.fini();
    });
}

/// The upper half is kept as long as it is aligned, then the lower one; another class serves in
/// the same order before a higher order does.
#[test]
fn an_aligned_wish_keeps_to_the_smallest_order() {
    each(|s| {
        let mut p = Pool::new(s, 64 * K, 4 * K);
        assert_eq!(p.get(ask(4 * K).min(16 * K)).offset(), 48 * K);
        p.fini();
        let mut p = Pool::new(s, 64 * K, 4 * K);
        let pages = [p.exact(0, 4 * K), p.exact(4 * K, 8 * K)];
        p.free_as(pages[0].number, true);
        // A free page at a multiple of 16K is there, though it is clear and not wished to be.
        let got = p.get(ask(4 * K).min(16 * K));
        assert_eq!(got.offset(), 0);
        p.assert_clear(got.number, true);
        p.fini();
        // In a range the lowest multiple serves.
        let mut p = Pool::new(s, 64 * K, 4 * K);
        let got = p.get(ask(4 * K).min(16 * K).within(4 * K, 64 * K));
        assert_eq!(got.offset(), 16 * K);
        p.fini();
        // And a contiguous wish keeps its alignment, whatever its size is rounded to.
        let mut p = Pool::new(s, 64 * K, 4 * K);
        let got = p.get(ask(12 * K).min(32 * K).contiguous());
        assert_eq!(got.kib(), [(32, 12)]);
        p.fini();
    });
}
