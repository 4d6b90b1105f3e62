//! Segments against a list of byte addresses: building them, and every way to read them.
//!
//! The conformance cases, and the keeper, are tested together with the built component
//! (`tests/tests/conformance_sg.rs`, `tests/tests/sg_tables.rs`).
#![allow(clippy::unwrap_used)]

use fastrand::Rng;
use gpumm_contract::extent::total;
use gpumm_contract::table::{Limits, TableError};
use gpumm_contract::{Extent, Segment};
use gpumm_sg_table::{
    MAX_SEGMENTS, addresses, entries, pages, segments, segments_of, sizes, slice,
};

/// The DMA address of each byte.
fn bytes(segments: impl IntoIterator<Item = Segment>) -> Vec<u64> {
    let of = |s: Segment| s.address..s.address + s.bytes;
    segments.into_iter().flat_map(of).collect()
}

/// Extents of whole pages, of which some touch, with limits that suit them.
fn random(rng: &mut Rng) -> (Vec<Extent>, u64, Limits) {
    let page = 1u64 << rng.u32(0..4);
    let (count, mut next) = (rng.usize(1..10), 0);
    let extent = |_| {
        let offset = if rng.bool() {
            next
        } else {
            rng.u64(0..50) * page
        };
        let bytes = rng.u64(1..8) * page;
        next = offset + bytes;
        Extent { offset, bytes }
    };
    let extents: Vec<Extent> = (0..count).map(extent).collect();
    let most = total(&extents).unwrap();
    let limits = Limits {
        bytes: if rng.bool() { most } else { rng.u64(1..=most) },
        max_segment: page + rng.u64(0..6 * page),
        page,
    };
    (extents, rng.u64(0..9) * page, limits)
}

#[test]
fn segments_are_the_extents_bytes_in_as_few_pieces_as_may_be() {
    let mut rng = Rng::with_seed(1);
    let mut clamped = 0;
    for _ in 0..20_000 {
        let (extents, base, limits) = random(&mut rng);
        let made = segments_of(&extents, base, limits).unwrap();
        let mut want = bytes(extents.iter().map(|e| Segment {
            address: base + e.offset,
            bytes: e.bytes,
        }));
        clamped += usize::from(want.len() as u64 > limits.bytes);
        want.truncate(limits.bytes as usize);
        assert_eq!(bytes(made.iter().copied()), want);
        let max = limits.max_segment / limits.page * limits.page;
        for (s, after) in made.iter().zip(made.iter().skip(1).map(Some).chain([None])) {
            assert!(s.bytes > 0 && s.bytes <= max);
            assert_eq!(s.address % limits.page, 0);
            let touch = after.is_some_and(|a| s.address + s.bytes == a.address);
            assert!(!touch || s.bytes == max, "{made:?} could be joined");
        }

        let short = Limits {
            bytes: total(&extents).unwrap() + 1,
            ..limits
        };
        assert_eq!(segments_of(&extents, base, short), Err(TableError::Short));
        let all = Limits {
            bytes: total(&extents).unwrap(),
            max_segment: max,
            page: 1,
        };
        assert_eq!(
            segments(&extents, base, max),
            segments_of(&extents, base, all)
        );
    }
    assert!(clamped > 5000);
}

#[test]
fn every_reader_agrees_with_the_bytes() {
    let mut rng = Rng::with_seed(2);
    for _ in 0..10_000 {
        let (extents, base, limits) = random(&mut rng);
        let (made, page) = (segments_of(&extents, base, limits).unwrap(), limits.page);
        let model = bytes(made.iter().copied());

        for entry in entries(&made) {
            assert_eq!(model[entry.offset as usize], entry.segment.address);
        }
        assert!(entries(&made).map(|e| e.segment).eq(made.iter().copied()));
        assert_eq!(entries(&made).len(), made.len());

        // Only the last page may be a part, so every page'th byte begins one.
        let want: Vec<u64> = model.iter().copied().step_by(page as usize).collect();
        assert!(addresses(&made, page).eq(want.iter().copied()));
        assert!(pages(&made, page).eq(want.iter().map(|a| a / page)));
        let skip = rng.usize(0..want.len() + 2);
        let (mut walk, mut plain) = (addresses(&made, page), want.iter().copied());
        walk.next();
        plain.next();
        assert_eq!(walk.nth(skip), plain.nth(skip));
        assert_eq!(walk.next(), plain.next());
        assert_eq!(
            pages(&made, page).nth(skip),
            want.get(skip).map(|a| a / page)
        );
        let mut walk = addresses(&made, page);
        assert_eq!(walk.nth(want.len()), None);
        assert_eq!(walk.next(), None, "an ended walk stays ended");

        assert_eq!(
            sizes(&made),
            made.iter().map(|s| s.bytes).reduce(|a, b| a | b).unwrap()
        );
    }
}

#[test]
fn a_slice_is_a_window_of_the_bytes() {
    let mut rng = Rng::with_seed(3);
    let mut outside = 0;
    for _ in 0..20_000 {
        let (extents, base, limits) = random(&mut rng);
        let made = segments_of(&extents, base, limits).unwrap();
        let model = bytes(made.iter().copied());
        let (offset, length) = (rng.usize(0..model.len() + 3), rng.usize(0..model.len() + 3));
        let want = model.get(offset..offset + length);
        let got = slice(&made, offset as u64, length as u64);
        outside += usize::from(want.is_none());
        assert_eq!(
            got.clone().map(bytes).as_deref(),
            want,
            "{made:?} from {offset}, {length} bytes"
        );
        assert!(got.into_iter().flatten().all(|s| s.bytes > 0));
    }
    assert!((1000..19_000).contains(&outside));
    let all = segments(
        &[Extent {
            offset: 0,
            bytes: 8,
        }],
        0,
        8,
    )
    .unwrap();
    assert!(slice(&all, u64::MAX, u64::MAX).is_none());
    assert!(slice(&all, 4, u64::MAX).is_none());
    assert_eq!(slice(&[], 0, 0).map(Iterator::count), Some(0));
}

#[test]
fn a_table_has_a_largest_number_of_segments() {
    let cut = |count: u64| {
        let extent = Extent {
            offset: 0,
            bytes: count * 4096,
        };
        segments(&[extent], 0, 4096)
    };
    assert_eq!(cut(MAX_SEGMENTS as u64).unwrap().len(), MAX_SEGMENTS);
    assert_eq!(cut(MAX_SEGMENTS as u64 + 1), Err(TableError::TooLarge));
    // Each piece for itself is small enough.
    let half = MAX_SEGMENTS as u64 / 2 * 4096;
    let halves = [0, half + 4096, 2 * half + 8192].map(|offset| Extent {
        offset,
        bytes: half,
    });
    assert_eq!(segments(&halves, 0, 4096), Err(TableError::TooLarge));
    // And lengths that no count of pieces fits.
    let all = [0, 1].map(|_| Extent {
        offset: 0,
        bytes: u64::MAX,
    });
    assert_eq!(segments(&all[..1], 0, 1), Err(TableError::TooLarge));
    assert_eq!(segments(&all, 0, 1), Err(TableError::Overflow));
}

#[test]
fn the_last_addresses_are_addresses() {
    let last = Extent {
        offset: u64::MAX - 4095,
        bytes: 4095,
    };
    let made = segments(&[last], 0, 4095).unwrap();
    assert_eq!(made.len(), 1);
    assert_eq!(slice(&made, 4094, 1).unwrap().count(), 1);
    assert_eq!(addresses(&made, 1).count(), 4095);
    assert_eq!(segments(&[last], 1, 4095), Err(TableError::Overflow));
}
