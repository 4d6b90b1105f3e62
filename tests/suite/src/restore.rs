//! Rules of a restore.

use crate::cases::{Pair, granules, plain};
use crate::description::{Description, Strategy};
use crate::dice::Dice;
use crate::model::{Model, allocate};
use crate::random::bytes;
use gpumm_contract::allocator::{Failure, Refusal};
use gpumm_contract::numbers::LIMIT;
use gpumm_contract::{AllocationId, Extent};

const GRANULE: u64 = 4096;

fn at(granule: u64, count: u64) -> Extent {
    Extent {
        offset: granule * GRANULE,
        bytes: count * GRANULE,
    }
}

/// An extent to adopt is on the granule, inside the arena, and nobody's.
pub fn a_restore_refuses_what_is_off_outside_or_taken<S: Strategy>(description: &Description<S>) {
    let mut strategy = (description.new)();
    strategy.restore_begin(granules(16)).unwrap();
    strategy.restore_part(AllocationId(1), &[at(4, 2)]).unwrap();
    let odd = |offset, bytes| Extent { offset, bytes };
    let wrong = [
        odd(GRANULE / 4, GRANULE),
        odd(GRANULE, GRANULE / 4),
        at(1, 0),
        at(15, 2),
        at(16, 1),
        odd(u64::MAX - (GRANULE - 1), GRANULE),
    ];
    for extent in wrong {
        let part = strategy.restore_part(AllocationId(2), &[extent]);
        assert_eq!(part, Err(Refusal::Extent), "{extent:?}");
    }
    for taken in [at(4, 2), at(3, 2), at(5, 1), at(5, 2), at(2, 8)] {
        if !description.overlaps_show_late {
            let part = strategy.restore_part(AllocationId(2), &[taken]);
            assert_eq!(part, Err(Refusal::Extent), "{taken:?}");
        }
        overlap_is_refused(description, &[(1, &[at(4, 2)]), (2, &[taken])]);
    }
    let empty = strategy.restore_part(AllocationId(2), &[]);
    assert_eq!(empty, Err(Refusal::Extent));
    let known = strategy.restore_part(AllocationId(1), &[at(8, 1)]);
    assert_eq!(known, Err(Refusal::NumberInUse));
    for number in [LIMIT, u32::MAX] {
        let part = strategy.restore_part(AllocationId(number), &[at(8, 1)]);
        assert_eq!(part, Err(Refusal::Unsupported));
    }
    strategy.restore_part(AllocationId(2), &[at(7, 1)]).unwrap();
    strategy.restore_end().unwrap();
    let mut model = Model::new(16, GRANULE);
    model.adopt(1, vec![at(4, 2)]);
    model.adopt(2, vec![at(7, 1)]);
    (description.forget)(&mut model);
    model.compare(description, &strategy, 3);
    for number in [1, 2] {
        model.free(number);
        strategy.free(AllocationId(number)).unwrap();
        model.compare(description, &strategy, 3);
    }
}

/// The last of these parts, or the end, is refused; then nothing is served.
fn overlap_is_refused<S: Strategy>(description: &Description<S>, parts: &[(u32, &[Extent])]) {
    let mut strategy = (description.new)();
    strategy.restore_begin(granules(16)).unwrap();
    let ended = parts
        .iter()
        .try_for_each(|(number, extents)| strategy.restore_part(AllocationId(*number), extents));
    if !description.overlaps_show_late {
        assert_eq!(ended, Err(Refusal::Extent), "{parts:?}");
        return;
    }
    assert_eq!(ended, Ok(()), "{parts:?}");
    assert_eq!(strategy.restore_end(), Err(Refusal::Extent), "{parts:?}");
    let served = allocate(&mut strategy, &plain(9, 1));
    assert_eq!(served, Err(Failure::Refused(Refusal::Geometry)));
    strategy.init(granules(16)).unwrap();
    Model::new(16, GRANULE).compare(description, &strategy, 3);
}

/// A part that fails takes nothing, neither its number nor the extents before the wrong one.
pub fn a_failed_part_leaves_nothing_behind<S: Strategy>(description: &Description<S>) {
    let mut strategy = (description.new)();
    strategy.restore_begin(granules(16)).unwrap();
    for wrong in [at(15, 2), at(7, 0)] {
        let part = strategy.restore_part(AllocationId(2), &[at(7, 1), wrong]);
        assert_eq!(part, Err(Refusal::Extent), "{wrong:?}");
    }
    let why = if description.adopts_several {
        Refusal::Extent
    } else {
        Refusal::Unsupported
    };
    // Each of them is right, together they are not.
    for twice in [at(7, 1), at(6, 2)] {
        if description.adopts_several {
            overlap_is_refused(description, &[(2, &[at(7, 1), twice])]);
        }
        if !description.overlaps_show_late {
            let part = strategy.restore_part(AllocationId(2), &[at(7, 1), twice]);
            assert_eq!(part, Err(why), "{twice:?}");
        }
    }
    strategy.restore_part(AllocationId(2), &[at(7, 1)]).unwrap();
    strategy.restore_end().unwrap();
    let mut model = Model::new(16, GRANULE);
    model.adopt(2, vec![at(7, 1)]);
    (description.forget)(&mut model);
    model.compare(description, &strategy, 3);
    // A new begin forgets the parts of a restore that was not ended.
    strategy.restore_begin(granules(16)).unwrap();
    strategy.restore_part(AllocationId(2), &[at(7, 1)]).unwrap();
    strategy.restore_begin(granules(8)).unwrap();
    strategy.restore_end().unwrap();
    Model::new(8, GRANULE).compare(description, &strategy, 3);
}

/// Allocations that another strategy made: runs of any length anywhere are adopted, several extents
/// where the strategy says so.
pub fn foreign_extents_are_adopted_or_refused<S: Strategy>(description: &Description<S>) {
    for seed in 0..200 {
        let bytes = bytes(seed, 2_000);
        let mut dice = Dice::new(&bytes);
        let count = 2 + dice.below(400);
        let most = if description.adopts_several { 3 } else { 1 };
        let mut model = foreign(&mut dice, count, most);
        let mut strategy = model.restored(description, &model.live);
        (description.forget)(&mut model);
        model.compare(description, &strategy, 1 + seed as usize);
        dice.shuffle(&mut model.live);
        while let Some((number, _)) = model.live.first() {
            let number = *number;
            model.free(number);
            strategy.free(AllocationId(number)).unwrap();
            assert_eq!(strategy.validate(), Ok(()));
        }
        model.compare(description, &strategy, 9);
    }
    if !description.adopts_several {
        let mut strategy = (description.new)();
        strategy.restore_begin(granules(16)).unwrap();
        // Also when they follow each other: their owner knows them as two.
        for second in [at(8, 1), at(2, 1)] {
            let part = strategy.restore_part(AllocationId(1), &[at(1, 1), second]);
            assert_eq!(part, Err(Refusal::Unsupported));
        }
        strategy.restore_end().unwrap();
        Model::new(16, GRANULE).compare(description, &strategy, 9);
    }
}

/// What came about elsewhere is filed while the strategy serves, and is then as good as restored;
/// what is off, outside or taken changes nothing.
pub fn foreign_extents_are_adopted_while_serving<S: Strategy>(description: &Description<S>) {
    assert_eq!(
        (description.new)().adopt(AllocationId(1), &[at(0, 1)]),
        Err(Refusal::Geometry)
    );
    for seed in 0..100 {
        let bytes = bytes(seed, 2_000);
        let mut dice = Dice::new(&bytes);
        let count = 2 + dice.below(400);
        let most = if description.adopts_several { 3 } else { 1 };
        let mut model = foreign(&mut dice, count, most);
        dice.shuffle(&mut model.live);
        let known = dice.below(1 + model.live.len() as u64) as usize;
        let mut strategy: S = model.restored(description, &model.live[..known]);
        for (number, extents) in &model.live[known..] {
            match strategy.adopt(AllocationId(*number), extents) {
                Ok(()) => {}
                // A strategy without a choice says so, and is restored as a whole.
                Err(Refusal::Unsupported) => return,
                Err(why) => panic!("{number} at {extents:?}: {why}"),
            }
            assert_eq!(strategy.validate(), Ok(()));
        }
        for &(number, ref extents) in &model.live {
            let again = strategy.adopt(AllocationId(number), extents);
            assert_eq!(again, Err(Refusal::NumberInUse));
            let taken = strategy.adopt(AllocationId(LIMIT - 1), &extents[..1]);
            assert_eq!(taken, Err(Refusal::Extent));
        }
        for wrong in [at(count, 1), at(0, 0), at(count - 1, 2)] {
            let refused = strategy.adopt(AllocationId(LIMIT - 1), &[wrong]);
            assert_eq!(refused, Err(Refusal::Extent), "{wrong:?}");
        }
        assert!(strategy.adopt(AllocationId(LIMIT - 1), &[]).is_err());
        (description.forget)(&mut model);
        let restored: S = model.restored(description, &model.live);
        assert_eq!(strategy.statistics(), restored.statistics());
        model.compare(description, &strategy, 1 + seed as usize);
        while let Some((number, _)) = model.live.first() {
            let number = *number;
            model.free(number);
            strategy.free(AllocationId(number)).unwrap();
            assert_eq!(strategy.validate(), Ok(()));
        }
        model.compare(description, &strategy, 9);
    }
}

/// Random live allocations of one to `most` extents, as another strategy might have made.
fn foreign(dice: &mut Dice<'_>, count: u64, most: u64) -> Model {
    let mut model = Model::new(count, GRANULE);
    let mut pieces = Vec::new();
    let mut from = 0;
    while from < count {
        let length = (1 + dice.below(count / 8 + 1)).min(count - from);
        if !dice.once_in(3) {
            pieces.push(at(from, length));
        }
        from += length;
    }
    dice.shuffle(&mut pieces);
    let mut number = 0;
    while !pieces.is_empty() {
        let take = (1 + dice.below(most) as usize).min(pieces.len());
        model.adopt(number, pieces.split_off(pieces.len() - take));
        number += 7;
    }
    model
}

/// After a restore the largest hole is no smaller, whatever was freed before in which order.
pub fn a_restored_strategy_is_as_good_as_the_old_one<S: Strategy>(description: &Description<S>) {
    for seed in 0..60 {
        let bytes = bytes(seed, 400);
        let mut dice = Dice::new(&bytes);
        let mut pair = Pair::new(description, 64);
        for number in 0..60 {
            let _ = pair.get(plain(number, 1 << dice.below(4)));
            if dice.once_in(2) {
                let live = pair.model.live.len() as u64;
                if live != 0 {
                    let (number, _) = pair.model.live[dice.below(live) as usize];
                    pair.free(number);
                }
            }
        }
        let restored: S = pair.model.restored(description, &pair.model.live);
        let (old, new) = (pair.strategy.statistics(), restored.statistics());
        assert!(new.largest_hole >= old.largest_hole, "{new:?} {old:?}");
        assert_eq!(
            (new.used_bytes, new.allocations),
            (old.used_bytes, old.allocations)
        );
        if !description.history_shows {
            assert_eq!(new, old);
        }
    }
}
