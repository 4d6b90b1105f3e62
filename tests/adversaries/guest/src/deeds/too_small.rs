//! Hands out a granule less than was asked for.

use crate::deed::Deed;

pub(crate) const DEED: Deed = Deed {
    extents: Some(|scene, _, extents| {
        extents[0].bytes -= scene.geometry.granule;
        extents[0].bytes != 0
    }),
    ..Deed::HONEST
};
