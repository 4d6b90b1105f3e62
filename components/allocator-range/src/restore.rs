//! Filing what another strategy, or an earlier instance, has chosen.

use crate::RangeManager;
use crate::arena::{HEAD, NONE, Node};
use alloc::collections::BTreeMap;
use gpumm_contract::allocator::Refusal;
use gpumm_contract::{AllocationId, Extent};

impl RangeManager {
    /// Files extents; they are put among the others by [`RangeManager::join`].
    pub(crate) fn file(
        &mut self,
        adopted: &mut BTreeMap<u64, u32>,
        number: AllocationId,
        extents: &[Extent],
    ) -> Result<(), Refusal> {
        self.unused(number)?;
        let mut first = NONE;
        // Backwards, so that the chain is in the caller's order.
        for extent in extents.iter().rev() {
            let free = self.units(extent).filter(|&cut| self.free(adopted, cut));
            let Some((offset, units)) = free else {
                self.disown(adopted, first);
                return Err(Refusal::Extent);
            };
            let node = Node {
                next: first,
                ..Node::new(offset, units, number.0, 0)
            };
            first = self.arena.store(node);
            adopted.insert(offset, first);
        }
        if first == NONE {
            return Err(Refusal::Extent);
        }
        self.numbers.set(number.0, first);
        self.allocations += 1;
        Ok(())
    }

    /// Puts the adopted nodes in order. Holes are made from the top down, as if the lowest were
    /// the newest, whatever the order of the parts.
    pub(crate) fn join(&mut self, adopted: &BTreeMap<u64, u32>) {
        let mut below = HEAD;
        for &at in adopted.values() {
            self.arena.link(at, below);
            below = at;
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

    fn free(&self, adopted: &BTreeMap<u64, u32>, (offset, units): (u64, u64)) -> bool {
        let last = adopted.range(..offset + units).next_back();
        last.is_none_or(|(_, &at)| self.arena.node(at).end() <= offset)
    }

    fn disown(&mut self, adopted: &mut BTreeMap<u64, u32>, first: u32) {
        let mut at = first;
        while at != NONE {
            let Node { offset, next, .. } = *self.arena.node(at);
            adopted.remove(&offset);
            self.arena.recycle(at);
            at = next;
        }
    }
}
