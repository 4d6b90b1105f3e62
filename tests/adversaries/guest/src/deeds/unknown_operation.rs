//! Answers with an operation that does not exist.

use crate::deed::Deed;

pub(crate) const DEED: Deed = Deed {
    words: Some(|words| {
        words[1] |= 0xff;
        true
    }),
    ..Deed::HONEST
};
