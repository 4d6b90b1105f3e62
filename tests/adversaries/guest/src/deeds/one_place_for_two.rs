//! Gives two allocations of one list the same place.

use crate::deed::Deed;
use gpumm_contract::allocator::Answer;

pub(crate) const DEED: Deed = Deed {
    answers: Some(|scene, answers| {
        let mut given = answers.iter_mut().filter_map(|answer| match answer {
            Answer::Extents(_, extents) => Some(&mut extents[0]),
            _ => None,
        });
        let (Some(first), Some(second)) = (given.next(), given.next()) else {
            return false;
        };
        second.offset = first.offset;
        scene.holds(*second)
    }),
    ..Deed::HONEST
};
