//! Says that there is no room where there is.

use crate::deed::Deed;
use gpumm_contract::allocator::{Allocator, Failure};

pub(crate) const DEED: Deed = Deed {
    wish: Some(|scene, wish| {
        let room = scene.tlsf.statistics().largest_hole >= wish.bytes;
        room.then_some(Failure::NoSpace { largest_hole: 0 })
    }),
    keeps_on: true,
    ..Deed::HONEST
};
