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

// The words of a page whose bytes in `range` lie in the first page of a pair end before x; those
// whose bytes lie in the second one begin at y. Between them may be one that has bytes of both.
fn split(pair: Pair, range: u32, begin: i32) -> vec2<u32> {
    let end = i32((pair.number + 1u) << 12u) - i32(gmm_in_page(range)) - begin;
    return vec2(u32(end) / 4u, u32(end + 3) / 4u);
}

// Up to four bytes of a pair, byte by byte: what is beside them may be of no page.
fn bytes_at(pair: Pair, at: u32, mask: u32) -> u32 {
    var value = 0u;
    for (var byte = 0u; byte < 4u; byte++) {
        if (((mask >> (byte * 8u)) & 1u) != 0u) {
            let source = at + byte;
            value |= ((word_of(pair, source) >> ((source & 3u) * 8u)) & 0xffu) << (byte * 8u);
        }
    }
    return value;
}

// Copies whole words, from a page that begins so many bytes before the one that is written.
fn copy_words(place: GmmPlace, source: GmmPlace, words: vec2<u32>, before: i32) {
    let shift = (u32(before) & 3u) * 8u;
    let straight = select(0u, words.y, shift == 0u && source.slot != GMM_NONE);
    for (var at = words.x; at < straight; at += GROUP) {
        gmm_put(place, at, gmm_get(source, u32(i32(at * 4u) + before) / 4u));
    }
    let shifted = select(words.y, 0u, shift == 0u || source.slot == GMM_NONE);
    for (var at = words.x; at < shifted; at += GROUP) {
        let word = u32(i32(at * 4u) + before) / 4u;
        let low = gmm_get(source, word);
        gmm_put(place, at, (low >> shift) | (gmm_get(source, word + 1u) << (32u - shift)));
    }
}

@compute @workgroup_size(GROUP)
fn copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(1u, group.x, thread);
    let begin = begin_of(1u, group.x);
    let pair = pair_of(0u, begin, thread);
    if (place.slot == GMM_NONE) {
        return;
    }
    let words = whole_words(begin);
    let parts = split(pair, 0u, begin);
    // From a word of the page that is written to where it comes from, in the first page.
    let before = begin + i32(gmm_in_page(0u)) - i32(pair.number << 12u);
    let first = words.x + thread;
    copy_words(place, pair.first, vec2(first, min(parts.x, words.y)), before);
    let second = max(parts.y, words.x) + thread;
    copy_words(place, pair.second, vec2(second, words.y), before - 4096);
    for (var edge = thread; edge < 3u; edge += GROUP) {
        var at = edge_word(begin, edge);
        if (edge == 2u) {
            let both = parts.x != parts.y && parts.x >= words.x && parts.x < words.y;
            at = select(GMM_NONE, parts.x, both);
        }
        if (at != GMM_NONE) {
            let offset = begin + i32(at * 4u);
            let source = u32(offset + i32(gmm_in_page(0u)));
            put_inside(place, at, bytes_at(pair, source, inside(offset)), offset);
        }
    }
}

// Adds multiples of words; see `copy_words`.
fn add_words(place: GmmPlace, source: GmmPlace, words: vec2<u32>, before: i32) {
    let factor = bitcast<f32>(gmm.told[0].x);
    let last = select(words.y, 0u, source.slot == GMM_NONE);
    for (var at = words.x; at < last; at += GROUP) {
        let x = bitcast<f32>(gmm_get(source, u32(i32(at * 4u) + before) / 4u));
        let y = bitcast<f32>(gmm_get(place, at));
        gmm_put(place, at, bitcast<u32>(y + factor * x));
    }
}

// Elements are whole words. `told[0].x` is the factor.
@compute @workgroup_size(GROUP)
fn saxpy(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(1u, group.x, thread);
    let begin = begin_of(1u, group.x);
    let pair = pair_of(0u, begin, thread);
    if (place.slot == GMM_NONE) {
        return;
    }
    let words = whole_words(begin);
    let parts = split(pair, 0u, begin);
    let before = begin + i32(gmm_in_page(0u)) - i32(pair.number << 12u);
    let first = words.x + thread;
    add_words(place, pair.first, vec2(first, min(parts.x, words.y)), before);
    let second = max(parts.y, words.x) + thread;
    add_words(place, pair.second, vec2(second, words.y), before - 4096);
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
@compute @workgroup_size(GROUP)
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

@compute @workgroup_size(GROUP)
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
