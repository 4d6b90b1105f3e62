//! Who makes room: the one place that decides an eviction.

use crate::order::Context;
use crate::relocate::Found;
use crate::state::LruKey;
use crate::{Manager, Slots};
use alloc::vec::Vec;
use core::ops::Bound::{Excluded, Unbounded};
use gpumm_contract::allocator::Allocate;
use gpumm_contract::plan::Status;
use gpumm_contract::table::Tables;
use gpumm_contract::{BufferId, Extent, MemoryTypeId};

impl<T: Tables, S: Slots> Manager<T, S> {
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
    ) -> Result<Vec<Extent>, Status> {
        let first = hole.map_or_else(|| self.allocate_one(memory, wish), Err);
        let mut largest_hole = match first {
            Ok(extents) => return Ok(extents),
            Err(hole) => hole,
        };
        let mut stuck = 0u64;
        let mut after: Option<LruKey> = None;
        while let Some(victim) = self.next_victim(memory, after, ctx) {
            after = Some(victim);
            if !self.evict(victim.2, memory, ctx)? {
                stuck =
                    stuck.saturating_add(self.state.buffers.get(&victim.2).map_or(0, |b| b.bytes));
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
        let lru = &self.state.memory.get(&memory)?.lru;
        let from = after.map_or(Unbounded, Excluded);
        lru.range((from, Unbounded))
            .find(|key| !ctx.locked.contains(&key.2) && !self.state.pinned(key.2))
            .copied()
    }

    /// Moves one buffer to where its memory type evicts to; `false` when there is no room.
    fn evict(
        &mut self,
        id: BufferId,
        memory: MemoryTypeId,
        ctx: &mut Context,
    ) -> Result<bool, Status> {
        let target = self.state.memory.get(&memory).and_then(|m| m.kind.evict_to);
        let bytes = self.state.buffers.get(&id).map(|b| b.bytes);
        let (Some(target), Some(bytes)) = (target, bytes) else {
            return Ok(false);
        };
        let wish = self.wish(target, bytes, ctx).ok_or(Status::TooScattered)?;
        let Ok(extents) = self.allocate_one(target, wish) else {
            return Ok(false);
        };
        let found = Found {
            memory: target,
            allocation: wish.number,
            extents,
        };
        match self.relocate(id, found, ctx) {
            Ok(()) => Ok(true),
            // Another victim may be luckier.
            Err(Status::NotMapped | Status::NoSpace { .. }) => Ok(false),
            Err(why) => Err(why),
        }
    }
}
