//! Blocks: power-of-two parts of the arena, each at a multiple of its size.

/// Orders of a 64-bit arena.
pub(crate) const ORDERS: usize = 64;

/// A block.
///
/// Units: chunks. Invariants: `offset` is a multiple of the block's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) order: u32,
}

impl Piece {
    /// How many chunks.
    #[inline]
    pub(crate) fn chunks(self) -> u64 {
        1 << self.order
    }

    /// The block that this one is half of.
    pub(crate) fn parent(self) -> Option<Piece> {
        let order = self.order + 1;
        ((order as usize) < ORDERS).then_some(Piece {
            offset: self.offset & !self.chunks(),
            order,
        })
    }
}

/// The fewest blocks that make up `start..end`, ascending; none when the range is empty.
pub(crate) fn pieces(start: u64, end: u64) -> impl Iterator<Item = Piece> {
    let mut at = start;
    core::iter::from_fn(move || {
        let room = end.checked_sub(at)?.checked_ilog2()?;
        let piece = Piece {
            offset: at,
            order: room.min(at.trailing_zeros()),
        };
        at += piece.chunks();
        Some(piece)
    })
}
