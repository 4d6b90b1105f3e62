//! Nodes that have lost children.

use super::{FAN, Path, Tree};

/// The most that two leaves have when they become one: what is left is room for what follows.
const MERGED_LEAF: usize = FAN - FAN / 8;
/// The same for inner nodes.
const MERGED_INNER: usize = FAN - FAN / 4;

impl Tree {
    /// The lowest key below a path's leaf has changed.
    pub(super) fn lowest_changed(&mut self, path: &Path) {
        let key = self.leaf(path.leaf).key(0);
        self.lower_bound(path, self.height, key);
    }

    /// Writes the lowest key below the child on `level` into the nodes above that show it.
    fn lower_bound(&mut self, path: &Path, level: usize, key: u64) {
        for &(node, child) in path.at[..level].iter().rev() {
            self.inner_mut(node).set_key(child as usize, key);
            if child > 0 {
                return;
            }
        }
    }

    /// Ends the empty leaf that a path leads to; the path is void afterwards.
    pub(super) fn drop_leaf(&mut self, path: &Path) {
        if self.height > 0 {
            self.free_leaf(path.leaf);
            self.remove_child(path, self.height - 1);
        }
    }

    /// Joins a leaf with a neighbour below the same node, or deals it out to both neighbours, if
    /// that leaves room; the path is void afterwards.
    #[cold]
    pub(super) fn merge_leaf(&mut self, path: &Path) {
        let Some(level) = self.height.checked_sub(1) else {
            return;
        };
        let (node, child) = path.at[level];
        let child = child as usize;
        let len = self.leaf(path.leaf).len();
        let inner = self.inner(node);
        let neighbour = |at: Option<usize>| {
            let leaf = inner.child(at.filter(|&at| at < inner.len())?);
            Some((leaf, self.leaf(leaf).len()))
        };
        let (left, right) = (neighbour(child.checked_sub(1)), neighbour(Some(child + 1)));
        match (left, right) {
            (_, Some((right, more))) if len + more <= MERGED_LEAF => {
                self.join(path, level, child, (path.leaf, len), (right, more));
            }
            (Some((left, more)), _) if len + more <= MERGED_LEAF => {
                self.join(path, level, child - 1, (left, more), (path.leaf, len));
            }
            (Some((left, low)), Some((right, high))) if low + len + high <= 2 * MERGED_LEAF => {
                let down = MERGED_LEAF.saturating_sub(low).min(len);
                self.move_down(path.leaf, left, down);
                self.move_up(path.leaf, right, len - down);
                let key = self.leaf(right).key(0);
                self.inner_mut(node).set_key(child + 1, key);
                self.free_leaf(path.leaf);
                self.remove_child(path, level);
            }
            _ => {}
        }
    }

    /// Makes one leaf of the `at`th child and the next one, which are given with their lengths.
    fn join(
        &mut self,
        path: &Path,
        level: usize,
        at: usize,
        lower: (u32, usize),
        upper: (u32, usize),
    ) {
        let node = path.at[level].0;
        let mut path = *path;
        // What moves has to be looked for in the lists: move the fewer.
        if lower.1 < upper.1 {
            // Not the leaf's own lowest key: it may be empty, while its range is being emptied.
            let key = self.inner(node).key(at);
            self.move_up(lower.0, upper.0, lower.1);
            self.free_leaf(lower.0);
            self.inner_mut(node).set_key(at + 1, key);
            path.at[level].1 = at as u32;
        } else {
            self.move_down(upper.0, lower.0, upper.1);
            self.free_leaf(upper.0);
            path.at[level].1 = at as u32 + 1;
        }
        self.remove_child(&path, level);
    }

    /// Takes the child out that a path leads to on `level`.
    fn remove_child(&mut self, path: &Path, level: usize) {
        let (node, child) = path.at[level];
        if self.inner(node).len() == 1 {
            self.spare_inners.push(node);
            match level.checked_sub(1) {
                Some(above) => self.remove_child(path, above),
                None => self.forget(),
            }
            return;
        }
        self.inner_mut(node).remove(child as usize);
        if child == 0 {
            let key = self.inner(node).key(0);
            self.lower_bound(path, level, key);
        }
        match level.checked_sub(1) {
            Some(above) if self.inner(node).len() < FAN / 4 => self.merge_inner(path, above),
            Some(_) => {}
            None => self.lower_root(),
        }
    }

    /// Joins the inner node below `level` with a neighbour, if both together leave room.
    fn merge_inner(&mut self, path: &Path, level: usize) {
        let (parent, child) = path.at[level];
        let above = self.inner(parent);
        let len = |child: u32| self.inner(above.child(child as usize)).len();
        let fits = |left: u32| len(left) + len(left + 1) <= MERGED_INNER;
        let left = match child as usize + 1 < above.len() && fits(child) {
            true => child,
            false if child > 0 && fits(child - 1) => child - 1,
            false => return,
        };
        let (lower, upper) = (above.child(left as usize), above.child(left as usize + 1));
        let moved = self.inner(upper).clone();
        self.inner_mut(lower).append(&moved);
        self.spare_inners.push(upper);
        let mut path = *path;
        path.at[level].1 = left + 1;
        self.remove_child(&path, level);
    }

    /// A root with one child is no use.
    fn lower_root(&mut self) {
        while self.height > 0 && self.inner(self.root).len() == 1 {
            self.spare_inners.push(self.root);
            self.root = self.inner(self.root).child(0);
            self.height -= 1;
        }
    }

    fn free_leaf(&mut self, leaf: u32) {
        self.leaves[leaf as usize] = None;
        self.spare_leaves.push(leaf);
    }

    /// Nothing is left: begins anew, but for the vm-bos' lists, which are empty.
    fn forget(&mut self) {
        let heads = core::mem::take(&mut self.heads);
        *self = Tree {
            heads,
            ..Tree::default()
        };
    }
}
