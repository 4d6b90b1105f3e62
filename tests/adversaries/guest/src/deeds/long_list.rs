//! Answers millions of commands that nobody gave.

use crate::deed::Deed;

/// The most that the engine lets pass.
const WORDS: usize = (16 << 20) - 1;

pub(crate) const DEED: Deed = Deed {
    words: Some(|words| lengthen(words, WORDS)),
    ..Deed::HONEST
};

/// Appends answers until there are so many words.
pub(super) fn lengthen(words: &mut Vec<u64>, count: usize) -> bool {
    /// `freed(0)`, one word.
    const FREED: u64 = 1 << 8 | 3;
    let answers = (words[0] >> 32) + (count - words.len()) as u64;
    words.resize(count, FREED);
    words[0] = u64::from(words[0] as u32) | answers << 32;
    true
}
