//! Answers in a version of the layout that does not exist.

use crate::deed::Deed;

pub(crate) const DEED: Deed = Deed {
    words: Some(|words| {
        words[0] += 1;
        true
    }),
    ..Deed::HONEST
};
