#![allow(clippy::unwrap_used)]

use super::*;

const KEY: PatternKey = PatternKey {
    buffer: 7,
    generation: 3,
};
const PAGE: usize = 4096;

fn page_run(pages: usize) -> Vec<u8> {
    let mut bytes = vec![0; pages * PAGE];
    write(&mut bytes, 0, KEY);
    bytes
}

#[test]
fn words_stand_where_they_should() {
    let bytes = page_run(2);
    for (index, word) in bytes.chunks_exact(8).enumerate() {
        assert_eq!(
            u64::from_le_bytes(word.try_into().unwrap()),
            KEY.word(index as u64)
        );
    }
}

#[test]
fn the_written_is_clean() {
    let report = check(&page_run(3), 0, KEY);
    assert!(report.is_clean());
    assert_eq!(report.bytes_verified, 3 * PAGE as u64);
    assert_eq!(report.first_corrupt_offset, None);
}

#[test]
fn exchanged_segments_are_wholly_corrupt() {
    let mut bytes = page_run(4);
    let (a, b) = bytes.split_at_mut(2 * PAGE);
    a[PAGE..].swap_with_slice(&mut b[..PAGE]);
    let report = check(&bytes, 0, KEY);
    assert_eq!(report.corrupt_bytes, 2 * PAGE as u64);
    assert_eq!(report.first_corrupt_offset, Some(PAGE as u64));
}

#[test]
fn a_dropped_segment_is_wholly_corrupt() {
    let mut bytes = page_run(4);
    bytes[2 * PAGE..3 * PAGE].fill(0);
    let report = check(&bytes, 0, KEY);
    assert_eq!(report.corrupt_bytes, PAGE as u64);
    assert_eq!(report.first_corrupt_offset, Some(2 * PAGE as u64));
}

#[test]
fn content_shifted_by_a_page_is_wholly_corrupt() {
    let mut bytes = page_run(4);
    bytes.rotate_left(PAGE);
    assert_eq!(check(&bytes, 0, KEY).corrupt_bytes, 4 * PAGE as u64);
}

#[test]
fn other_generations_and_buffers_are_wholly_corrupt() {
    let bytes = page_run(4);
    for (buffer, generation) in [(7, 2), (7, 4), (6, 3), (8, 3), (3, 7), (7, 0), (0, 0)] {
        let other = PatternKey { buffer, generation };
        for shift in [0, 1, PAGE as u64, 1 << 32] {
            let offset = shift * 8;
            assert_eq!(check(&bytes, offset, other).corrupt_bytes, 4 * PAGE as u64);
        }
    }
}

#[test]
fn a_flipped_bit_counts_its_word() {
    for (at, bit) in [(0, 0), (511, 7), (512, 3), (4095, 1), (8191, 7)] {
        let mut bytes = page_run(2);
        bytes[at] ^= 1 << bit;
        let report = check(&bytes, 0, KEY);
        assert_eq!(report.corrupt_bytes, 8);
        assert_eq!(report.first_corrupt_offset, Some(at as u64 / 8 * 8));
    }
}

#[test]
fn pieces_of_any_cut_make_the_same_content() {
    let whole = page_run(1);
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let mut pieces = vec![0; PAGE];
        let mut report = CheckReport::default();
        let mut at = 0;
        while at < PAGE {
            let len = random.usize(1..=700).min(PAGE - at);
            write(&mut pieces[at..at + len], at as u64, KEY);
            report.add(&check(&whole[at..at + len], at as u64, KEY));
            at += len;
        }
        assert_eq!(pieces, whole);
        assert_eq!((report.bytes_verified, report.corrupt_bytes), (4096, 0));
    }
}

#[test]
fn the_tail_counts_its_bytes() {
    for len in 0..40_usize {
        let mut bytes = vec![0; len];
        write(&mut bytes, 0, KEY);
        assert!(check(&bytes, 0, KEY).is_clean());
        if let Some(last) = bytes.last_mut() {
            *last ^= 0x80;
            let report = check(&bytes, 0, KEY);
            let tail = if len % 8 == 0 { 8 } else { len % 8 };
            assert_eq!(report.corrupt_bytes, tail as u64);
            assert_eq!(report.first_corrupt_offset, Some((len - tail) as u64));
        }
    }
}
