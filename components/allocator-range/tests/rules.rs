//! The rules of every strategy, and the fuzzing. What modes and colours mean is in `model.rs`.
#![allow(missing_docs)]

use gpumm_allocator_range::RangeManager;
use gpumm_contract::allocator::Allocate;
use gpumm_strategy_suite::{Description, Expected, Model};

const RANGE: Description<RangeManager> = Description {
    name: "range",
    any_alignment: true,
    overlaps_show_late: true,
    scans: true,
    hints: false,
    expect: any_hole,
    ..Description::one_extent(RangeManager::new)
};

gpumm_strategy_suite::suite!(RANGE);

/// Which of the holes depends on their age.
fn any_hole(model: &Model, wish: &Allocate) -> Expected {
    match model.lowest(wish, 1) {
        Some(_) => Expected::AnyFit,
        None => Expected::NoSpace,
    }
}
