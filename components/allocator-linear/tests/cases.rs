//! How the ring goes round. What every strategy obeys is in `rules.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ring;

use gpumm_allocator_linear::Linear;
use gpumm_contract::allocator::{Allocate, Allocator, Failure, Geometry, Refusal};
use gpumm_contract::{AllocationId, Extent};
use gpumm_strategy_suite::{Model, allocate};
use ring::LINEAR;

fn ring(bytes: u64) -> Linear {
    let mut ring = Linear::new();
    ring.init(Geometry {
        size: bytes,
        granule: 1,
    })
    .unwrap();
    ring
}

fn take(ring: &mut Linear, number: u32, bytes: u64) -> Result<u64, Failure> {
    let result = allocate(ring, &Allocate::plain(AllocationId(number), bytes));
    ring.validate().unwrap();
    result.map(|extents| extents[0].offset)
}

fn free(ring: &mut Linear, number: u32) {
    ring.free(AllocationId(number)).unwrap();
    ring.validate().unwrap();
}

fn full(largest_hole: u64) -> Result<u64, Failure> {
    Err(Failure::NoSpace { largest_hole })
}

#[test]
fn the_tail_follows_what_is_freed_in_any_order() {
    let mut ring = ring(100);
    for (number, offset) in [(0, 0), (1, 30), (2, 60)] {
        assert_eq!(take(&mut ring, number, 30), Ok(offset));
    }
    assert_eq!(take(&mut ring, 3, 11), full(10));
    // The middle one is freed, but the oldest is still there: no room.
    free(&mut ring, 1);
    assert_eq!(take(&mut ring, 3, 11), full(10));
    assert_eq!(ring.statistics().free_bytes, 40);
    // With the oldest the tail passes both.
    free(&mut ring, 0);
    assert_eq!(take(&mut ring, 3, 61), full(60));
    // What does not fit at the end begins at 0 and is not split.
    assert_eq!(take(&mut ring, 3, 59), Ok(0));
    assert_eq!(take(&mut ring, 4, 2), full(1));
    assert_eq!(take(&mut ring, 4, 1), Ok(59));
    // The bytes at the end come back with the next round.
    free(&mut ring, 2);
    assert_eq!(take(&mut ring, 5, 40), Ok(60));
    assert_eq!(take(&mut ring, 6, 1), full(0));
}

#[test]
fn freeing_the_newest_moves_the_head_back() {
    let mut ring = ring(100);
    take(&mut ring, 0, 50).unwrap();
    take(&mut ring, 1, 40).unwrap();
    free(&mut ring, 1);
    assert_eq!(take(&mut ring, 2, 50), Ok(50));
    // Also back over the arena's end.
    free(&mut ring, 0);
    assert_eq!(take(&mut ring, 3, 20), Ok(0));
    free(&mut ring, 3);
    free(&mut ring, 2);
    // An empty ring begins anew, and all of it can be had.
    assert_eq!(take(&mut ring, 4, 100), Ok(0));
}

#[test]
fn an_alignment_skips_bytes_that_come_back() {
    let mut ring = ring(100);
    let aligned = |number, bytes, alignment| Allocate {
        alignment,
        ..Allocate::plain(AllocationId(number), bytes)
    };
    let mut get = |wish: Allocate| allocate(&mut ring, &wish).map(|extents| extents[0].offset);
    assert_eq!(get(aligned(0, 10, 1)), Ok(0));
    assert_eq!(get(aligned(1, 10, 16)), Ok(16));
    assert_eq!(get(aligned(2, 10, 64)), Ok(64));
    // At the end there is no multiple of 64: it goes on at 0, where it is taken.
    assert_eq!(get(aligned(3, 10, 64)), full(26));
    assert_eq!(get(aligned(3, 26, 1)), Ok(74));
    free(&mut ring, 0);
    let mut get = |wish: Allocate| allocate(&mut ring, &wish).map(|extents| extents[0].offset);
    assert_eq!(get(aligned(0, 16, 64)), Ok(0));
    assert_eq!(get(aligned(4, 1, 1)), full(0));
}

#[test]
fn a_range_is_refused_unless_it_is_the_arena() {
    let mut ring = ring(100);
    let within = |number, range| Allocate {
        range: Some(range),
        ..Allocate::plain(AllocationId(number), 10)
    };
    for range in [(0, 99), (1, 100), (0, 10)] {
        let refused = Err(Failure::Refused(Refusal::Unsupported));
        assert_eq!(allocate(&mut ring, &within(0, range)), refused);
    }
    assert!(allocate(&mut ring, &within(0, (0, 100))).is_ok());
}

#[test]
fn growing_behind_a_wrapped_ring_gives_room_with_the_next_round() {
    let mut ring = ring(100);
    let geometry = |size| Geometry { size, granule: 1 };
    take(&mut ring, 0, 60).unwrap();
    take(&mut ring, 1, 40).unwrap();
    free(&mut ring, 0);
    assert_eq!(take(&mut ring, 2, 50), Ok(0));
    ring.resize(geometry(200)).unwrap();
    ring.validate().unwrap();
    assert_eq!(ring.statistics().holes, 2);
    assert_eq!(take(&mut ring, 3, 11), full(10));
    free(&mut ring, 1);
    assert_eq!(take(&mut ring, 3, 150), Ok(50));
}

/// The live extents do not tell where the ring was; the gap with the most room is taken for it.
#[test]
fn a_restored_ring_goes_on_in_the_gap_with_the_most_room() {
    let restored = |live: &[(u64, u64)]| {
        let mut ring = Linear::new();
        ring.restore_begin(Geometry {
            size: 100,
            granule: 1,
        })
        .unwrap();
        for (number, &(offset, bytes)) in (0..).zip(live) {
            let extent = Extent { offset, bytes };
            ring.restore_part(AllocationId(number), &[extent]).unwrap();
        }
        ring.restore_end().unwrap();
        ring.validate().unwrap();
        ring
    };
    // Between two, in any order of the parts.
    assert_eq!(take(&mut restored(&[(70, 20), (0, 20)]), 9, 50), Ok(20));
    assert_eq!(take(&mut restored(&[(0, 20), (70, 20)]), 9, 50), Ok(20));
    // Round the end: 35 bytes in two pieces are less than 30 in one.
    let mut ring = restored(&[(15, 25), (70, 10)]);
    assert_eq!(take(&mut ring, 9, 30), Ok(40));
    // Equal rooms: the one round the end, whichever of its pieces is the longer one.
    for (live, place) in [([(10, 30), (60, 20)], 80), ([(20, 30), (70, 20)], 0)] {
        assert_eq!(take(&mut restored(&live), 9, 20), Ok(place));
    }
    // Else the lowest.
    let mut ring = restored(&[(0, 10), (40, 10), (80, 20)]);
    assert_eq!(take(&mut ring, 9, 30), Ok(10));
}

/// As long as the gap that the ring goes on in is the one with the most room, a restore does not
/// show: every answer is the old one's.
#[test]
fn a_restored_ring_answers_as_the_old_one_where_it_goes_on_at_the_same_place() {
    let (mut same, mut other) = (0, 0);
    for seed in 0..400 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut model = Model::new(200, 1);
        let mut old = ring(200);
        for number in 0..rng.u32(5..60) {
            let wish = Allocate::plain(AllocationId(number), rng.u64(1..30));
            let answer = allocate(&mut old, &wish);
            model.judge(&LINEAR, &wish, &answer);
            // Mostly the oldest goes first, as uploads do.
            if answer.is_err() || rng.u32(..4) == 0 {
                let at = if rng.u32(..4) == 0 {
                    rng.usize(..model.live.len())
                } else {
                    0
                };
                let (number, _) = model.live[at];
                model.free(number);
                free(&mut old, number);
            }
        }
        let mut new: Linear = model.restored(&LINEAR, &model.live);
        let mut forgotten = model.clone();
        (LINEAR.forget)(&mut forgotten);
        if forgotten.live != model.live {
            other += 1;
            assert!(new.statistics().largest_hole >= old.statistics().largest_hole);
            continue;
        }
        same += 1;
        for number in 100..200 {
            let bytes = rng.u64(1..30);
            assert_eq!(take(&mut new, number, bytes), take(&mut old, number, bytes));
            let live = old.blocks(0, 999);
            let live: Vec<_> = live.iter().filter_map(|block| block.owner).collect();
            let victim = live[rng.usize(..live.len())];
            assert_eq!(new.free(victim), old.free(victim));
            assert_eq!(new.statistics(), old.statistics());
            assert_eq!(new.blocks(0, 999), old.blocks(0, 999));
            if live.len() == 1 {
                break;
            }
        }
    }
    assert!(same > 200 && other > 10, "{same} {other}");
}
