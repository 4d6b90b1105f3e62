//! Hands out bytes that begin one byte behind a granule.

use crate::deed::Deed;

pub(crate) const DEED: Deed = Deed {
    extents: Some(|scene, _, extents| {
        extents[0].offset += 1;
        scene.holds(extents[0])
    }),
    ..Deed::HONEST
};
