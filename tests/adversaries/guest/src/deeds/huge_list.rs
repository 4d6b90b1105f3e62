//! Answers with half of the memory that it may have.

use super::long_list::lengthen;
use crate::deed::Deed;

/// More than the engine lets pass.
const WORDS: usize = 32 << 20;

pub(crate) const DEED: Deed = Deed {
    words: Some(|words| lengthen(words, WORDS)),
    ..Deed::HONEST
};
