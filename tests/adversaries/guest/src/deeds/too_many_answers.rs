//! Answers a command that nobody gave.

use crate::deed::Deed;
use gpumm_contract::AllocationId;
use gpumm_contract::allocator::Answer;

pub(crate) const DEED: Deed = Deed {
    answers: Some(|_, answers| {
        answers.push(Answer::Freed(AllocationId(3)));
        true
    }),
    ..Deed::HONEST
};
