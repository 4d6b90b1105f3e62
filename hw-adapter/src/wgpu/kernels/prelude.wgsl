// What every kernel has: where its ranges are, and memory by way of a place.
//
// A range is an array of bytes that a kernel works on; it begins somewhere in its first page. How
// a page of a range becomes a place is said by `gmm_find`, which walks the page table, looks
// into a list of pages, or just adds.

struct GmmHeader {
    // x: pages in a chunk, y: where in `gmm_lists` the second list begins, z: its length,
    // w: where the results of this dispatch begin in `gmm_out`.
    base: vec4<u32>,
    // x: bytes to work on, y: where they begin in their block of 4096 logical bytes.
    work: vec4<u32>,
    // What the kernel is told besides.
    told: array<vec4<u32>, 2>,
    // Two entries for each range. First: x, y: its address, z: its bytes, w: 1 if it is written.
    // Second: x: slot, y: word (both for what is bound directly), z: an offset to look at,
    // or GMM_NONE, w: the number of ranges.
    ranges: array<vec4<u32>, 12>,
}

// Where a page is: a slot, and a word in what is bound there.
struct GmmPlace {
    slot: u32,
    word: u32,
    // Why there is nothing; 0 where there is.
    why: u32,
}

const GMM_NONE = 0xffffffffu;
const GMM_SPARSE = 0xfffffffeu;
const GMM_PAGE = 4096u;

// Why an address cannot be used.
const GMM_UNMAPPED = 1u;
const GMM_READ_ONLY = 2u;
const GMM_RANGE = 3u;

fn gmm_in_page(range: u32) -> u32 {
    return gmm.ranges[2u * range].x & (GMM_PAGE - 1u);
}

fn gmm_writes(range: u32) -> bool {
    return gmm.ranges[2u * range].w != 0u;
}

// The address of a page of a range.
fn gmm_address(range: u32, page: u32) -> vec2<u32> {
    let at = gmm.ranges[2u * range].xy;
    let start = at.x & ~(GMM_PAGE - 1u);
    let low = start + (page << 12u);
    return vec2(low, at.y + (page >> 20u) + select(0u, 1u, low < start));
}

// Notes that a page of a range cannot be used. Of all notes the first one counts, by the offset
// in the range and then by the range.
fn gmm_note(range: u32, offset: u32, why: u32) {
    atomicMin(&gmm_out[gmm.base.w], (offset << 4u) | (range << 2u) | why);
}

// The place of a page that the work goes over; what is wrong with it is noted by one of many.
fn gmm_page(range: u32, page: u32, thread: u32) -> GmmPlace {
    let place = gmm_find(range, page, gmm_writes(range));
    if (place.why != 0u && thread == 0u) {
        let begin = (page << 12u) - min(page << 12u, gmm_in_page(range));
        gmm_note(range, begin, place.why);
    }
    return place;
}

// Looks at the offsets that are to be looked at.
fn gmm_look(group: u32, thread: u32) {
    if (group != 0u || thread >= gmm.ranges[1].w) {
        return;
    }
    let offset = gmm.ranges[2u * thread + 1u].z;
    if (offset != GMM_NONE) {
        let page = (gmm_in_page(thread) + offset) >> 12u;
        let place = gmm_find(thread, page, gmm_writes(thread));
        if (place.why != 0u) {
            gmm_note(thread, offset, place.why);
        }
    }
}
