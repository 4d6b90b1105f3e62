//! Hands out bytes that begin a granule behind the wanted alignment.

use crate::deed::Deed;

pub(crate) const DEED: Deed = Deed {
    extents: Some(|scene, wish, extents| {
        extents[0].offset += scene.geometry.granule;
        wish.alignment > scene.geometry.granule && scene.holds(extents[0])
    }),
    ..Deed::HONEST
};
