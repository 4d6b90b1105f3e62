//! Answers with a list of millions of words.

use crate::deed::Deed;

/// A quarter of the memory that it may have.
const WORDS: usize = 16 << 20;

pub(crate) const DEED: Deed = Deed {
    words: Some(|words| {
        words.resize(WORDS, 1 << 8 | 3);
        words[0] = u64::from(words[0] as u32) | (WORDS as u64) << 32;
        true
    }),
    ..Deed::HONEST
};
