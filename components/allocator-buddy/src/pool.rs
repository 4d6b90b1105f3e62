//! The bitmaps of all sets: leaves for the low digit of a key, nodes for each digit above.

use crate::bits::{Bits, DIGIT, LAST, SLOTS};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// No leaf and no node.
pub(crate) const NONE: u32 = u32::MAX;

/// A bitmap of children that are not empty.
///
/// Invariants: `child` is [`NONE`] exactly where the bit is not set.
#[derive(Clone, Debug)]
struct Node {
    bits: Bits,
    child: Box<[u32; SLOTS]>,
}

/// The leaves and nodes that all sets share; what a set no longer needs is used again.
///
/// Invariants: spare ones are empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    leaves: Vec<Bits>,
    nodes: Vec<Node>,
    spare_leaves: Vec<u32>,
    spare_nodes: Vec<u32>,
}

/// The digit of a key at a level.
#[inline]
fn digit(key: u64, level: u32) -> usize {
    (key >> (DIGIT * level)) as usize & LAST
}

impl Pool {
    /// A new, empty leaf (level 0) or node.
    pub(crate) fn make(&mut self, level: u32) -> u32 {
        let spare = if level == 0 {
            &mut self.spare_leaves
        } else {
            &mut self.spare_nodes
        };
        match spare.pop() {
            Some(at) => at,
            None => self.enlarge(level),
        }
    }

    #[cold]
    fn enlarge(&mut self, level: u32) -> u32 {
        // OVERFLOW: 2^32 leaves of 520 bytes do not fit in any memory this runs in.
        if level == 0 {
            self.leaves.push(Bits::EMPTY);
            return (self.leaves.len() - 1) as u32;
        }
        self.nodes.push(Node {
            bits: Bits::EMPTY,
            child: Box::new([NONE; SLOTS]),
        });
        (self.nodes.len() - 1) as u32
    }

    fn recycle(&mut self, level: u32, at: u32) {
        if level == 0 {
            self.spare_leaves.push(at);
        } else {
            self.spare_nodes.push(at);
        }
    }

    /// A new root whose first child is the old one.
    pub(crate) fn raise(&mut self, level: u32, root: u32) -> u32 {
        let empty = self.bits(level, root).is_empty();
        let raised = self.make(level + 1);
        if empty {
            self.recycle(level, root);
        } else {
            let node = &mut self.nodes[raised as usize];
            node.bits.set(0);
            node.child[0] = root;
        }
        raised
    }

    #[inline]
    pub(crate) fn insert(&mut self, top: u32, root: u32, key: u64) {
        let (mut at, mut level) = (root, top);
        while level > 0 {
            let slot = digit(key, level);
            level -= 1;
            let mut child = self.nodes[at as usize].child[slot];
            if child == NONE {
                child = self.make(level);
                let node = &mut self.nodes[at as usize];
                node.child[slot] = child;
                node.bits.set(slot);
            }
            at = child;
        }
        self.leaves[at as usize].set(digit(key, 0));
    }

    /// Takes a key out; `false` when it is not there.
    #[inline]
    pub(crate) fn remove(&mut self, top: u32, root: u32, key: u64) -> bool {
        let Some(leaf) = self.leaf(top, root, key) else {
            return false;
        };
        if self.leaves[leaf as usize].clear(digit(key, 0)) && top > 0 {
            self.prune(top, root, key);
        }
        true
    }

    /// The leaf that holds a key.
    #[inline]
    pub(crate) fn leaf(&self, top: u32, root: u32, key: u64) -> Option<u32> {
        let (mut at, mut level) = (root, top);
        while level > 0 {
            at = self.nodes[at as usize].child[digit(key, level)];
            if at == NONE {
                return None;
            }
            level -= 1;
        }
        self.leaves[at as usize].has(digit(key, 0)).then_some(at)
    }

    /// Takes the empty leaf on a key's path, and what gets empty above it, out of the tree.
    fn prune(&mut self, level: u32, at: u32, key: u64) {
        let slot = digit(key, level);
        let child = self.nodes[at as usize].child[slot];
        if level > 1 {
            self.prune(level - 1, child, key);
        }
        if self.bits(level - 1, child).is_empty() {
            self.recycle(level - 1, child);
            let node = &mut self.nodes[at as usize];
            node.child[slot] = NONE;
            node.bits.clear(slot);
        }
    }

    #[inline]
    fn bits(&self, level: u32, at: u32) -> &Bits {
        if level == 0 {
            &self.leaves[at as usize]
        } else {
            &self.nodes[at as usize].bits
        }
    }

    #[inline]
    fn child(&self, at: u32, slot: usize) -> u32 {
        self.nodes[at as usize].child[slot & LAST]
    }

    /// The largest key.
    #[inline]
    pub(crate) fn last(&self, top: u32, root: u32) -> Option<u64> {
        let (mut at, mut level, mut key) = (root, top, 0);
        loop {
            let slot = self.bits(level, at).last()?;
            key = key << DIGIT | slot as u64;
            if level == 0 {
                return Some(key);
            }
            at = self.child(at, slot);
            level -= 1;
        }
    }

    /// The largest key that is at most `to` and has `zeros` low bits clear.
    ///
    /// Complexity: O(levels) without `zeros`; else O(leaves).
    pub(crate) fn previous(&self, level: u32, at: u32, to: u64, zeros: u32) -> Option<u64> {
        let (bits, span) = (self.bits(level, at), DIGIT * level);
        let limit = digit(to, level);
        let zeros_here = zeros.saturating_sub(span);
        let mut slot = bits.last_multiple(limit, zeros_here)?;
        if level == 0 {
            return Some(slot as u64);
        }
        loop {
            let to = if slot == limit { to } else { u64::MAX };
            let below = self.previous(level - 1, self.child(at, slot), to, zeros);
            if let Some(key) = below {
                return Some((slot as u64) << span | key);
            }
            slot = bits.last_multiple(slot.checked_sub(1)?, zeros_here)?;
        }
    }

    /// The smallest key that is at least `from`.
    pub(crate) fn next(&self, level: u32, at: u32, from: u64) -> Option<u64> {
        let (bits, span) = (self.bits(level, at), DIGIT * level);
        let limit = digit(from, level);
        let mut slot = bits.next(limit)?;
        if level == 0 {
            return Some(slot as u64);
        }
        loop {
            let from = if slot == limit { from } else { 0 };
            if let Some(key) = self.next(level - 1, self.child(at, slot), from) {
                return Some((slot as u64) << span | key);
            }
            slot = bits.next(slot + 1).filter(|_| slot != LAST)?;
        }
    }

    /// Compares leaves and nodes with what spare lists and trees hold.
    ///
    /// Errors: one is lost, empty or wrong about its children, or a set counts wrong.
    pub(crate) fn consistent(
        &self,
        trees: impl Iterator<Item = (u32, u32, u64)>,
    ) -> Result<(), &'static str> {
        let mut seen = (self.spare_nodes.len(), self.spare_leaves.len());
        for (level, root, keys) in trees {
            if self.count(level, root, &mut seen) != Some(keys) {
                return Err("a set's nodes are filled, right about their children, and counted");
            }
        }
        let spare = self.spare_leaves.iter().map(|&at| (0, at));
        let mut spare = spare.chain(self.spare_nodes.iter().map(|&at| (1, at)));
        if !spare.all(|(level, at)| self.bits(level, at).is_empty()) {
            return Err("what is spare is empty");
        }
        if seen == (self.nodes.len(), self.leaves.len()) {
            Ok(())
        } else {
            Err("no node of the sets is lost")
        }
    }

    fn count(&self, level: u32, at: u32, seen: &mut (usize, usize)) -> Option<u64> {
        let set = self.bits(level, at).count()?;
        if level == 0 {
            seen.1 += 1;
            return Some(set);
        }
        seen.0 += 1;
        let node = &self.nodes[at as usize];
        let mut keys = 0;
        for (slot, &child) in node.child.iter().enumerate() {
            if node.bits.has(slot) != (child != NONE) {
                return None;
            }
            if child != NONE {
                let below = self.count(level - 1, child, seen)?;
                keys += Some(below).filter(|&below| below != 0)?;
            }
        }
        Some(keys)
    }
}
