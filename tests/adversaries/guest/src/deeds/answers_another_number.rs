//! Answers an allocation under another number.

use crate::deed::Deed;
use gpumm_contract::AllocationId;
use gpumm_contract::allocator::Answer;

pub(crate) const DEED: Deed = Deed {
    answers: Some(|_, answers| {
        let number = answers.iter_mut().find_map(|answer| match answer {
            Answer::Extents(number, _) => Some(number),
            _ => None,
        });
        number
            .map(|number| *number = AllocationId(number.0 ^ 1))
            .is_some()
    }),
    ..Deed::HONEST
};
