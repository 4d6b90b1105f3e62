//! `access`: make buffers resident together and run a job on them.

use crate::order::Context;
use crate::{Manager, Slots};
use alloc::vec::Vec;
use gpumm_contract::facts::Content;
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::request::{Access, Intent, Place, Use};
use gpumm_contract::table::{Hold, Holder, Tables};
use gpumm_contract::vm::AddressSpaces;
use gpumm_contract::{BufferId, Point, PointSet, Stamp, TimelineId};

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Answers an access.
    ///
    /// Errors: buffers that were brought in before another one found no room stay in.
    pub(crate) fn access(&mut self, access: &Access, ctx: &mut Context) -> Status {
        ctx.locked.extend(access.uses.iter().map(|u| u.buffer));
        let status = self.try_access(access, ctx).err().unwrap_or(Status::Good);
        ctx.locked.clear();
        status
    }

    fn try_access(&mut self, access: &Access, ctx: &mut Context) -> Result<(), Status> {
        if access.uses.is_empty() || doubled(&access.uses) || !ctx.granted(access.timeline) {
            return Err(Status::InvalidAccess);
        }
        if access
            .uses
            .iter()
            .any(|u| !self.state.buffers.contains(u.buffer.0))
        {
            return Err(Status::UnknownBuffer);
        }
        let lost = |u: &Use| {
            let buffer = self.state.buffer(u.buffer);
            buffer.is_some_and(|b| b.content == Content::Poisoned)
        };
        if access.uses.iter().any(lost) {
            return Err(Status::Poisoned);
        }
        if !access.anywhere {
            for used in &access.uses {
                self.bring_in(used.buffer, ctx)?;
            }
        }
        // The CPU reaches everything; a device's job needs its memory mapped.
        if !self.state.cpu_timelines.contains_key(&access.timeline) {
            for used in &access.uses {
                self.reach(used.buffer, ctx)?;
            }
        }
        for used in &access.uses {
            self.clear_foreign(used.buffer, access.timeline, ctx)?;
        }
        self.run(access, ctx)
    }

    /// Moves a buffer to the end of the eviction order; only a job that is planned does.
    pub(crate) fn stamp(&mut self, id: BufferId, stamp: Stamp) {
        self.state.file_in_lru(id, false);
        if let Some(buffer) = self.state.buffer_mut(id) {
            buffer.stamp = stamp;
        }
        self.state.file_in_lru(id, true);
    }

    /// Makes a buffer resident in an acceptable place.
    pub(crate) fn bring_in(&mut self, id: BufferId, ctx: &mut Context) -> Result<(), Status> {
        let Some(buffer) = self.state.buffer(id) else {
            return Err(Status::UnknownBuffer);
        };
        let lives = buffer.home.memory;
        let accepted = |p: Place| self.stands_for(p.memory, lives);
        if buffer.placement.iter().any(accepted) {
            return Ok(());
        }
        let found = match self.ready_for(id, ctx) {
            Some(found) => found,
            None => self.find_place(buffer.bytes, buffer.placement, None, ctx)?,
        };
        self.relocate(id, found, ctx)
    }

    /// Overwrites what another tenant left, before anybody can look at it.
    pub(crate) fn clear_foreign(
        &mut self,
        id: BufferId,
        on: TimelineId,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        let Some(buffer) = self.state.buffer(id) else {
            return Err(Status::UnknownBuffer);
        };
        if buffer.content != Content::Never {
            return Ok(());
        }
        let home = &buffer.home;
        let of = self.state.memory.get(home.memory);
        if !of.is_some_and(|m| m.shows_others(&home.extents, buffer.tenant)) {
            return Ok(());
        }
        // The CPU's timelines run nothing of their own.
        let on = match self.state.cpu_timelines.contains_key(&on) {
            true => self.copy_timeline(home.memory),
            false => Some(on),
        };
        self.clear(id, on.ok_or(Status::InvalidAccess)?, ctx)
    }

    /// Fills a buffer that nobody has written with zeros.
    pub(crate) fn clear(
        &mut self,
        id: BufferId,
        on: TimelineId,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        let buffer = self.state.buffer(id).ok_or(Status::UnknownBuffer)?;
        let home = &buffer.home;
        let (table, bytes) = (home.table, buffer.bytes);
        ctx.wait(on, &home.inherited, |p| self.state.reached(p));
        let at = ctx.point(on).ok_or(Status::InvalidAccess)?;
        ctx.emit(&Op::Fill {
            at,
            table,
            offset: 0,
            bytes,
            pattern: 0,
        });
        self.keep(
            table,
            Hold {
                holder: Holder::Access,
                until: at,
            },
        );
        if let Some(buffer) = self.state.buffer_mut(id) {
            buffer.home.writers.add(at);
            buffer.content = Content::Clean;
        }
        Ok(())
    }

    /// Plans the job behind everything it must come after.
    ///
    /// ORDER: a reader follows the writers, a writer follows readers and writers; both follow the
    /// earlier owners of the bytes.
    fn run(&mut self, access: &Access, ctx: &mut Context) -> Result<(), Status> {
        let mut before = PointSet::new();
        let mut tables = core::mem::take(&mut ctx.tables_used);
        tables.clear();
        for used in &access.uses {
            let Some(buffer) = self.state.buffer(used.buffer) else {
                return Err(Status::UnknownBuffer);
            };
            before.join(&buffer.home.inherited);
            before.join(&buffer.home.writers);
            if used.intent == Intent::Write {
                before.join(&buffer.home.readers);
            }
            tables.push(buffer.home.table);
        }
        ctx.wait(access.timeline, &before, |p| self.state.reached(p));
        let at = ctx.point(access.timeline).ok_or(Status::InvalidAccess)?;
        ctx.emit(&Op::Run {
            at,
            job: access.job,
            tables: tables.as_slice().into(),
        });
        for (used, &table) in access.uses.iter().zip(&tables) {
            self.keep(
                table,
                Hold {
                    holder: Holder::Access,
                    until: at,
                },
            );
            self.used_until(used, at);
            self.stamp(used.buffer, access.stamp);
        }
        ctx.tables_used = tables;
        Ok(())
    }

    pub(crate) fn used_until(&mut self, used: &Use, at: Point) {
        let Some(buffer) = self.state.buffer_mut(used.buffer) else {
            return;
        };
        match used.intent {
            Intent::Read => buffer.home.readers.add(at),
            Intent::Write => {
                buffer.home.writers.add(at);
                if buffer.content != Content::Poisoned {
                    buffer.content = Content::Valid;
                }
            }
        }
    }
}

/// Whether a buffer is named twice.
fn doubled(uses: &[Use]) -> bool {
    // A sort pays off only for long lists, which are rare.
    if uses.len() <= 8 {
        let mut rest = uses;
        while let Some((first, behind)) = rest.split_first() {
            if behind.iter().any(|u| u.buffer == first.buffer) {
                return true;
            }
            rest = behind;
        }
        return false;
    }
    let mut buffers: Vec<BufferId> = uses.iter().map(|u| u.buffer).collect();
    buffers.sort_unstable();
    buffers.windows(2).any(|pair| pair[0] == pair[1])
}
