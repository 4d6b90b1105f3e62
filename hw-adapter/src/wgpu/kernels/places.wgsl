// From a page of the device's memory to what is bound. `gmm_lists` begins with four words about
// the address space, and the slots of all chunks.

fn gmm_of_vram(page: u32) -> GmmPlace {
    let slot = gmm_lists[4u + page / gmm.base.x];
    return GmmPlace(slot, (page % gmm.base.x) << 10u, 0u);
}
