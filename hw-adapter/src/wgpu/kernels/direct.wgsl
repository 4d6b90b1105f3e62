// Ranges that are contiguous in what is bound need no look anywhere.

fn gmm_find(range: u32, page: u32, write: bool) -> GmmPlace {
    let at = gmm.ranges[2u * range + 1u];
    return GmmPlace(at.x, at.y + (page << 10u), 0u);
}
