//! `bind`: mapping and unmapping by a client's request.

use crate::order::Context;
use crate::{Manager, Slots};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use gpumm_contract::facts::Content;
use gpumm_contract::plan::{SPARSE_PTES, Status};
use gpumm_contract::request::{BindVm, Intent};
use gpumm_contract::table::Tables;
use gpumm_contract::vm::packed::{Binds, StepsReader};
use gpumm_contract::vm::{AddressSpaces, Bind, Mapping, Op as Step, Span, Unmap, VmId};
use gpumm_contract::{BufferId, Point, PointSet, TableId, TimelineId};

/// Page-table entries that are to go: what they show.
struct Gone(Mapping);

/// The page-table writes of one list of binds.
struct Writes {
    vm: VmId,
    on: TimelineId,
    /// Entries that no map has replaced yet.
    gone: Vec<Gone>,
    /// Whose translations the device may remember.
    stale: BTreeSet<BufferId>,
    /// Whether it may remember any that have to be forgotten.
    forget: bool,
    last: Option<Point>,
}

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Maps and unmaps, wholly or not at all.
    ///
    /// ```text
    /// before   [ a, shown        ]
    /// request      map b, resident
    /// plan     update-ptes of b's addresses, invalidate-tlb
    /// after    [ a  ][ b ][ a    ]   the rest of a keeps its entries
    /// ```
    ///
    /// A buffer that is not where jobs may use it is mapped all the same: its entries are
    /// written when a job needs it.
    pub(crate) fn bind(&mut self, bind: &BindVm, ctx: &mut Context) -> Status {
        self.try_bind(bind, ctx).err().unwrap_or(Status::Good)
    }

    fn try_bind(&mut self, bind: &BindVm, ctx: &mut Context) -> Result<(), Status> {
        let vm = bind.vm;
        self.state.space(vm)?;
        let on = self.state.bind_timeline.ok_or(Status::InvalidAccess)?;
        let mapped = self.mapped_by(&bind.binds)?;
        for (count, &id) in mapped.iter().enumerate() {
            if let Err(why) = self.vms.obtain(vm, id, false) {
                self.put_all(vm, mapped.iter().take(count));
                return Err(why.into());
            }
        }
        let bound = self.vms.bind_packed(vm, &bind.binds, Vec::new());
        let mut touched: Vec<BufferId> = mapped.iter().copied().collect();
        let carried_out = match bound {
            Ok(steps) => {
                let ended = &mut touched;
                self.carry_out(vm, on, (&steps, &mapped, ended), &bind.after, ctx)
            }
            Err(why) => Err(why.into()),
        };
        self.put_all(vm, mapped.iter());
        self.forget_members(vm, &touched);
        carried_out
    }

    /// The buffers that a list of binds maps.
    ///
    /// Errors: the list cannot be read, or names a buffer that is not there or is lost.
    fn mapped_by(&self, binds: &[u64]) -> Result<BTreeSet<BufferId>, Status> {
        let mut mapped = BTreeSet::new();
        let mut binds = Binds::new(binds).map_err(|_| Status::InvalidBind)?;
        while let Some(bind) = binds.next().map_err(|_| Status::InvalidBind)? {
            if let Bind::Map(Mapping {
                buffer: Some(id), ..
            }) = bind
                && mapped.insert(id)
            {
                let buffer = self.state.buffer(id).ok_or(Status::UnknownBuffer)?;
                if buffer.content == Content::Poisoned {
                    return Err(Status::Poisoned);
                }
            }
        }
        Ok(mapped)
    }

    fn put_all<'a>(&mut self, vm: VmId, held: impl Iterator<Item = &'a BufferId>) {
        for &id in held {
            // INVARIANT: every one of them was obtained.
            let put = self.vms.put(vm, id);
            debug_assert!(put.is_ok());
        }
    }

    /// Forgets what is shown of those that are no members any more.
    fn forget_members(&mut self, vm: VmId, touched: &[BufferId]) {
        let Some(space) = self.state.vms.get_mut(&vm) else {
            return;
        };
        for id in touched {
            if space.shown.contains_key(id) && !self.vms.vms_of(*id).contains(&vm) {
                space.shown.remove(id);
            }
        }
    }

    /// Plans the page-table writes of steps that gpuvm has taken already.
    fn carry_out(
        &mut self,
        vm: VmId,
        on: TimelineId,
        (steps, mapped, ended): (&[u64], &BTreeSet<BufferId>, &mut Vec<BufferId>),
        after: &PointSet,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        let mut before = after.clone();
        let mut new = Vec::new();
        for &id in mapped {
            let shown = self.state.space(vm)?.shown.contains_key(&id);
            // What cannot be reached now can be brought back later.
            let ready = shown || (self.in_place(id) && self.prepare(id, ctx).is_ok());
            if !shown {
                self.vms.evict(vm, id)?;
            }
            if ready {
                self.content_points(id, Intent::Read, &mut before);
            }
            if ready && !shown {
                new.push(id);
            }
        }
        self.write_after(vm, on, &before, ctx)?;
        let mut writes = Writes {
            vm,
            on,
            gone: Vec::new(),
            stale: BTreeSet::new(),
            forget: false,
            last: None,
        };
        let mut steps = StepsReader::new(steps).map_err(|_| Status::InvalidBind)?;
        while let Some(step) = steps.next().map_err(|_| Status::InvalidBind)? {
            match step {
                Step::Unmap(unmap) => self.replaced(&unmap, unmap.mapping.at, &mut writes)?,
                Step::Remap(remap) => self.replaced(&remap.unmap, remap.hole, &mut writes)?,
                Step::Map(mapping) => self.mapped(&mapping, &mut writes, ctx)?,
                Step::Ended(id) => ended.push(id),
            }
        }
        let gone = core::mem::take(&mut writes.gone);
        self.write_gone(gone, &mut writes, ctx)?;
        for id in new {
            // Only those that have mappings left.
            let members = self.vms.mappings_of(vm, id).is_ok_and(|m| !m.is_empty());
            if members {
                self.show(vm, id, on, ctx)?;
            }
        }
        if writes.forget
            && let Some(last) = writes.last
        {
            let stale: Vec<BufferId> = writes.stale.into_iter().collect();
            self.invalidate(vm, on, &stale, last, ctx)?;
        }
        Ok(())
    }

    /// A mapping, or a part of it, has ended.
    fn replaced(&mut self, unmap: &Unmap, at: Span, writes: &mut Writes) -> Result<(), Status> {
        let buffer = unmap.mapping.buffer;
        let space = self.state.space(writes.vm)?;
        let shown = buffer.is_none_or(|id| space.shown.contains_key(&id));
        if shown && !unmap.keep {
            let (start, end) = (at.start, at.start + at.bytes);
            writes.gone.push(Gone(unmap.mapping.part(start, end)));
        }
        Ok(())
    }

    /// A mapping has begun. Of a buffer that is not shown, what was there before goes.
    fn mapped(
        &mut self,
        mapping: &Mapping,
        writes: &mut Writes,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        let space = self.state.space(writes.vm)?;
        let shown = mapping.buffer.map(|id| space.shown.get(&id).copied());
        let (table, flags) = match shown {
            Some(None) => return Ok(()),
            Some(Some(table)) => (table, 0),
            None => (TableId::NONE, SPARSE_PTES),
        };
        let inside =
            |Gone(old): &Gone| old.at.start >= mapping.at.start && old.at.end() <= mapping.at.end();
        let (under, others): (Vec<Gone>, Vec<Gone>) = core::mem::take(&mut writes.gone)
            .into_iter()
            .partition(inside);
        self.write_gone(others, writes, ctx)?;
        let offset = if table == TableId::NONE {
            0
        } else {
            mapping.offset
        };
        let flags = flags | u64::from(mapping.attributes);
        let entries = (mapping.at, table, offset, flags);
        let at = self.write(writes.vm, writes.on, entries, ctx)?;
        writes.last = Some(at);
        let changed = |Gone(old): &Gone| !shows_the_same(mapping, old);
        for gone in under.iter().filter(|gone| changed(gone)) {
            self.was_shown(gone, at, writes);
        }
        if let (Some(id), Some(Some(table))) = (mapping.buffer, shown) {
            self.shows(id, table, mapping.attributes, at);
        }
        Ok(())
    }

    /// Writes entries that show nothing.
    fn write_gone(
        &mut self,
        gone: Vec<Gone>,
        writes: &mut Writes,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        for gone in gone {
            let entries = (gone.0.at, TableId::NONE, 0, 0);
            let at = self.write(writes.vm, writes.on, entries, ctx)?;
            writes.last = Some(at);
            self.was_shown(&gone, at, writes);
        }
        Ok(())
    }

    /// Entries are other ones from a point on; the device may remember the old ones.
    fn was_shown(&mut self, Gone(old): &Gone, at: Point, writes: &mut Writes) {
        writes.forget = true;
        if let Some(id) = old.buffer {
            writes.stale.insert(id);
            self.uses_memory(id, at);
        }
    }
}

/// Whether a mapping shows in a part of it what another one showed there.
fn shows_the_same(mapping: &Mapping, part: &Mapping) -> bool {
    let there = mapping.part(part.at.start, part.at.start + part.at.bytes);
    let offset = part.buffer.is_none() || there.offset == part.offset;
    there.buffer == part.buffer && there.attributes == part.attributes && offset
}
