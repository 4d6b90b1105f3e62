//! The bitmaps of all sets: leaves for the low digit of a key, nodes for each digit above.

use crate::bits::{Bits, DIGIT, LAST, SLOTS, Words, clear, has, set};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// No leaf and no node.
pub(crate) const NONE: u32 = u32::MAX;

/// Leaves that may stay in their trees when they get empty, half a KiB each: an order that is
/// emptied and filled all the time need not give and take them.
const KEPT: usize = 4096;

/// A bitmap of children that are not empty.
#[derive(Clone, Debug)]
struct Node {
    top: u64,
    words: Words,
    child: Box<[u32; SLOTS]>,
}

/// The leaves and nodes that all sets share; what a set no longer needs is used again.
///
/// Invariants: spare ones are empty, and spare nodes have no children; a node's bits say which of
/// its children are not empty; in a tree of several levels of nodes no child is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    leaves: Vec<Words>,
    /// The top words of the leaves, close together: they are needed more often.
    tops: Vec<u64>,
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
    #[cold]
    pub(crate) fn make(&mut self, level: u32) -> u32 {
        // OVERFLOW: 2^32 leaves of 520 bytes do not fit in any memory this runs in.
        if level == 0 {
            return self.spare_leaves.pop().unwrap_or_else(|| {
                self.leaves.push([0; 64]);
                self.tops.push(0);
                (self.leaves.len() - 1) as u32
            });
        }
        self.spare_nodes.pop().unwrap_or_else(|| {
            self.nodes.push(Node {
                top: 0,
                words: [0; 64],
                child: Box::new([NONE; SLOTS]),
            });
            (self.nodes.len() - 1) as u32
        })
    }

    /// A new root whose first child is the old one.
    pub(crate) fn raise(&mut self, level: u32, root: u32) -> u32 {
        let raised = self.make(level + 1);
        if level == 1 {
            // From here on the tree has several levels of nodes.
            (0..SLOTS).for_each(|slot| self.detach(1, root, slot));
        }
        if self.is_empty(level, root) {
            self.recycle(level, root);
            return raised;
        }
        let node = &mut self.nodes[raised as usize];
        set(&mut node.top, &mut node.words, 0);
        node.child[0] = root;
        raised
    }

    fn recycle(&mut self, level: u32, at: u32) {
        if level == 0 {
            self.spare_leaves.push(at);
        } else {
            self.spare_nodes.push(at);
        }
    }

    /// Takes an empty child out of a node.
    fn detach(&mut self, level: u32, at: u32, slot: usize) {
        let node = &mut self.nodes[at as usize];
        if node.child[slot] != NONE && !has(&node.words, slot) {
            let child = core::mem::replace(&mut node.child[slot], NONE);
            self.recycle(level - 1, child);
        }
    }

    /// The leaf of a key, which is made if need be.
    #[inline]
    fn reach(&mut self, top: u32, root: u32, key: u64) -> u32 {
        let (mut at, mut level) = (root, top);
        while level > 0 {
            let slot = digit(key, level);
            level -= 1;
            at = match self.nodes[at as usize].child[slot] {
                NONE => self.adopt(level, at, slot),
                child => child,
            };
        }
        at
    }

    /// Makes a child of a node.
    #[cold]
    fn adopt(&mut self, level: u32, at: u32, slot: usize) -> u32 {
        let child = self.make(level);
        self.nodes[at as usize].child[slot] = child;
        child
    }

    /// Adds a key that is not there.
    #[inline]
    pub(crate) fn insert(&mut self, top: u32, root: u32, key: u64) {
        let leaf = self.reach(top, root, key);
        let leaf = leaf as usize;
        set(&mut self.tops[leaf], &mut self.leaves[leaf], digit(key, 0));
        self.filled(top, root, key);
    }

    /// Adds a key that is not there, or takes its buddy out and says so.
    #[inline]
    pub(crate) fn pair(&mut self, top: u32, root: u32, key: u64) -> bool {
        let leaf = self.reach(top, root, key);
        let slot = digit(key, 0);
        let leaf = leaf as usize;
        let (bits, words) = (&mut self.tops[leaf], &mut self.leaves[leaf]);
        let paired = has(words, slot ^ 1);
        if !paired {
            set(bits, words, slot);
            self.filled(top, root, key);
        } else if clear(bits, words, slot ^ 1) {
            self.emptied(top, root, key);
        }
        paired
    }

    /// Takes a key out; `false` when it is not there.
    #[inline]
    pub(crate) fn remove(&mut self, top: u32, root: u32, key: u64) -> bool {
        let Some(leaf) = self.leaf(top, root, key) else {
            return false;
        };
        let leaf = leaf as usize;
        if clear(&mut self.tops[leaf], &mut self.leaves[leaf], digit(key, 0)) {
            self.emptied(top, root, key);
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
        has(&self.leaves[at as usize], digit(key, 0)).then_some(at)
    }

    /// Tells the nodes above that a key's leaf is not empty.
    #[inline]
    fn filled(&mut self, top: u32, root: u32, key: u64) {
        let (mut at, mut level) = (root, top);
        if top == 1 {
            let node = &mut self.nodes[root as usize];
            return set(&mut node.top, &mut node.words, digit(key, 1));
        }
        while level > 0 {
            let (slot, node) = (digit(key, level), &mut self.nodes[at as usize]);
            set(&mut node.top, &mut node.words, slot);
            at = node.child[slot];
            level -= 1;
        }
    }

    /// Tells the nodes above that a key's leaf is empty.
    #[inline]
    fn emptied(&mut self, top: u32, root: u32, key: u64) {
        match top {
            0 => (),
            1 if self.leaves.len() <= KEPT => {
                let node = &mut self.nodes[root as usize];
                clear(&mut node.top, &mut node.words, digit(key, 1));
            }
            _ => self.prune(top, root, key),
        }
    }

    /// Takes the empty leaf on a key's path, and what gets empty above it, out of the tree.
    fn prune(&mut self, level: u32, at: u32, key: u64) {
        let slot = digit(key, level);
        let child = self.nodes[at as usize].child[slot];
        if level > 1 {
            self.prune(level - 1, child, key);
        }
        if self.is_empty(level - 1, child) {
            let node = &mut self.nodes[at as usize];
            clear(&mut node.top, &mut node.words, slot);
            self.detach(level, at, slot);
        }
    }

    /// Takes out the largest key.
    #[inline]
    pub(crate) fn pop(&mut self, top: u32, root: u32) -> Option<u64> {
        let (mut at, mut level, mut key) = (root, top, 0);
        while level > 0 {
            let slot = self.bits(level, at).last()?;
            key = key << DIGIT | slot as u64;
            at = self.child(at, slot);
            level -= 1;
        }
        let slot = self.bits(0, at).last()?;
        key = key << DIGIT | slot as u64;
        if clear(
            &mut self.tops[at as usize],
            &mut self.leaves[at as usize],
            slot,
        ) {
            self.emptied(top, root, key);
        }
        Some(key)
    }

    #[inline]
    fn bits(&self, level: u32, at: u32) -> Bits<'_> {
        let at = at as usize;
        let (top, words) = match level {
            0 => (self.tops[at], &self.leaves[at]),
            _ => (self.nodes[at].top, &self.nodes[at].words),
        };
        Bits { top, words }
    }

    fn is_empty(&self, level: u32, at: u32) -> bool {
        self.bits(level, at).top == 0
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
    /// Errors: one is lost or wrong about its children, or a set counts wrong.
    pub(crate) fn consistent(
        &self,
        trees: impl Iterator<Item = (u32, u32, u64)>,
    ) -> Result<(), &'static str> {
        let mut seen = (self.spare_nodes.len(), self.spare_leaves.len());
        for (level, root, keys) in trees {
            if self.count(level, root, &mut seen) != Some(keys) {
                return Err("a set's nodes are right about their children, and counted");
            }
        }
        let spare = self.spare_leaves.iter().map(|&at| (0, at));
        let mut spare = spare.chain(self.spare_nodes.iter().map(|&at| (1, at)));
        let childless = |at: u32| self.nodes[at as usize].child.iter().all(|&at| at == NONE);
        if !spare.all(|(level, at)| self.is_empty(level, at) && (level == 0 || childless(at))) {
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
            let below = match child {
                NONE => 0,
                child => self.count(level - 1, child, seen)?,
            };
            let needless = below == 0 && child != NONE && level > 1;
            if has(&node.words, slot) != (below != 0) || needless {
                return None;
            }
            keys += below;
        }
        Some(keys)
    }
}
