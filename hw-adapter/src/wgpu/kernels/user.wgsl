// What a shader of a user finds: memory by address, its ranges, and its arguments. An address is
// a pair, the lower half first.

// The address of a byte of a range that the launch names.
fn gmm_at(range: u32, offset: u32) -> vec2<u32> {
    let at = gmm.ranges[2u * range].xy;
    let low = at.x + offset;
    return vec2(low, at.y + select(0u, 1u, low < at.x));
}

// The bytes of a range.
fn gmm_bytes(range: u32) -> u32 {
    return gmm.ranges[2u * range].z;
}

// An argument, of eight.
fn gmm_arg(number: u32) -> u32 {
    return gmm.told[(number / 4u) & 1u][number % 4u];
}

// One fault of a launch is recorded: address, access and reason.
fn gmm_fault(at: vec2<u32>, write: bool, why: u32) {
    if (atomicMin(&gmm_out[gmm.base.w], 0u) != 0u) {
        atomicStore(&gmm_out[gmm.base.w + 1u], at.x);
        atomicStore(&gmm_out[gmm.base.w + 2u], at.y);
        atomicStore(&gmm_out[gmm.base.w + 3u], (why << 1u) | select(0u, 1u, write));
    }
}

// The place of a word; no place after a fault.
fn gmm_locate(at: vec2<u32>, write: bool) -> GmmPlace {
    for (var range = 0u; range < gmm.ranges[1].w; range++) {
        let begin = gmm.ranges[2u * range].xy;
        let into = at.x - begin.x;
        let high = at.y - begin.y - select(0u, 1u, at.x < begin.x);
        if (high != 0u || into >= gmm_bytes(range) || gmm_bytes(range) - into < 4u) {
            continue;
        }
        if ((at.x & 3u) != 0u || (write && !gmm_writes(range))) {
            continue;
        }
        let inner = gmm_in_page(range) + into;
        var place = gmm_find(range, inner >> 12u, write);
        if (place.why != 0u) {
            gmm_fault(at, write, place.why);
        }
        place.word += (inner & 4095u) / 4u;
        return place;
    }
    gmm_fault(at, write, GMM_RANGE);
    return GmmPlace(GMM_NONE, 0u, GMM_RANGE);
}

// The word at an address: a multiple of 4 inside of a range. What faults reads as 0.
fn gmm_load(at: vec2<u32>) -> u32 {
    return gmm_get(gmm_locate(at, false), 0u);
}

// Writes the word at an address; what faults is not written.
fn gmm_store(at: vec2<u32>, value: u32) {
    gmm_put(gmm_locate(at, true), 0u, value);
}
