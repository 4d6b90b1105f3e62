//! The nodes that partition the arena, and the free lists through them.

use crate::bins::{Bins, bin_of};
use alloc::vec::Vec;

pub(crate) use gpumm_contract::numbers::NONE;
/// Owner of a hole. Allocation numbers stay below `numbers::LIMIT`.
pub(crate) const HOLE: u32 = u32::MAX;
/// Owner of a node that describes nothing and waits to be used again.
pub(crate) const SPARE: u32 = u32::MAX - 1;

/// One piece of the arena.
///
/// Units: granules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) offset: u64,
    pub(crate) units: u64,
    /// The neighbour at lower addresses.
    pub(crate) below: u32,
    /// The neighbour at higher addresses.
    pub(crate) above: u32,
    /// A hole: the previous one of its bin.
    pub(crate) previous: u32,
    /// A hole: the next one of its bin. Taken: the next extent of the same allocation. Spare: the
    /// next spare node.
    pub(crate) next: u32,
    /// An allocation number, [`HOLE`] or [`SPARE`].
    pub(crate) owner: u32,
}

impl Node {
    pub(crate) fn new(offset: u64, units: u64, owner: u32) -> Self {
        Node {
            offset,
            units,
            below: NONE,
            above: NONE,
            previous: NONE,
            next: NONE,
            owner,
        }
    }

    /// The first unit behind it; never overflows, since it lies in the arena.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.units
    }
}

/// The arena as a list of nodes in address order.
///
/// Units: granules. Invariants: the nodes from `first` by `above` cover `0..size` without gap;
/// no two neighbours are holes; every hole is in the list of its size's bin.
#[derive(Clone, Debug)]
pub(crate) struct Arena {
    pub(crate) nodes: Vec<Node>,
    pub(crate) bins: Bins,
    pub(crate) spare: u32,
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) size: u64,
    pub(crate) used: u64,
    pub(crate) holes: u64,
}

impl Arena {
    /// An arena without a node: fill it with [`Arena::append`].
    pub(crate) fn new(size: u64) -> Self {
        Arena {
            nodes: Vec::new(),
            bins: Bins::new(),
            spare: NONE,
            first: NONE,
            last: NONE,
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

    /// Stores a node in a spare place or a new one.
    #[inline]
    pub(crate) fn store(&mut self, node: Node) -> u32 {
        let at = self.spare;
        if at != NONE {
            self.spare = self.node(at).next;
            *self.node_mut(at) = node;
            return at;
        }
        // OVERFLOW: 2^32 nodes of 40 bytes do not fit in any memory this runs in.
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    /// Gives a node's place back.
    #[inline]
    pub(crate) fn recycle(&mut self, at: u32) {
        let spare = self.spare;
        let node = self.node_mut(at);
        node.owner = SPARE;
        node.next = spare;
        self.spare = at;
    }

    /// Puts a hole at the head of its bin's list.
    #[inline]
    pub(crate) fn file(&mut self, at: u32) {
        let bin = bin_of(self.node(at).units);
        let head = self.bins.head(bin);
        let node = self.node_mut(at);
        node.owner = HOLE;
        node.previous = NONE;
        node.next = head;
        if head != NONE {
            self.node_mut(head).previous = at;
        }
        self.bins.set_head(bin, at);
        self.holes += 1;
    }

    /// Takes a hole out of its bin's list.
    #[inline]
    pub(crate) fn unfile(&mut self, at: u32) {
        let Node {
            units,
            previous,
            next,
            ..
        } = *self.node(at);
        if next != NONE {
            self.node_mut(next).previous = previous;
        }
        if previous != NONE {
            self.node_mut(previous).next = next;
        } else {
            self.bins.set_head(bin_of(units), next);
        }
        self.holes -= 1;
    }

    /// Stores a node directly above another one.
    #[inline]
    fn insert_above(&mut self, at: u32, mut node: Node) -> u32 {
        let above = self.node(at).above;
        node.below = at;
        node.above = above;
        let new = self.store(node);
        self.node_mut(at).above = new;
        if above != NONE {
            self.node_mut(above).below = new;
        } else {
            self.last = new;
        }
        new
    }

    /// Takes a node out of the address order and recycles it.
    #[inline]
    fn remove(&mut self, at: u32) {
        let Node { below, above, .. } = *self.node(at);
        if below != NONE {
            self.node_mut(below).above = above;
        } else {
            self.first = above;
        }
        if above != NONE {
            self.node_mut(above).below = below;
        } else {
            self.last = below;
        }
        self.recycle(at);
    }

    /// Makes a stored node the last one in address order.
    pub(crate) fn append(&mut self, at: u32) {
        let last = self.last;
        let node = self.node_mut(at);
        node.below = last;
        node.above = NONE;
        if last != NONE {
            self.node_mut(last).above = at;
        } else {
            self.first = at;
        }
        self.last = at;
    }

    /// Cuts `units` at `start` out of a hole for an owner; what is left stays as holes.
    ///
    /// Bounds: the cut lies in the hole. Complexity: O(1).
    pub(crate) fn take(&mut self, hole: u32, start: u64, units: u64, owner: u32) -> u32 {
        self.unfile(hole);
        let (offset, end) = (self.node(hole).offset, self.node(hole).end());
        let mut taken = hole;
        if start != offset {
            self.node_mut(hole).units = start - offset;
            self.file(hole);
            taken = self.insert_above(hole, Node::new(start, units, owner));
        }
        let rest = end - start - units;
        let node = self.node_mut(taken);
        node.units = units;
        node.owner = owner;
        node.next = NONE;
        if rest != 0 {
            let hole = self.insert_above(taken, Node::new(start + units, rest, HOLE));
            self.file(hole);
        }
        self.used += units;
        taken
    }

    /// Makes a taken node a hole and joins it with the holes beside it.
    ///
    /// Complexity: O(1).
    pub(crate) fn release(&mut self, at: u32) {
        let Node {
            units,
            below,
            above,
            ..
        } = *self.node(at);
        self.used -= units;
        let mut hole = at;
        if below != NONE && self.node(below).owner == HOLE {
            self.unfile(below);
            self.node_mut(below).units += units;
            self.remove(at);
            hole = below;
        }
        if above != NONE && self.node(above).owner == HOLE {
            self.unfile(above);
            let more = self.node(above).units;
            self.node_mut(hole).units += more;
            self.remove(above);
        }
        self.file(hole);
    }

    /// Moves the arena's end.
    ///
    /// Errors: `false`, and nothing changed, when taken units would be cut off.
    #[must_use]
    pub(crate) fn resize(&mut self, size: u64) -> bool {
        let Node { offset, owner, .. } = *self.node(self.last);
        let last = self.last;
        if owner == HOLE && offset <= size {
            self.unfile(last);
            if offset == size {
                self.remove(last);
            } else {
                self.node_mut(last).units = size - offset;
                self.file(last);
            }
        } else if size > self.size {
            let hole = self.store(Node::new(self.size, size - self.size, HOLE));
            self.append(hole);
            self.file(hole);
        } else if size < self.size {
            return false;
        }
        self.size = size;
        true
    }
}
