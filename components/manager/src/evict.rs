//! Who makes room: the one place that decides an eviction.

use crate::lru::LruKey;
use crate::order::Context;
use crate::relocate::Found;
use crate::{Manager, Slots};
use alloc::vec::Vec;
use gpumm_contract::allocator::Allocate;
use gpumm_contract::extent::total;
use gpumm_contract::plan::Status;
use gpumm_contract::table::Tables;
use gpumm_contract::vm::AddressSpaces;
use gpumm_contract::{BufferId, Extents, MemoryTypeId};

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Serves a wish, evicting buffers one by one, least recently used first, until it fits.
    ///
    /// `hole` is the largest hole where it is known that the wish does not fit as things are.
    /// Buffers that the current request needs, or the CPU uses, are spared. A victim whose own way out is full is
    /// passed over. Evictions stand even when the wish fails in the end.
    /// Errors: [`Status::NoSpace`] when nothing evictable is left.
    /// Complexity: one call of the strategy per victim and one of the target's.
    pub(crate) fn make_room(
        &mut self,
        memory: MemoryTypeId,
        wish: Allocate,
        hole: Option<u64>,
        ctx: &mut Context,
    ) -> Result<Extents, Status> {
        let first = hole.map_or_else(|| self.allocate_one(memory, wish), Err);
        let mut largest_hole = match first {
            Ok(extents) => return Ok(extents),
            Err(hole) => hole,
        };
        let mut stuck = 0u64;
        let mut after: Option<LruKey> = None;
        while let Some(victim) = self.next_victim(memory, after, ctx) {
            after = Some(victim);
            if ctx.stuck.contains(&victim.2) || !self.evict(victim.2, memory, ctx)? {
                stuck = stuck.saturating_add(self.state.buffer(victim.2).map_or(0, |b| b.bytes));
                continue;
            }
            match self.allocate_one(memory, wish) {
                Ok(extents) => return Ok(extents),
                Err(hole) => largest_hole = hole,
            }
        }
        Err(Status::NoSpace {
            largest_hole,
            stuck,
        })
    }

    /// The next buffer in eviction order behind one, skipping what the request needs.
    fn next_victim(
        &self,
        memory: MemoryTypeId,
        after: Option<LruKey>,
        ctx: &Context,
    ) -> Option<LruKey> {
        let lru = &self.state.memory.get(memory)?.lru;
        lru.behind(after)
            .find(|key| !ctx.locked.contains(&key.2) && !self.state.pinned(key.2))
    }

    /// Moves one buffer to where its memory type evicts to; `false` when there is no room.
    fn evict(
        &mut self,
        id: BufferId,
        memory: MemoryTypeId,
        ctx: &mut Context,
    ) -> Result<bool, Status> {
        let target = self.state.memory.get(memory).and_then(|m| m.kind.evict_to);
        let bytes = self.state.buffer(id).map(|b| b.bytes);
        let (Some(target), Some(bytes)) = (target, bytes) else {
            return Ok(false);
        };
        let wish = self.wish(target, bytes, ctx).ok_or(Status::TooScattered)?;
        let Ok(extents) = self.allocate_one(target, wish) else {
            return Ok(false);
        };
        self.leave_for(id, Found::new(target, wish.number, extents), ctx)
    }

    /// Moves a victim; `false` when that does not work now, and another one may be luckier.
    fn leave_for(&mut self, id: BufferId, found: Found, ctx: &mut Context) -> Result<bool, Status> {
        match self.relocate(id, found, ctx) {
            Ok(()) => Ok(true),
            Err(Status::NotMapped | Status::NoSpace { .. }) => Ok(false),
            Err(why) => Err(why),
        }
    }

    /// Evicts as many buffers, least recently used first, as hold so many bytes, with one call of
    /// the target's strategy for all of them. Stops early when it finds no more.
    ///
    /// Bounds: `spared`, sorted, and what the CPU uses are left out.
    pub(crate) fn evict_many(
        &mut self,
        memory: MemoryTypeId,
        bytes: u64,
        spared: &[BufferId],
        ctx: &mut Context,
    ) -> Result<(), Status> {
        let Some(of) = self.state.memory.get(memory) else {
            return Ok(());
        };
        let Some(target) = of.kind.evict_to else {
            return Ok(());
        };
        let (mut victims, mut freed) = (Vec::new(), 0u64);
        for (_, _, id) in of.lru.behind(None) {
            if freed >= bytes {
                break;
            }
            let Some(buffer) = self.state.buffer(id) else {
                continue;
            };
            if spared.binary_search(&id).is_err() && !self.state.pinned(id) {
                victims.push((id, buffer.bytes));
                freed = freed.saturating_add(total(&buffer.home.extents).unwrap_or(0));
            }
        }
        let wishes: Option<Vec<Allocate>> = victims
            .iter()
            .map(|&(_, bytes)| self.wish(target, bytes, ctx))
            .collect();
        let wishes = wishes.ok_or(Status::TooScattered)?;
        let granted = self.allocate(target, &wishes);
        let mut leaving: Vec<(BufferId, Found)> = Vec::with_capacity(victims.len());
        for ((&(id, _), wish), granted) in victims.iter().zip(&wishes).zip(granted) {
            match granted {
                Ok(extents) => leaving.push((id, Found::new(target, wish.number, extents))),
                Err(_) => ctx.stuck.push(id),
            }
        }
        self.map_many(target, &mut leaving);
        for (id, found) in leaving {
            if !self.leave_for(id, found, ctx)? {
                ctx.stuck.push(id);
            }
        }
        Ok(())
    }
}
