//! Blocks: power-of-two parts of the arena, each at a multiple of its size.

/// Orders of a 64-bit arena.
pub(crate) const ORDERS: usize = 64;

/// A block.
///
/// Units: chunks. Invariants: `offset` is a multiple of the block's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) order: u8,
    /// Whether its bytes are known to be zero.
    pub(crate) clear: bool,
}

impl Piece {
    /// How many chunks.
    #[inline]
    pub(crate) fn chunks(self) -> u64 {
        1 << self.order
    }

    /// Its last chunk, since the one behind it may not be a 64-bit number.
    pub(crate) fn last(self) -> u64 {
        self.offset | (self.chunks() - 1)
    }

    /// The number of the block among those of its order.
    #[inline]
    pub(crate) fn key(self) -> u64 {
        self.offset >> self.order
    }

    /// The block of an order with a number.
    #[inline]
    pub(crate) fn at(key: u64, order: u32, clear: bool) -> Self {
        Piece {
            offset: key << order,
            order: order as u8,
            clear,
        }
    }

    /// The lower and the upper half of a block that has halves.
    pub(crate) fn halves(self) -> Option<[Piece; 2]> {
        let half = Piece {
            order: self.order.checked_sub(1)?,
            ..self
        };
        let upper = Piece {
            offset: half.offset | half.chunks(),
            ..half
        };
        Some([half, upper])
    }
}

/// Neighbouring blocks of one class.
///
/// Units: chunks. Invariants: `start` is below `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Whether its bytes are known to be zero.
    pub(crate) clear: bool,
}

impl Run {
    /// How many chunks.
    #[inline]
    pub(crate) fn chunks(self) -> u64 {
        self.end - self.start
    }

    /// The part of it that lies in `start..end`, if any does.
    pub(crate) fn within(self, start: u64, end: u64) -> Option<Run> {
        let (start, end) = (self.start.max(start), self.end.min(end));
        (start < end).then_some(Run { start, end, ..self })
    }

    /// The blocks it is made up of, ascending.
    pub(crate) fn pieces(self) -> impl Iterator<Item = Piece> {
        pieces(self.start, self.end, self.clear)
    }
}

impl From<Piece> for Run {
    #[inline]
    fn from(piece: Piece) -> Self {
        Run {
            start: piece.offset,
            // OVERFLOW: a block ends in the arena, and that in 64 bits.
            end: piece.offset + piece.chunks(),
            clear: piece.clear,
        }
    }
}

/// The fewest blocks that make up `start..end`, ascending; none when the range is empty.
pub(crate) fn pieces(start: u64, end: u64, clear: bool) -> impl Iterator<Item = Piece> {
    let mut at = start;
    core::iter::from_fn(move || {
        let room = end.checked_sub(at)?.checked_ilog2()?;
        let piece = Piece {
            offset: at,
            order: room.min(at.trailing_zeros()) as u8,
            clear,
        };
        at += piece.chunks();
        Some(piece)
    })
}
