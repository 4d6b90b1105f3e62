//! The model of ids: looks for every run id by id.

use gpumm_allocator_id::{Id, MAX_IDS};
use gpumm_contract::allocator::Allocate;
use gpumm_strategy_suite::{Description, Expected, Model};

pub(crate) const ID: Description<Id> = Description {
    name: "id",
    most_granules: MAX_IDS,
    adopts_several: false,
    history_shows: false,
    expect: lowest_at_a_multiple_of_the_length,
    holes: runs_that_can_be_had,
    largest: longest_run_that_can_be_had,
    ..Description::one_extent(Id::new)
};

fn lowest_at_a_multiple_of_the_length(model: &Model, wish: &Allocate) -> Expected {
    let wanted = model.wanted(wish);
    if wanted.is_power_of_two() {
        Expected::at(model, wish, model.lowest(wish, wanted))
    } else {
        Expected::Unsupported
    }
}

/// From the lowest free granule on, the longest run that is free, of a power of two, and at a
/// multiple of it.
fn runs_that_can_be_had(model: &Model) -> Vec<(u64, u64)> {
    let (mut holes, mut at) = (Vec::new(), 0);
    while at < model.granules() {
        let lengths = (0..20).map(|power| 1 << power).rev();
        let good = |length: &u64| at.is_multiple_of(*length) && model.is_free(at, at + length);
        let length = lengths.into_iter().find(good);
        holes.extend(length.map(|length| (at, length)));
        at += length.unwrap_or(1);
    }
    holes
}

fn longest_run_that_can_be_had(model: &Model) -> u64 {
    runs_that_can_be_had(model)
        .iter()
        .map(|run| run.1)
        .max()
        .unwrap_or(0)
}
