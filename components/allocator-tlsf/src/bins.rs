//! The two-level table of size bins, and the bitmaps that find a filled one.
//!
//! A size in units below 16 has a bin of its own. Above, every power of two is cut into 16 equal
//! steps, as a float with a 4-bit mantissa would: sizes of one bin differ by at most 1/16.

use crate::nodes::NONE;
use alloc::boxed::Box;

const STEP_BITS: u32 = 4;
const STEPS: usize = 1 << STEP_BITS;
/// 16 exact sizes, then one row for each exponent 4..=63.
const ROWS: usize = 64 - STEP_BITS as usize + 1;

/// The bin that a size falls in; monotone in the size.
///
/// Bounds: `units` is not 0.
#[inline]
pub(crate) fn bin_of(units: u64) -> usize {
    // Sizes below 16 count as if they had the mantissa's leading one: their shift is 0.
    let shift = 63 - STEP_BITS - (units | STEPS as u64).leading_zeros();
    // The mantissa keeps its leading one: 16..=31, which moves the row up by one as wished.
    ((shift as usize) << STEP_BITS) + (units >> shift) as usize
}

/// Sizes below this have a bin each, as the sizes of the first row above have: a hole of such a
/// bin is as large as the bin says.
pub(crate) const EXACT: usize = 2 * STEPS;

/// Heads of the free lists with one bit for each list that is not empty.
///
/// Invariants: bit `b` of `filled` is set exactly when `heads[b]` is a node; bit `r` of `rows`
/// exactly when `filled[r]` is not 0.
#[derive(Clone, Debug)]
pub(crate) struct Bins {
    rows: u64,
    /// Longer than there are rows, as `heads` is, so that a masked index needs no other check.
    filled: [u16; PLACES / STEPS],
    heads: Box<[u32; PLACES]>,
}

/// The power of two above the number of bins.
const PLACES: usize = (ROWS * STEPS).next_power_of_two();

impl Bins {
    /// How many bins there are.
    pub(crate) const COUNT: usize = ROWS * STEPS;

    pub(crate) fn new() -> Self {
        Bins {
            rows: 0,
            filled: [0; PLACES / STEPS],
            heads: Box::new([NONE; PLACES]),
        }
    }

    /// The first node of a bin's list, or [`NONE`].
    #[inline]
    pub(crate) fn head(&self, bin: usize) -> u32 {
        self.heads[bin % PLACES]
    }

    /// Makes a node the first of a bin's list; returns the one before, or [`NONE`].
    #[inline]
    pub(crate) fn push(&mut self, bin: usize, node: u32) -> u32 {
        let bin = bin % PLACES;
        let row = bin / STEPS;
        self.filled[row] |= 1 << (bin % STEPS);
        self.rows |= 1 << row;
        core::mem::replace(&mut self.heads[bin], node)
    }

    /// Makes the second node of a bin's list, or [`NONE`], the first.
    #[inline]
    pub(crate) fn set_head(&mut self, bin: usize, node: u32) {
        let bin = bin % PLACES;
        self.heads[bin] = node;
        if node == NONE {
            let row = bin / STEPS;
            self.filled[row] &= !(1 << (bin % STEPS));
            if self.filled[row] == 0 {
                self.rows &= !(1 << row);
            }
        }
    }

    /// The first filled bin at `bin` or above.
    ///
    /// Complexity: O(1).
    #[inline]
    pub(crate) fn at_least(&self, bin: usize) -> Option<usize> {
        // Bins that are never filled lie behind the last one.
        let row = bin / STEPS % (PLACES / STEPS);
        let here = self.filled[row] & (u16::MAX << (bin % STEPS));
        if here != 0 {
            return Some(row * STEPS + here.trailing_zeros() as usize);
        }
        let above = self.rows & (u64::MAX << (row + 1));
        if above == 0 {
            return None;
        }
        let row = above.trailing_zeros() as usize;
        Some(row * STEPS + self.filled[row].trailing_zeros() as usize)
    }

    /// The highest filled bin.
    pub(crate) fn highest(&self) -> Option<usize> {
        let row = self.rows.checked_ilog2()? as usize;
        Some(row * STEPS + self.filled[row].checked_ilog2()? as usize)
    }

    /// Whether the bitmaps say what the heads say.
    pub(crate) fn consistent(&self) -> bool {
        let bits = |bin: usize| self.filled[bin / STEPS] >> (bin % STEPS) & 1 != 0;
        let rows = |row: usize| self.rows >> row & 1 != 0;
        (0..PLACES).all(|bin| bits(bin) == (self.heads[bin] != NONE))
            && (0..64).all(|row| rows(row) == (self.filled[row] != 0))
            && self.heads[Self::COUNT..].iter().all(|&head| head == NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_monotone_and_within_a_sixteenth() {
        assert_eq!(
            (bin_of(1), bin_of(15), bin_of(16), bin_of(31)),
            (1, 15, 16, 31)
        );
        assert_eq!((bin_of(32), bin_of(33), bin_of(34)), (32, 32, 33));
        assert_eq!(bin_of(u64::MAX), Bins::COUNT - 1);
        let mut before = 0;
        for exponent in 0..64 {
            for step in 0..64u64 {
                let low = 1u64 << exponent;
                let units = low + ((low as u128 * step as u128) / 64) as u64;
                let bin = bin_of(units);
                assert!(bin >= before && bin < Bins::COUNT, "{units}");
                if units > 64 {
                    assert_ne!(bin_of(units - units / 16 - 1), bin, "{units}");
                }
                before = bin;
            }
        }
    }

    #[test]
    fn the_bitmap_finds_the_next_filled_bin() {
        let mut bins = Bins::new();
        assert_eq!((bins.at_least(0), bins.highest()), (None, None));
        for bin in [3, 17, 500, Bins::COUNT - 1] {
            assert_eq!(bins.push(bin, 6), NONE);
            assert_eq!(bins.push(bin, 7), 6);
        }
        assert_eq!(bins.at_least(0), Some(3));
        assert_eq!(bins.at_least(4), Some(17));
        assert_eq!(bins.at_least(18), Some(500));
        assert_eq!(bins.at_least(501), Some(Bins::COUNT - 1));
        assert_eq!(bins.at_least(Bins::COUNT), None);
        assert!(bins.consistent());
        bins.set_head(17, 6);
        assert_eq!(bins.at_least(4), Some(17));
        bins.set_head(Bins::COUNT - 1, NONE);
        assert_eq!((bins.at_least(501), bins.highest()), (None, Some(500)));
        assert!(bins.consistent());
    }
}
