//! Hands out two pieces in the wrong order where they must follow each other.

use crate::deed::Deed;
use gpumm_contract::Extent;

pub(crate) const DEED: Deed = Deed {
    extents: Some(|scene, wish, extents| {
        let half = Extent {
            bytes: wish.bytes / 2,
            ..extents[0]
        };
        let upper = Extent {
            offset: half.offset + half.bytes,
            ..half
        };
        *extents = vec![upper, half];
        wish.contiguous && half.bytes.is_multiple_of(scene.geometry.granule)
    }),
    ..Deed::HONEST
};
