//! The eviction scan: which allocations would have to go for a wish to be served.
//!
//! ```text
//! before    |A| |B|C|D|  |E|     a wish of 5, added: C, then B
//! C added   |A| |B|...|D|  |E|   the hole around C is C alone: too small
//! B added   |A|. . . . |D|  |E|  the hole from A to D: it fits
//! ```
//!
//! Nodes stay where they are. A run of added neighbours is known at both of its ends, so adding is
//! O(1), and since removing happens in reverse order, what was known inside a run is true again.

use crate::arena::{Arena, NONE};
use crate::search::Wanted;
use alloc::vec::Vec;

/// An added node, and the run it became part of.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Added {
    node: u32,
    low: u32,
    high: u32,
}

/// The added nodes.
///
/// Invariants: `far` of a run's lowest node is its highest one and the other way round; of nodes
/// that are not added it is [`NONE`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Roster {
    wanted: Option<Wanted>,
    /// The place found last.
    hit: Option<(u64, u64)>,
    added: Vec<Added>,
    far: Vec<u32>,
}

impl Roster {
    /// Whether nodes are added.
    pub(crate) fn is_active(&self) -> bool {
        !self.added.is_empty()
    }

    /// Whether a scan has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.wanted.is_some()
    }

    /// Begins a scan. Bounds: no node is added.
    pub(crate) fn begin(&mut self, wanted: Wanted) {
        (self.wanted, self.hit) = (Some(wanted), None);
    }

    /// Whether a node is added.
    pub(crate) fn has(&self, node: u32) -> bool {
        self.far(node) != NONE
    }

    fn far(&self, node: u32) -> u32 {
        self.far.get(node as usize).copied().unwrap_or(NONE)
    }

    /// The node that was added last.
    pub(crate) fn last(&self) -> Option<u32> {
        self.added.last().map(|added| added.node)
    }

    /// Adds a node that is not added; says whether the hole around it now holds the wish.
    ///
    /// Complexity: O(1) amortised.
    pub(crate) fn add(&mut self, arena: &Arena, node: u32) -> bool {
        if self.far.len() < arena.nodes.len() {
            self.far.resize(arena.nodes.len(), NONE);
        }
        let (below, above) = (arena.node(node).below, arena.node(node).above);
        let low = if self.has(below) {
            self.far(below)
        } else {
            node
        };
        let high = if self.has(above) {
            self.far(above)
        } else {
            node
        };
        self.far[node as usize] = node;
        self.far[low as usize] = high;
        self.far[high as usize] = low;
        self.added.push(Added { node, low, high });
        let Some(wanted) = self.wanted else {
            return false;
        };
        let (below, above) = (arena.node(low).below, arena.node(high).above);
        let (start, end) = arena.between(below, above, wanted.colour);
        let place = wanted.place(start, end);
        if let Some(place) = place {
            self.hit = Some((place, place + wanted.units));
        }
        place.is_some()
    }

    /// Removes the node that was added last; says whether it lies in the place found last.
    pub(crate) fn remove(&mut self, arena: &Arena) -> bool {
        let Some(Added { node, low, high }) = self.added.pop() else {
            return false;
        };
        let at = arena.node(node);
        // The inner ends of the runs on both sides have not been touched since.
        if low != node {
            self.far[low as usize] = at.below;
        }
        if high != node {
            self.far[high as usize] = at.above;
        }
        self.far[node as usize] = NONE;
        self.hit
            .is_some_and(|(start, end)| at.offset < end && start < at.end())
    }

    /// The neighbour of the hole at the place found last whose colour is too near.
    ///
    /// Complexity: O(log n).
    pub(crate) fn colour(&self, arena: &Arena) -> Option<u32> {
        let (wanted, (start, end)) = (self.wanted?, self.hit?);
        let hole = arena.hole_at(start)?;
        if hole.start + hole.units < end {
            return None;
        }
        let (below, above) = (hole.node, arena.node(hole.node).above);
        let (low, high) = arena.between(below, above, wanted.colour);
        match () {
            () if low > start => Some(below),
            () if high < end => Some(above),
            () => None,
        }
    }

    /// Checks the runs from scratch.
    pub(crate) fn validate(&self, arena: &Arena) -> Result<(), &'static str> {
        let known = self.far.iter().filter(|&&far| far != NONE).count();
        if known != self.added.len() || !self.added.iter().all(|added| self.has(added.node)) {
            return Err("nodes are known to the scan exactly while they are added");
        }
        for Added { node, .. } in &self.added {
            if self.has(arena.node(*node).below) {
                continue;
            }
            let mut high = *node;
            while self.has(arena.node(high).above) {
                high = arena.node(high).above;
            }
            if (self.far(*node), self.far(high)) != (high, *node) {
                return Err("a run of added nodes is known at both ends");
            }
        }
        Ok(())
    }
}
