//! Finding room for many requests at once.
//!
//! ```text
//! one by one  for each buffer: ask for room, refused; room for a victim; evict it; ask again
//! ahead       room for all victims; evict them; ask once for room for all
//! ```
//!
//! Only what comes out as it would one by one is done ahead, but for the choice of victims, which
//! spares what the requests themselves need. What does not work here is tried again when its
//! request is reached.

use crate::order::Context;
use crate::relocate::Found;
use crate::{Manager, Slots};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use gpumm_contract::allocator::Allocate;
use gpumm_contract::facts::Content;
use gpumm_contract::plan::Status;
use gpumm_contract::request::{Access, Pass, Place, Placement, Request};
use gpumm_contract::table::Tables;
use gpumm_contract::vm::AddressSpaces;
use gpumm_contract::{BufferId, MemoryTypeId};

/// Room that stands ready for buffers whose access comes later in the batch.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// In the order of the accesses.
    found: Vec<(BufferId, Option<Found>)>,
    /// Everything before it has been taken.
    from: usize,
    /// How many requests it covers, the current one included.
    covers: usize,
}

impl Ready {
    /// The room of a buffer, if there is any.
    fn take(&mut self, id: BufferId) -> Option<Found> {
        let rest = self.found.get_mut(self.from..)?;
        let at = rest.iter().position(|(buffer, _)| *buffer == id)?;
        let found = rest[at].1.take();
        if at == 0 {
            self.from += 1;
        }
        found
    }
}

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Makes room for the accesses at the head of a request list, if that is not done yet.
    pub(crate) fn room_ahead(&mut self, requests: &[Request], ctx: &mut Context) {
        if ctx.ready.covers > 0 {
            ctx.ready.covers -= 1;
            return;
        }
        self.return_ready(ctx);
        let run = requests.iter().map_while(|request| match request {
            Request::Access(access) => Some(access),
            _ => None,
        });
        let run: Vec<&Access> = run.collect();
        let mut used: Vec<BufferId> = run
            .iter()
            .flat_map(|access| access.uses.iter().map(|u| u.buffer))
            .collect();
        let missing = self.missing(&run, ctx);
        ctx.ready.covers = run.len().saturating_sub(1);
        if missing.is_empty() {
            return;
        }
        used.sort_unstable();
        let kinds: BTreeSet<MemoryTypeId> = missing.iter().map(|m| m.1).collect();
        for memory in kinds {
            let mine = missing.iter().filter(|m| m.1 == memory);
            let mine: Vec<(BufferId, Allocate)> = mine.map(|m| (m.0, m.2)).collect();
            self.bring_ahead(memory, &mine, &used, ctx);
        }
    }

    /// What a run of accesses needs that is not where it may be used: the buffer, the memory type
    /// that is tried first for it, and the wish.
    fn missing(
        &self,
        run: &[&Access],
        ctx: &mut Context,
    ) -> Vec<(BufferId, MemoryTypeId, Allocate)> {
        let mut missing: Vec<(BufferId, MemoryTypeId, Allocate)> = Vec::with_capacity(run.len());
        let mut seen = BTreeSet::new();
        for access in run {
            if access.anywhere || !ctx.granted(access.timeline) {
                continue;
            }
            for used in &access.uses {
                let Some(buffer) = self.state.buffer(used.buffer) else {
                    continue;
                };
                let lives = buffer.home.memory;
                let accepted = |p: Place| self.stands_for(p.memory, lives);
                if buffer.content == Content::Poisoned
                    || buffer.placement.iter().any(accepted)
                    || !seen.insert(used.buffer)
                {
                    continue;
                }
                let memory = only_place(buffer.placement).map(|place| self.arena_of(place));
                let wish = memory.and_then(|memory| self.wish(memory, buffer.bytes, ctx));
                missing.extend(memory.zip(wish).map(|(m, wish)| (used.buffer, m, wish)));
            }
        }
        missing
    }

    /// Evicts what stands in the way of wishes and asks for all of them at once.
    fn bring_ahead(
        &mut self,
        memory: MemoryTypeId,
        wanted: &[(BufferId, Allocate)],
        spared: &[BufferId],
        ctx: &mut Context,
    ) {
        self.make_way(memory, wanted.iter().map(|w| w.1.bytes), spared, ctx);
        let mut free = self.state.memory.get(memory).map_or(0, |of| of.free());
        let fits = wanted.iter().take_while(|(_, wish)| {
            let fits = wish.bytes <= free;
            free = free.saturating_sub(wish.bytes);
            fits
        });
        let wishes: Vec<Allocate> = fits.map(|w| w.1).collect();
        // Behind a refusal nothing is kept: it could stand in the way of what comes before it.
        let mut refused = false;
        let granted = self.allocate(memory, &wishes);
        for (&(id, wish), granted) in wanted.iter().zip(granted) {
            match granted {
                Ok(extents) => {
                    let found = Found::new(memory, wish.number, extents);
                    if refused {
                        self.give_back(&found, Status::Good);
                    } else {
                        ctx.ready.found.push((id, Some(found)));
                    }
                }
                Err(_) => refused = true,
            }
        }
    }

    /// Evicts as much as is missing for so many bytes, as far as that works.
    pub(crate) fn make_way(
        &mut self,
        memory: MemoryTypeId,
        wanted: impl Iterator<Item = u64>,
        spared: &[BufferId],
        ctx: &mut Context,
    ) {
        let free = self.state.memory.get(memory).map_or(0, |of| of.free());
        let missing = wanted.fold(0, u64::saturating_add).saturating_sub(free);
        if missing > 0 {
            // What ends this early ends the request that needs the room, when it tries by itself.
            let _ = self.evict_many(memory, missing, spared, ctx);
        }
    }

    /// The room that stands ready for a buffer.
    pub(crate) fn ready_for(&self, id: BufferId, ctx: &mut Context) -> Option<Found> {
        ctx.ready.take(id)
    }

    /// Gives back what stood ready and was not taken, since its access has failed.
    pub(crate) fn return_ready(&mut self, ctx: &mut Context) {
        let ready = core::mem::take(&mut ctx.ready);
        for found in ready.found.into_iter().filter_map(|(_, found)| found) {
            self.give_back(&found, Status::Good);
        }
    }
}

/// The place that a placement tries first, where that is the only one which is tried before
/// somebody is evicted, and the first one for which somebody is.
pub(crate) fn only_place(placement: Placement) -> Option<MemoryTypeId> {
    let mut tried = placement.iter().filter(|p| p.pass != Pass::Fallback);
    let first = tried.next().filter(|p| p.pass == Pass::Both)?;
    let forced = placement.iter().find(|p| p.pass != Pass::Desired)?;
    (tried.next().is_none() && forced.memory == first.memory).then_some(first.memory)
}
