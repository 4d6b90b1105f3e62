//! `create`: a home for each new buffer.

use crate::ahead::only_place;
use crate::order::Context;
use crate::relocate::Found;
use crate::state::Buffer;
use crate::{Manager, Slots};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use gpumm_contract::MemoryTypeId;
use gpumm_contract::allocator::Allocate;
use gpumm_contract::extent::round_up;
use gpumm_contract::facts::Content;
use gpumm_contract::plan::Status;
use gpumm_contract::request::{Create, Pass, Placement, Request};
use gpumm_contract::table::Tables;
use gpumm_contract::vm::AddressSpaces;

/// A new buffer on its way through a run of creates.
struct Candidate<'a> {
    create: &'a Create,
    first_try: Option<(MemoryTypeId, Allocate)>,
    /// What the first try brought; on failure the status so far.
    found: Result<Found, Status>,
}

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Answers the creates at the head of a request list and returns how many there were. Their
    /// first choices are asked for in one call per memory type.
    pub(crate) fn create_run(
        &mut self,
        requests: &[Request],
        number: u32,
        ctx: &mut Context,
    ) -> usize {
        let mut seen = BTreeSet::new();
        let mut run: Vec<Candidate<'_>> = requests
            .iter()
            .map_while(|request| match request {
                Request::Create(create) => Some(create),
                _ => None,
            })
            .map(|create| {
                let fresh = seen.insert(create.buffer);
                let status = self.check_create(create).and(if fresh {
                    Ok(())
                } else {
                    Err(Status::BufferExists)
                });
                Candidate {
                    create,
                    first_try: None,
                    found: Err(status.err().unwrap_or(Status::Good)),
                }
            })
            .collect();
        for candidate in run
            .iter_mut()
            .filter(|c| matches!(c.found, Err(Status::Good)))
        {
            let first = candidate
                .create
                .placement
                .iter()
                .find(|p| p.pass != Pass::Fallback);
            candidate.first_try = first.and_then(|place| {
                let memory = self.arena_of(place.memory);
                Some((memory, self.wish(memory, candidate.create.bytes, ctx)?))
            });
        }
        self.first_tries(&mut run, ctx);
        let taken = run.len();
        for (at, candidate) in run.into_iter().enumerate() {
            let status = self.create(candidate, ctx).err().unwrap_or(Status::Good);
            ctx.answer(number + at as u32, status);
        }
        taken
    }

    fn check_create(&self, create: &Create) -> Result<(), Status> {
        if self.state.buffers.contains(create.buffer.0) {
            return Err(Status::BufferExists);
        }
        self.check_size(create.bytes, create.placement)
    }

    /// Whether a size can ever find a place.
    fn check_size(&self, bytes: u64, placement: Placement) -> Result<(), Status> {
        if bytes == 0 {
            return Err(Status::InvalidSize);
        }
        let mut limit = 0;
        let mut fits = false;
        for place in placement.iter() {
            let kind = &self
                .state
                .memory
                .get(place.memory)
                .ok_or(Status::InvalidPlacement)?
                .kind;
            let rounded = round_up(bytes, kind.granule).ok_or(Status::InvalidSize)?;
            limit = limit.max(kind.size);
            fits |= rounded <= kind.size;
        }
        if fits {
            Ok(())
        } else {
            Err(Status::TooLarge { limit })
        }
    }

    /// The wish for a size in a memory type, under a fresh number.
    pub(crate) fn wish(
        &self,
        memory: MemoryTypeId,
        bytes: u64,
        ctx: &mut Context,
    ) -> Option<Allocate> {
        let granule = self.state.memory.get(memory)?.kind.granule;
        Some(Allocate::plain(
            ctx.allocation()?,
            round_up(bytes, granule)?,
        ))
    }

    /// Asks for every first choice, one call per memory type, after making way for those that
    /// would evict anyway.
    fn first_tries(&mut self, run: &mut [Candidate<'_>], ctx: &mut Context) {
        let kinds: BTreeSet<MemoryTypeId> =
            run.iter().filter_map(|c| Some(c.first_try?.0)).collect();
        for memory in kinds {
            let mine = |c: &&mut Candidate<'_>| c.first_try.is_some_and(|t| t.0 == memory);
            let wishes: Vec<Allocate> = run
                .iter()
                .filter_map(|c| c.first_try)
                .filter(|t| t.0 == memory)
                .map(|t| t.1)
                .collect();
            let mut tries = run
                .iter()
                .filter(|c| c.first_try.is_some_and(|t| t.0 == memory));
            if tries.all(|c| only_place(c.create.placement).is_some()) {
                self.make_way(memory, wishes.iter().map(|w| w.bytes), &[], ctx);
            }
            let granted = self.allocate(memory, &wishes);
            for ((candidate, wish), granted) in
                run.iter_mut().filter(mine).zip(&wishes).zip(granted)
            {
                candidate.found = granted
                    .map(|extents| Found::new(memory, wish.number, extents))
                    .map_err(|largest_hole| Status::NoSpace {
                        largest_hole,
                        stuck: 0,
                    });
            }
        }
    }

    fn create(&mut self, candidate: Candidate<'_>, ctx: &mut Context) -> Result<(), Status> {
        let create = candidate.create;
        let found = match candidate.found {
            Ok(found) => found,
            // The first choice was full, or must not be tried without need: all places, properly.
            Err(Status::NoSpace { .. } | Status::Good) => {
                let tried = candidate.first_try.map(|(memory, _)| memory);
                self.find_place(create.bytes, create.placement, tried, ctx)?
            }
            Err(status) => return Err(status),
        };
        let home = self.settle(create.buffer, found, ctx)?;
        self.admit(
            create.buffer,
            Buffer {
                tenant: create.tenant,
                bytes: create.bytes,
                placement: create.placement,
                priority: create.priority,
                stamp: create.stamp,
                content: Content::Never,
                home,
            },
        );
        Ok(())
    }

    /// Finds extents for a size: a pass that evicts nobody over all places, then one that does.
    ///
    /// `tried` names a place whose first-pass refusal is known already.
    /// Errors: [`Status::NoSpace`] of the last place tried.
    pub(crate) fn find_place(
        &mut self,
        bytes: u64,
        placement: Placement,
        tried: Option<MemoryTypeId>,
        ctx: &mut Context,
    ) -> Result<Found, Status> {
        let mut last = Status::NoSpace {
            largest_hole: 0,
            stuck: 0,
        };
        let mut refused: Vec<(MemoryTypeId, u64)> = Vec::new();
        for (place, force) in [false, true]
            .into_iter()
            .flat_map(|f| placement.iter().map(move |p| (p, f)))
        {
            let skipped = if force { Pass::Desired } else { Pass::Fallback };
            let memory = self.arena_of(place.memory);
            if place.pass == skipped || !force && tried == Some(memory) {
                continue;
            }
            let wish = self.wish(memory, bytes, ctx).ok_or(Status::TooScattered)?;
            let found = if force {
                let known = refused.iter().find(|(m, _)| *m == memory);
                self.make_room(memory, wish, known.map(|(_, hole)| *hole), ctx)
            } else {
                self.allocate_one(memory, wish).map_err(|largest_hole| {
                    refused.push((memory, largest_hole));
                    Status::NoSpace {
                        largest_hole,
                        stuck: 0,
                    }
                })
            };
            if force {
                // Evictions have changed what fits where.
                refused.clear();
            }
            match found {
                Ok(extents) => return Ok(Found::new(memory, wish.number, extents)),
                Err(Status::NoSpace {
                    largest_hole,
                    stuck,
                }) => {
                    last = Status::NoSpace {
                        largest_hole,
                        stuck,
                    }
                }
                Err(status) => return Err(status),
            }
        }
        Err(last)
    }
}
