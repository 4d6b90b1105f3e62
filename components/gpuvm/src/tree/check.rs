//! Whether a tree is what it should be.

use super::{Entry, FAN, NONE, Tree};
use alloc::vec::Vec;

impl Tree {
    /// Checks every invariant and returns the mappings, ascending.
    ///
    /// Complexity: everything there is; it serves tests.
    pub(crate) fn validate(&self) -> Result<Vec<Entry>, &'static str> {
        let mut entries = Vec::new();
        let (mut leaves, mut inners) = (0, 0);
        self.check(self.root, 0, &mut entries, &mut leaves, &mut inners)?;
        if entries.len() != self.len {
            return Err("the count of mappings is wrong");
        }
        if entries.windows(2).any(|w| w[0].end > w[1].start) {
            return Err("two mappings overlap");
        }
        let kept = self.leaves.iter().flatten().count();
        if kept != leaves || self.leaves.len() - kept != self.spare_leaves.len() {
            return Err("a leaf is lost");
        }
        if self.inners.len() - inners != self.spare_inners.len() {
            return Err("an inner node is lost");
        }
        self.check_lists(&entries)?;
        Ok(entries)
    }

    /// Checks what is below a node; its lowest key.
    fn check(
        &self,
        node: u32,
        level: usize,
        entries: &mut Vec<Entry>,
        leaves: &mut usize,
        inners: &mut usize,
    ) -> Result<u64, &'static str> {
        if level == self.height {
            *leaves += 1;
            let leaf = self.leaf(node);
            leaf.validate()?;
            if leaf.len() == 0 && self.height > 0 {
                return Err("a leaf is empty");
            }
            let all = (0..leaf.len()).map(|at| leaf.entry(at));
            entries.extend(all);
            return Ok(leaf.keys().first().copied().unwrap_or(0));
        }
        *inners += 1;
        let inner = self.inner(node);
        inner.validate()?;
        if level == 0 && inner.len() == 1 {
            return Err("the root has one child");
        }
        for at in 0..inner.len() {
            let lowest = self.check(inner.child(at), level + 1, entries, leaves, inners)?;
            if lowest != inner.key(at) {
                return Err("a key is not the lowest one below it");
            }
        }
        Ok(inner.key(0))
    }

    /// Every mapping with a vm-bo is in its list, once, and linked both ways.
    fn check_lists(&self, entries: &[Entry]) -> Result<(), &'static str> {
        let (mut listed, mut steps) = (0, 0);
        for (vm_bo, &head) in self.heads.iter().enumerate() {
            let (mut prev, mut next) = (NONE, head);
            while next != NONE {
                let leaf = self.leaf(next / FAN as u32);
                let slot = leaf.slot(next as usize % FAN);
                steps += 1;
                if slot.prev != prev || slot.vm_bo as usize != vm_bo || steps > entries.len() {
                    return Err("a vm-bo's list is broken");
                }
                (prev, next) = (next, slot.next);
            }
            let all = self.of(vm_bo as u32);
            listed += all.filter(|e| e.vm_bo as usize == vm_bo).count();
        }
        let owned = entries.iter().filter(|e| e.vm_bo != NONE).count();
        match listed == owned && steps == owned {
            true => Ok(()),
            false => Err("a mapping is in no list"),
        }
    }
}
