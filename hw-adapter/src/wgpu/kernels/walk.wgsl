// The page table: four levels of nodes with 512 entries, which are as the host's. What leads to
// another node has its number where a page has the number of its memory's page.

const GMM_PRESENT = 1u;
const GMM_WRITE = 2u;
const GMM_SPARSE_PAGE = 4u;
const GMM_SYSTEM = 8u;
// An entry of the third level is a page of 2 MiB.
const GMM_LARGE = 32u;

fn gmm_number(entry: vec2<u32>) -> u32 {
    return (entry.x >> 12u) | (entry.y << 20u);
}

fn gmm_entry(node: u32, index: u32) -> vec2<u32> {
    return gmm_table[(node << 9u) + (index & 511u)];
}

// The entry of the page of 4 KiB at an address; not present if there is none.
fn gmm_walk(at: vec2<u32>) -> vec2<u32> {
    var entry = gmm_entry(0u, at.y >> 7u);
    if ((entry.x & GMM_PRESENT) == 0u) {
        return entry;
    }
    entry = gmm_entry(gmm_number(entry), (at.y << 2u) | (at.x >> 30u));
    if ((entry.x & GMM_PRESENT) == 0u) {
        return entry;
    }
    entry = gmm_entry(gmm_number(entry), at.x >> 21u);
    if ((entry.x & GMM_PRESENT) == 0u) {
        return entry;
    }
    if ((entry.x & GMM_LARGE) != 0u) {
        // It is aligned, so nothing is carried.
        entry.x |= select(at.x & 0x1ff000u, 0u, (entry.x & GMM_SPARSE_PAGE) != 0u);
        return entry;
    }
    return gmm_entry(gmm_number(entry), at.x >> 12u);
}

fn gmm_below(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

// Where system memory was brought for this dispatch: runs of pages, by number.
fn gmm_of_system(page: u32) -> GmmPlace {
    var low = 0u;
    var high = gmm.base.z;
    while (low < high) {
        let middle = (low + high) / 2u;
        let run = gmm.base.y + 3u * middle;
        if (page < gmm_lists[run]) {
            high = middle;
        } else if (page - gmm_lists[run] < gmm_lists[run + 1u]) {
            let staged = gmm_lists[run + 2u] + page - gmm_lists[run];
            return GmmPlace(GMM_STAGE, staged << 10u, 0u);
        } else {
            low = middle + 1u;
        }
    }
    return GmmPlace(GMM_NONE, 0u, GMM_UNMAPPED);
}

fn gmm_find(range: u32, page: u32, write: bool) -> GmmPlace {
    let at = gmm_address(range, page);
    if (gmm_below(at, vec2(gmm_lists[0], gmm_lists[1]))
        || !gmm_below(at, vec2(gmm_lists[2], gmm_lists[3]))) {
        return GmmPlace(GMM_NONE, 0u, GMM_RANGE);
    }
    let entry = gmm_walk(at);
    if ((entry.x & GMM_PRESENT) == 0u) {
        return GmmPlace(GMM_NONE, 0u, GMM_UNMAPPED);
    }
    if ((entry.x & GMM_SPARSE_PAGE) != 0u) {
        return GmmPlace(GMM_SPARSE, 0u, 0u);
    }
    if (write && (entry.x & GMM_WRITE) == 0u) {
        return GmmPlace(GMM_NONE, 0u, GMM_READ_ONLY);
    }
    if ((entry.x & GMM_SYSTEM) != 0u) {
        return gmm_of_system(gmm_number(entry));
    }
    var place = gmm_of_vram(gmm_number(entry));
    // What the host did not expect is not bound.
    place.why = select(0u, GMM_UNMAPPED, place.slot == GMM_NONE);
    return place;
}
