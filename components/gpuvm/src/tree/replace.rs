//! Emptying a range and perhaps filling it again, with one descent.
//!
//! ```text
//! range                  start |-----------------| end
//! mappings       |--------|  |---|  |--|   |----| |-----|
//! reached by     before      (1)    (2)    (2)
//! ```
//!
//! (1) begins before the range and loses its end where it stands; if it covers the range, what is
//! left behind the range becomes a mapping of its own. (2) go, or lose their beginning where they
//! stand. The new mapping takes the slot of the first one that goes.

use super::{Entry, FAN, Path, Tree, id};

impl Tree {
    /// Empties `start..end`, shows each mapping that it overlapped as it was, ascending, and files
    /// a mapping there, if one is given.
    ///
    /// Bounds: `start < end`; `new` is exactly there.
    /// Complexity: O(log n + overlapped mappings).
    #[inline]
    pub(crate) fn replace(
        &mut self,
        start: u64,
        end: u64,
        mut new: Option<Entry>,
        mut show: impl FnMut(&Entry),
    ) {
        let mut path = self.descend(start);
        let leaf = self.leaf_mut(path.leaf);
        let mut at = leaf.upper(start);
        let mut behind = None;
        if at > 0 {
            let before = leaf.entry(at - 1);
            if before.start == start {
                at -= 1;
            } else if before.end > start {
                show(&before);
                leaf.cut_end(at - 1, start);
                behind = (before.end > end).then(|| before.behind(end));
            }
        }
        let mut gone = at;
        if behind.is_none() {
            gone = self.end_run(path.leaf, at, end, &mut show);
            let last = gone == self.leaf(path.leaf).len();
            if let Some(entry) = new.take_if(|_| at < gone) {
                let slot = self.leaf_mut(path.leaf).overwrite(at, &entry);
                self.link(id(path.leaf, slot), entry.vm_bo);
                self.len += 1;
                self.leaf_mut(path.leaf).remove(at + 1, gone);
            } else {
                self.leaf_mut(path.leaf).remove(at, gone);
            }
            if last {
                path = self.empty_beyond(path, start, end, &mut show);
            }
        }
        let pending = usize::from(new.is_some()) + usize::from(behind.is_some());
        while self.leaf(path.leaf).len() + pending > FAN {
            self.make_room(&path, at);
            path = self.descend(start);
            at = self.leaf(path.leaf).upper(start);
        }
        for (nth, entry) in [new, behind].into_iter().flatten().enumerate() {
            let slot = self.leaf_mut(path.leaf).insert(at + nth, &entry);
            self.link(id(path.leaf, slot), entry.vm_bo);
            self.len += 1;
        }
        self.settle(&path, at == 0, gone > at);
    }

    /// Takes note of what a change of a leaf means for those above: another lowest key, too few
    /// mappings, none at all.
    #[inline]
    fn settle(&mut self, path: &Path, first: bool, fewer: bool) {
        let len = self.leaf(path.leaf).len();
        if len == 0 {
            self.drop_leaf(path);
            return;
        }
        if first {
            self.lowest_changed(path);
        }
        if fewer && len < FAN / 2 {
            self.merge_leaf(path);
        }
    }

    /// Ends the mappings of a leaf from the `at`th on that start before `end`, and cuts the one
    /// that ends behind it; the number of the first one that stays. They are out of their vm-bos'
    /// lists, but still in the leaf.
    #[inline]
    fn end_run(
        &mut self,
        leaf: u32,
        mut at: usize,
        end: u64,
        show: &mut impl FnMut(&Entry),
    ) -> usize {
        loop {
            let l = self.leaf(leaf);
            if at == l.len() || l.key(at) >= end {
                return at;
            }
            let entry = l.entry(at);
            let slot = *l.slot(l.slot_of(at));
            show(&entry);
            if entry.end > end {
                self.leaf_mut(leaf).cut_start(at, end);
                return at;
            }
            self.unlink(slot);
            self.len -= 1;
            at += 1;
        }
    }

    /// Empties the range in the leaves behind a path; the way to the leaf of `start` as it is then.
    #[cold]
    fn empty_beyond(
        &mut self,
        mut path: Path,
        start: u64,
        end: u64,
        show: &mut impl FnMut(&Entry),
    ) -> Path {
        while let Some((next, key)) = self.next_leaf(&path) {
            if key >= end {
                break;
            }
            let gone = self.end_run(next.leaf, 0, end, show);
            self.leaf_mut(next.leaf).remove(0, gone);
            let left = self.leaf(next.leaf).len();
            self.settle(&next, true, gone > 0);
            // The nodes above may have been merged.
            path = self.descend(start);
            if left > 0 {
                break;
            }
        }
        path
    }
}
