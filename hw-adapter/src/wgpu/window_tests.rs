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
fn fills_repeat_a_block() {
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

#[test]
fn a_block_is_as_long_as_what_needs_it() {
    let mut window = window(End::Pattern(7), End::Vram(0), 64);
    window.add(End::Pattern(7), End::Vram(128), 16, CHUNK);
    assert_eq!(window.uploads, [staged(0, 0, 64, 0), staged(0, 128, 16, 0)]);
    assert_eq!(window.upload_bytes, 64);
    // A longer piece needs another one, which serves later ones too.
    window.add(End::Pattern(7), End::Vram(256), 96, CHUNK);
    window.add(End::Pattern(7), End::Vram(512), 64, CHUNK);
    assert_eq!(
        window.uploads[2..],
        [staged(0, 256, 96, 64), staged(0, 512, 64, 64)]
    );
    // Another pattern has its own.
    window.add(End::Pattern(8), End::Vram(1024), 8, CHUNK);
    assert_eq!(window.uploads[4], staged(0, 1024, 8, 160));
    // Pieces of one block stay where they are.
    let before = window.uploads.clone();
    window.settle();
    assert_eq!(window.uploads, before);
}

#[test]
fn what_goes_on_in_vram_is_one_copy_in_whatever_order_it_comes() {
    let mut window = window(End::Bytes(0), End::Vram(200), 8);
    for (from, to) in [(8, 72), (16, 64), (24, 80), (32, 208)] {
        window.add(End::Bytes(from), End::Vram(to), 8, CHUNK);
    }
    for (from, to) in [(108, 40), (100, 48)] {
        window.add(End::Vram(from), End::Bytes(to), 8, CHUNK);
    }
    window.settle();
    assert_eq!(
        window.uploads,
        [staged(0, 64, 24, 0), staged(0, 200, 16, 24)]
    );
    assert_eq!(window.downloads, [staged(0, 100, 16, 0)]);
    let moves: Vec<_> = window.moves.iter().map(|m| (m.from, m.to)).collect();
    assert_eq!(
        moves,
        [
            (End::Bytes(0), End::Upload(24)),
            (End::Bytes(8), End::Upload(8)),
            (End::Bytes(16), End::Upload(0)),
            (End::Bytes(24), End::Upload(16)),
            (End::Bytes(32), End::Upload(32)),
            (End::Readback(8), End::Bytes(40)),
            (End::Readback(0), End::Bytes(48)),
        ]
    );
}

#[test]
fn what_the_gpu_moves_alone_is_merged_where_both_sides_go_on() {
    let mut window = window(End::Vram(16), End::Vram(CHUNK + 32), 8);
    for (from, to) in [(8, CHUNK + 24), (24, CHUNK + 48), (0, CHUNK + 16)] {
        window.add(End::Vram(from), End::Vram(to), 8, CHUNK);
    }
    for to in [72, 64, 88] {
        window.add(End::Pattern(0), End::Vram(to), 8, CHUNK);
    }
    window.settle();
    let copy = |from, to, bytes| Direct {
        from: (0, from),
        to: (1, to),
        bytes,
    };
    assert_eq!(window.copies, [copy(0, 16, 24), copy(24, 48, 8)]);
    assert_eq!(window.clears, [(0, 64, 16), (0, 88, 8)]);
}
