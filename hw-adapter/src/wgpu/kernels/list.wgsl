// Ranges whose pages are listed, all of them as one range. What is not of the device's memory is
// somebody else's work.

fn gmm_find(range: u32, page: u32, write: bool) -> GmmPlace {
    let number = gmm_lists[gmm.base.y + page];
    if (number == GMM_NONE) {
        return GmmPlace(GMM_NONE, 0u, 0u);
    }
    return gmm_of_vram(number);
}
