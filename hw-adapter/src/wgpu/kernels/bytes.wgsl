// Kernels that move bytes, and those that write and compare content words.
//
// A group works on a page of what is written or read: each thread takes every GROUP-th word, so
// that neighbours touch neighbouring words. Offsets count from the first byte of the work, which lies
// somewhere in the first page; bytes before it and behind the last one are not touched.

// Words that the work has in part are done apart, so that there is no branch for them in loops.

// The offset of the first byte of a page; below 0 for a first page that begins before the work.
fn begin_of(range: u32, page: u32) -> i32 {
    return i32(page << 12u) - i32(gmm_in_page(range));
}

// The first word of a page that is not before the work, and the first one that is not all in it.
fn whole_words(begin: i32) -> vec2<u32> {
    let first = u32(max(3 - begin, 0)) / 4u;
    let last = clamp((i32(gmm.work.x) - begin) >> 2u, 0, 1024);
    return vec2(first, max(u32(last), first));
}

// The words of a page that the work has in part: one before the whole ones and one behind them,
// or GMM_NONE.
fn edge_word(begin: i32, edge: u32) -> u32 {
    let words = whole_words(begin);
    if (edge == 0u) {
        return select(GMM_NONE, words.x - 1u, (begin & 3) != 0 && begin < 0);
    }
    let more = words.y < 1024u && begin + i32(words.y * 4u) < i32(gmm.work.x);
    return select(GMM_NONE, words.y, more);
}

// Which bits of a word at an offset are inside of the work.
fn inside(offset: i32) -> u32 {
    let end = i32(gmm.work.x);
    var mask = 0xffffffffu;
    if (offset < 0) {
        mask = mask << u32(-offset * 8);
    }
    if (offset + 4 > end) {
        mask = mask & (0xffffffffu >> u32((offset + 4 - end) * 8));
    }
    return mask;
}

fn put_inside(place: GmmPlace, word: u32, value: u32, offset: i32) {
    let mask = inside(offset);
    gmm_put(place, word, (gmm_get(place, word) & ~mask) | (value & mask));
}

// 64-bit numbers are pairs, the lower half first.

fn add64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn times(a: vec2<u32>, b: u32) -> vec2<u32> {
    let low = (a.x & 0xffffu) * (b & 0xffffu);
    let cross = (a.x >> 16u) * (b & 0xffffu);
    let other = (a.x & 0xffffu) * (b >> 16u);
    let middle = (low >> 16u) + (cross & 0xffffu) + (other & 0xffffu);
    let high = (a.x >> 16u) * (b >> 16u) + (cross >> 16u) + (other >> 16u) + (middle >> 16u);
    return vec2((low & 0xffffu) | (middle << 16u), high + a.y * b);
}

// The four bytes that begin so many bytes into two 64-bit words.
fn four_of(first: vec2<u32>, second: vec2<u32>, into: u32) -> u32 {
    let shift = (into & 3u) * 8u;
    let low = select(first.x, first.y, into >= 4u);
    if (shift == 0u) {
        return low;
    }
    let high = select(first.y, second.x, into >= 4u);
    return (low >> shift) | (high << (32u - shift));
}

// Content words: `told[0]` has the word that the block of the first byte begins with, and what
// the next one has more. An index may be below 0.
fn content(index: i32) -> vec2<u32> {
    var word = add64(gmm.told[0].xy, times(gmm.told[0].zw, u32(index)));
    word.y -= select(0u, gmm.told[0].z, index < 0);
    return word;
}

@compute @workgroup_size(GROUP)
fn fill(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(0u, group.x, thread);
    if (place.slot == GMM_NONE) {
        return;
    }
    let begin = begin_of(0u, group.x);
    let words = whole_words(begin);
    let pattern = gmm.told[0].xy;
    // A step is a multiple of the pattern.
    let first = words.x + thread;
    let value = four_of(pattern, pattern, u32(begin + i32(first * 4u)) & 7u);
    for (var at = first; at < words.y; at += GROUP) {
        gmm_put(place, at, value);
    }
    for (var edge = thread; edge < 2u; edge += GROUP) {
        let at = edge_word(begin, edge);
        if (at != GMM_NONE) {
            let offset = begin + i32(at * 4u);
            put_inside(place, at, four_of(pattern, pattern, u32(offset) & 7u), offset);
        }
    }
}

// Four bytes of the content words, which begin at a logical offset.
fn content_at(logical: i32) -> u32 {
    let first = content(logical >> 3u);
    return four_of(first, add64(first, gmm.told[0].zw), u32(logical) & 7u);
}

@compute @workgroup_size(GROUP)
fn write_words(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(0u, group.x, thread);
    if (place.slot == GMM_NONE) {
        return;
    }
    let begin = begin_of(0u, group.x);
    let words = whole_words(begin);
    // A step is a number of whole content words.
    let logical = begin + i32(gmm.work.y) + i32((words.x + thread) * 4u);
    let into = u32(logical) & 7u;
    var content_word = content(logical >> 3u);
    let step = times(gmm.told[0].zw, GROUP * 4u / 8u);
    for (var at = words.x + thread; at < words.y; at += GROUP) {
        gmm_put(place, at, four_of(content_word, add64(content_word, gmm.told[0].zw), into));
        content_word = add64(content_word, step);
    }
    for (var edge = thread; edge < 2u; edge += GROUP) {
        let at = edge_word(begin, edge);
        if (at != GMM_NONE) {
            let offset = begin + i32(at * 4u);
            put_inside(place, at, content_at(offset + i32(gmm.work.y)), offset);
        }
    }
}

// Up to 8 bytes of a page.
fn eight(place: GmmPlace, at: u32) -> vec2<u32> {
    let word = at / 4u;
    let shift = (at & 3u) * 8u;
    let low = gmm_get(place, word);
    let middle = gmm_get(place, min(word + 1u, 1023u));
    if (shift == 0u) {
        return vec2(low, middle);
    }
    let high = gmm_get(place, min(word + 2u, 1023u));
    return vec2((low >> shift) | (middle << (32u - shift)), (middle >> shift) | (high << (32u - shift)));
}

// The first bytes of a pair, the others 0.
fn first_of(word: vec2<u32>, bytes: u32) -> vec2<u32> {
    let low = select(0xffffffffu >> (32u - bytes * 8u), 0xffffffffu, bytes >= 4u);
    let high = select(0xffffffffu >> (64u - bytes * 8u), 0xffffffffu, bytes >= 8u);
    return vec2(word.x & low, select(0u, word.y & high, bytes > 4u));
}

fn shift_right(word: vec2<u32>, bytes: u32) -> vec2<u32> {
    let shift = (bytes & 3u) * 8u;
    let low = select(word.x, word.y, bytes >= 4u);
    let high = select(word.y, 0u, bytes >= 4u);
    if (shift == 0u) {
        return vec2(low, high);
    }
    return vec2((low >> shift) | (high << (32u - shift)), high >> shift);
}

fn shift_left(word: vec2<u32>, bytes: u32) -> vec2<u32> {
    let shift = (bytes & 3u) * 8u;
    let high = select(word.y, word.x, bytes >= 4u);
    let low = select(word.x, 0u, bytes >= 4u);
    if (shift == 0u) {
        return vec2(low, high);
    }
    return vec2(low << shift, (high << shift) | (low >> (32u - shift)));
}

// The part of a content word that lies in a page.
struct Part {
    // Offset of its first byte.
    offset: u32,
    // How many of the word's bytes come before it.
    into: u32,
    bytes: u32,
}

// Where the bytes of a page begin and end in the logical order, which the work begins `work.y`
// bytes into.
fn logical_of(begin: i32) -> vec2<u32> {
    let end = min(u32(max(begin + 4096, 0)), gmm.work.x);
    return vec2(u32(max(begin, 0)), end) + gmm.work.y;
}

// The whole content words of a page: the number of the first one, of the first one behind them,
// and where in the page the first one is.
fn whole_content(begin: i32) -> vec3<u32> {
    let bytes = logical_of(begin);
    let first = (bytes.x + 7u) / 8u;
    let at = u32(i32(first * 8u - gmm.work.y) - begin);
    return vec3(first, max(bytes.y / 8u, first), at);
}

// What a page has of content words in part: before the whole ones, and behind them.
fn edge_part(begin: i32, edge: u32) -> Part {
    let bytes = logical_of(begin);
    let first = (bytes.x + 7u) / 8u;
    var part = vec2(bytes.x, min(first * 8u, bytes.y));
    if (edge == 1u) {
        // Not if all of it lies in one word.
        part = vec2(select(bytes.y, bytes.y / 8u * 8u, bytes.y / 8u >= first), bytes.y);
    }
    return Part(part.x - gmm.work.y, part.x % 8u, part.y - min(part.x, part.y));
}

// `gmm_out`: bytes in wrong words, and the offset of the first one. `told[1]`: x: of so many
// blocks one is compared, y: how many the first one is behind one.
fn wrong(bytes: u32, offset: u32) {
    atomicAdd(&gmm_out[gmm.base.w + 1u], bytes);
    atomicMin(&gmm_out[gmm.base.w + 2u], offset);
}

fn is_compared(logical: u32) -> bool {
    return (logical / 4096u + gmm.told[1].y) % gmm.told[1].x == 0u;
}

@compute @workgroup_size(GROUP)
fn check_words(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(0u, group.x, thread);
    if (place.slot == GMM_NONE) {
        return;
    }
    let begin = begin_of(0u, group.x);
    let words = whole_content(begin);
    var last = words.y;
    // A page has at most two blocks.
    if (!is_compared(words.x * 8u) && !is_compared(words.y * 8u - 1u)) {
        last = 0u;
    }
    let shift = (words.z & 3u) * 8u;
    let base = words.z / 4u;
    let step = times(gmm.told[0].zw, GROUP);
    var expected = content(i32(words.x + thread));
    // How words lie in the page is the same for all of it.
    let straight = select(0u, last, shift == 0u);
    for (var word = words.x + thread; word < straight; word += GROUP) {
        let at = base + (word - words.x) * 2u;
        if (gmm_get(place, at) != expected.x || gmm_get(place, at + 1u) != expected.y) {
            if (is_compared(word * 8u)) {
                wrong(8u, word * 8u - gmm.work.y);
            }
        }
        expected = add64(expected, step);
    }
    let shifted = select(last, 0u, shift == 0u);
    for (var word = words.x + thread; word < shifted; word += GROUP) {
        if (any(eight(place, words.z + (word - words.x) * 8u) != expected)) {
            if (is_compared(word * 8u)) {
                wrong(8u, word * 8u - gmm.work.y);
            }
        }
        expected = add64(expected, step);
    }
    for (var edge = thread; edge < 2u; edge += GROUP) {
        let part = edge_part(begin, edge);
        let logical = part.offset + gmm.work.y;
        if (part.bytes > 0u && is_compared(logical)) {
            let found = first_of(eight(place, u32(i32(part.offset) - begin)), part.bytes);
            let word = first_of(shift_right(content(i32(logical / 8u)), part.into), part.bytes);
            if (any(found != word)) {
                wrong(part.bytes, part.offset);
            }
        }
    }
}

var<workgroup> sums: array<vec2<u32>, GROUP>;

// `gmm_out`: the sum of each page, after four words.
@compute @workgroup_size(GROUP)
fn sum_words(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(0u, group.x, thread);
    let begin = begin_of(0u, group.x);
    let words = whole_content(begin);
    let last = select(words.y, 0u, place.slot == GMM_NONE);
    var sum = vec2(0u, 0u);
    let straight = select(0u, last, (words.z & 3u) == 0u);
    for (var word = words.x + thread; word < straight; word += GROUP) {
        let at = words.z / 4u + (word - words.x) * 2u;
        sum = add64(sum, vec2(gmm_get(place, at), gmm_get(place, at + 1u)));
    }
    let shifted = select(last, 0u, (words.z & 3u) == 0u);
    for (var word = words.x + thread; word < shifted; word += GROUP) {
        sum = add64(sum, eight(place, words.z + (word - words.x) * 8u));
    }
    for (var edge = thread; edge < 2u; edge += GROUP) {
        let part = edge_part(begin, edge);
        if (part.bytes > 0u) {
            let found = first_of(eight(place, u32(i32(part.offset) - begin)), part.bytes);
            sum = add64(sum, shift_left(found, part.into));
        }
    }
    sums[thread] = sum;
    workgroupBarrier();
    if (thread == 0u) {
        for (var other = 1u; other < GROUP; other++) {
            sum = add64(sum, sums[other]);
        }
        let at = gmm.base.w + 4u + 2u * group.x;
        atomicStore(&gmm_out[at], sum.x);
        atomicStore(&gmm_out[at + 1u], sum.y);
    }
}
