//! Ids with a budget of pages: who gets an id also charges pages, and gets neither without both.

use crate::Id;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use gpumm_contract::allocator::{Allocate, Failure, Refusal};
use gpumm_contract::{AllocationId, Allocator, Geometry};

/// Why nobody gets an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoId {
    /// Every id is held.
    Ids,
    /// The pages exceed what is left of the budget.
    Pages {
        /// What is left.
        left: u64,
    },
    /// The number cannot be filed.
    Refused(Refusal),
}

/// Ids below a bound, whose holders charge pages below another bound.
///
/// Invariants: the pages of all holders are at most the budget; an id is held exactly by who is
/// charged.
#[derive(Clone, Debug)]
pub struct PagedIds {
    ids: Id,
    budget: Option<u64>,
    charged: BTreeMap<AllocationId, u64>,
    used: u64,
}

impl PagedIds {
    /// Nobody holds any of `0..ids`; `None` = pages without limit.
    ///
    /// Errors: [`Refusal::Geometry`] for no ids or more than [`MAX_IDS`](crate::MAX_IDS).
    pub fn new(ids: u32, budget: Option<u64>) -> Result<Self, Refusal> {
        let mut strategy = Id::new();
        strategy.init(Geometry {
            size: u64::from(ids),
            granule: 1,
        })?;
        Ok(PagedIds {
            ids: strategy,
            budget,
            charged: BTreeMap::new(),
            used: 0,
        })
    }

    /// Takes the lowest id and charges pages.
    ///
    /// Errors: no id, or too few pages; then the id is free again.
    pub fn allocate(&mut self, number: AllocationId, pages: u64) -> Result<u32, NoId> {
        let mut extents = Vec::new();
        let wish = Allocate::plain(number, 1);
        self.ids
            .allocate(&wish, &mut extents)
            .map_err(|failure| match failure {
                Failure::NoSpace { .. } => NoId::Ids,
                Failure::Refused(why) => NoId::Refused(why),
            })?;
        let left = self.budget.unwrap_or(u64::MAX) - self.used;
        if pages > left {
            self.ids.free(number).map_err(NoId::Refused)?;
            return Err(NoId::Pages { left });
        }
        self.used += pages;
        self.charged.insert(number, pages);
        Ok(extents.first().map_or(0, |extent| extent.offset) as u32)
    }

    /// Gives an id and its pages back.
    ///
    /// Errors: [`Refusal::NumberUnknown`].
    pub fn free(&mut self, number: AllocationId) -> Result<(), Refusal> {
        self.ids.free(number)?;
        self.used -= self.charged.remove(&number).unwrap_or(0);
        Ok(())
    }

    /// The pages charged.
    pub fn used_pages(&self) -> u64 {
        self.used
    }
}
