//! Answers an allocation with `freed`.

use crate::deed::Deed;
use gpumm_contract::allocator::Answer;

pub(crate) const DEED: Deed = Deed {
    answers: Some(|_, answers| {
        let answer = answers
            .iter_mut()
            .find(|answer| matches!(answer, Answer::Extents(..)));
        answer
            .map(|answer| *answer = Answer::Freed(answer.number()))
            .is_some()
    }),
    ..Deed::HONEST
};
