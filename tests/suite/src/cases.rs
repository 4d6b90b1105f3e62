//! Single rules that every strategy obeys.

use crate::description::{Description, Expected, Strategy};
use crate::dice::Dice;
use crate::drive::hint;
use crate::model::{Model, allocate};
use crate::random::bytes;
use gpumm_contract::allocator::{Allocate, Failure, Geometry, Refusal, Statistics};
use gpumm_contract::numbers::LIMIT;
use gpumm_contract::{AllocationId, Extent};

const GRANULE: u64 = 4096;

/// A wish for so many granules.
pub(crate) fn plain(number: u32, granules: u64) -> Allocate {
    Allocate::plain(AllocationId(number), granules * GRANULE)
}

/// A geometry of so many granules.
pub(crate) fn granules(count: u64) -> Geometry {
    Geometry {
        size: count * GRANULE,
        granule: GRANULE,
    }
}

/// A strategy and its model.
pub(crate) struct Pair<'a, S> {
    pub(crate) description: &'a Description<S>,
    pub(crate) strategy: S,
    pub(crate) model: Model,
}

impl<'a, S: Strategy> Pair<'a, S> {
    pub(crate) fn new(description: &'a Description<S>, count: u64) -> Self {
        let mut strategy = (description.new)();
        strategy.init(granules(count)).unwrap();
        Pair {
            description,
            strategy,
            model: Model::new(count, GRANULE),
        }
    }

    /// Asks, compares the answer with the model's, and returns the first extent.
    pub(crate) fn get(&mut self, wish: Allocate) -> Result<Extent, Failure> {
        let answer = allocate(&mut self.strategy, &wish);
        self.model.judge(self.description, &wish, &answer);
        self.model.compare(self.description, &self.strategy, 64);
        answer.map(|extents| extents[0])
    }

    pub(crate) fn free(&mut self, number: u32) {
        assert!(self.model.free(number));
        assert_eq!(self.strategy.free(AllocationId(number)), Ok(()));
        self.model.compare(self.description, &self.strategy, 64);
    }

    /// The wish is refused for this reason, and nothing changes.
    #[track_caller]
    fn refused(&mut self, wish: Allocate, why: Refusal) {
        let answer = allocate(&mut self.strategy, &wish);
        assert_eq!(answer, Err(Failure::Refused(why)), "{wish:?}");
        self.model.compare(self.description, &self.strategy, 64);
    }

    /// Whether the strategy offers a wish, which is none that the interface refuses.
    fn offers(&self, wish: &Allocate) -> bool {
        (self.description.expect)(&self.model, wish) != Expected::Unsupported
    }
}

/// Before `init`, and between the begin and the end of a restore, a strategy serves nothing.
pub fn nothing_serves_without_a_geometry<S: Strategy>(description: &Description<S>) {
    let refused = Err(Failure::Refused(Refusal::Geometry));
    let silent = |strategy: &mut S| {
        assert_eq!(allocate(strategy, &plain(1, 1)), refused);
        assert_eq!(strategy.free(AllocationId(1)), Err(Refusal::Geometry));
        assert_eq!(strategy.resize(granules(1)), Err(Refusal::Geometry));
        assert_eq!(strategy.statistics(), Statistics::default());
        assert_eq!(strategy.blocks(0, 9), []);
        assert_eq!(strategy.validate(), Ok(()));
    };
    let one = Extent {
        offset: 0,
        bytes: GRANULE,
    };
    let mut strategy = (description.new)();
    silent(&mut strategy);
    let part = strategy.restore_part(AllocationId(1), &[one]);
    assert_eq!(part, Err(Refusal::Geometry));
    assert_eq!(strategy.restore_end(), Err(Refusal::Geometry));
    strategy.restore_begin(granules(2)).unwrap();
    silent(&mut strategy);
    strategy.restore_end().unwrap();
    // A second end ends nothing, and a part belongs to a restore.
    assert_eq!(strategy.restore_end(), Err(Refusal::Geometry));
    let part = strategy.restore_part(AllocationId(1), &[one]);
    assert_eq!(part, Err(Refusal::Geometry));
    let extents = allocate(&mut strategy, &plain(1, 2)).unwrap();
    assert_eq!(
        extents.iter().map(|extent| extent.bytes).sum::<u64>(),
        2 * GRANULE
    );
}

/// A geometry out of bounds is refused by everything that takes one, and forgets nothing.
pub fn a_wrong_geometry_is_refused_and_forgets_nothing<S: Strategy>(description: &Description<S>) {
    let mut pair = Pair::new(description, 16);
    pair.get(plain(1, 4)).unwrap();
    let mut wrong = vec![
        (0, 4096),
        (4097, 4096),
        (4096, 0),
        (12288, 12288),
        (2048, 4096),
        (0, 0),
    ];
    if let Some(more) = description.most_granules.checked_add(1) {
        wrong.push((more, 1));
        wrong.push((more * 4096, 4096));
    }
    for (size, granule) in wrong {
        let geometry = Geometry { size, granule };
        assert_eq!(pair.strategy.init(geometry), Err(Refusal::Geometry));
        assert_eq!(pair.strategy.resize(geometry), Err(Refusal::Geometry));
        let begun = pair.strategy.restore_begin(geometry);
        assert_eq!(begun, Err(Refusal::Geometry));
        pair.model.compare(description, &pair.strategy, 64);
    }
    pair.free(1);
    // A right one forgets everything.
    pair.get(plain(1, 4)).unwrap();
    pair.strategy.init(granules(16)).unwrap();
    Model::new(16, GRANULE).compare(description, &pair.strategy, 64);
}

/// Each way in which a wish can be wrong has its refusal.
pub fn every_refusal_of_a_wish<S: Strategy>(description: &Description<S>) {
    let mut pair = Pair::new(description, 16);
    pair.get(plain(1, 1)).unwrap();
    pair.refused(plain(1, 1), Refusal::NumberInUse);
    pair.refused(plain(2, 0), Refusal::Size);
    for bytes in [1, GRANULE - 1, GRANULE + 1, u64::MAX] {
        let wish = Allocate {
            bytes,
            ..plain(2, 1)
        };
        pair.refused(wish, Refusal::Size);
    }
    for alignment in [3 * GRANULE, GRANULE + 1, u64::MAX] {
        let wish = Allocate {
            alignment,
            ..plain(2, 1)
        };
        if description.any_alignment && alignment.is_multiple_of(GRANULE) {
            pair.get(wish).unwrap();
            pair.free(2);
        } else {
            pair.refused(wish, Refusal::Alignment);
        }
    }
    let ranges = [
        (0, 16 * GRANULE + 1),
        (GRANULE, GRANULE),
        (2 * GRANULE, GRANULE),
        (0, u64::MAX),
        (u64::MAX, 0),
    ];
    for range in ranges {
        let wish = Allocate {
            range: Some(range),
            ..plain(2, 1)
        };
        pair.refused(wish, Refusal::Range);
    }
    for number in [LIMIT, u32::MAX - 1, u32::MAX] {
        pair.refused(plain(number, 1), Refusal::Unsupported);
        let freed = pair.strategy.free(AllocationId(number));
        assert_eq!(freed, Err(Refusal::NumberUnknown));
    }
    pair.get(plain(LIMIT - 1, 1)).unwrap();
    // An alignment below the granule is none.
    let wish = Allocate {
        alignment: 2,
        ..plain(2, 1)
    };
    pair.get(wish).unwrap();
    // What some strategies do not offer.
    let within = Allocate {
        range: Some((GRANULE, 9 * GRANULE)),
        ..plain(3, 1)
    };
    for wish in [plain(3, 3), within] {
        if !pair.offers(&wish) {
            pair.refused(wish, Refusal::Unsupported);
        }
    }
}

/// "No space" names the largest hole and changes nothing; the named hole can be had.
pub fn no_space_names_the_largest_hole<S: Strategy>(description: &Description<S>) {
    let mut pair = Pair::new(description, 16);
    for number in 0..16 {
        pair.get(plain(number, 1)).unwrap();
    }
    let full = Failure::NoSpace { largest_hole: 0 };
    assert_eq!(pair.get(plain(16, 1)), Err(full));
    // Ones and twos, in an order that leaves holes between what is live.
    for number in [5, 2, 9, 8, 12, 0, 13, 3] {
        pair.free(number);
        let answer = pair.get(plain(16, 16));
        let largest = (description.largest)(&pair.model);
        let largest_hole = largest * GRANULE;
        assert_eq!(answer, Err(Failure::NoSpace { largest_hole }));
        if largest != 0 {
            pair.get(plain(16, largest)).unwrap();
            pair.free(16);
        }
    }
    // What is larger than the arena is no other case.
    for wanted in [32, 1 << 51] {
        let answer = pair.get(plain(16, wanted));
        assert!(matches!(answer, Err(Failure::NoSpace { .. })), "{answer:?}");
    }
}

/// Only what is live can be freed, and only once.
pub fn what_is_unknown_cannot_be_freed<S: Strategy>(description: &Description<S>) {
    let mut pair = Pair::new(description, 16);
    pair.get(plain(4, 2)).unwrap();
    for number in [0, 3, 5, 1023, 1024, 1 << 20, LIMIT, u32::MAX] {
        for cleared in [false, true] {
            let freed = pair.strategy.free_as(AllocationId(number), cleared);
            assert_eq!(freed, Err(Refusal::NumberUnknown));
        }
        pair.model.compare(description, &pair.strategy, 64);
    }
    pair.free(4);
    let again = pair.strategy.free(AllocationId(4));
    assert_eq!(again, Err(Refusal::NumberUnknown));
    // The number can be used again.
    pair.get(plain(4, 2)).unwrap();
}

/// Whatever the hints, an answer obeys the wish, and what is wrong stays wrong.
pub fn hints_change_no_rule<S: Strategy>(description: &Description<S>) {
    let bytes = bytes(7, 4_000);
    let mut dice = Dice::new(&bytes);
    for _ in 0..200 {
        let mut strategy = (description.new)();
        strategy.init(granules(32)).unwrap();
        let mut taken = Vec::new();
        for number in 0..4 {
            let mut wish = Allocate {
                alignment: GRANULE << dice.below(3),
                ..plain(number, 1 << dice.below(3))
            };
            hint(&mut dice, &mut wish);
            let answer = allocate(&mut strategy, &wish);
            // The one hole that is tried may hold no aligned place.
            if wish.once && matches!(answer, Err(Failure::NoSpace { .. })) {
                continue;
            }
            // This one is no hint: it is obeyed or refused.
            let unsupported = Err(Failure::Refused(Refusal::Unsupported));
            if wish.contiguous && answer == unsupported {
                continue;
            }
            let extents = answer.unwrap();
            let apart = |pair: &[Extent]| pair[0].end() != Some(pair[1].offset);
            assert!(
                !wish.contiguous || !extents.windows(2).any(apart),
                "{extents:?}"
            );
            let total: u64 = extents.iter().map(|extent| extent.bytes).sum();
            assert!(total == wish.bytes || wish.keep_rounding && total > wish.bytes);
            let aligned = |extent: &Extent| extent.offset.is_multiple_of(wish.alignment);
            assert!(extents.iter().all(aligned), "{wish:?} {extents:?}");
            taken.extend(extents);
            wish.bytes += 1;
            let wrong = Err(Failure::Refused(Refusal::Size));
            assert_eq!(allocate(&mut strategy, &wish), wrong);
        }
        taken.sort();
        let apart = |pair: &[Extent]| pair[0].end() <= Some(pair[1].offset);
        assert!(taken.windows(2).all(apart), "{taken:?}");
        assert_eq!(strategy.validate(), Ok(()));
    }
}

/// The end moves over what is free, and over nothing else.
pub fn resize_cuts_only_what_is_free<S: Strategy>(description: &Description<S>) {
    let mut pair = Pair::new(description, 16);
    let first = pair.get(plain(1, 4)).unwrap();
    // Wherever it lies, an arena that ends inside it is refused.
    let end = first.end().unwrap() / GRANULE;
    assert_eq!(
        pair.strategy.resize(granules(end - 1)),
        Err(Refusal::Geometry)
    );
    let coarse = Geometry {
        size: 64 * GRANULE,
        granule: 2 * GRANULE,
    };
    assert_eq!(pair.strategy.resize(coarse), Err(Refusal::Geometry));
    pair.model.compare(description, &pair.strategy, 64);
    for count in [end, end + 1, end + 1, 16, 63, 64, 65, 130, 64, end] {
        assert!(pair.model.resize(count));
        assert_eq!(pair.strategy.resize(granules(count)), Ok(()));
        pair.model.compare(description, &pair.strategy, 64);
    }
    pair.free(1);
    assert!(pair.model.resize(1));
    assert_eq!(pair.strategy.resize(granules(1)), Ok(()));
    pair.get(plain(1, 1)).unwrap();
    let full = Failure::NoSpace { largest_hole: 0 };
    assert_eq!(pair.get(plain(2, 1)), Err(full));
    // What is new can be had.
    assert!(pair.model.resize(2));
    assert_eq!(pair.strategy.resize(granules(2)), Ok(()));
    pair.get(plain(2, 1)).unwrap();
}

/// No sum overflows in the largest arenas, and no byte of them is lost.
pub fn the_whole_of_the_largest_arena_can_be_taken<S: Strategy>(description: &Description<S>) {
    for granule in [1, 4096, 1 << 40, 1 << 63] {
        let most = description.most_granules.saturating_mul(granule);
        let size = most.min(u64::MAX / granule * granule);
        let mut strategy = (description.new)();
        strategy.init(Geometry { size, granule }).unwrap();
        // Hole by hole: one where any length is served.
        let (mut number, mut taken) = (0, 0);
        while strategy.statistics().largest_hole != 0 {
            let hole = strategy.statistics().largest_hole;
            let wish = Allocate::plain(AllocationId(number), hole);
            let extents = allocate(&mut strategy, &wish).unwrap();
            taken += extents.iter().map(|extent| extent.bytes).sum::<u64>();
            number += 1;
        }
        assert_eq!((taken, strategy.statistics().free_bytes), (size, 0));
        assert_eq!(strategy.statistics().used_bytes, size);
        (0..number).for_each(|number| strategy.free(AllocationId(number)).unwrap());
        assert_eq!(strategy.statistics().free_bytes, size);
        // The one place at the highest alignment there is.
        let high = Allocate {
            alignment: 1 << 63,
            ..Allocate::plain(AllocationId(0), granule)
        };
        let first = allocate(&mut strategy, &high).unwrap();
        assert!(first[0].offset.is_multiple_of(1 << 63));
        let second = allocate(
            &mut strategy,
            &Allocate {
                number: AllocationId(1),
                ..high
            },
        );
        let two = size > 1 << 63;
        assert_eq!(second.is_ok(), two, "{granule}: {second:?}");
        assert_eq!(strategy.validate(), Ok(()));
    }
}

/// A page begins with the block that ends behind the byte, however the block is cut.
pub fn blocks_are_paged_from_any_byte<S: Strategy>(description: &Description<S>) {
    let mut pair = Pair::new(description, 16);
    for number in 0..4 {
        pair.get(plain(number, 2)).unwrap();
    }
    pair.free(1);
    let all = pair.strategy.blocks(0, usize::MAX);
    for from in (0..=17 * GRANULE).step_by(GRANULE as usize / 2) {
        for from in [from.saturating_sub(1), from, from + 1] {
            let behind = all.iter().filter(|block| block.extent.end() > Some(from));
            let behind: Vec<_> = behind.copied().collect();
            for limit in [0, 1, 2, 99] {
                let page = pair.strategy.blocks(from, limit);
                assert_eq!(page, behind[..limit.min(behind.len())], "from {from}");
            }
        }
    }
    assert_eq!(pair.strategy.blocks(u64::MAX, 9), []);
    for page in 1..9 {
        pair.model.compare(description, &pair.strategy, page);
    }
}
