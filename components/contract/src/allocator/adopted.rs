//! Extents that a restore brings in any order.

use super::Refusal;
use alloc::vec::Vec;

/// A piece of the arena and what a strategy files it under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first unit.
    pub start: u64,
    /// The unit behind the last one.
    pub end: u64,
    /// The strategy's own number of it.
    pub node: u32,
}

/// Pieces that are put in order once, at the end of a restore: sorting all of them costs a fraction
/// of keeping them sorted as they come.
///
/// Units: whatever the strategy counts in. Complexity: push O(1), in order O(n log n), and O(n)
/// where they came in order.
#[derive(Clone, Debug, Default)]
pub struct Adopted(Vec<Piece>);

impl Adopted {
    /// Takes a piece in.
    pub fn push(&mut self, start: u64, end: u64, node: u32) {
        self.0.push(Piece { start, end, node });
    }

    /// Takes the piece out again that came last.
    pub fn pop(&mut self) -> Option<Piece> {
        self.0.pop()
    }

    /// How many pieces there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All pieces by address.
    ///
    /// Errors: [`Refusal::Extent`] when two share a unit.
    pub fn in_order(mut self) -> Result<Vec<Piece>, Refusal> {
        self.0.sort_unstable_by_key(|piece| piece.start);
        let apart = |pair: &[Piece]| pair[0].end <= pair[1].start;
        match self.0.windows(2).all(apart) {
            true => Ok(self.0),
            false => Err(Refusal::Extent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_in_order_unless_they_overlap() {
        let mut adopted = Adopted::default();
        for (start, end) in [(8, 9), (0, 4), (4, 8)] {
            adopted.push(start, end, start as u32);
        }
        let starts = |adopted: Adopted| -> Result<Vec<u64>, Refusal> {
            Ok(adopted.in_order()?.iter().map(|p| p.start).collect())
        };
        assert_eq!(starts(adopted.clone()), Ok(alloc::vec![0, 4, 8]));
        adopted.push(7, 8, 1);
        assert_eq!(starts(adopted.clone()), Err(Refusal::Extent));
        assert_eq!(adopted.pop().map(|piece| piece.start), Some(7));
        assert_eq!((adopted.len(), adopted.is_empty()), (3, false));
    }
}
