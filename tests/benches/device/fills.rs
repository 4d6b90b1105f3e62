//! Fills.

use super::subject::{CHUNK, Subject};
use super::{Row, Turn, measure, raw};
use gpumm_hw::{Command, OutcomeValue, Segment};
use std::cell::RefCell;
use std::sync::Arc;

const BYTES: u64 = 16 << 20;

/// The name, the size of a piece, and what it is filled with.
const CASES: [(&str, u64, u64); 4] = [
    ("zeroes/16MiB", BYTES, 0),
    ("pattern/16MiB", BYTES, 7),
    ("zeroes/4KiB-pages", 4096, 0),
    ("pattern/4KiB-pages", 4096, 7),
];

/// What a loop with a pattern repeats.
const BLOCK: u64 = 64 << 10;

pub(crate) fn run(device: &str, only: &str) -> Vec<Row> {
    let cases = CASES.iter().filter(|(name, ..)| name.contains(only));
    cases.flat_map(|case| one(device, case)).collect()
}

fn one(device: &str, &(name, piece, pattern): &(&str, u64, u64)) -> Vec<Row> {
    let mut random = fastrand::Rng::with_seed(7);
    let stride = if piece == BYTES { BYTES } else { 2 * piece };
    let pieces = BYTES / piece;
    let mut places: Vec<_> = (0..pieces).map(|index| index * stride).collect();
    random.shuffle(&mut places);
    let subject = RefCell::new(Subject::new(device, CHUNK, 4096));
    let dst: Arc<[Segment]> = places.iter().map(|at| Segment::vram(*at, piece)).collect();
    let fill = Command::Fill {
        dst: Arc::clone(&dst),
        offset: 0,
        bytes: BYTES,
        pattern,
    };
    let fills = || {
        let outcome = subject.borrow_mut().perform(&fill);
        assert_eq!(outcome, OutcomeValue::Done);
    };
    let mut turns: Vec<Turn<'_>> = vec![("device", Box::new(fills))];
    if let Some((device, queue)) = subject.borrow().wgpu() {
        turns.push((
            "raw/one-submit",
            by_hand(device, queue, places, piece, pattern),
        ));
    }
    let rows = measure(name, BYTES, turns);
    let read = Command::Read {
        src: dst,
        offset: 0,
        bytes: BYTES,
    };
    let OutcomeValue::Bytes(bytes) = subject.borrow_mut().perform(&read) else {
        panic!("nothing was read");
    };
    assert!(bytes.chunks(8).all(|word| word == pattern.to_le_bytes()));
    rows
}

/// Clears, or copies from a block that holds the pattern, all in one submit.
fn by_hand(
    device: wgpu::Device,
    queue: wgpu::Queue,
    places: Vec<u64>,
    piece: u64,
    pattern: u64,
) -> Box<dyn FnMut()> {
    use wgpu::BufferUsages as Usage;
    let buffer = |size, usage, mapped_at_creation| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation,
        })
    };
    let vram = buffer(CHUNK, Usage::COPY_DST | Usage::STORAGE, false);
    let block = buffer(BLOCK, Usage::COPY_SRC | Usage::MAP_WRITE, true);
    let words: Vec<u8> = pattern.to_le_bytes().repeat(BLOCK as usize / 8);
    let mut view = block.get_mapped_range_mut(..).unwrap();
    view.slice(..).copy_from_slice(&words);
    drop(view);
    block.unmap();
    Box::new(move || {
        let mut encoder = device.create_command_encoder(&Default::default());
        for place in &places {
            if pattern == 0 {
                encoder.clear_buffer(&vram, *place, Some(piece));
                continue;
            }
            for at in (0..piece).step_by(BLOCK as usize) {
                let now = BLOCK.min(piece - at);
                encoder.copy_buffer_to_buffer(&block, 0, &vram, place + at, now);
            }
        }
        raw::wait(&device, queue.submit([encoder.finish()]));
    })
}
