//! Leaves the last command unanswered.

use crate::deed::Deed;

pub(crate) const DEED: Deed = Deed {
    answers: Some(|_, answers| answers.pop().is_some()),
    ..Deed::HONEST
};
