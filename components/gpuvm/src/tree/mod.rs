//! Mappings by address: a B+tree whose leaves hold whole neighbourhoods, with a list of each
//! vm-bo's mappings threaded through it.
//!
//! Units: pages. Every key in an inner node is exactly the lowest start below it, so the mapping
//! before an address, if there is one, is in the leaf that the descent for the address ends in.
//!
//! Invariants: mappings are disjoint; a slot's number (leaf and place in it) stays until its leaf
//! is split, merged or evened out, which then corrects the list it is in.

mod check;
mod grow;
mod inner;
mod leaf;
mod replace;
mod shrink;

use alloc::boxed::Box;
use alloc::vec::Vec;
use inner::Inner;
use leaf::Leaf;

/// Mappings per leaf, children per inner node.
const FAN: usize = 64;
/// Levels of inner nodes: of two neighbours at least one has a quarter of [`FAN`] children, so a
/// ninth level would need more leaves than the most mappings fill.
const LEVELS: usize = 8;
/// No slot, no vm-bo.
pub(crate) const NONE: u32 = u32::MAX;

/// How many keys are `key` or lower, without a branch: first which eight, then which of them.
#[inline]
fn upper(keys: &[u64; FAN], key: u64) -> usize {
    let (eights, _) = keys.as_chunks::<8>();
    let full: usize = eights
        .iter()
        .map(|eight| usize::from(eight[7] <= key))
        .sum();
    let Some(eight) = eights.get(full) else {
        return FAN;
    };
    let within: usize = eight.iter().map(|&k| usize::from(k <= key)).sum();
    full * 8 + within
}

/// A mapping in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) offset: u64,
    /// Whose; [`NONE`] when sparse.
    pub(crate) vm_bo: u32,
    pub(crate) attributes: u8,
}

impl Entry {
    /// What is left of it from an address on.
    #[inline]
    fn behind(&self, start: u64) -> Entry {
        Entry {
            start,
            offset: self.offset + (start - self.start),
            ..*self
        }
    }
}

/// The way from the root to a leaf: a node and the number of its child per level.
#[derive(Clone, Copy, Debug)]
struct Path {
    at: [(u32, u32); LEVELS],
    leaf: u32,
}

/// The tree.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    leaves: Vec<Option<Box<Leaf>>>,
    spare_leaves: Vec<u32>,
    inners: Vec<Inner>,
    spare_inners: Vec<u32>,
    root: u32,
    /// Levels of inner nodes; 0 = the root is a leaf.
    height: usize,
    len: usize,
    /// The first slot of each vm-bo's list.
    heads: Vec<u32>,
}

impl Default for Tree {
    fn default() -> Self {
        Tree {
            leaves: Vec::from([Some(Box::new(Leaf::new()))]),
            spare_leaves: Vec::new(),
            inners: Vec::new(),
            spare_inners: Vec::new(),
            root: 0,
            height: 0,
            len: 0,
            heads: Vec::new(),
        }
    }
}

/// The number of a slot.
#[inline]
fn id(leaf: u32, slot: usize) -> u32 {
    leaf * FAN as u32 + slot as u32
}

impl Tree {
    /// How many mappings there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Makes a list for a vm-bo.
    pub(crate) fn track(&mut self, vm_bo: u32) {
        if self.heads.len() <= vm_bo as usize {
            self.heads.resize(vm_bo as usize + 1, NONE);
        }
    }

    #[inline]
    fn leaf(&self, at: u32) -> &Leaf {
        match &self.leaves[at as usize] {
            Some(leaf) => leaf,
            None => unreachable!("a path or a link leads to a leaf that lives"),
        }
    }

    #[inline]
    fn leaf_mut(&mut self, at: u32) -> &mut Leaf {
        match &mut self.leaves[at as usize] {
            Some(leaf) => leaf,
            None => unreachable!("a path or a link leads to a leaf that lives"),
        }
    }

    #[inline]
    fn inner(&self, at: u32) -> &Inner {
        &self.inners[at as usize]
    }

    #[inline]
    fn inner_mut(&mut self, at: u32) -> &mut Inner {
        &mut self.inners[at as usize]
    }

    /// The leaf in which `key` is, or would be.
    #[inline]
    fn descend(&self, key: u64) -> Path {
        let mut at = [(0, 0); LEVELS];
        let mut node = self.root;
        for step in &mut at[..self.height] {
            let child = self.inner(node).find(key);
            *step = (node, child as u32);
            node = self.inner(node).child(child);
        }
        Path { at, leaf: node }
    }

    /// The way to the next leaf, and its lowest key.
    fn next_leaf(&self, path: &Path) -> Option<(Path, u64)> {
        let mut path = *path;
        let more = |&level: &usize| {
            let (node, child) = path.at[level];
            (child as usize) + 1 < self.inner(node).len()
        };
        let level = (0..self.height).rev().find(more)?;
        let (node, child) = &mut path.at[level];
        *child += 1;
        let key = self.inner(*node).key(*child as usize);
        let mut below = self.inner(*node).child(*child as usize);
        for step in &mut path.at[level + 1..self.height] {
            *step = (below, 0);
            below = self.inner(below).child(0);
        }
        path.leaf = below;
        Some((path, key))
    }

    /// Shows every mapping that overlaps, ascending, until it is told to stop with `false`.
    pub(crate) fn visit(&self, start: u64, end: u64, mut show: impl FnMut(&Entry) -> bool) {
        let mut path = self.descend(start);
        let mut at = self.leaf(path.leaf).upper(start);
        if at > 0 && self.leaf(path.leaf).entry(at - 1).end > start {
            at -= 1;
        }
        loop {
            let leaf = self.leaf(path.leaf);
            for at in at..leaf.len() {
                if leaf.key(at) >= end || !show(&leaf.entry(at)) {
                    return;
                }
            }
            match self.next_leaf(&path) {
                Some((next, key)) if key < end => (path, at) = (next, 0),
                _ => return,
            }
        }
    }

    /// The mapping that is the last one to start at an address or before.
    pub(crate) fn last_at(&self, address: u64) -> Option<Entry> {
        let leaf = self.leaf(self.descend(address).leaf);
        let at = leaf.upper(address).checked_sub(1)?;
        Some(leaf.entry(at))
    }

    /// The mappings of a vm-bo, in no order that means anything.
    pub(crate) fn of(&self, vm_bo: u32) -> impl Iterator<Item = Entry> {
        let mut next = self.heads.get(vm_bo as usize).copied().unwrap_or(NONE);
        core::iter::from_fn(move || {
            let at = (next != NONE).then_some(next)?;
            let leaf = self.leaf(at / FAN as u32);
            let slot = at as usize % FAN;
            next = leaf.slot(slot).next;
            leaf.entry_in(slot)
        })
    }

    /// The slot with a number.
    #[inline]
    fn slot_mut(&mut self, id: u32) -> &mut leaf::Slot {
        self.leaf_mut(id / FAN as u32).slot_mut(id as usize % FAN)
    }

    /// Puts a slot in front of its vm-bo's list.
    #[inline]
    fn link(&mut self, id: u32, vm_bo: u32) {
        if vm_bo == NONE {
            return;
        }
        let head = core::mem::replace(&mut self.heads[vm_bo as usize], id);
        if head != NONE {
            self.slot_mut(head).prev = id;
        }
        self.slot_mut(id).next = head;
    }

    /// Takes a slot out of its vm-bo's list; the slot itself is about to go.
    #[inline]
    fn unlink(&mut self, slot: leaf::Slot) {
        if slot.vm_bo == NONE {
            return;
        }
        match slot.prev {
            NONE => self.heads[slot.vm_bo as usize] = slot.next,
            prev => self.slot_mut(prev).next = slot.next,
        }
        if slot.next != NONE {
            self.slot_mut(slot.next).prev = slot.prev;
        }
    }

    /// Lets the neighbours of a slot that has got another number know.
    #[inline]
    fn relink(&mut self, slot: leaf::Slot, id: u32) {
        if slot.vm_bo == NONE {
            return;
        }
        match slot.prev {
            NONE => self.heads[slot.vm_bo as usize] = id,
            prev => self.slot_mut(prev).next = id,
        }
        if slot.next != NONE {
            self.slot_mut(slot.next).prev = id;
        }
    }
}
