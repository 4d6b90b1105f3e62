//! Filing what another strategy, or an earlier instance, has chosen.
//!
//! While a restore lasts, the nodes behind the border are what came, in the order of coming, and in
//! no list; the end puts them in order. So a restore takes hardly more memory than its result.

use crate::Tlsf;
use crate::nodes::{Arena, NONE, Node};
use alloc::vec::Vec;
use gpumm_contract::allocator::Refusal;
use gpumm_contract::{AllocationId, Extent};

impl Tlsf {
    /// Files extents that another strategy chose.
    pub(crate) fn file(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        self.unused(number)?;
        let before = self.arena.nodes.len();
        let mut first = NONE;
        // Backwards, so that the chain is in the caller's order.
        for extent in extents.iter().rev() {
            let Ok((offset, units)) = self.units(extent) else {
                self.arena.nodes.truncate(before);
                return Err(Refusal::Extent);
            };
            let node = Node::taken(offset, units, number.0, first);
            first = self.arena.store(node);
        }
        if first == NONE {
            return Err(Refusal::Extent);
        }
        self.numbers.set(number.0, first);
        self.allocations += 1;
        Ok(())
    }
}

impl Arena {
    /// Links the stored nodes in address order and makes holes of what lies between them.
    ///
    /// Errors: `false` when two share a granule.
    #[must_use]
    pub(crate) fn join(&mut self) -> bool {
        // INVARIANT: no more nodes than 32 bits count; the border is none of them.
        let mut order: Vec<u32> = (1..self.nodes.len() as u32).collect();
        order.sort_unstable_by_key(|&at| self.node(at).offset);
        self.nodes.reserve(order.len() + 1);
        let mut end = 0;
        for at in order {
            let Node { offset, units, .. } = *self.node(at);
            if offset < end {
                return false;
            }
            self.append_hole(end, offset);
            self.append(at);
            self.used += units;
            end = offset + units;
        }
        self.append_hole(end, self.size);
        // From the top down, so that every list begins with its lowest hole.
        let mut at = self.last();
        while at != NONE {
            let node = *self.node(at);
            if node.is_hole() {
                self.file(at);
            }
            at = node.below;
        }
        true
    }
}
