//! Answers that it has freed what was not to be freed.

use crate::deed::Deed;
use gpumm_contract::AllocationId;
use gpumm_contract::allocator::Answer;

pub(crate) const DEED: Deed = Deed {
    answers: Some(|_, answers| {
        let number = answers.iter_mut().find_map(|answer| match answer {
            Answer::Freed(number) => Some(number),
            _ => None,
        });
        number
            .map(|number| *number = AllocationId(number.0 ^ 1))
            .is_some()
    }),
    ..Deed::HONEST
};
