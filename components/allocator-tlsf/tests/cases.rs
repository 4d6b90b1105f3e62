//! Which hole a wish gets. What every strategy obeys is in `rules.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use gpumm_allocator_tlsf::Tlsf;
use gpumm_contract::allocator::{Allocate, Allocator, Failure, Geometry};
use gpumm_contract::{AllocationId, Extent};
use gpumm_strategy_suite::{Description, Model, allocate};

const K: u64 = 1024;

fn tlsf(units: u64) -> Tlsf {
    let mut tlsf = Tlsf::new();
    tlsf.init(Geometry {
        size: units * 4 * K,
        granule: 4 * K,
    })
    .unwrap();
    tlsf
}

fn get(tlsf: &mut Tlsf, wish: Allocate) -> Result<Extent, Failure> {
    let result = allocate(tlsf, &wish);
    tlsf.validate().unwrap();
    result.map(|extents| extents[0])
}

fn plain(number: u32, units: u64) -> Allocate {
    Allocate::plain(AllocationId(number), units * 4 * K)
}

/// Takes everything as pieces separated by one granule each, then frees the pieces.
fn holes(sizes: &[u64]) -> Tlsf {
    let mut t = tlsf(sizes.iter().map(|units| units + 1).sum());
    for (number, &units) in (0..).zip(sizes) {
        get(&mut t, plain(2 * number, units)).unwrap();
        get(&mut t, plain(2 * number + 1, 1)).unwrap();
    }
    for number in 0..sizes.len() as u32 {
        t.free(AllocationId(2 * number)).unwrap();
    }
    t
}

#[test]
fn the_lowest_fitting_hole_of_the_own_bin_is_taken() {
    // 64..=67 units share a bin; the lowest hole is freed first and last in its list.
    let mut t = holes(&[67, 66, 67, 200]);
    for (number, units, offset) in [(100, 65, 0), (101, 66, 68), (102, 65, 135), (103, 67, 203)] {
        let extent = get(&mut t, plain(number, units)).unwrap();
        assert_eq!(extent.offset, offset * 4 * K);
    }
    // Left are what was cut from both holes of 67, and from 200.
    assert_eq!(t.statistics().holes, 3);
}

#[test]
fn a_hole_that_fits_exactly_ends_the_search() {
    let mut t = holes(&[67, 65]);
    assert_eq!(get(&mut t, plain(100, 65)).unwrap().offset, 68 * 4 * K);
    assert_eq!(t.statistics().holes, 1);
}

#[test]
fn a_fitting_hole_behind_the_bounded_search_is_found() {
    // The one that fits was freed first and is last in a list of 41.
    let mut sizes = vec![67];
    sizes.resize(41, 64);
    let mut t = holes(&sizes);
    assert_eq!(
        get(&mut t, plain(900, 67)),
        Ok(Extent {
            offset: 0,
            bytes: 67 * 4 * K
        })
    );
    assert_eq!(
        get(&mut t, plain(901, 65)),
        Err(Failure::NoSpace {
            largest_hole: 256 * K
        })
    );
    // Aligned: only one of many holes of the size holds an aligned place.
    let mut t = holes(&[3; 40]);
    let coarse = |number| Allocate {
        alignment: 1024 * K,
        ..plain(number, 3)
    };
    assert_eq!(
        get(&mut t, coarse(900)),
        Ok(Extent {
            offset: 0,
            bytes: 12 * K
        })
    );
    assert_eq!(
        get(&mut t, coarse(901)),
        Err(Failure::NoSpace {
            largest_hole: 12 * K
        })
    );
}

#[test]
fn ranges_take_the_lowest_place() {
    let mut t = tlsf(64);
    let within = |number, start, end| Allocate {
        range: Some((start, end)),
        ..plain(number, 2)
    };
    assert_eq!(
        get(&mut t, within(1, 100 * K, 200 * K)).unwrap().offset,
        100 * K
    );
    assert_eq!(
        get(&mut t, within(2, 97 * K, 200 * K)).unwrap().offset,
        108 * K
    );
    assert_eq!(
        get(&mut t, within(3, 92 * K, 101 * K)).unwrap().offset,
        92 * K
    );
    let full = get(&mut t, within(4, 93 * K, 115 * K));
    assert_eq!(
        full,
        Err(Failure::NoSpace {
            largest_hole: 140 * K
        })
    );
    let exact = Allocate {
        alignment: 4 * K,
        ..within(5, 248 * K, 256 * K)
    };
    assert_eq!(get(&mut t, exact).unwrap().offset, 248 * K);
    let narrow = get(&mut t, within(6, K, 2 * K));
    assert!(matches!(narrow, Err(Failure::NoSpace { .. })));
}

#[test]
fn pages_of_blocks_are_right_in_a_large_arena() {
    let mut rng = fastrand::Rng::with_seed(9);
    let mut model = Model::new(20_000, 4 * K);
    let mut t = tlsf(20_000);
    for _ in 0..4_000 {
        let wish = plain(rng.u32(..4_000), rng.u64(1..8));
        if let Ok(extents) = allocate(&mut t, &wish) {
            model.enter(&wish, &extents);
        }
        let number = rng.u32(..4_000);
        assert_eq!(t.free(AllocationId(number)).is_ok(), model.free(number));
    }
    assert!(model.live.len() > 1_000);
    let description = Description::one_extent(Tlsf::new);
    for page in [1, 3, 100, 100_000] {
        model.compare(&description, &t, page);
    }
}
