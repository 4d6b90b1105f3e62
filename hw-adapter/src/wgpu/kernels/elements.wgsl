// Kernels over two or three ranges. What is written decides which group does it.

// The two pages of a range in which lie as many bytes as a page has.
struct Pair {
    number: u32,
    first: GmmPlace,
    second: GmmPlace,
}

// The pages of `range` beside a page that begins at `begin` in the work.
fn pair_of(range: u32, begin: i32, thread: u32) -> Pair {
    let start = u32(max(begin, 0));
    let end = min(u32(max(begin + 4096, 0)), gmm.work.x);
    let number = (gmm_in_page(range) + start) >> 12u;
    var pair = Pair(number, GmmPlace(GMM_NONE, 0u, 0u), GmmPlace(GMM_NONE, 0u, 0u));
    if (start < end) {
        pair.first = gmm_page(range, number, thread);
        if ((gmm_in_page(range) + end - 1u) >> 12u != number) {
            pair.second = gmm_page(range, number + 1u, thread);
        }
    }
    return pair;
}

// A word of a pair, at so many bytes from where the range's first page begins.
fn word_of(pair: Pair, at: u32) -> u32 {
    if (at >> 12u == pair.number) {
        return gmm_get(pair.first, (at & 4095u) / 4u);
    }
    return gmm_get(pair.second, (at & 4095u) / 4u);
}

// Four bytes of a pair.
fn four_at(pair: Pair, at: u32) -> u32 {
    let shift = (at & 3u) * 8u;
    let low = word_of(pair, at);
    if (shift == 0u) {
        return low;
    }
    return (low >> shift) | (word_of(pair, at + 4u) << (32u - shift));
}

@compute @workgroup_size(64)
fn copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(1u, group.x, thread);
    let begin = begin_of(1u, group.x);
    let pair = pair_of(0u, begin, thread);
    if (place.slot == GMM_NONE) {
        return;
    }
    let shift = i32(gmm_in_page(0u));
    for (var at = thread; at < 1024u; at += GROUP) {
        let offset = begin + i32(at * 4u);
        let mask = inside(offset);
        if (offset <= -4 || offset >= i32(gmm.work.x)) {
            continue;
        }
        if (mask == 0xffffffffu) {
            gmm_put(place, at, four_at(pair, u32(offset + shift)));
            continue;
        }
        // Byte by byte at the ends: what is beside them may be of no page.
        var value = 0u;
        for (var byte = 0; byte < 4; byte++) {
            if (((mask >> u32(byte * 8)) & 1u) != 0u) {
                let source = u32(offset + shift + byte);
                value |= ((word_of(pair, source) >> ((source & 3u) * 8u)) & 0xffu) << u32(byte * 8);
            }
        }
        put_inside(place, at, value, offset);
    }
}

// Elements are whole words. `told[0].x` is the factor.
@compute @workgroup_size(64)
fn saxpy(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(1u, group.x, thread);
    let begin = begin_of(1u, group.x);
    let pair = pair_of(0u, begin, thread);
    if (place.slot == GMM_NONE) {
        return;
    }
    let factor = bitcast<f32>(gmm.told[0].x);
    for (var at = thread; at < 1024u; at += GROUP) {
        let offset = begin + i32(at * 4u);
        if (offset < 0 || offset >= i32(gmm.work.x)) {
            continue;
        }
        let x = bitcast<f32>(word_of(pair, u32(offset) + gmm_in_page(0u)));
        let y = bitcast<f32>(gmm_get(place, at));
        gmm_put(place, at, bitcast<u32>(y + factor * x));
    }
}

// The element of the array (range 1) that an index names: its place if it can be used.
fn element(index: u32) -> GmmPlace {
    if (index >= gmm.told[0].x) {
        return GmmPlace(GMM_NONE, 0u, GMM_RANGE);
    }
    let at = gmm_in_page(1u) + index * 4u;
    var place = gmm_find(1u, at >> 12u, false);
    place.word += (at & 4095u) / 4u;
    return place;
}

// `gmm_out`: the number of the first element that cannot be gathered.
@compute @workgroup_size(64)
fn gather_check(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let begin = begin_of(2u, group.x);
    let pair = pair_of(0u, begin, thread);
    for (var at = thread; at < 1024u; at += GROUP) {
        let offset = begin + i32(at * 4u);
        if (offset < 0 || offset >= i32(gmm.work.x)) {
            continue;
        }
        let index = word_of(pair, u32(offset) + gmm_in_page(0u));
        if (element(index).why != 0u) {
            atomicMin(&gmm_out[gmm.base.w + 1u], u32(offset) / 4u);
        }
    }
}

@compute @workgroup_size(64)
fn gather(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(2u, group.x, thread);
    let begin = begin_of(2u, group.x);
    let pair = pair_of(0u, begin, thread);
    if (place.slot == GMM_NONE) {
        return;
    }
    let elements = atomicLoad(&gmm_out[gmm.base.w + 1u]);
    for (var at = thread; at < 1024u; at += GROUP) {
        let offset = begin + i32(at * 4u);
        if (offset < 0 || offset >= i32(gmm.work.x) || u32(offset) / 4u >= elements) {
            continue;
        }
        let index = word_of(pair, u32(offset) + gmm_in_page(0u));
        gmm_put(place, at, gmm_get(element(index), 0u));
    }
}
