//! Which hole a wish gets, and what of the past shows in that. What every strategy obeys is in `rules.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use gpumm_allocator_range::RangeManager;
use gpumm_contract::allocator::{Allocate, Allocator, Failure, Geometry, Mode};
use gpumm_contract::{AllocationId, Extent};

const K: u64 = 1024;

fn range(units: u64) -> RangeManager {
    let mut range = RangeManager::new();
    range
        .init(Geometry {
            size: units * 4 * K,
            granule: 4 * K,
        })
        .unwrap();
    range
}

fn get(range: &mut RangeManager, wish: Allocate) -> Result<Extent, Failure> {
    let mut extents = Vec::new();
    let result = range.allocate(&wish, &mut extents);
    range.validate().unwrap();
    result.map(|()| extents[0])
}

fn plain(number: u32, units: u64) -> Allocate {
    Allocate::plain(AllocationId(number), units * 4 * K)
}

#[test]
fn history_does_not_show_in_modes_that_do_not_ask_for_it() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut t = range(200);
    let modes = [Mode::Low, Mode::High, Mode::BestLow];
    for round in 0..2_000 {
        let number = rng.u32(..40);
        let wish = Allocate {
            mode: modes[rng.usize(..3)],
            alignment: (4 * K) << rng.u32(..3),
            ..plain(number, rng.u64(1..12))
        };
        if round % 40 == 0 {
            let mut fresh = RangeManager::new();
            let size = 800 * K;
            let granule = 4 * K;
            fresh.restore_begin(Geometry { size, granule }).unwrap();
            for block in t.blocks(0, usize::MAX).iter().rev() {
                if let Some(owner) = block.owner {
                    fresh.restore_part(owner, &[block.extent]).unwrap();
                }
            }
            fresh.restore_end().unwrap();
            assert_eq!(get(&mut fresh, wish), get(&mut t, wish));
        }
        let _ = get(&mut t, wish);
        let _ = t.free(AllocationId(rng.u32(..40)));
    }
}

/// More alignments than there are indexes for an order: the first hole in it is found all the same.
#[test]
fn any_number_of_alignments_is_served_in_the_order_of_the_mode() {
    for mode in Mode::ALL {
        // Holes of 30, 20 and 25 granules, from 1, 32 and 53 on; the last one is the newest.
        let mut t = range(78);
        for (number, start) in [(0, 0), (1, 31), (2, 52)] {
            let range = Some((start * 4 * K, (start + 1) * 4 * K));
            let one = Allocate {
                range,
                ..plain(number, 1)
            };
            get(&mut t, one).unwrap();
        }
        // From the ninth alignment on there is no index of its own.
        for alignment in 2..20 {
            let wish = Allocate {
                mode,
                alignment: alignment * 4 * K,
                ..plain(9, 1)
            };
            let offset = match mode {
                Mode::Best | Mode::BestLow => 32u64.next_multiple_of(alignment),
                Mode::Low => alignment,
                Mode::High => 77 / alignment * alignment,
                Mode::Evict => 53u64.next_multiple_of(alignment),
            };
            assert_eq!(
                get(&mut t, wish).unwrap().offset,
                offset * 4 * K,
                "{wish:?}"
            );
            t.free(AllocationId(9)).unwrap();
        }
    }
}
