//! The arena: taken nodes in address order, each with the hole behind it.

use crate::index::{Hole, Indexes};
use alloc::vec::Vec;
pub(crate) use gpumm_contract::numbers::NONE;

/// The node before the first one: nothing, at 0. Only a hole can be behind it.
pub(crate) const HEAD: u32 = 0;
/// Owner of nodes that are in the spare list.
pub(crate) const SPARE: u32 = u32::MAX;

/// Taken granules, and what is known of the hole behind them.
///
/// Units: granules.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) offset: u64,
    pub(crate) units: u64,
    pub(crate) colour: u64,
    /// How long the hole behind it is; 0 = none.
    pub(crate) hole: u64,
    /// When that hole was made.
    pub(crate) stamp: u64,
    /// The allocation, or [`SPARE`].
    pub(crate) owner: u32,
    /// Neighbours by address; in a circle with [`HEAD`].
    pub(crate) below: u32,
    pub(crate) above: u32,
    /// The allocation's next node, or the next spare one.
    pub(crate) next: u32,
}

impl Node {
    pub(crate) fn new(offset: u64, units: u64, owner: u32, colour: u64) -> Self {
        Node {
            offset,
            units,
            colour,
            hole: 0,
            stamp: 0,
            owner,
            below: NONE,
            above: NONE,
            next: NONE,
        }
    }

    /// The hole behind it, if its number is `at`.
    pub(crate) fn hole_behind(&self, at: u32) -> Hole {
        Hole {
            start: self.end(),
            units: self.hole,
            stamp: self.stamp,
            node: at,
        }
    }

    /// The first granule behind it; never overflows, since it lies in the arena.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.units
    }
}

/// Nodes and holes.
///
/// Units: granules. Invariants: the nodes from [`HEAD`] by `above` and the holes behind them cover
/// `0..size` without gap; every hole is in the indexes.
#[derive(Clone, Debug)]
pub(crate) struct Arena {
    pub(crate) nodes: Vec<Node>,
    pub(crate) spare: u32,
    pub(crate) size: u64,
    pub(crate) used: u64,
    pub(crate) holes: Indexes,
    /// The next hole's.
    pub(crate) stamp: u64,
    /// Granules to keep free between neighbours of different colours.
    pub(crate) guard: u64,
}

impl Arena {
    /// An arena without a hole: make them with [`Arena::open`].
    pub(crate) fn new(size: u64, guard: u64) -> Self {
        let mut head = Node::new(0, 0, SPARE, 0);
        (head.below, head.above) = (HEAD, HEAD);
        Arena {
            nodes: [head].into(),
            spare: NONE,
            size,
            used: 0,
            holes: Indexes::new(),
            // Not 0: its complement must stay below the unused keys of an index.
            stamp: 1,
            guard,
        }
    }

    #[inline]
    pub(crate) fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    #[inline]
    pub(crate) fn node_mut(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }

    /// Where a node begins; the end of the arena for [`HEAD`], which is behind the last one.
    #[inline]
    pub(crate) fn limit(&self, at: u32) -> u64 {
        if at == HEAD {
            self.size
        } else {
            self.node(at).offset
        }
    }

    /// The hole behind a node.
    pub(crate) fn hole(&self, at: u32) -> Hole {
        self.node(at).hole_behind(at)
    }

    /// The last hole that begins at a granule or below it.
    pub(crate) fn hole_at(&self, granule: u64) -> Option<Hole> {
        let entry = self.holes.all().before(u128::from(granule) + 1)?;
        Some(self.hole(entry.child))
    }

    /// The node that a hole with these granules lies behind.
    pub(crate) fn hole_around(&self, start: u64, units: u64) -> Option<u32> {
        let hole = self.hole_at(start)?;
        (start + units <= hole.start + hole.units).then_some(hole.node)
    }

    /// Keeps a node that is not yet among the others.
    pub(crate) fn store(&mut self, node: Node) -> u32 {
        // Parts of a restore may overlap until its end, which refuses them.
        self.used = self.used.wrapping_add(node.units);
        if self.spare == NONE {
            self.nodes.push(node);
            return (self.nodes.len() - 1) as u32;
        }
        let at = self.spare;
        self.spare = self.node(at).next;
        *self.node_mut(at) = node;
        at
    }

    /// Forgets a node that is not among the others, or no more.
    pub(crate) fn recycle(&mut self, at: u32) {
        self.used = self.used.wrapping_sub(self.node(at).units);
        *self.node_mut(at) = Node {
            next: self.spare,
            ..Node::new(0, 0, SPARE, 0)
        };
        self.spare = at;
    }

    /// Puts a node between one and the one above that.
    pub(crate) fn link(&mut self, at: u32, below: u32) {
        let above = self.node(below).above;
        let node = self.node_mut(at);
        (node.below, node.above) = (below, above);
        self.node_mut(below).above = at;
        self.node_mut(above).below = at;
    }

    /// Makes what lies between a node and the next one a hole, the newest.
    pub(crate) fn open(&mut self, at: u32) {
        let (start, end) = (self.node(at).end(), self.limit(self.node(at).above));
        if start < end {
            let hole = self.make(at, end - start);
            self.holes.insert(&hole);
        }
    }

    /// Says of a node that a hole lies behind it, the newest; the indexes are the caller's.
    fn make(&mut self, at: u32, units: u64) -> Hole {
        let stamp = self.stamp;
        self.stamp += 1;
        let node = self.node_mut(at);
        (node.hole, node.stamp) = (units, stamp);
        self.hole(at)
    }

    /// Takes granules out of the hole behind a node. What is left of it below them is made a hole
    /// first, so that what is left above is the newest.
    ///
    /// Bounds: they lie in that hole. Complexity: O(log n).
    pub(crate) fn take(&mut self, below: u32, node: Node) -> u32 {
        let hole = self.hole(below);
        let low = node.offset - hole.start;
        let high = hole.units - low - node.units;
        self.node_mut(below).hole = 0;
        let at = self.store(node);
        self.link(at, below);
        match (low, high) {
            (0, 0) => self.holes.remove(&hole),
            (0, _) => {
                let right = self.make(at, high);
                self.holes.replace(&hole, &right);
            }
            _ => {
                let left = self.make(below, low);
                self.holes.replace(&hole, &left);
                self.open(at);
            }
        }
        at
    }

    /// Makes one hole, the newest, of a node and the holes on both sides of it.
    ///
    /// Complexity: O(log n).
    pub(crate) fn release(&mut self, at: u32) {
        let Node { below, above, .. } = *self.node(at);
        let (low, high) = (self.hole(below), self.hole(at));
        let units = low.units + self.node(at).units + high.units;
        self.node_mut(below).above = above;
        self.node_mut(above).below = below;
        self.recycle(at);
        let fused = self.make(below, units);
        match (low.units, high.units) {
            (0, 0) => self.holes.insert(&fused),
            (0, _) => self.holes.replace(&high, &fused),
            (_, 0) => self.holes.replace(&low, &fused),
            _ => {
                self.holes.remove(&high);
                self.holes.replace(&low, &fused);
            }
        }
    }

    /// Releases all extents of an allocation.
    pub(crate) fn release_all(&mut self, first: u32) {
        let mut at = first;
        while at != NONE {
            let next = self.node(at).next;
            self.release(at);
            at = next;
        }
    }

    /// Moves the arena's end. The hole there becomes the newest.
    ///
    /// Errors: `false`, and nothing changed, when a node would be cut off.
    #[must_use]
    pub(crate) fn resize(&mut self, size: u64) -> bool {
        let last = self.node(HEAD).below;
        let start = self.node(last).end();
        if size < start {
            return false;
        }
        if size != self.size {
            let hole = self.hole(last);
            if hole.units != 0 {
                self.holes.remove(&hole);
                self.node_mut(last).hole = 0;
            }
            self.size = size;
            self.open(last);
        }
        true
    }

    /// The nodes by address that end behind a granule, or that a hole lies behind that does.
    ///
    /// Complexity: O(sqrt(n)) expected for the first one.
    pub(crate) fn from(&self, granule: u64) -> impl Iterator<Item = u32> + '_ {
        // The last known node at or below the granule: the one before a hole, or one of a sample.
        let hole = self.hole_at(granule).map_or(HEAD, |hole| hole.node);
        let step = self.nodes.len().isqrt().max(1);
        let sample = (0..self.nodes.len() as u32).step_by(step);
        let live = sample.filter(|&at| self.node(at).owner != SPARE);
        let low = live.filter(|&at| self.node(at).offset <= granule);
        let start = core::iter::once(hole).chain(low);
        let mut at = start
            .max_by_key(|&at| (self.node(at).offset, self.node(at).end()))
            .unwrap_or(HEAD);
        core::iter::from_fn(move || {
            let node = (at != NONE).then_some(at)?;
            let above = self.node(node).above;
            at = if above == HEAD { NONE } else { above };
            Some(node)
        })
        .skip_while(move |&at| self.node(at).end() + self.node(at).hole <= granule)
    }
}
