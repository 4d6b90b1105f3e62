//! The model of a ring: walks it granule by granule.

use gpumm_allocator_linear::Linear;
use gpumm_contract::allocator::Allocate;
use gpumm_strategy_suite::{Description, Expected, Model};

pub(crate) const LINEAR: Description<Linear> = Description {
    name: "linear",
    adopts_several: false,
    expect: first_place_behind_the_newest,
    largest: longest_open_run,
    forget: go_on_in_the_best_gap,
    ..Description::one_extent(Linear::new)
};

/// Which granules the ring has not given back: all from the oldest allocation round to the newest.
fn closed(model: &Model) -> Vec<bool> {
    let mut closed = vec![false; model.owners.len()];
    if let (Some(oldest), Some(newest)) = (model.live.first(), model.live.last()) {
        let mut at = (oldest.1[0].offset / model.granule) as usize;
        loop {
            closed[at] = true;
            at = (at + 1) % closed.len();
            if at == head(model, newest) % closed.len() {
                break;
            }
        }
    }
    closed
}

fn head(model: &Model, newest: &(u32, Vec<gpumm_contract::Extent>)) -> usize {
    (newest.1[0].end().unwrap_or(0) / model.granule) as usize
}

fn first_place_behind_the_newest(model: &Model, wish: &Allocate) -> Expected {
    if wish
        .range
        .is_some_and(|range| range != (0, model.geometry().size))
    {
        return Expected::Unsupported;
    }
    let closed = closed(model);
    let head = model.live.last().map_or(0, |newest| head(model, newest));
    let (wanted, step) = (model.wanted(wish) as usize, model.step(wish) as usize);
    let fits = |at: &usize| {
        let run = closed.get(*at..at.saturating_add(wanted));
        at.is_multiple_of(step) && run.is_some_and(|run| !run.contains(&true))
    };
    let place = (head..closed.len()).chain(0..head).find(fits);
    Expected::at(model, wish, place.map(|at| at as u64))
}

fn longest_open_run(model: &Model) -> u64 {
    let runs = closed(model);
    let runs = runs.split(|closed| *closed).map(<[bool]>::len);
    runs.max().unwrap_or(0) as u64
}

/// The gap with the most room becomes the one that the ring goes on in; of equals the one round the
/// arena's end, which is the one before the lowest allocation, then the lowest.
fn go_on_in_the_best_gap(model: &mut Model) {
    model.live.sort_by_key(|(_, extents)| extents[0].offset);
    let mut best = None;
    for turn in 0..model.live.len() {
        let mut turned = model.clone();
        turned.live.rotate_left(turn);
        let room = longest_open_run(&turned);
        if best.is_none_or(|(known, _)| room > known) {
            best = Some((room, turn));
        }
    }
    if let Some((_, turn)) = best {
        model.live.rotate_left(turn);
    }
}
