//! Hands out bytes whose end does not fit in 64 bits.

use crate::deed::Deed;

pub(crate) const DEED: Deed = Deed {
    extents: Some(|scene, _, extents| {
        extents[0].offset = u64::MAX - scene.geometry.granule + 1;
        true
    }),
    ..Deed::HONEST
};
