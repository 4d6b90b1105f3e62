//! `attach` and `detach`: another device reads a buffer in host memory, until the buffer moves.
//!
//! ```text
//! attach   vram [B]   -> system [B], held by a mapping of the other device
//! move     notify (takes a gate) -> the copy waits for the gate -> vram [B]
//! ```

use crate::order::Context;
use crate::relocate::Found;
use crate::state::Home;
use crate::{Manager, Slots};
use alloc::vec::Vec;
use gpumm_contract::facts::Content;
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::request::{Attach, Detach};
use gpumm_contract::table::{Hold, Holder, Tables};
use gpumm_contract::vm::AddressSpaces;
use gpumm_contract::{AttachmentId, BufferId, DeviceId, MemoryTypeId};

/// The imports of one buffer, for a range of the map of all.
fn imports_of(buffer: BufferId) -> core::ops::RangeInclusive<(BufferId, AttachmentId)> {
    (buffer, AttachmentId(0))..=(buffer, AttachmentId(u64::MAX))
}

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Lets another device read a buffer, after bringing it into memory which that device reaches.
    ///
    /// Errors: [`Status::NotAttached`] where the device imports the buffer already or cannot; a
    /// buffer that was brought into host memory stays there.
    pub(crate) fn attach(&mut self, attach: &Attach, ctx: &mut Context) -> Status {
        ctx.locked.push(attach.buffer);
        let status = self.try_attach(attach, ctx).err().unwrap_or(Status::Good);
        ctx.locked.clear();
        status
    }

    fn try_attach(&mut self, attach: &Attach, ctx: &mut Context) -> Result<(), Status> {
        let Attach {
            attachment,
            buffer: id,
            device,
        } = *attach;
        let buffer = self.state.buffer(id).ok_or(Status::UnknownBuffer)?;
        if buffer.content == Content::Poisoned {
            return Err(Status::Poisoned);
        }
        let of = &self.state.attachments;
        let taken = of.range(imports_of(id)).any(|(_, &d)| d == device);
        if taken || !self.state.gates.contains_key(&device) {
            return Err(Status::NotAttached);
        }
        let never = buffer.content == Content::Never;
        self.bring_out(id, ctx)?;
        let home = self.state.buffer(id).map(|b| &b.home);
        let (memory, table) = home
            .map(|h| (h.memory, h.table))
            .ok_or(Status::UnknownBuffer)?;
        if never {
            // It may show what the tenant has left there, which was not meant for others.
            let on = self.copy_timeline(memory).ok_or(Status::NotAttached)?;
            self.reach(id, ctx)?;
            self.clear(id, on, ctx)?;
        }
        let held = self.tables.get(table, Holder::Mapping);
        held.map_err(|_| Status::TooScattered)?;
        self.state.attachments.insert((id, attachment), device);
        Ok(())
    }

    /// Moves a buffer into host memory, if it is not there.
    fn bring_out(&mut self, id: BufferId, ctx: &mut Context) -> Result<(), Status> {
        let buffer = self.state.buffer(id).ok_or(Status::UnknownBuffer)?;
        let (lives, bytes) = (buffer.home.memory, buffer.bytes);
        let kind = |m: MemoryTypeId| self.state.memory.get(m).map(|m| m.kind);
        let host = |m: &MemoryTypeId| kind(*m).is_some_and(|k| k.is_host());
        if host(&lives) {
            return Ok(());
        }
        let target = kind(lives).and_then(|k| k.evict_to).filter(host);
        let memory = target.ok_or(Status::NotAttached)?;
        let wish = self.wish(memory, bytes, ctx).ok_or(Status::TooScattered)?;
        let full = |largest_hole| Status::NoSpace {
            largest_hole,
            stuck: 0,
        };
        let extents = self.allocate_one(memory, wish).map_err(full)?;
        self.relocate(id, Found::new(memory, wish.number, extents), ctx)
    }

    /// Takes note that an import has ended, unless a move was first.
    pub(crate) fn detach(&mut self, detach: &Detach, ctx: &mut Context) -> Status {
        let key = (detach.buffer, detach.attachment);
        let known = self.state.attachments.remove(&key).is_some();
        let home = self.state.buffer(detach.buffer).filter(|_| known);
        if let Some(table) = home.map(|b| b.home.table)
            && self.tables.put(table, Holder::Mapping) == Ok(true)
        {
            self.drop_tables([table].into(), ctx);
        }
        Status::Good
    }

    /// Tells everybody who imports a buffer that it leaves its home. Each import is over with
    /// that, and its gate counts as a writer: what comes after it finds nobody reading.
    pub(crate) fn notify(&mut self, id: BufferId, home: &mut Home, ctx: &mut Context) {
        let of = self.state.attachments.range(imports_of(id));
        let imports: Vec<_> = of.map(|(&key, &device)| (key, device)).collect();
        for (key, device) in imports {
            let gate = self.state.gates.get(&device);
            // INVARIANT: an import was attached through the gate of its device.
            let Some(gate) = gate.and_then(|&timeline| ctx.point(timeline)) else {
                continue;
            };
            let attachment = key.1;
            ctx.emit(&Op::Notify {
                device,
                attachment,
                gate,
            });
            let hold = Hold {
                holder: Holder::Mapping,
                until: gate,
            };
            self.keep(home.table, hold);
            let put = self.tables.put(home.table, Holder::Mapping);
            debug_assert!(put == Ok(false));
            home.writers.add(gate);
            self.state.attachments.remove(&key);
        }
    }

    /// Takes over an import of the facts.
    ///
    /// Errors: `false` when its buffer is not known, or it is known already.
    pub(crate) fn adopt_import(&mut self, key: (BufferId, AttachmentId), device: DeviceId) -> bool {
        let Some(table) = self.state.buffer(key.0).map(|b| b.home.table) else {
            return false;
        };
        let held = self.tables.get(table, Holder::Mapping);
        held.is_ok() && self.state.attachments.insert(key, device).is_none()
    }
}
