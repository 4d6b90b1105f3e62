//! Giving a buffer a home, and moving it to another one.

use crate::order::Context;
use crate::state::{Buffer, Home, Leaving};
use crate::{Manager, Slots};
use gpumm_contract::extent::total;
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::table::{Hold, Holder, Tables};
use gpumm_contract::vm::AddressSpaces;
use gpumm_contract::{
    AllocationId, BufferId, Extents, MemoryTypeId, Point, PointSet, Shows, TableId, TimelineId,
};

/// The most extents that one `place`, or one fact with its points, carries.
const MAX_EXTENTS: usize = (1 << 23) - 4096;

/// Memory that a strategy has granted and no plan has used yet.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) memory: MemoryTypeId,
    pub(crate) allocation: AllocationId,
    pub(crate) extents: Extents,
    /// Whether the device's DMA was given access to it; none where nobody has asked.
    pub(crate) mapped: Option<bool>,
}

impl Found {
    pub(crate) fn new(memory: MemoryTypeId, allocation: AllocationId, extents: Extents) -> Self {
        Found {
            memory,
            allocation,
            extents,
            mapped: None,
        }
    }
}

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Makes extents the home of a buffer: `place`, then `table`.
    ///
    /// Errors: the extents go back to the strategy.
    pub(crate) fn settle(
        &mut self,
        buffer: BufferId,
        found: Found,
        ctx: &mut Context,
    ) -> Result<Home, Status> {
        let built = match (self.state.memory.get(found.memory), ctx.table()) {
            (Some(m), Some(table)) if found.extents.len() <= MAX_EXTENTS => {
                let (base, max_segment) = (m.kind.base, m.kind.max_segment);
                let segments = self.tables.build(table, &found.extents, base, max_segment);
                segments.ok().map(|segments| (table, segments))
            }
            _ => None,
        };
        let Some((table, segments)) = built else {
            return Err(self.give_back(&found, Status::TooScattered));
        };
        let Found {
            memory,
            allocation,
            extents,
            ..
        } = found;
        ctx.emit(&Op::Place {
            allocation,
            memory,
            buffer,
            extents: extents[..].into(),
        });
        ctx.emit(&Op::Table {
            table,
            allocation,
            segments: segments[..].into(),
        });
        let inherited = self.state.claim(memory, &extents);
        let (readers, writers) = (PointSet::new(), PointSet::new());
        Ok(Home {
            memory,
            allocation,
            table,
            arrives: None,
            extents,
            readers,
            writers,
            inherited,
        })
    }

    /// Gives granted memory back that will not be used; passes the reason on.
    pub(crate) fn give_back(&mut self, found: &Found, why: Status) -> Status {
        if let Some(m) = self.state.memory.get_mut(found.memory) {
            m.give_back(found.allocation, total(&found.extents).unwrap_or(0));
        }
        why
    }

    /// Moves a buffer, through another memory type where the copy engines cannot go directly.
    ///
    /// Errors: the granted memory goes back; the buffer stays where it is, or at the hop.
    pub(crate) fn relocate(
        &mut self,
        id: BufferId,
        found: Found,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        let Some(buffer) = self.state.buffer(id) else {
            return Err(self.give_back(&found, Status::UnknownBuffer));
        };
        let (from, bytes) = (buffer.home.memory, buffer.bytes);
        let hop = self
            .hop(from, found.memory)
            .filter(|_| buffer.content.moves());
        if let Some(hop) = hop {
            let there = match self.wish(hop, bytes, ctx) {
                Some(wish) => {
                    let room = self.make_room(hop, wish, None, ctx);
                    room.map(|extents| Found::new(hop, wish.number, extents))
                }
                None => Err(Status::TooScattered),
            };
            let hopped = there.and_then(|there| self.step(id, there, ctx));
            hopped.map_err(|why| self.give_back(&found, why))?;
        }
        self.step(id, found, ctx)
    }

    /// The memory type that a copy has to go through, if it cannot go directly.
    fn hop(&self, from: MemoryTypeId, to: MemoryTypeId) -> Option<MemoryTypeId> {
        let of = |m: MemoryTypeId| self.state.memory.get(m).and_then(|m| m.kind.hop);
        of(from)
            .filter(|&hop| hop != to)
            .or_else(|| of(to).filter(|&hop| hop != from))
    }

    /// Moves a buffer directly: the new home, a copy where there is content, the end of the old
    /// home.
    ///
    /// ```text
    /// before   vram [B]        system [ ]
    /// request  make room in vram
    /// after    vram [ ] until the copy's point is reached, system [B] from that point on
    /// ```
    ///
    /// ORDER: the copy waits for the writers of the source, for the devices that import it, and
    /// for the earlier owners of both ends; the old extents go after everything that still uses
    /// them, the copy included.
    fn step(&mut self, id: BufferId, found: Found, ctx: &mut Context) -> Result<(), Status> {
        let Some(buffer) = self.state.buffer(id) else {
            return Err(self.give_back(&found, Status::UnknownBuffer));
        };
        let (shows, bytes, carries) = (buffer.shows(), buffer.bytes, buffer.content.moves());
        let (memory, allocation) = (found.memory, found.allocation);
        if carries {
            // Both ends must be reachable before anything stands in the plan.
            let granted = total(&found.extents).unwrap_or(0);
            let mapped = self.reach(id, ctx).and_then(|()| match found.mapped {
                Some(true) => Ok(()),
                Some(false) => Err(Status::NotMapped),
                None => self.map(memory, allocation, granted, ctx),
            });
            mapped.map_err(|why| self.give_back(&found, why))?;
        }
        let mut home = self.settle(id, found, ctx)?;
        if carries {
            self.note_mapped(memory, home.table, &home.extents, ctx);
        }
        self.state.file_in_lru(id, false);
        if let Some(on) = self.copy_timeline(memory) {
            self.unshow(id, on, ctx)?;
        }
        let Some(buffer) = self.state.buffer(id) else {
            return Err(Status::UnknownBuffer);
        };
        let mut old = buffer.home.clone();
        self.notify(id, &mut old, ctx);
        let mut left = None;
        if carries {
            left = Some(self.copy(&mut old, &mut home, bytes, ctx)?);
        }
        if let Some(buffer) = self.state.buffer_mut(id) {
            buffer.home = home;
        }
        let after = self.leave(&old, shows, ctx);
        let host = |m: &crate::memory::Memory| m.kind.is_host();
        if let Some(left) = left
            && self.state.memory.get(old.memory).is_some_and(host)
        {
            let arrives = old.arrives;
            let leaving = Leaving {
                arrives,
                left,
                after,
            };
            self.state.leaving.insert((id, old.table), leaving);
        }
        self.state.file_in_lru(id, true);
        Ok(())
    }

    /// The timeline of a copy into a memory type: with several copy engines the first ones move
    /// out to the host and the last one in, so that both directions run at once.
    pub(crate) fn copy_timeline(&self, to: MemoryTypeId) -> Option<TimelineId> {
        let out = self.state.memory.get(to).is_some_and(|m| m.kind.is_host());
        let timelines = &self.state.copy_timelines;
        let chosen = if out {
            timelines.first()
        } else {
            timelines.last()
        };
        chosen.copied()
    }

    fn copy(
        &mut self,
        from: &mut Home,
        to: &mut Home,
        bytes: u64,
        ctx: &mut Context,
    ) -> Result<Point, Status> {
        let timeline = self.copy_timeline(to.memory).ok_or(Status::InvalidAccess)?;
        let reached = |p| self.state.reached(p);
        let mut before = from.writers.clone();
        before.join(&from.inherited);
        before.join(&to.inherited);
        ctx.wait(timeline, &before, reached);
        let at = ctx.point(timeline).ok_or(Status::InvalidAccess)?;
        let (source, target) = (from.table, to.table);
        ctx.emit(&Op::Copy {
            at,
            source,
            target,
            source_offset: 0,
            target_offset: 0,
            bytes,
        });
        self.keep_for_copy(source, target, at);
        from.readers.add(at);
        to.writers.add(at);
        to.arrives = Some(at);
        Ok(at)
    }

    /// A queued copy and its redo by the CPU each hold both tables until the copy's point.
    pub(crate) fn keep_for_copy(&mut self, source: TableId, target: TableId, until: Point) {
        for table in [source, target] {
            for holder in [Holder::Copy, Holder::CpuFallback] {
                self.keep(table, Hold { holder, until });
            }
        }
    }

    /// Ends a home: `unplace` after its last use, and the layout's hold of the table. Returns
    /// when the memory is given back.
    pub(crate) fn leave(
        &mut self,
        home: &Home,
        shows: (Shows, u64),
        ctx: &mut Context,
    ) -> PointSet {
        let after = home.busy(|p| self.state.reached(p));
        self.state.vacate(home, shows, &after);
        ctx.emit(&Op::Unplace {
            allocation: home.allocation,
            after: after.clone(),
        });
        if self.tables.put_layout(home.table) == Ok(true) {
            self.drop_tables([home.table].into(), ctx);
        }
        after
    }

    /// Adds a holder to a table of a live home.
    ///
    /// INVARIANT: the table of a home is held by its layout, so it exists.
    pub(crate) fn keep(&mut self, table: TableId, hold: Hold) {
        let held = self.tables.hold(table, hold);
        debug_assert!(held.is_ok());
    }

    /// Adds a new buffer.
    pub(crate) fn admit(&mut self, id: BufferId, buffer: Buffer) {
        self.state.buffers.insert(id.0, buffer);
        self.state.file_in_lru(id, true);
    }
}
