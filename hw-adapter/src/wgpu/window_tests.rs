use super::*;

/// A chunk of 4096 bytes.
const CHUNK: u64 = 4096;

fn window(from: End, to: End, bytes: u64) -> Window {
    let mut window = Window::default();
    window.add(from, to, bytes, CHUNK);
    window
}

fn staged(chunk: u64, offset: u64, bytes: u64, at: u64) -> Staged {
    Staged {
        chunk,
        offset,
        bytes,
        at,
    }
}

#[test]
fn whole_words_need_no_reading() {
    let window = window(End::Bytes(0), End::Vram(8), 16);
    assert_eq!(window.uploads, [staged(0, 8, 16, 0)]);
    assert_eq!(window.downloads, []);
    assert!(window.words.is_empty());
}

#[test]
fn parts_of_words_are_read_and_whole_ones_are_not() {
    // One byte of a word, two words, two bytes of a word.
    let window = window(End::Bytes(0), End::Vram(7), 11);
    assert_eq!(window.downloads, [staged(0, 4, 4, 0), staged(0, 16, 4, 4)]);
    let bytes: u64 = window.uploads.iter().map(|staged| staged.bytes).sum();
    assert_eq!((bytes, window.words.len()), (16, 2));
}

#[test]
fn a_word_of_two_pieces_is_read_once() {
    let mut window = window(End::Bytes(0), End::Vram(5), 1);
    window.add(End::Bytes(1), End::Vram(7), 1, CHUNK);
    assert_eq!(window.downloads, [staged(0, 4, 4, 0)]);
    assert_eq!(window.uploads, [staged(0, 4, 4, 0)]);
}

#[test]
fn neighbours_are_one_copy() {
    let mut window = window(End::Bytes(0), End::Vram(64), 8);
    window.add(End::Bytes(8), End::Vram(72), 8, CHUNK);
    window.add(End::Bytes(16), End::Vram(128), 8, CHUNK);
    assert_eq!(
        window.uploads,
        [staged(0, 64, 16, 0), staged(0, 128, 8, 16)]
    );
}

#[test]
fn one_chunk_goes_by_way_of_a_buffer_and_two_do_not() {
    let one = window(End::Vram(0), End::Vram(64), 8);
    assert_eq!((one.bounces.len(), one.copies.len()), (1, 0));
    let two = window(End::Vram(0), End::Vram(CHUNK + 64), 8);
    assert_eq!((two.bounces.len(), two.copies.len()), (0, 1));
    assert_eq!((two.copies[0].to, two.staged()), ((1, 64), 0));
}

#[test]
fn what_is_shifted_in_its_words_goes_through_the_host() {
    let window = window(End::Vram(1), End::Vram(CHUNK), 8);
    assert_eq!((window.bounces.len(), window.copies.len()), (0, 0));
    assert_eq!(window.downloads, [staged(0, 0, 12, 0)]);
    assert_eq!(window.uploads, [staged(1, 0, 8, 0)]);
}

#[test]
fn long_fills_repeat_a_block() {
    let (bytes, chunk) = (1 << 20, 1 << 20);
    let mut window = Window::default();
    window.add(End::Pattern(7), End::Vram(0), bytes, chunk);
    assert_eq!(window.upload_bytes, BLOCK);
    assert_eq!(window.uploads.len() as u64, bytes / BLOCK);
    assert!(window.uploads.iter().all(|staged| staged.at == 0));
    let mut zeroes = Window::default();
    zeroes.add(End::Pattern(0), End::Vram(0), bytes, chunk);
    assert_eq!((zeroes.clears.len(), zeroes.staged()), (1, 0));
}
