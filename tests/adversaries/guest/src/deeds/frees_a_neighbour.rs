//! Frees a live neighbour that nobody gave back, and hands its memory out again.

use crate::deed::Deed;
use gpumm_contract::allocator::{Allocate, Allocator};

pub(crate) const DEED: Deed = Deed {
    extents: Some(|scene, wish, extents| {
        let victim = scene
            .others(wish.number)
            .find(|(_, block)| block.extent.bytes >= wish.bytes);
        let Some((owner, block)) = victim else {
            return false;
        };
        // What comes after the deed is not asked of this instance any more: a copy will do.
        let mut tlsf = scene.tlsf.clone();
        let freed = tlsf.free(owner).is_ok() && tlsf.free(wish.number).is_ok();
        let inside = Allocate {
            range: block.extent.end().map(|end| (block.extent.offset, end)),
            ..*wish
        };
        extents.clear();
        freed && tlsf.allocate(&inside, extents).is_ok()
    }),
    ..Deed::HONEST
};
