//! Lies, and its restarted self does not take what is live.

use super::overlaps_a_live_extent as lie;
use crate::deed::Deed;
use gpumm_contract::allocator::Refusal;

pub(crate) const DEED: Deed = Deed {
    restoring: Some(|| Refusal::Extent),
    ..lie::DEED
};
