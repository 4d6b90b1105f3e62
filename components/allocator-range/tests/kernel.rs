//! Part B of the reference, natively. The checks themselves are in `suite`, so that they can run
//! against the component as well.
#![allow(clippy::unwrap_used, missing_docs)]

mod suite;

use gpumm_allocator_range::RangeManager;
use gpumm_contract::allocator::{self, Allocate, Geometry, Mode, Refusal};
use gpumm_contract::{AllocationId, Allocator, Extent};
use suite::Executor;

struct Native(RangeManager);

impl Executor for Native {
    fn execute(&mut self, commands: &[u64]) -> Vec<u64> {
        allocator::execute(&mut self.0, commands)
    }

    fn validate(&self) -> Result<(), &'static str> {
        self.0.validate()
    }
}

fn native(size: u64, guard: u64) -> Box<dyn Executor> {
    let mut range = RangeManager::new().with_guard(guard);
    range.init(Geometry { size, granule: 1 }).unwrap();
    Box::new(Native(range))
}

#[test]
fn b_1_init() {
    suite::init(&native);
}

#[test]
fn b_2_reserve_errors() {
    suite::reserve_errors(&native);
}

#[test]
fn b_3_reserve() {
    suite::reserve(&native);
}

#[test]
fn b_4_insert() {
    suite::insert(&native);
}

#[test]
fn b_5_insert_range() {
    suite::insert_range(&native);
}

#[test]
fn b_6_outside_range() {
    suite::outside_range(&native);
}

#[test]
fn b_7_fragmentation() {
    suite::fragmentation(&native);
}

#[test]
fn b_8_align() {
    suite::align(&native);
}

#[test]
fn b_9_replace() {
    let [one, two, three] = [1, 2, 3].map(AllocationId);
    let mut range = RangeManager::new().with_guard(1);
    range
        .init(Geometry {
            size: 8,
            granule: 1,
        })
        .unwrap();
    let mut extents = Vec::new();
    let coloured = |number, bytes| Allocate {
        colour: 7,
        ..Allocate::plain(number, bytes)
    };
    for (number, bytes) in [(one, 2), (two, 3)] {
        range
            .allocate(&coloured(number, bytes), &mut extents)
            .unwrap();
    }
    range.replace(one, three).unwrap();
    range.validate().unwrap();
    let blocks = range.blocks(0, 9);
    let owners = blocks.iter().map(|b| (b.extent.offset, b.owner));
    let expected = [(0, Some(three)), (2, Some(two)), (5, None)];
    assert_eq!(owners.collect::<Vec<_>>(), expected);
    assert_eq!(range.free(one), Err(Refusal::NumberUnknown));
    assert_eq!(range.replace(one, two), Err(Refusal::NumberUnknown));
    assert_eq!(range.replace(two, three), Err(Refusal::NumberInUse));
    assert_eq!(range.replace(two, two), Err(Refusal::NumberInUse));
    // The colour is the old one's: beside it there is no gap for its like, and one for others.
    range.free(two).unwrap();
    extents.clear();
    range.allocate(&coloured(one, 1), &mut extents).unwrap();
    range.free(one).unwrap();
    let other = Allocate {
        mode: Mode::Low,
        ..Allocate::plain(one, 1)
    };
    range.allocate(&other, &mut extents).unwrap();
    let at = |offset| Extent { offset, bytes: 1 };
    assert_eq!(extents, [at(2), at(3)]);
    range.free(three).unwrap();
    range.validate().unwrap();
}

#[test]
fn b_10_evict_nothing() {
    suite::evict_nothing(&native);
}

#[test]
fn b_10_evict_everything() {
    suite::evict_everything(&native);
}

#[test]
fn b_10_evict_something() {
    suite::evict_something(&native);
}

#[test]
fn evict_around_holes() {
    suite::evict_around_holes(&native);
}

#[test]
fn b_11_evict_range() {
    suite::evict_range(&native);
}

#[test]
fn b_12_topdown_and_bottomup() {
    suite::directions(&native);
}

#[test]
fn b_13_once() {
    suite::once(&native);
}

#[test]
fn b_14_colour() {
    suite::colour(&native);
}

#[test]
fn b_15_colour_evict() {
    suite::colour_evict(&native);
}

#[test]
fn b_16_best_is_smallest() {
    suite::best_is_smallest(&native);
}

#[test]
fn ties_of_best_fit() {
    suite::ties(&native);
}

#[test]
fn b_17_high_align() {
    suite::high_align(&native);
}

#[test]
fn b_18_evict_is_newest() {
    suite::evict_is_newest(&native);
}

#[test]
fn b_19_range_of_pages() {
    suite::pages(&native);
}
