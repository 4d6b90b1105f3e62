//! Cutting an allocation down: A-31.

use super::pool::{K, Pool, ask};
use crate::each;
use gpumm_contract::allocator::Refusal;

#[test]
fn a_31_trim() {
    each(|s| {
        let mut p = Pool::new(s, 128 * K, 4 * K);
        let got = p.get(ask(64 * K).min(64 * K));
        let (number, at) = (got.number, got.offset());
        for bytes in [0, 1, 4 * K + 1, 68 * K] {
            assert_eq!(p.trim(number, None, bytes), Err(Refusal::Size));
        }
        for start in [at - 4 * K, at + 64 * K, at + 52 * K, at + 1] {
            let trimmed = p.trim(number, Some(start), 16 * K);
            assert_eq!(trimmed, Err(Refusal::Range), "{start}");
        }
        let two = p.get(ask(12 * K)).number;
        assert_eq!(p.trim(two, None, 4 * K), Err(Refusal::Extent));
        assert_eq!(p.trim(99, None, 4 * K), Err(Refusal::NumberUnknown));
        p.free(two);
        // All of it: the start is not looked at.
        for start in [None, Some(1)] {
            assert_eq!(p.trim(number, start, 64 * K), Ok(vec![(at, 64 * K)]));
        }
        let before = p.avail();
        let kept = p.trim(number, Some(at + 16 * K), 20 * K);
        assert_eq!(kept, Ok(vec![(at + 16 * K, 20 * K)]));
        assert_eq!(p.avail(), before + 44 * K);
        let (base, owner) = (at / K, Some(number));
        for row in [
            (base, 16, None),
            (base + 16, 16, owner),
            (base + 32, 4, owner),
        ] {
            assert!(p.map().contains(&row), "{row:?}");
        }
        // Again, of what are two blocks now, but one extent.
        let kept = p.trim(number, Some(at + 28 * K), 8 * K);
        assert_eq!(kept, Ok(vec![(at + 28 * K, 8 * K)]));
        p.free(number);
        assert_eq!(p.subject.statistics().holes, 1);
        p.fini();
    });
}

/// What is cut off keeps the block's class, and so does what stays.
#[test]
fn a_trim_keeps_the_class() {
    each(|s| {
        for cleared in [false, true] {
            let mut p = Pool::new(s, 64 * K, 4 * K);
            let got = p.get(ask(32 * K));
            p.free_as(got.number, cleared);
            let got = p.get(ask(32 * K).clear());
            p.assert_clear(got.number, cleared);
            p.assert_clear_bytes(0);
            p.trim(got.number, None, 12 * K).unwrap();
            p.assert_clear_bytes(if cleared { 20 * K } else { 0 });
            p.assert_clear(got.number, cleared);
            p.fini();
        }
    });
}

/// The rounding of a wish is cut off in the same way.
#[test]
fn what_a_wish_is_rounded_up_by_is_free_again() {
    each(|s| {
        let mut p = Pool::new(s, 64 * K, 4 * K);
        // 12K of a block of 16K: two blocks, one extent, aligned as wished.
        assert_eq!(p.get(ask(12 * K).min(16 * K)).kib(), [(48, 12)]);
        assert_eq!(p.get(ask(4 * K)).kib(), [(60, 4)]);
        let kept = p.get(ask(12 * K).min(16 * K).keep());
        assert_eq!(kept.kib(), [(32, 16)]);
        p.fini();
    });
}
