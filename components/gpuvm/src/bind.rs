//! Binding: the steps of a request, and taking them back.
//!
//! What becomes of a mapping that a request overlaps (the numbers are those of part G of the
//! reference; `keep` where the request shows the same bytes there):
//!
//! ```text
//! G-1..3   mapping  |-----|        unmap            G-4      |-----|          unmap
//!          request  |-----|                                  |---------|
//!
//! G-5, 6   mapping  |---------|    remap: next      G-7, 8   |---------|      remap: prev
//!          request  |-----|                                      |-----|
//!          left           |---|                              |---|
//!
//! G-9, 10  mapping  |------|       remap: prev      G-11, 12 |-----------|    remap: both
//!          request      |-----|                                  |---|
//!          left     |---|                                    |---|   |---|
//!
//! G-13     mapping      |-----|    unmap            G-14         |---|        unmap
//!          request  |---------|                              |-----------|
//!
//! G-15     mapping      |-----|    remap: next
//!          request  |------|
//!          left            |--|
//! ```
//!
//! Lower addresses come first, and the request's own map last.

use crate::members::Members;
use crate::space::{Space, bytes, mapping};
use crate::tree::{Entry, NONE};
use alloc::vec::Vec;
use gpumm_contract::BufferId;
use gpumm_contract::vm::{Bind, BindError, Op, Remap, Span, Steps, Unmap, VmError};

/// What a request does to the mappings of a range.
struct Cut<'a, S> {
    start: u64,
    end: u64,
    new: Option<Entry>,
    members: &'a mut Members,
    idle: &'a mut Vec<u32>,
    steps: &'a mut S,
}

impl<S: Steps> Cut<'_, S> {
    /// Decides on a mapping that overlaps the range; whether it falls into two pieces.
    #[inline]
    fn step(&mut self, old: &Entry) -> bool {
        let unmap = Unmap {
            mapping: mapping(self.members, old),
            keep: self.new.is_some_and(|new| keeps(old, &new)),
        };
        let (start, end) = (old.start.max(self.start), old.end.min(self.end));
        let (prev, next) = (old.start < start, end < old.end);
        if prev || next {
            let hole = Span {
                start: bytes(start),
                bytes: bytes(end - start),
            };
            self.steps.push(Op::Remap(Remap { unmap, hole }));
        } else {
            self.steps.push(Op::Unmap(unmap));
        }
        if let Some(bo) = self.members.get_mut(old.vm_bo) {
            match (prev, next) {
                (true, true) => bo.mappings += 1,
                (false, false) => {
                    bo.mappings -= 1;
                    if bo.mappings == 0 && bo.held == 0 {
                        self.idle.push(old.vm_bo);
                    }
                }
                _ => {}
            }
        }
        prev && next
    }
}

/// Whether the entries that a mapping has in the page tables are those of the new one.
#[inline]
fn keeps(old: &Entry, new: &Entry) -> bool {
    // Modulo 2^64: the difference between a page of memory and its address.
    let shift = |e: &Entry| e.offset.wrapping_sub(e.start);
    old.vm_bo != NONE
        && old.vm_bo == new.vm_bo
        && old.attributes == new.attributes
        && shift(old) == shift(new)
}

impl Space {
    /// Carries out requests, all or none; the buffers whose vm-bos have ended.
    #[inline]
    pub(crate) fn bind(
        &mut self,
        mut next: impl FnMut() -> Result<Option<Bind>, VmError>,
        steps: &mut impl Steps,
    ) -> Result<Vec<BufferId>, BindError> {
        let before = steps.count();
        let mut request = 0;
        loop {
            let done = match next() {
                Ok(None) => break,
                Ok(Some(bind)) => self.bind_one(&bind, steps),
                Err(why) => Err(why),
            };
            if let Err(why) = done {
                self.undo(steps, before);
                return Err(BindError { request, why });
            }
            request += 1;
        }
        Ok(self.end_idle(steps))
    }

    #[inline]
    fn bind_one(&mut self, bind: &Bind, steps: &mut impl Steps) -> Result<(), VmError> {
        if self.closed {
            return Err(VmError::Closed);
        }
        let (start, end, new) = match bind {
            Bind::Map(mapping) => {
                let entry = self.entry(mapping)?;
                (entry.start, entry.end, Some(entry))
            }
            Bind::Unmap(at) => {
                let (start, end) = self.place(*at)?;
                (start, end, None)
            }
        };
        let mut cut = Cut {
            start,
            end,
            new,
            members: &mut self.members,
            idle: &mut self.idle,
            steps,
        };
        let mut split = NONE;
        self.tree.replace(start, end, new, |old| {
            if cut.step(old) {
                split = old.vm_bo;
            }
        });
        let vm_bo = new.map_or(NONE, |new| new.vm_bo);
        if let Bind::Map(mapping) = bind {
            cut.steps.push(Op::Map(*mapping));
            if let Some(bo) = self.members.get_mut(vm_bo) {
                bo.mappings += 1;
            }
        }
        if self.tree.len() > self.mappings as usize {
            return Err(VmError::TooManyMappings);
        }
        // Only these two can have grown.
        let count = |number| self.members.get(number).map_or(0, |bo| bo.mappings);
        if count(vm_bo).max(count(split)) > self.mappings_per_buffer {
            return Err(VmError::TooManyOfBuffer);
        }
        Ok(())
    }

    /// Takes the steps behind the first `before` back, the last one first.
    #[cold]
    fn undo(&mut self, steps: &mut impl Steps, before: usize) {
        for op in steps.take_back(before).into_iter().rev() {
            let (at, old) = match &op {
                Op::Unmap(unmap) => (unmap.mapping.at, Some(&unmap.mapping)),
                // What is left of it is inside it, and what was put in its hole is gone again.
                Op::Remap(remap) => (remap.unmap.mapping.at, Some(&remap.unmap.mapping)),
                Op::Map(new) => (new.at, None),
                Op::Ended(_) => continue,
            };
            let entry = old.and_then(|old| self.entry(old).ok());
            let Ok((start, end)) = self.place(at) else {
                continue;
            };
            let members = &mut self.members;
            self.tree.replace(start, end, entry, |gone| {
                if let Some(bo) = members.get_mut(gone.vm_bo) {
                    bo.mappings -= 1;
                }
            });
            if let Some(bo) = entry.and_then(|e| self.members.get_mut(e.vm_bo)) {
                bo.mappings += 1;
            }
        }
        self.idle.clear();
    }
}
