// Kernels that move bytes, and those that write and compare content words.
//
// A group of 64 works on a page of what is written or read: each takes every 64th word, so that
// neighbours touch neighbouring words. Offsets count from the first byte of the work, which lies
// somewhere in the first page; bytes before it and behind the last one are not touched.

const GROUP = 64u;

// The offset of the first byte of a page; below 0 for a first page that begins before the work.
fn begin_of(range: u32, page: u32) -> i32 {
    return i32(page << 12u) - i32(gmm_in_page(range));
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
    if (mask == 0xffffffffu) {
        gmm_put(place, word, value);
    } else {
        gmm_put(place, word, (gmm_get(place, word) & ~mask) | (value & mask));
    }
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

@compute @workgroup_size(64)
fn fill(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(0u, group.x, thread);
    if (place.slot == GMM_NONE) {
        return;
    }
    let begin = begin_of(0u, group.x);
    let word = gmm.told[0].xy;
    for (var at = thread; at < 1024u; at += GROUP) {
        let offset = begin + i32(at * 4u);
        if (offset > -4 && offset < i32(gmm.work.x)) {
            put_inside(place, at, four_of(word, word, u32(offset) & 7u), offset);
        }
    }
}

@compute @workgroup_size(64)
fn write_words(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(0u, group.x, thread);
    if (place.slot == GMM_NONE) {
        return;
    }
    let begin = begin_of(0u, group.x);
    let logical = begin + i32(gmm.work.y) + i32(thread * 4u);
    let into = u32(logical) & 7u;
    var first = content(logical >> 3u);
    let step = times(gmm.told[0].zw, GROUP * 4u / 8u);
    for (var at = thread; at < 1024u; at += GROUP) {
        let offset = begin + i32(at * 4u);
        if (offset > -4 && offset < i32(gmm.work.x)) {
            let second = add64(first, gmm.told[0].zw);
            put_inside(place, at, four_of(first, second, into), offset);
        }
        first = add64(first, step);
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

// The part of a logical word that lies in a page.
struct Part {
    // Offset of its first byte.
    offset: u32,
    // How many of the word's bytes come before it.
    into: u32,
    bytes: u32,
}

// The part with a number in a page, from 0; of no bytes behind the last one. The words are those
// of the logical order, in which the work begins at `work.y`.
fn part_of(begin: i32, number: u32) -> Part {
    let start = u32(max(begin, 0));
    let end = min(u32(max(begin + 4096, 0)), gmm.work.x);
    let word = ((start + gmm.work.y) / 8u + number) * 8u;
    let first = max(word, start + gmm.work.y) - gmm.work.y;
    let last = min(word + 8u - gmm.work.y, end);
    return Part(first, first + gmm.work.y - word, select(0u, last - first, first < last));
}

// Words of a page: one more than fit when they are shifted.
const PARTS = 513u;

// `gmm_out`: bytes in wrong words, and the offset of the first one. `told[1]`: x: of so many
// blocks one is compared, y: how many the first one is behind one.
@compute @workgroup_size(64)
fn check_words(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(0u, group.x, thread);
    if (place.slot == GMM_NONE) {
        return;
    }
    let begin = begin_of(0u, group.x);
    for (var number = thread; number < PARTS; number += GROUP) {
        let part = part_of(begin, number);
        if (part.bytes == 0u) {
            break;
        }
        let logical = part.offset + gmm.work.y;
        if ((logical / 4096u + gmm.told[1].y) % gmm.told[1].x != 0u) {
            continue;
        }
        let found = first_of(eight(place, u32(i32(part.offset) - begin)), part.bytes);
        let expected = first_of(shift_right(content(i32(logical / 8u)), part.into), part.bytes);
        if (any(found != expected)) {
            atomicAdd(&gmm_out[gmm.base.w + 1u], part.bytes);
            atomicMin(&gmm_out[gmm.base.w + 2u], part.offset);
        }
    }
}

var<workgroup> sums: array<vec2<u32>, 64>;

// `gmm_out`: the sum of each page, after four words.
@compute @workgroup_size(64)
fn sum_words(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    gmm_look(group.x, thread);
    let place = gmm_page(0u, group.x, thread);
    let begin = begin_of(0u, group.x);
    var sum = vec2(0u, 0u);
    if (place.slot != GMM_NONE) {
        for (var number = thread; number < PARTS; number += GROUP) {
            let part = part_of(begin, number);
            if (part.bytes == 0u) {
                break;
            }
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
