//! Announces one answer less than it gives.

use crate::deed::Deed;

pub(crate) const DEED: Deed = Deed {
    words: Some(|words| {
        words[0] -= 1 << 32;
        true
    }),
    ..Deed::HONEST
};
