//! The nodes that partition the arena, and the lists through them.

use crate::bins::{Bins, bin_of};
use alloc::vec;
use alloc::vec::Vec;

/// No node in a list, or the first node's lower and the last one's upper neighbour: the border.
///
/// Node 0 is always there and never a hole, so walks and links at both ends need no test.
pub(crate) const NONE: u32 = 0;
/// The bit of [`Node::next`] that marks a taken node.
///
/// OVERFLOW: 2^31 nodes of 32 bytes do not fit in any memory this runs in.
pub(crate) const TAKEN: u32 = 1 << 31;

/// One piece of the arena.
///
/// Units: granules. Half a cache line: what a merge touches is what costs.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(crate) struct Node {
    pub(crate) offset: u64,
    /// 0 in spare nodes and in the border only.
    pub(crate) units: u64,
    /// The neighbour at lower addresses.
    pub(crate) below: u32,
    /// The neighbour at higher addresses.
    pub(crate) above: u32,
    /// A hole: the previous one of its bin. Taken: the allocation number.
    pub(crate) previous: u32,
    /// A hole: the next one of its bin. Taken: [`TAKEN`], and the next extent of the same
    /// allocation. Spare: the next spare node.
    pub(crate) next: u32,
}

impl Node {
    /// A taken node, without neighbours.
    pub(crate) fn taken(offset: u64, units: u64, owner: u32, chain: u32) -> Self {
        Node {
            offset,
            units,
            below: NONE,
            above: NONE,
            previous: owner,
            next: TAKEN | chain,
        }
    }

    /// A hole in no list, without neighbours.
    pub(crate) fn hole(offset: u64, units: u64) -> Self {
        Node {
            next: NONE,
            ..Node::taken(offset, units, NONE, NONE)
        }
    }

    /// Whether a node of the arena, or the border, is a hole.
    #[inline]
    pub(crate) fn is_hole(&self) -> bool {
        self.next & TAKEN == 0
    }

    /// Whether the node describes nothing and waits to be used again.
    pub(crate) fn is_spare(&self) -> bool {
        self.is_hole() && self.units == 0
    }

    /// The next extent of the same allocation.
    #[inline]
    pub(crate) fn chain(&self) -> u32 {
        self.next & !TAKEN
    }

    /// The first unit behind it; never overflows, since it lies in the arena.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.units
    }
}

/// The arena as a ring of nodes in address order, closed by the border.
///
/// Units: granules. Invariants: the nodes from the border by `above` cover `0..size` without gap;
/// no two neighbours are holes; every hole is in the list of its size's bin; no hole is larger
/// than `bound`.
#[derive(Clone, Debug)]
pub(crate) struct Arena {
    pub(crate) nodes: Vec<Node>,
    pub(crate) bins: Bins,
    pub(crate) spare: u32,
    /// A hole that is as large as `bound`, as far as it still is one.
    pub(crate) widest: u32,
    pub(crate) bound: u64,
    pub(crate) size: u64,
    pub(crate) used: u64,
    pub(crate) holes: u64,
}

impl Arena {
    /// An arena without a node: fill it with [`Arena::append`].
    pub(crate) fn new(size: u64) -> Self {
        Arena {
            nodes: vec![Node::taken(0, 0, NONE, NONE)],
            bins: Bins::new(),
            spare: NONE,
            widest: NONE,
            bound: 0,
            size,
            used: 0,
            holes: 0,
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

    /// The lowest node, or [`NONE`].
    pub(crate) fn first(&self) -> u32 {
        self.node(NONE).above
    }

    /// The highest node, or [`NONE`].
    pub(crate) fn last(&self) -> u32 {
        self.node(NONE).below
    }

    /// Stores a node in a spare place or a new one.
    #[inline]
    pub(crate) fn store(&mut self, node: Node) -> u32 {
        let at = self.spare;
        if at != NONE {
            let place = self.node_mut(at);
            let next = place.next;
            *place = node;
            self.spare = next;
            return at;
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    /// Gives a node's place back.
    #[inline]
    pub(crate) fn recycle(&mut self, at: u32) {
        let spare = self.spare;
        let node = self.node_mut(at);
        node.units = 0;
        node.next = spare;
        self.spare = at;
    }

    /// Makes a stored node the last one in address order.
    pub(crate) fn append(&mut self, at: u32) {
        let last = self.last();
        let node = self.node_mut(at);
        node.below = last;
        node.above = NONE;
        self.node_mut(last).above = at;
        self.node_mut(NONE).below = at;
    }

    /// Puts a node of these units at the head of its bin's list; it is a hole from then on.
    #[inline]
    pub(crate) fn link(&mut self, at: u32, units: u64) {
        let bin = bin_of(units);
        let head = self.bins.push(bin, at);
        // The head of an empty list is the border, whose field means nothing.
        self.node_mut(head).previous = at;
        let node = self.node_mut(at);
        node.units = units;
        node.previous = NONE;
        node.next = head;
        if units > self.bound {
            (self.bound, self.widest) = (units, at);
        }
    }

    /// Takes a hole out of its bin's list.
    #[inline]
    fn unlink(&mut self, at: u32) {
        let node = self.node(at);
        let (units, previous, next) = (node.units, node.previous, node.next);
        self.node_mut(next).previous = previous;
        if previous != NONE {
            self.node_mut(previous).next = next;
        } else {
            self.bins.set_head(bin_of(units), next);
        }
    }

    /// Changes the units of a hole, and its list where the bin becomes another one.
    #[inline]
    fn resize_hole(&mut self, at: u32, units: u64) {
        let node = self.node_mut(at);
        if bin_of(units) == bin_of(node.units) {
            node.units = units;
            if units > self.bound {
                (self.bound, self.widest) = (units, at);
            }
        } else {
            self.unlink(at);
            self.link(at, units);
        }
    }

    /// Cuts the lowest `units` of a hole off for an owner.
    ///
    /// Bounds: the hole holds them. Complexity: O(1).
    #[inline]
    pub(crate) fn take_low(&mut self, hole: u32, units: u64, owner: u32) -> u32 {
        self.used += units;
        let node = self.node(hole);
        let (offset, rest, below) = (node.offset, node.units - units, node.below);
        if rest == 0 {
            self.unlink(hole);
            self.holes -= 1;
            let node = self.node_mut(hole);
            node.previous = owner;
            node.next = TAKEN;
            return hole;
        }
        // The hole keeps its node: where its bin stays the same, no list changes.
        let taken = self.store(Node {
            below,
            above: hole,
            ..Node::taken(offset, units, owner, NONE)
        });
        self.node_mut(below).above = taken;
        let node = self.node_mut(hole);
        node.offset = offset + units;
        node.below = taken;
        self.resize_hole(hole, rest);
        taken
    }

    /// Cuts `units` at `start` out of a hole for an owner; what is left stays as holes.
    ///
    /// Bounds: the cut lies in the hole. Complexity: O(1).
    pub(crate) fn take(&mut self, hole: u32, start: u64, units: u64, owner: u32) -> u32 {
        let node = self.node(hole);
        let (offset, above) = (node.offset, node.above);
        if start == offset {
            return self.take_low(hole, units, owner);
        }
        let rest = node.end() - start - units;
        self.resize_hole(hole, start - offset);
        self.used += units;
        let taken = self.insert(hole, above, Node::taken(start, units, owner, NONE));
        if rest != 0 {
            let upper = self.insert(taken, above, Node::hole(start + units, rest));
            self.file(upper);
        }
        taken
    }

    /// Stores a node between two neighbours.
    fn insert(&mut self, below: u32, above: u32, node: Node) -> u32 {
        let at = self.store(Node {
            below,
            above,
            ..node
        });
        self.node_mut(below).above = at;
        self.node_mut(above).below = at;
        at
    }

    /// Makes a taken node a hole, joined with the holes beside it; returns the next extent of the
    /// same allocation.
    ///
    /// Complexity: O(1).
    #[inline]
    pub(crate) fn release(&mut self, at: u32) -> u32 {
        let node = self.node(at);
        let (offset, units, chain) = (node.offset, node.units, node.chain());
        let (below, above) = (node.below, node.above);
        self.used -= units;
        let (lower, upper) = (self.node(below), self.node(above));
        match (lower.is_hole(), upper.is_hole()) {
            (false, false) => {
                self.holes += 1;
                self.link(at, units);
            }
            (true, false) => {
                let units = lower.units + units;
                self.recycle(at);
                self.node_mut(below).above = above;
                self.node_mut(above).below = below;
                self.resize_hole(below, units);
            }
            // The hole above grows downwards, so that its upper neighbour need not be touched.
            (false, true) => {
                let units = units + upper.units;
                self.recycle(at);
                self.node_mut(below).above = above;
                let node = self.node_mut(above);
                node.offset = offset;
                node.below = below;
                self.resize_hole(above, units);
            }
            (true, true) => {
                let (units, next) = (lower.units + units + upper.units, upper.above);
                self.holes -= 1;
                self.unlink(above);
                self.recycle(above);
                self.recycle(at);
                self.node_mut(below).above = next;
                self.node_mut(next).below = below;
                self.resize_hole(below, units);
            }
        }
        chain
    }

    /// Makes a taken node and all that follow in its chain holes.
    #[inline]
    pub(crate) fn release_all(&mut self, first: u32) {
        let mut at = first;
        while at != NONE {
            at = self.release(at);
        }
    }

    /// Says which extent of the same allocation follows a taken node.
    pub(crate) fn chain(&mut self, at: u32, next: u32) {
        self.node_mut(at).next = TAKEN | next;
    }

    /// Moves the arena's end.
    ///
    /// Errors: `false`, and nothing changed, when taken units would be cut off.
    #[must_use]
    pub(crate) fn resize(&mut self, size: u64) -> bool {
        let last = self.last();
        let old = *self.node(last);
        if old.is_hole() && old.offset <= size {
            if old.offset == size {
                self.unlink(last);
                self.holes -= 1;
                self.node_mut(old.below).above = NONE;
                self.node_mut(NONE).below = old.below;
                self.recycle(last);
            } else {
                self.resize_hole(last, size - old.offset);
            }
        } else if size > self.size {
            let hole = self.append_hole(self.size, size);
            self.file(hole);
        } else if size < self.size {
            return false;
        }
        self.size = size;
        true
    }

    /// Appends a hole, if it is not empty, that is in no list yet; [`NONE`] without one.
    pub(crate) fn append_hole(&mut self, start: u64, end: u64) -> u32 {
        if start == end {
            return NONE;
        }
        let hole = self.store(Node::hole(start, end - start));
        self.append(hole);
        hole
    }

    /// Puts a new hole in its list.
    pub(crate) fn file(&mut self, at: u32) {
        self.link(at, self.node(at).units);
        self.holes += 1;
    }
}
