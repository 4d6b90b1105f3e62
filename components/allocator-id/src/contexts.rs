//! Hardware context ids: who holds one, and whose is taken when all are held.
//!
//! A manager's part, not the strategy's: a strategy never takes back what it gave. The lowest 1/16
//! of the ids is for parallel contexts, which need a run; the rest is for single ones, one id each.
//! A single context keeps its id while it is not pinned, until another one needs it: then the id
//! whose context was unpinned first is stolen. A run is never stolen and never stolen for.

use crate::Id;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use gpumm_contract::allocator::{Allocate, Failure, Refusal};
use gpumm_contract::{AllocationId, Allocator, Extent, Geometry};

/// Which part of the ids, as a divisor, is kept for parallel contexts.
const PARALLEL_SHARE: u32 = 16;

/// What a pin found.
///
/// Invariants: whatever is not [`Pinned::Kept`] must be registered with the device again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// The context still had this id.
    Kept(u32),
    /// The context has this id now; nobody had it.
    Assigned(u32),
    /// The context has this id now; the other context lost it and has to be unregistered.
    Stolen {
        /// The id.
        id: u32,
        /// Who lost it.
        from: AllocationId,
    },
}

impl Pinned {
    /// The context's id, the first one of a parallel context.
    pub fn id(self) -> u32 {
        match self {
            Pinned::Kept(id) | Pinned::Assigned(id) | Pinned::Stolen { id, .. } => id,
        }
    }

    /// Whether the id is a new one, which has to be registered.
    pub fn is_new(self) -> bool {
        !matches!(self, Pinned::Kept(_))
    }
}

/// Why a context gets no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinError {
    /// Every id is held by a pinned context: unpin one and try again.
    Again,
    /// No run is long enough; waiting for pins to end does not help.
    NoSpace,
    /// The context is of the other kind, or was not pinned, or the number cannot be filed.
    Refused(Refusal),
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinError::Again => f.write_str("every context id is pinned"),
            PinError::NoSpace => f.write_str("no run of context ids is long enough"),
            PinError::Refused(why) => why.fmt(f),
        }
    }
}

impl core::error::Error for PinError {}

#[derive(Clone, Copy, Debug)]
struct Held {
    id: u32,
    pins: u32,
    /// When it was unpinned, by count; single contexts without pins only.
    idle_since: Option<u64>,
    ids: u32,
}

/// The ids of one device and the contexts that hold them.
///
/// Invariants: no id is held twice; what a pinned context holds is never stolen; `idle` names
/// exactly the single contexts that hold an id and are not pinned, oldest first.
#[derive(Clone, Debug)]
pub struct Contexts {
    strategy: Id,
    ids: u32,
    held: BTreeMap<AllocationId, Held>,
    idle: BTreeMap<u64, AllocationId>,
    unpins: u64,
}

impl Contexts {
    /// Nobody holds any of `0..ids`.
    ///
    /// Errors: [`Refusal::Geometry`] for no ids or more than [`MAX_IDS`](crate::MAX_IDS).
    pub fn new(ids: u32) -> Result<Self, Refusal> {
        let mut strategy = Id::new();
        strategy.init(Geometry {
            size: u64::from(ids),
            granule: 1,
        })?;
        Ok(Contexts {
            strategy,
            ids,
            held: BTreeMap::new(),
            idle: BTreeMap::new(),
            unpins: 0,
        })
    }

    /// Pins a single context, which then has an id until the last of its pins ends.
    ///
    /// Errors: [`PinError::Again`] when there is no id and none to steal. How often to try again,
    /// and after what, is the caller's choice: nothing here knows the time.
    pub fn pin(&mut self, context: AllocationId) -> Result<Pinned, PinError> {
        if let Some(id) = self.pin_again(context, 1)? {
            return Ok(Pinned::Kept(id));
        }
        let singles = (u64::from(self.ids / PARALLEL_SHARE), u64::from(self.ids));
        match self.take(context, 1, singles) {
            Ok(id) => Ok(Pinned::Assigned(id)),
            Err(PinError::NoSpace) => {
                let (_, from) = self.idle.pop_first().ok_or(PinError::Again)?;
                self.give_back(from)?;
                let id = self.take(context, 1, singles)?;
                Ok(Pinned::Stolen { id, from })
            }
            Err(why) => Err(why),
        }
    }

    /// Pins a parallel context with so many children: it has the first id of a run, child `i` the
    /// id `1 + i` behind it. The run stays until [`Contexts::release`].
    ///
    /// Errors: [`PinError::NoSpace`] at once when no run is free.
    pub fn pin_parallel(
        &mut self,
        context: AllocationId,
        children: u32,
    ) -> Result<Pinned, PinError> {
        let run = children
            .checked_add(1)
            .and_then(u32::checked_next_power_of_two);
        let run = run.filter(|&run| run > 1).ok_or(PinError::NoSpace)?;
        if let Some(id) = self.pin_again(context, run)? {
            return Ok(Pinned::Kept(id));
        }
        let end = u64::from(self.ids / PARALLEL_SHARE);
        if end == 0 {
            return Err(PinError::NoSpace);
        }
        self.take(context, run, (0, end)).map(Pinned::Assigned)
    }

    /// Ends a pin. A single context without pins keeps its id until somebody needs it.
    ///
    /// Errors: [`Refusal::NumberUnknown`] when the context is not pinned.
    pub fn unpin(&mut self, context: AllocationId) -> Result<(), Refusal> {
        let held = self.held.get_mut(&context);
        let held = held
            .filter(|held| held.pins != 0)
            .ok_or(Refusal::NumberUnknown)?;
        held.pins -= 1;
        if held.pins == 0 && held.ids == 1 {
            held.idle_since = Some(self.unpins);
            self.idle.insert(self.unpins, context);
            self.unpins += 1;
        }
        Ok(())
    }

    /// The context is gone, and its id or run is free.
    ///
    /// Errors: [`Refusal::NumberUnknown`] when it holds nothing or is pinned.
    pub fn release(&mut self, context: AllocationId) -> Result<(), Refusal> {
        let held = self.held.get(&context).filter(|held| held.pins == 0);
        let since = held.ok_or(Refusal::NumberUnknown)?.idle_since;
        if let Some(since) = since {
            self.idle.remove(&since);
        }
        self.give_back(context).map_err(|_| Refusal::NumberUnknown)
    }

    /// The id a context holds, pinned or not.
    pub fn id(&self, context: AllocationId) -> Option<u32> {
        self.held.get(&context).map(|held| held.id)
    }

    /// The strategy below.
    pub fn strategy(&self) -> &Id {
        &self.strategy
    }

    /// One more pin of what the context has; `None` when it has nothing.
    fn pin_again(&mut self, context: AllocationId, ids: u32) -> Result<Option<u32>, PinError> {
        let Some(held) = self.held.get_mut(&context) else {
            return Ok(None);
        };
        if held.ids != ids {
            return Err(PinError::Refused(Refusal::Size));
        }
        if let Some(since) = held.idle_since.take() {
            self.idle.remove(&since);
        }
        held.pins += 1;
        Ok(Some(held.id))
    }

    fn take(
        &mut self,
        context: AllocationId,
        ids: u32,
        range: (u64, u64),
    ) -> Result<u32, PinError> {
        let wish = Allocate {
            range: Some(range),
            ..Allocate::plain(context, u64::from(ids))
        };
        let mut extents = Vec::new();
        self.strategy
            .allocate(&wish, &mut extents)
            .map_err(|failure| match failure {
                Failure::NoSpace { .. } => PinError::NoSpace,
                Failure::Refused(why) => PinError::Refused(why),
            })?;
        let id = extents.first().map_or(0, |extent: &Extent| extent.offset) as u32;
        let held = Held {
            id,
            pins: 1,
            idle_since: None,
            ids,
        };
        self.held.insert(context, held);
        Ok(id)
    }

    fn give_back(&mut self, context: AllocationId) -> Result<(), PinError> {
        self.held.remove(&context);
        self.strategy.free(context).map_err(PinError::Refused)
    }
}
