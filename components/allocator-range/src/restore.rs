//! Filing what another strategy, or an earlier instance, has chosen.

use crate::RangeManager;
use crate::arena::{HEAD, NONE, Node};
use gpumm_contract::allocator::{Adopted, Piece, Refusal};
use gpumm_contract::{AllocationId, Extent};

impl RangeManager {
    /// Files extents; they are put among the others by [`RangeManager::join`].
    pub(crate) fn file(
        &mut self,
        adopted: &mut Adopted,
        number: AllocationId,
        extents: &[Extent],
    ) -> Result<(), Refusal> {
        self.unused(number)?;
        let before = adopted.len();
        let mut first = NONE;
        // Backwards, so that the chain is in the caller's order.
        for extent in extents.iter().rev() {
            let Some((offset, units)) = self.units(extent) else {
                self.disown(adopted, before);
                return Err(Refusal::Extent);
            };
            let node = Node {
                next: first,
                ..Node::new(offset, units, number.0, 0)
            };
            first = self.arena.store(node);
            adopted.push(offset, offset + units, first);
        }
        if first == NONE {
            return Err(Refusal::Extent);
        }
        self.numbers.set(number.0, first);
        self.allocations += 1;
        Ok(())
    }

    /// Puts the adopted nodes among the others. Holes are made from the top down, as if the lowest were
    /// the newest, whatever the order of the parts.
    pub(crate) fn join(&mut self, pieces: &[Piece]) {
        let mut below = HEAD;
        for piece in pieces {
            self.arena.link(piece.node, below);
            below = piece.node;
        }
        loop {
            self.arena.open(below);
            if below == HEAD {
                break;
            }
            below = self.arena.node(below).below;
        }
    }

    /// The extent in granules; `None` off the granule, outside the arena, or empty.
    pub(crate) fn units(&self, extent: &Extent) -> Option<(u64, u64)> {
        let end = extent.end().filter(|&end| end <= self.geometry.size)?;
        let granular = (extent.offset | end) & (self.geometry.granule - 1) == 0;
        let good = granular && extent.bytes != 0;
        good.then(|| (extent.offset >> self.shift(), extent.bytes >> self.shift()))
    }

    /// Forgets what came after the first so many.
    fn disown(&mut self, adopted: &mut Adopted, before: usize) {
        while adopted.len() > before
            && let Some(piece) = adopted.pop()
        {
            self.arena.recycle(piece.node);
        }
    }
}
