//! Wishes that come without a list.

use crate::cases::{granules, plain};
use crate::description::{Description, Strategy};
use crate::dice::Dice;
use crate::model::allocate;
use crate::random::bytes;
use gpumm_contract::{AllocationId, Extent};

/// A single wish without a list gets what it gets in one, or changes nothing.
pub fn a_single_wish_is_served_as_in_a_list<S: Strategy>(description: &Description<S>) {
    let mut none = (description.new)();
    assert_eq!(none.allocate_one(AllocationId(1), 4096), None);
    for seed in 0..40 {
        let bytes = bytes(seed, 3_000);
        let mut dice = Dice::new(&bytes);
        let mut strategy = (description.new)();
        strategy.init(granules(64)).unwrap();
        let mut live = Vec::new();
        for number in 0..200 {
            let wish = plain(number, 1 + dice.below(9));
            let mut twin = strategy.clone();
            let listed = allocate(&mut twin, &wish);
            match strategy.allocate_one(wish.number, wish.bytes) {
                Some(offset) => {
                    let extent = Extent {
                        offset,
                        bytes: wish.bytes,
                    };
                    assert_eq!(listed, Ok(vec![extent]));
                }
                None => assert_eq!(allocate(&mut strategy, &wish), listed),
            }
            assert_eq!(strategy.validate(), Ok(()));
            assert_eq!(strategy.statistics(), twin.statistics());
            live.extend(listed.is_ok().then_some(number));
            if live.len() > 4 && dice.once_in(2) {
                let gone = live.swap_remove(dice.below(live.len() as u64) as usize);
                strategy.free(AllocationId(gone)).unwrap();
            }
            // Wrong ones change nothing.
            let before = strategy.statistics();
            for (number, bytes) in [(*live.first().unwrap_or(&0), 4096), (900, 0), (900, 4097)] {
                if live.contains(&number) || number == 900 {
                    assert_eq!(strategy.allocate_one(AllocationId(number), bytes), None);
                }
            }
            assert_eq!(strategy.statistics(), before);
        }
    }
}
