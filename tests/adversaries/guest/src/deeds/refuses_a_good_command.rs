//! Refuses a wish whose size is right.

use crate::deed::Deed;
use gpumm_contract::allocator::{Failure, Refusal};

pub(crate) const DEED: Deed = Deed {
    wish: Some(|_, _| Some(Failure::Refused(Refusal::Size))),
    ..Deed::HONEST
};
