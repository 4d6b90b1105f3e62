//! Content words: what test contents of a buffer look like.
//!
//! Word `i` of a buffer's generation is `seed + i * stride`, where seed and odd stride are
//! mixed from buffer and generation. This choice costs one addition per word, so writing and
//! checking run at the speed of memory, and it shows:
//!
//! - *exchanged, shifted or dropped segments*: the stride is odd, so no two words of one
//!   generation are equal, and at most one of 2^64 words is 0;
//! - *another buffer or generation*: seeds and strides differ, so at most one of two
//!   neighbouring words can agree by chance, at any shift. With one stride for all buffers a
//!   shifted buffer could agree everywhere.
//!
//! Words are little-endian and counted from the logical beginning of the buffer. At a cut
//! that is not a multiple of 8, each side holds its bytes of the word.

/// Whose content words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PatternKey {
    /// The buffer.
    pub buffer: u64,
    /// How often it was rewritten.
    pub generation: u64,
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Bytes compared.
    pub bytes_verified: u64,
    /// Bytes in wrong words: 8 for a wrong word, fewer for a word that a cut or the end of
    /// the buffer leaves in part; the parts of a cut word count each for itself.
    pub corrupt_bytes: u64,
    /// The logical offset of the first wrong word (or part of one).
    pub first_corrupt_offset: Option<u64>,
}

impl CheckReport {
    /// Whether all that was compared was right.
    pub fn is_clean(&self) -> bool {
        self.corrupt_bytes == 0
    }

    /// Adds what a comparison of other bytes found.
    pub fn add(&mut self, other: &CheckReport) {
        self.bytes_verified += other.bytes_verified;
        self.corrupt_bytes += other.corrupt_bytes;
        self.first_corrupt_offset = match (self.first_corrupt_offset, other.first_corrupt_offset) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// The finalizer of SplitMix64: a bijection in which every input bit reaches every output
/// bit.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const WORD: usize = 8;
/// Words per step of the fast loops: four 128-bit or two 256-bit registers.
const LANES: usize = 8;
const GROUP: usize = LANES * WORD;
/// Bytes compared before the result is looked at.
const CHECK_BLOCK: usize = 8 * GROUP;

/// The arithmetic sequence behind a key.
#[derive(Clone, Copy)]
struct Words {
    seed: u64,
    stride: u64,
}

impl Words {
    fn new(key: PatternKey) -> Words {
        let buffer = mix(key.buffer.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let seed = mix(buffer.wrapping_add(key.generation.wrapping_mul(0xd1b5_4a32_d192_ed03)));
        Words {
            seed,
            stride: mix(seed ^ 0x2545_f491_4f6c_dd1d) | 1,
        }
    }

    fn word(self, index: u64) -> u64 {
        self.seed.wrapping_add(index.wrapping_mul(self.stride))
    }

    fn lanes(self, index: u64) -> [u64; LANES] {
        std::array::from_fn(|lane| self.word(index.wrapping_add(lane as u64)))
    }
}

impl PatternKey {
    /// The word with this index.
    pub fn word(self, index: u64) -> u64 {
        Words::new(self).word(index)
    }
}

/// Where a piece that begins at the logical `offset` reaches the next whole word.
fn head(offset: u64, len: usize) -> usize {
    let into = (offset % WORD as u64) as usize;
    ((WORD - into) % WORD).min(len)
}

/// The part of a word that a piece at `offset` begins with.
fn part(words: Words, offset: u64, len: usize) -> ([u8; WORD], std::ops::Range<usize>) {
    let into = (offset % WORD as u64) as usize;
    (
        words.word(offset / WORD as u64).to_le_bytes(),
        into..into + len,
    )
}

/// Writes the words of `key` to a piece that begins at the logical `offset`.
///
/// # Units
/// `offset` is in bytes and need not be a multiple of 8.
pub fn write(bytes: &mut [u8], offset: u64, key: PatternKey) {
    let words = Words::new(key);
    let (first, rest) = bytes.split_at_mut(head(offset, bytes.len()));
    if !first.is_empty() {
        let (word, range) = part(words, offset, first.len());
        first.copy_from_slice(&word[range]);
    }
    let mut offset = offset.wrapping_add(first.len() as u64);
    let step = words.stride.wrapping_mul(LANES as u64);
    let mut lanes = words.lanes(offset / WORD as u64);
    let mut groups = rest.chunks_exact_mut(GROUP);
    for group in &mut groups {
        for (place, lane) in group.chunks_exact_mut(WORD).zip(&mut lanes) {
            place.copy_from_slice(&lane.to_le_bytes());
            *lane = lane.wrapping_add(step);
        }
        offset = offset.wrapping_add(GROUP as u64);
    }
    for place in groups.into_remainder().chunks_mut(WORD) {
        let (word, range) = part(words, offset, place.len());
        place.copy_from_slice(&word[range]);
        offset = offset.wrapping_add(place.len() as u64);
    }
}

/// Compares a piece that begins at the logical `offset` with the words of `key`.
///
/// # Units
/// `offset` is in bytes and need not be a multiple of 8.
pub fn check(bytes: &[u8], offset: u64, key: PatternKey) -> CheckReport {
    let words = Words::new(key);
    let mut report = CheckReport::default();
    let (first, rest) = bytes.split_at(head(offset, bytes.len()));
    count(&mut report, words, offset, first);
    let mut offset = offset.wrapping_add(first.len() as u64);
    let step = words.stride.wrapping_mul(LANES as u64);
    let mut lanes = words.lanes(offset / WORD as u64);
    let mut blocks = rest.chunks_exact(CHECK_BLOCK);
    for block in &mut blocks {
        let mut wrong = [0; LANES];
        for group in block.chunks_exact(GROUP) {
            for lane in 0..LANES {
                let mut found = [0; WORD];
                found.copy_from_slice(&group[lane * WORD..(lane + 1) * WORD]);
                wrong[lane] |= u64::from_le_bytes(found) ^ lanes[lane];
                lanes[lane] = lanes[lane].wrapping_add(step);
            }
        }
        if wrong == [0; LANES] {
            report.bytes_verified += CHECK_BLOCK as u64;
        } else {
            count(&mut report, words, offset, block);
        }
        offset = offset.wrapping_add(CHECK_BLOCK as u64);
    }
    count(&mut report, words, offset, blocks.remainder());
    report
}

/// Compares word by word. The piece does not cross a word at its beginning unless it is
/// shorter than the rest of that word.
fn count(report: &mut CheckReport, words: Words, offset: u64, bytes: &[u8]) {
    let mut at = offset;
    for piece in bytes.chunks(WORD) {
        let (word, range) = part(words, at, piece.len());
        if word[range] != *piece {
            report.corrupt_bytes += piece.len() as u64;
            report.first_corrupt_offset.get_or_insert(at);
        }
        at = at.wrapping_add(piece.len() as u64);
    }
    report.bytes_verified += bytes.len() as u64;
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
