//! Where ids lie. What every strategy obeys is in `rules.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ids;

use gpumm_allocator_id::{Id, MAX_IDS};
use gpumm_contract::allocator::{Allocate, Allocator, Failure, Geometry, Refusal};
use gpumm_contract::{AllocationId, Extent};
use gpumm_strategy_suite::{Model, allocate};
use ids::ID;

fn of(count: u64) -> Id {
    let mut id = Id::new();
    id.init(Geometry {
        size: count,
        granule: 1,
    })
    .unwrap();
    id
}

fn get(id: &mut Id, wish: Allocate) -> Result<u64, Failure> {
    let result = allocate(id, &wish);
    id.validate().unwrap();
    result.map(|extents| extents[0].offset)
}

fn run(number: u32, length: u64) -> Allocate {
    Allocate::plain(AllocationId(number), length)
}

fn within(number: u32, length: u64, start: u64, end: u64) -> Allocate {
    Allocate {
        range: Some((start, end)),
        ..run(number, length)
    }
}

#[test]
fn the_lowest_free_id_comes_first() {
    let mut id = of(300);
    for number in 0..300 {
        assert_eq!(get(&mut id, run(number, 1)), Ok(u64::from(number)));
    }
    let full = Failure::NoSpace { largest_hole: 0 };
    assert_eq!(get(&mut id, run(300, 1)), Err(full));
    for number in [299, 64, 130, 63] {
        id.free(AllocationId(number)).unwrap();
    }
    for (number, expected) in [(300, 63), (301, 64), (302, 130), (303, 299)] {
        assert_eq!(get(&mut id, run(number, 1)), Ok(expected));
    }
}

#[test]
fn runs_lie_at_multiples_of_their_length() {
    let mut id = of(1024);
    // One single id breaks a run of every length.
    assert_eq!(get(&mut id, run(0, 1)), Ok(0));
    let lengths = [2, 4, 8, 16, 32, 64, 128, 256, 512];
    for (number, length) in (1..).zip(lengths) {
        assert_eq!(get(&mut id, run(number, length)), Ok(length));
    }
    assert_eq!(get(&mut id, run(20, 1)), Ok(1));
    let full = Failure::NoSpace { largest_hole: 0 };
    assert_eq!(get(&mut id, run(21, 1)), Err(full));
    // 64..256 is free, but of 128 ids only 128..256 are a run.
    for number in [6, 7] {
        id.free(AllocationId(number)).unwrap();
    }
    let holes: Vec<_> = id.blocks(64, 2).iter().map(|b| b.extent.bytes).collect();
    assert_eq!(holes, [64, 128]);
    assert_eq!(get(&mut id, run(30, 128)), Ok(128));
    assert_eq!(
        get(&mut id, run(31, 128)),
        Err(Failure::NoSpace { largest_hole: 64 })
    );
}

#[test]
fn ranges_split_the_ids() {
    // As a device with parallel contexts has it: runs in the lowest 1/16, single ids above.
    let mut id = of(65_535);
    let (low, all) = (65_535 / 16, 65_535);
    assert_eq!(get(&mut id, within(0, 1, low, all)), Ok(4095));
    assert_eq!(get(&mut id, within(1, 1, low, all)), Ok(4096));
    assert_eq!(get(&mut id, within(2, 4, 0, low)), Ok(0));
    assert_eq!(get(&mut id, within(3, 1024, 0, low)), Ok(1024));
    // 2048..4096 is free and reaches beyond the range by one.
    let answer = get(&mut id, within(4, 2048, 0, low));
    assert!(matches!(answer, Err(Failure::NoSpace { .. })), "{answer:?}");
}

#[test]
fn a_larger_alignment_is_kept_too() {
    let mut id = of(1 << 14);
    let aligned = |number, alignment| Allocate {
        alignment,
        ..run(number, 1)
    };
    for (number, expected) in (0..).zip([0, 4096, 8192, 12_288]) {
        assert_eq!(get(&mut id, aligned(number, 4096)), Ok(expected));
    }
    assert_eq!(
        get(&mut id, aligned(4, 4096)),
        Err(Failure::NoSpace { largest_hole: 2048 })
    );
    assert_eq!(get(&mut id, aligned(4, 2)), Ok(2));
    assert_eq!(get(&mut id, aligned(5, 1 << 63)).ok(), None);
}

#[test]
fn lengths_are_powers_of_two() {
    let mut id = of(64);
    for length in [3, 5, 6, 7, 63] {
        let refused = Failure::Refused(Refusal::Unsupported);
        assert_eq!(get(&mut id, run(0, length)), Err(refused));
    }
    // Also a foreign run of another length is adopted, and comes back as what it is.
    id.restore_begin(Geometry {
        size: 64,
        granule: 1,
    })
    .unwrap();
    let odd = Extent {
        offset: 5,
        bytes: 13,
    };
    id.restore_part(AllocationId(9), &[odd]).unwrap();
    id.restore_end().unwrap();
    assert_eq!(id.blocks(7, 1)[0].extent, odd);
    assert_eq!(get(&mut id, run(0, 4)), Ok(0));
    assert_eq!(get(&mut id, run(1, 4)), Ok(20));
    id.free(AllocationId(9)).unwrap();
    assert_eq!(get(&mut id, run(2, 8)), Ok(8));
}

#[test]
fn there_are_no_more_ids_than_a_bitmap_may_have() {
    let mut id = Id::new();
    let geometry = |size| Geometry { size, granule: 1 };
    assert_eq!(id.init(geometry(MAX_IDS + 1)), Err(Refusal::Geometry));
    id.init(geometry(MAX_IDS)).unwrap();
    assert_eq!(id.resize(geometry(MAX_IDS + 1)), Err(Refusal::Geometry));
    let last = within(0, 1, MAX_IDS - 1, MAX_IDS);
    assert_eq!(allocate(&mut id, &last).unwrap()[0].offset, MAX_IDS - 1);
    let half = allocate(&mut id, &run(1, MAX_IDS / 2)).unwrap();
    assert_eq!(half[0].offset, 0);
    assert_eq!(id.statistics().largest_hole, MAX_IDS / 4);
    assert_eq!(id.validate(), Ok(()));
}

/// The games of the suite have two levels of words; this one has three.
#[test]
fn answers_agree_with_the_model_in_a_larger_arena() {
    for seed in 0..4 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let count = [4096, 8192, 12_345, 20_000][seed as usize];
        let (mut id, mut model) = (of(count), Model::new(count, 1));
        let (mut fits, mut full) = (0, 0);
        for step in 0..1_500 {
            let number = rng.u32(..200);
            if rng.u32(..3) == 0 {
                assert_eq!(id.free(AllocationId(number)).is_ok(), model.free(number));
            } else {
                let mut wish = run(number, 1 << rng.u32(..13));
                if rng.bool() {
                    wish.alignment = 1 << rng.u32(..13);
                }
                if rng.bool() {
                    let start = rng.u64(..count);
                    wish.range = Some((start, rng.u64(start + 1..=count)));
                }
                let answer = allocate(&mut id, &wish);
                fits += u32::from(answer.is_ok());
                full += u32::from(matches!(answer, Err(Failure::NoSpace { .. })));
                model.judge(&ID, &wish, &answer);
            }
            if step % 50 == 0 {
                model.compare(&ID, &id, 7);
            }
        }
        model.compare(&ID, &id, 1_000);
        assert!(fits > 100 && full > 100, "{fits} {full}");
    }
}
