//! 4096 slots as a bitmap of two levels: 64 words, and one word that says which of them hold a bit.

/// Bits of a key that one bitmap tells apart.
pub(crate) const DIGIT: u32 = 12;
/// Slots of a bitmap.
pub(crate) const SLOTS: usize = 1 << DIGIT;
/// The last slot.
pub(crate) const LAST: usize = SLOTS - 1;

/// The words of a bitmap.
pub(crate) type Words = [u64; 64];

/// The word of a slot, and its bit there.
#[inline]
fn place(slot: usize) -> (usize, u32) {
    (slot >> 6 & 63, slot as u32 & 63)
}

/// Every bit up to and with one.
#[inline]
fn up_to(bit: u32) -> u64 {
    u64::MAX >> (63 - bit)
}

/// The bits of a word whose number has `zeros` low bits clear.
fn multiples(zeros: u32) -> u64 {
    const OF: [u64; 6] = [
        u64::MAX,
        u64::MAX / 3,
        u64::MAX / 15,
        u64::MAX / 255,
        u64::MAX / 65535,
        (1 << 32) + 1,
    ];
    OF.get(zeros as usize).copied().unwrap_or(1)
}

/// Sets a bit in a top word and words.
#[inline]
pub(crate) fn set(top: &mut u64, words: &mut Words, slot: usize) {
    let (word, bit) = place(slot);
    words[word] |= 1 << bit;
    *top |= 1 << word;
}

/// Takes a bit away; `true` when none is left.
#[inline]
pub(crate) fn clear(top: &mut u64, words: &mut Words, slot: usize) -> bool {
    let (word, bit) = place(slot);
    words[word] &= !(1 << bit);
    // Without a branch: whether it was the word's last bit cannot be foreseen.
    *top &= !(u64::from(words[word] == 0) << word);
    *top == 0
}

/// Whether a bit is set.
#[inline]
pub(crate) fn has(words: &Words, slot: usize) -> bool {
    let (word, bit) = place(slot);
    words[word] >> bit & 1 != 0
}

/// A bitmap to look at.
///
/// Bounds: slots below [`SLOTS`]; higher bits of a slot are ignored.
/// Invariants: bit `i` of `top` is set exactly when word `i` is not 0.
/// Complexity: O(1), but for [`Bits::last_multiple`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bits<'a> {
    pub(crate) top: u64,
    pub(crate) words: &'a Words,
}

impl Bits<'_> {
    /// The highest slot that is set.
    #[inline]
    pub(crate) fn last(self) -> Option<usize> {
        let word = self.top.checked_ilog2()? as usize & 63;
        let bit = self.words[word].checked_ilog2()?;
        Some(word << 6 | bit as usize)
    }

    /// The lowest slot that is set and at least `from`.
    pub(crate) fn next(self, from: usize) -> Option<usize> {
        let (word, bit) = place(from);
        let here = self.words[word] & u64::MAX << bit;
        if here != 0 {
            return Some(word << 6 | here.trailing_zeros() as usize);
        }
        let above = self.top & !up_to(word as u32);
        let word = above.trailing_zeros() as usize;
        (above != 0).then(|| word << 6 | self.words[word].trailing_zeros() as usize)
    }

    /// The highest slot that is set, at most `to`, and has `zeros` low bits clear.
    ///
    /// Complexity: O(words).
    pub(crate) fn last_multiple(self, to: usize, zeros: u32) -> Option<usize> {
        let (word, bit) = place(to);
        let (fine, coarse) = (multiples(zeros.min(6)), multiples(zeros.saturating_sub(6)));
        let mut top = self.top & coarse & up_to(word as u32);
        while let Some(at) = top.checked_ilog2() {
            let limit = if at as usize == word {
                up_to(bit)
            } else {
                u64::MAX
            };
            if let Some(bit) = (self.words[at as usize] & fine & limit).checked_ilog2() {
                return Some((at << 6 | bit) as usize);
            }
            top &= !(1 << at);
        }
        None
    }

    /// How many slots are set; `None` when the top word is wrong.
    pub(crate) fn count(self) -> Option<u64> {
        let right = |(word, &bits): (usize, &u64)| (self.top >> word & 1 != 0) == (bits != 0);
        let sum = self.words.iter().map(|word| u64::from(word.count_ones()));
        let all = self.words.iter().enumerate().all(right);
        all.then(|| sum.sum())
    }
}
