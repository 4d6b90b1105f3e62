//! Room in full nodes.

use super::{FAN, Inner, Leaf, Path, Tree, id};
use alloc::boxed::Box;

/// A neighbour with this many mappings or more is not worth evening out with.
const NEARLY_FULL: usize = FAN - FAN / 8;

impl Tree {
    /// Makes room in the full leaf that a path leads to: neighbours below the same node share, or
    /// it is split. The path is void afterwards.
    ///
    /// `at` is where something is to be inserted: a leaf that is appended to stays nearly full, so
    /// ascending addresses leave full leaves behind.
    #[cold]
    pub(super) fn make_room(&mut self, path: &Path, at: usize) {
        if self.height > 0 {
            let (node, child) = path.at[self.height - 1];
            let child = child as usize;
            if child + 1 < self.inner(node).len() {
                let right = self.inner(node).child(child + 1);
                let len = self.leaf(right).len();
                if len < NEARLY_FULL {
                    self.move_up(path.leaf, right, (FAN - len).div_ceil(2));
                    let key = self.leaf(right).key(0);
                    self.inner_mut(node).set_key(child + 1, key);
                    return;
                }
            }
            if child > 0 {
                let left = self.inner(node).child(child - 1);
                let len = self.leaf(left).len();
                if len < NEARLY_FULL {
                    self.move_down(path.leaf, left, (FAN - len).div_ceil(2));
                    let key = self.leaf(path.leaf).key(0);
                    self.inner_mut(node).set_key(child, key);
                    return;
                }
            }
        }
        let right = self.new_leaf();
        let len = self.leaf(path.leaf).len();
        let moved = if at == len { FAN / 8 } else { FAN / 2 };
        self.move_up(path.leaf, right, moved);
        let key = self.leaf(right).key(0);
        let low = self.leaf(path.leaf).key(0);
        self.add_child(path, self.height, (low, path.leaf), (key, right));
    }

    /// Moves the last `count` mappings of a leaf to the beginning of its right neighbour.
    pub(super) fn move_up(&mut self, left: u32, right: u32, count: usize) {
        let len = self.leaf(left).len();
        for at in (len - count..len).rev() {
            self.move_one(left, at, right, 0);
        }
        self.leaf_mut(left).remove(len - count, len);
    }

    /// Moves the first `count` mappings of a leaf to the end of its left neighbour.
    pub(super) fn move_down(&mut self, right: u32, left: u32, count: usize) {
        for at in 0..count {
            let to = self.leaf(left).len();
            self.move_one(right, at, left, to);
        }
        self.leaf_mut(right).remove(0, count);
    }

    fn move_one(&mut self, from: u32, at: usize, to: u32, place: usize) {
        let leaf = self.leaf(from);
        let key = leaf.key(at);
        let slot = *leaf.slot(leaf.slot_of(at));
        let new = self.leaf_mut(to).insert_slot(place, key, slot);
        self.relink(slot, id(to, new));
    }

    /// Hangs `new` behind the child that a path leads to on `level`, where `low` is that child
    /// with its lowest key.
    fn add_child(&mut self, path: &Path, level: usize, low: (u64, u32), new: (u64, u32)) {
        let Some(above) = level.checked_sub(1) else {
            let mut root = Inner::new();
            root.insert(0, low.0, low.1);
            root.insert(1, new.0, new.1);
            self.root = self.new_inner(root);
            self.height += 1;
            return;
        };
        let (node, child) = path.at[above];
        let at = child as usize + 1;
        if self.inner(node).len() < FAN {
            self.inner_mut(node).insert(at, new.0, new.1);
            return;
        }
        let mut right = self.inner_mut(node).split();
        match at.checked_sub(self.inner(node).len()) {
            Some(at) if at > 0 => right.insert(at, new.0, new.1),
            _ => self.inner_mut(node).insert(at, new.0, new.1),
        }
        let (low, key) = (self.inner(node).key(0), right.key(0));
        let right = self.new_inner(right);
        self.add_child(path, above, (low, node), (key, right));
    }

    fn new_leaf(&mut self) -> u32 {
        let leaf = Some(Box::new(Leaf::new()));
        match self.spare_leaves.pop() {
            Some(at) => {
                self.leaves[at as usize] = leaf;
                at
            }
            None => {
                self.leaves.push(leaf);
                self.leaves.len() as u32 - 1
            }
        }
    }

    fn new_inner(&mut self, inner: Inner) -> u32 {
        match self.spare_inners.pop() {
            Some(at) => {
                self.inners[at as usize] = inner;
                at
            }
            None => {
                self.inners.push(inner);
                self.inners.len() as u32 - 1
            }
        }
    }
}
