//! Which blocks an allocation gets: the default rule of the kernel's buddy allocator.
//!
//! A plan of what is asked ([`Wanted`]) becomes a chain of blocks or nothing; flags (top down,
//! contiguous, clear) will be further rules here.

use crate::piece::{Piece, pieces};
use crate::records::{Chain, Records};
use crate::space::{Rule, Space};
use alloc::vec::Vec;
use gpumm_contract::extent::round_up;

/// A wish in chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) owner: u32,
    pub(crate) chunks: u64,
    /// Every offset is a multiple of `2^multiple` chunks.
    pub(crate) multiple: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The free and the taken blocks together.
#[derive(Clone, Debug)]
pub(crate) struct Arena {
    pub(crate) space: Space,
    pub(crate) records: Records,
}

impl Arena {
    /// Takes blocks for a wish and appends its extents; on failure nothing is changed.
    ///
    /// Units: chunks, as pairs of offset and length.
    /// Complexity: O(blocks * orders * log n).
    pub(crate) fn gather(
        &mut self,
        wanted: &Wanted,
        extents: &mut Vec<(u64, u64)>,
    ) -> Option<Chain> {
        let window = wanted.end.checked_sub(wanted.start)?;
        if wanted.chunks > window || wanted.chunks > self.space.free {
            return None;
        }
        if wanted.chunks == window {
            let aligned = wanted.start.trailing_zeros() >= wanted.multiple;
            let chain = aligned.then(|| self.exactly(wanted.owner, wanted.start, wanted.end))??;
            extents.push((wanted.start, window));
            return Some(chain);
        }
        let everywhere = wanted.start == 0 && wanted.end == self.space.size;
        let Wanted {
            multiple,
            start,
            end,
            ..
        } = *wanted;
        let within = |multiple| Rule::Window {
            multiple,
            start,
            end,
        };
        if wanted.chunks.is_power_of_two() && wanted.chunks < 1 << multiple {
            // A small block at a coarse offset needs no block as coarse as the offset.
            let rule = if everywhere {
                Rule::Multiple(multiple)
            } else {
                within(multiple)
            };
            self.descend(
                wanted,
                wanted.chunks,
                wanted.chunks.trailing_zeros(),
                rule,
                extents,
            )
        } else {
            let chunks = round_up(wanted.chunks, 1 << multiple)?;
            let rule = if everywhere { Rule::Highest } else { within(0) };
            self.descend(wanted, chunks, multiple, rule, extents)
        }
    }

    /// Takes blocks of orders that never rise again, until `chunks` are taken, and trims the last.
    fn descend(
        &mut self,
        wanted: &Wanted,
        chunks: u64,
        lowest: u32,
        rule: Rule,
        extents: &mut Vec<(u64, u64)>,
    ) -> Option<Chain> {
        if chunks > self.space.free {
            return None;
        }
        let mut chain = Chain::new(wanted.owner);
        let (mut left, mut order) = (chunks, u32::MAX);
        while let Some(most) = left.checked_ilog2() {
            order = order.min(most);
            if let Some(piece) = self.space.take(order, rule) {
                self.records.push(&mut chain, piece);
                left -= piece.chunks();
            } else if order > lowest {
                order -= 1;
            } else {
                self.give_back(chain.first);
                return None;
            }
        }
        let taken = self.records.chain(chain.first).map(|record| record.piece);
        extents.extend(taken.map(|piece| (piece.offset, piece.chunks())));
        let excess = chunks - wanted.chunks;
        if excess != 0 {
            self.trim(&mut chain, excess);
            if let Some(last) = extents.last_mut() {
                last.1 -= excess;
            }
        }
        Some(chain)
    }

    /// Gives back the upper end of a chain's last block; the rest stays as smaller blocks.
    fn trim(&mut self, chain: &mut Chain, excess: u64) {
        let Some(last) = self.records.pop(chain) else {
            return;
        };
        let kept = last.chunks() - excess;
        pieces(0, kept).for_each(|piece| self.records.push(chain, shifted(piece, last.offset)));
        pieces(kept, last.chunks())
            .for_each(|piece| self.space.release(shifted(piece, last.offset)));
    }

    /// Takes exactly `start..end` as the fewest blocks; on failure nothing is changed.
    fn exactly(&mut self, owner: u32, start: u64, end: u64) -> Option<Chain> {
        let mut chain = Chain::new(owner);
        let taken = self.extend(&mut chain, start, end);
        taken.then_some(chain)
    }

    /// Appends exactly `start..end` to a chain.
    ///
    /// Errors: `false` when a chunk is taken; then the whole chain has been given back.
    #[must_use]
    pub(crate) fn extend(&mut self, chain: &mut Chain, start: u64, end: u64) -> bool {
        for piece in pieces(start, end) {
            if !self.space.carve(piece) {
                self.give_back(chain.first);
                return false;
            }
            self.records.push(chain, piece);
        }
        true
    }

    /// Frees every block of a chain.
    pub(crate) fn give_back(&mut self, first: u32) {
        let mut at = first;
        while let Some((piece, next)) = self.records.recycle(at) {
            self.space.release(piece);
            at = next;
        }
    }
}

/// A block counted from the start of a larger one.
fn shifted(piece: Piece, by: u64) -> Piece {
    Piece {
        offset: by + piece.offset,
        ..piece
    }
}
