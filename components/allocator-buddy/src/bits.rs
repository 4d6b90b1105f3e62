//! 4096 slots as a bitmap of two levels: 64 words, and one word that says which of them hold a bit.

/// Bits of a key that one bitmap tells apart.
pub(crate) const DIGIT: u32 = 12;
/// Slots of a bitmap.
pub(crate) const SLOTS: usize = 1 << DIGIT;
/// The last slot.
pub(crate) const LAST: usize = SLOTS - 1;

/// A bitmap.
///
/// Bounds: slots below [`SLOTS`]; higher bits of a slot are ignored.
/// Invariants: bit `i` of `top` is set exactly when word `i` is not 0.
/// Complexity: O(1), but for [`Bits::last_multiple`].
#[derive(Clone, Debug)]
pub(crate) struct Bits {
    top: u64,
    words: [u64; 64],
}

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

impl Bits {
    pub(crate) const EMPTY: Bits = Bits {
        top: 0,
        words: [0; 64],
    };

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.top == 0
    }

    #[inline]
    pub(crate) fn has(&self, slot: usize) -> bool {
        let (word, bit) = place(slot);
        self.words[word] >> bit & 1 != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, slot: usize) {
        let (word, bit) = place(slot);
        self.words[word] |= 1 << bit;
        self.top |= 1 << word;
    }

    /// Takes a bit away; `true` when none is left.
    #[inline]
    pub(crate) fn clear(&mut self, slot: usize) -> bool {
        let (word, bit) = place(slot);
        self.words[word] &= !(1 << bit);
        if self.words[word] == 0 {
            self.top &= !(1 << word);
        }
        self.top == 0
    }

    /// The highest slot that is set.
    #[inline]
    pub(crate) fn last(&self) -> Option<usize> {
        let word = self.top.checked_ilog2()? as usize & 63;
        let bit = self.words[word].checked_ilog2()?;
        Some(word << 6 | bit as usize)
    }

    /// The lowest slot that is set and at least `from`.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
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
    pub(crate) fn last_multiple(&self, to: usize, zeros: u32) -> Option<usize> {
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
    pub(crate) fn count(&self) -> Option<u64> {
        let right = |(word, &bits): (usize, &u64)| (self.top >> word & 1 != 0) == (bits != 0);
        let sum = self.words.iter().map(|word| u64::from(word.count_ones()));
        let all = self.words.iter().enumerate().all(right);
        all.then(|| sum.sum())
    }
}
