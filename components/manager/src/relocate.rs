//! Giving a buffer a home, and moving it to another one.

use crate::order::Context;
use crate::state::{Buffer, Home};
use crate::{Manager, Slots};
use alloc::vec::Vec;
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::table::{Hold, Holder, Tables};
use gpumm_contract::{AllocationId, BufferId, Extent, MemoryTypeId, PointSet};

/// The most extents that one `place`, or one fact with its points, carries.
const MAX_EXTENTS: usize = (1 << 23) - 4096;

impl<T: Tables, S: Slots> Manager<T, S> {
    /// Makes extents the home of a buffer: `place`, then `table`.
    ///
    /// Errors: the extents go back to the strategy.
    pub(crate) fn settle(
        &mut self,
        buffer: BufferId,
        memory: MemoryTypeId,
        allocation: AllocationId,
        extents: Vec<Extent>,
        ctx: &mut Context,
    ) -> Result<Home, Status> {
        let built = match (self.state.memory.get(&memory), ctx.table()) {
            (Some(m), Some(table)) if extents.len() <= MAX_EXTENTS => {
                let segments = self
                    .tables
                    .build(table, &extents, m.kind.base, m.kind.max_segment);
                segments.ok().map(|segments| (table, segments))
            }
            _ => None,
        };
        let Some((table, segments)) = built else {
            if let Some(m) = self.state.memory.get_mut(&memory) {
                m.frees.push(allocation);
            }
            return Err(Status::TooScattered);
        };
        ctx.emit(&Op::Place {
            allocation,
            memory,
            buffer,
            extents: extents.as_slice().into(),
        });
        ctx.emit(&Op::Table {
            table,
            allocation,
            segments: segments.into(),
        });
        let inherited = self.state.claim(memory, &extents);
        let (readers, writers) = (PointSet::new(), PointSet::new());
        Ok(Home {
            memory,
            allocation,
            table,
            extents,
            readers,
            writers,
            inherited,
        })
    }

    /// Moves a buffer: the new home, a copy where there is content, the end of the old home.
    ///
    /// ```text
    /// before   vram [B]        system [ ]
    /// request  make room in vram
    /// after    vram [ ] until the copy's point is reached, system [B] from that point on
    /// ```
    ///
    /// ORDER: the copy waits for the writers of the source and for the earlier owners of both
    /// ends; the old extents go after everything that still uses them, the copy included.
    pub(crate) fn relocate(
        &mut self,
        id: BufferId,
        memory: MemoryTypeId,
        allocation: AllocationId,
        extents: Vec<Extent>,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        let mut home = self.settle(id, memory, allocation, extents, ctx)?;
        self.state.file_in_lru(id, false);
        let Some(buffer) = self.state.buffers.get(&id) else {
            return Err(Status::UnknownBuffer);
        };
        let (tenant, bytes, written) = (buffer.tenant, buffer.bytes, buffer.written);
        let mut old = buffer.home.clone();
        if written {
            self.copy(&mut old, &mut home, bytes, ctx)?;
        }
        if let Some(buffer) = self.state.buffers.get_mut(&id) {
            buffer.home = home;
        }
        self.leave(&old, tenant, ctx);
        self.state.file_in_lru(id, true);
        Ok(())
    }

    fn copy(
        &mut self,
        from: &mut Home,
        to: &mut Home,
        bytes: u64,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        let timeline = self.state.copy_timeline.ok_or(Status::InvalidAccess)?;
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
        for table in [source, target] {
            self.keep(
                table,
                Hold {
                    holder: Holder::Copy,
                    until: at,
                },
            );
        }
        from.readers.add(at);
        to.writers.add(at);
        Ok(())
    }

    /// Ends a home: `unplace` after its last use, and the layout's hold of the table.
    pub(crate) fn leave(
        &mut self,
        home: &Home,
        tenant: gpumm_contract::TenantId,
        ctx: &mut Context,
    ) {
        let after = home.busy(|p| self.state.reached(p));
        self.state.vacate(home, tenant, &after);
        ctx.emit(&Op::Unplace {
            allocation: home.allocation,
            after,
        });
        if self.tables.put_layout(home.table) == Ok(true) {
            ctx.emit(&Op::DropTable { table: home.table });
        }
    }

    /// Adds a holder to a table of a live home.
    ///
    /// INVARIANT: the table of a home is held by its layout, so it exists.
    pub(crate) fn keep(&mut self, table: gpumm_contract::TableId, hold: Hold) {
        let held = self.tables.hold(table, hold);
        debug_assert!(held.is_ok());
    }

    /// Adds a new buffer.
    pub(crate) fn admit(&mut self, id: BufferId, buffer: Buffer) {
        self.state.buffers.insert(id, buffer);
        self.state.file_in_lru(id, true);
    }
}
