//! The conformance cases of the kernel's buddy allocator that need no flags, by their numbers.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use gpumm_allocator_buddy::Buddy;
use gpumm_contract::allocator::{Allocate, Allocator, Failure, Geometry, Refusal};
use gpumm_contract::{AllocationId, Extent};

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

/// A pool with pages of one size that numbers its allocations itself.
struct Pool {
    buddy: Buddy,
    next: u32,
}

impl Pool {
    fn new(size: u64, granule: u64) -> Self {
        let mut buddy = Buddy::new();
        buddy
            .init(Geometry {
                size: size & !(granule - 1),
                granule,
            })
            .unwrap();
        Pool { buddy, next: 0 }
    }

    /// Blocks in units of `K`, or the failure.
    fn try_get(
        &mut self,
        range: Option<(u64, u64)>,
        bytes: u64,
        least: u64,
    ) -> Result<(u32, Vec<(u64, u64)>), Failure> {
        let number = self.next;
        self.next += 1;
        let wish = Allocate {
            alignment: least,
            range,
            ..Allocate::plain(AllocationId(number), bytes)
        };
        let (before, mut extents) = (self.avail(), Vec::new());
        let result = self.buddy.allocate(&wish, &mut extents);
        let got = extents.iter().map(|e: &Extent| e.bytes).sum::<u64>();
        assert_eq!(got, if result.is_ok() { bytes } else { 0 });
        assert_eq!(self.avail(), before - got);
        result.map(|()| {
            (
                number,
                extents
                    .iter()
                    .map(|e| (e.offset / K, e.bytes / K))
                    .collect(),
            )
        })
    }

    fn get(&mut self, range: Option<(u64, u64)>, bytes: u64, least: u64) -> (u32, Vec<(u64, u64)>) {
        self.try_get(range, bytes, least).unwrap()
    }

    fn exact(&mut self, start: u64, end: u64) -> Result<u32, Failure> {
        self.try_get(Some((start, end)), end - start, 0)
            .map(|(number, _)| number)
    }

    /// A wish that must fail for want of space.
    fn fails(&mut self, range: Option<(u64, u64)>, bytes: u64, least: u64) {
        let result = self.try_get(range, bytes, least);
        assert!(
            matches!(result, Err(Failure::NoSpace { .. })),
            "{range:?} {bytes} {least} {result:?}"
        );
    }

    fn free(&mut self, number: u32) {
        self.buddy.free(AllocationId(number)).unwrap();
    }

    fn avail(&self) -> u64 {
        self.buddy.statistics().free_bytes
    }

    /// Frees everything and checks that only the roots are left.
    fn fini(mut self) {
        for number in 0..self.next {
            let _ = self.buddy.free(AllocationId(number));
        }
        self.buddy.validate().unwrap();
        let (geometry, statistics) = (self.buddy.blocks(0, 99), self.buddy.statistics());
        let size: u64 = geometry.iter().map(|block| block.extent.bytes).sum();
        assert_eq!(statistics.free_bytes, size);
        assert_eq!(statistics.used_bytes, 0);
        let granule = size & size.wrapping_neg();
        assert_eq!(statistics.holes, u64::from((size / granule).count_ones()));
    }
}

#[test]
fn a_1_limit() {
    let mut p = Pool::new(u64::MAX, 4 * K);
    assert_eq!(p.buddy.statistics().largest_hole, (4 * K) << 51);
    let (number, blocks) = p.get(Some((0, (4 * K) << 51)), (4 * K) << 51, 0);
    assert_eq!(blocks, [(0, (1 << 63) / K)]);
    p.free(number);
    p.fini();
}

#[test]
fn a_2_optimistic() {
    let mut p = Pool::new(4 * K * ((1 << 17) - 1), 4 * K);
    assert_eq!(p.buddy.statistics().holes, 17);
    for order in 0..=16 {
        assert_eq!(p.get(None, (4 * K) << order, (4 * K) << order).1.len(), 1);
    }
    p.fails(None, 4 * K, 0);
    p.fini();
}

#[test]
fn a_3_pessimistic() {
    let mut p = Pool::new((4 * K) << 16, 4 * K);
    let held: Vec<_> = (0..16)
        .map(|order| p.get(None, (4 * K) << order, (4 * K) << order).0)
        .collect();
    let extra = p.get(None, 4 * K, 0).0;
    for order in (0..16).rev() {
        p.fails(None, (4 * K) << order, (4 * K) << order);
    }
    p.free(extra);
    for (number, order) in held.into_iter().zip(1..) {
        p.free(number);
        let (number, blocks) = p.get(None, (4 * K) << order, (4 * K) << order);
        assert_eq!(blocks.len(), 1);
        p.free(number);
    }
    p.get(None, (4 * K) << 16, (4 * K) << 16);
    p.fini();
}

#[test]
fn a_4_pathological() {
    let mut p = Pool::new((4 * K) << 3, 4 * K);
    let (mut held, mut holes) = (Vec::new(), Vec::new());
    for top in [3, 2, 1] {
        // The largest held is the first of the last round.
        if let Some(number) = held.pop() {
            p.free(number);
        }
        let mut round: Vec<_> = (0..top)
            .rev()
            .map(|order| p.get(None, (4 * K) << order, (4 * K) << order).0)
            .collect();
        holes.push(p.get(None, 4 * K, 0).0);
        p.fails(None, (4 * K) << top, (4 * K) << top);
        round.reverse();
        held.extend(round);
    }
    for hole in holes {
        p.free(hole);
    }
    for order in 1..=3 {
        p.fails(None, (4 * K) << order, (4 * K) << order);
    }
    p.fini();
}

#[test]
fn a_10_exact_whole() {
    let mut p = Pool::new(16 * M, 4 * K);
    let whole = p.exact(0, 16 * M).unwrap();
    assert_eq!(p.avail(), 0);
    p.fails(Some((0, 4 * K)), 4 * K, 0);
    p.free(whole);
    assert_eq!(p.avail(), 16 * M);
}

#[test]
fn a_11_a_12_a_14_exact_parts() {
    let mut p = Pool::new(16 * M, 4 * K);
    for part in [0, 3, 1, 2] {
        p.exact(part * 4 * M, (part + 1) * 4 * M).unwrap();
    }
    assert_eq!(p.avail(), 0);
    let mut p = Pool::new(16 * M, 4 * K);
    for page in [0, 8 * M, 16 * M - 4 * K] {
        p.exact(page, page + 4 * K).unwrap();
    }
    assert_eq!(p.buddy.statistics().used_bytes, 12 * K);
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut p = Pool::new(16 * M, 4 * K);
        let mut cuts: Vec<_> = (0..15)
            .map(|_| rng.u64(1..4096) * 4 * K)
            .chain([0, 16 * M])
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut slices: Vec<_> = cuts.windows(2).map(|cut| (cut[0], cut[1])).collect();
        rng.shuffle(&mut slices);
        for &(start, end) in &slices {
            p.exact(start, end).unwrap();
        }
        assert_eq!(p.avail(), 0);
        p.fini();
    }
}

#[test]
fn a_13_roots() {
    let mut p = Pool::new(7 * M, 4 * K);
    assert_eq!(p.buddy.statistics().holes, 3);
    let parts = [(0, 4), (4, 6), (6, 7)].map(|(start, end)| p.exact(start * M, end * M).unwrap());
    assert_eq!(p.avail(), 0);
    parts.into_iter().for_each(|number| p.free(number));
    p.exact(0, 7 * M).unwrap();
    assert_eq!(p.avail(), 0);
    p.fini();
}

#[test]
fn a_15_conflicts() {
    let mut p = Pool::new(16 * M, 4 * K);
    p.exact(0, 8 * M).unwrap();
    p.exact(0, 16 * M).unwrap_err();
    p.exact(0, 8 * M).unwrap_err();
    p.exact(8 * M, 16 * M).unwrap();
    p.fini();
}

#[test]
fn a_16_checkerboard() {
    let mut p = Pool::new(64 * K, 4 * K);
    for page in (0..16).step_by(2) {
        p.exact(page * 4 * K, (page + 1) * 4 * K).unwrap();
    }
    p.exact(0, 8 * K).unwrap_err();
    p.exact(4 * K, 8 * K).unwrap();
    p.fini();
}

#[test]
fn a_17_misaligned() {
    let mut p = Pool::new(16 * M, 4 * K);
    p.fails(Some((2 * K, 6 * K)), 4 * K, 0);
    let size = p.try_get(Some((0, 4 * K + 1)), 4 * K + 1, 0);
    assert_eq!(size, Err(Failure::Refused(Refusal::Size)));
    let range = p.try_get(Some((16 * M, 16 * M + 4 * K)), 4 * K, 0);
    assert_eq!(range, Err(Failure::Refused(Refusal::Range)));
}

#[test]
fn a_18_a_19_again_and_mixed() {
    let mut p = Pool::new(16 * M, 4 * K);
    for _ in 0..5 {
        let number = p.exact(4 * M, 6 * M).unwrap();
        p.free(number);
        assert_eq!(p.avail(), 16 * M);
    }
    for size in [4 * K, 64 * K, M, 4 * M] {
        p.exact(
            if size == 4 * K { 0 } else { size },
            if size == 4 * K { size } else { 2 * size },
        )
        .unwrap();
    }
    assert_eq!(p.buddy.statistics().used_bytes, 4 * K + 64 * K + 5 * M);
    p.fini();
}

#[test]
fn a_20_range_bias_uniform() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let ps = (4 * K) << rng.u32(..=8);
        let mut p = Pool::new(8 * M - 1, ps);
        let size = (8 * M - 1) & !(ps - 1);
        let mut windows: Vec<_> = (0..size / M).map(|window| window * M).collect();
        rng.shuffle(&mut windows);
        for start in windows {
            let window = Some((start, start + M));
            p.fails(window, M + ps, M);
            p.fails(window, M + ps, ps);
            p.try_get(Some((start + ps, start + M)), M, ps).unwrap_err();
            p.try_get(
                Some((start + ps, (start + M).wrapping_sub(ps))),
                512 * K,
                512 * K,
            )
            .unwrap_err();
            for (bytes, least) in [(M, M), (ps, M)] {
                let number = p.get(window, bytes, least).0;
                p.free(number);
            }
            let mut left = M;
            while left > 0 {
                p.fails(window, left + ps, ps);
                let bytes = rng.u64(1..=left / ps) * ps;
                p.get(window, bytes, ps);
                left -= bytes;
            }
        }
        p.fini();
    }
}

#[test]
fn a_21_range_bias_growing() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let ps = (4 * K) << rng.u32(..=8);
        let mut p = Pool::new(8 * M - 1, ps);
        let size = (8 * M - 1) & !(ps - 1);
        let mut start = rng.u64(..size / ps) * ps;
        let mut end = start + rng.u64(1..=(size - start) / ps) * ps;
        let mut left = end - start;
        loop {
            if left > 0 {
                let bytes = rng.u64(1..=left / ps) * ps;
                p.get(Some((start, end)), bytes, ps);
                left -= bytes;
            }
            let (low, high) = (
                rng.u64(..=start / ps) * ps,
                rng.u64(..=(size - end) / ps) * ps,
            );
            left += low + high;
            (start, end) = (start - low, end + high);
            if left == 0 && (start, end) == (0, size) {
                break;
            }
        }
        p.fails(Some((start, end)), ps, ps);
        p.fini();
    }
}

#[test]
fn a_23_offset_aligned() {
    let mut p = Pool::new(4 * M, 4 * K);
    for _ in 0..16 {
        let (_, blocks) = p.get(None, 8 * K, 256 * K);
        assert_eq!((blocks.len(), blocks[0].0 % 256, blocks[0].1), (1, 0, 8));
    }
    (0..16).for_each(|number| p.free(number));
    let held: Vec<_> = (0..16).map(|_| p.get(None, 16 * K, 256 * K).0).collect();
    held.iter().step_by(2).for_each(|&number| p.free(number));
    for _ in 0..8 {
        p.get(None, 16 * K, 256 * K);
    }
    p.fails(None, 16 * K, 256 * K);
    p.fini();
}

#[test]
fn a_24_each_alignment_is_used_up() {
    let mut p = Pool::new(2 * M, 4 * K);
    for (align, expected) in (3..=10)
        .rev()
        .map(|shift| K << shift)
        .zip([2, 2, 4, 8, 16, 32, 64, 128])
    {
        let mut found = 0;
        while let Ok((_, blocks)) = p.try_get(None, 4 * K, align) {
            assert!((blocks[0].0 * K).is_multiple_of(align));
            found += 1;
        }
        assert_eq!(found, expected, "{align}");
    }
    p.fini();
}

#[test]
fn a_25_fragmentation() {
    let mut buddy = Pool::new(4 * G, 4 * K).buddy;
    let mut extents = Vec::new();
    for bytes in [8 * K, 64 * K] {
        extents.clear();
        for number in 0..65536 {
            let wish = Allocate {
                alignment: 64 * K,
                ..Allocate::plain(AllocationId(number), bytes)
            };
            buddy.allocate(&wish, &mut extents).unwrap();
        }
        assert_eq!(extents.len(), 65536);
        assert!(
            extents
                .iter()
                .all(|extent| extent.offset.is_multiple_of(64 * K))
        );
        let full = Allocate {
            alignment: 64 * K,
            ..Allocate::plain(AllocationId(65536), 64 * K)
        };
        buddy.allocate(&full, &mut extents).unwrap_err();
        for number in 0..65536 {
            buddy.free(AllocationId(number)).unwrap();
        }
    }
    assert_eq!(buddy.statistics().holes, 1);
}

#[test]
fn a_26_address_policy() {
    let mut p = Pool::new(32 * K, 4 * K);
    assert_eq!([0; 3].map(|_| p.get(None, 4 * K, 0).1[0].0), [28, 24, 20]);
    p.free(0);
    p.free(1);
    let blocks = p.buddy.blocks(24 * K, 1);
    assert_eq!(
        (blocks[0].extent, blocks[0].owner),
        (
            Extent {
                offset: 24 * K,
                bytes: 8 * K
            },
            None
        )
    );
}

#[test]
fn a_27_default_is_not_topdown() {
    let mut p = Pool::new(32 * K, 4 * K);
    p.exact(0, 4 * K).unwrap();
    assert_eq!(p.get(None, 4 * K, 0).1, [(4, 4)]);
}

#[test]
fn a_28_non_pow2() {
    let mut p = Pool::new(64 * K, 4 * K);
    assert_eq!(p.get(None, 12 * K, 0).1, [(56, 8), (52, 4)]);
    p.fini();
}

#[test]
fn a_29_min_block() {
    let mut p = Pool::new(64 * K, 4 * K);
    let (_, blocks) = p.get(None, 20 * K, 8 * K);
    assert_eq!(
        blocks.iter().map(|block| block.1).collect::<Vec<_>>(),
        [16, 4]
    );
    assert_eq!(p.avail(), 44 * K);
    p.fini();
}

#[test]
fn a_30_validation() {
    for (size, granule) in [(2 * K, 4 * K), (16 * K, 12 * K), (0, 4 * K)] {
        assert_eq!(
            Buddy::new().init(Geometry { size, granule }),
            Err(Refusal::Geometry)
        );
    }
}

#[test]
fn a_31_trim_keeps_one_extent_of_smaller_blocks() {
    let mut p = Pool::new(64 * K, 4 * K);
    // 12K of a block of 16K: two blocks, one extent, aligned as wished.
    assert_eq!(p.get(None, 12 * K, 16 * K).1, [(48, 12)]);
    assert_eq!(p.get(None, 4 * K, 0).1, [(60, 4)]);
    p.fini();
}

#[test]
fn a_33_enospc_rollback() {
    let mut p = Pool::new(64 * K, 4 * K);
    for page in 0..16 {
        p.exact(page * 4 * K, (page + 1) * 4 * K).unwrap();
    }
    [0, 2, 4, 8, 9]
        .into_iter()
        .for_each(|number| p.free(number));
    let before = p.buddy.blocks(0, 99);
    // One block of 8K is found and given back.
    p.fails(None, 12 * K, 8 * K);
    assert_eq!(p.buddy.blocks(0, 99), before);
    p.fini();
}

#[test]
fn a_34_fill_by_primes() {
    for pages in [31u64, 127, 1021, 8191, 131_071] {
        let mut p = Pool::new(2 * G, 4 * K);
        let mut total = 0;
        while p.try_get(None, pages * 4 * K, 0).is_ok() {
            total += pages * 4 * K;
        }
        assert_eq!(total, 2 * G - 2 * G % (pages * 4 * K));
        p.fini();
    }
}

#[test]
fn a_35_reserve() {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut p = Pool::new(2 * G, 4 * K);
    for chunk in 0..64 {
        if rng.bool() {
            p.exact(chunk * 32 * M, (chunk + 1) * 32 * M).unwrap();
        }
    }
    let before = p.avail();
    let mut total = 0;
    while p.try_get(None, 8 * M, 0).is_ok() {
        total += 8 * M;
    }
    assert_eq!(total, before);
    p.fini();
}

#[test]
fn a_37_splintered() {
    let mut p = Pool::new(4 * G - 4 * K, 4 * K);
    assert_eq!(p.buddy.statistics().largest_hole, 2 * G);
    p.get(None, 4 * G - 4 * K, 0);
    assert_eq!(p.avail(), 0);
    p.fini();
}
