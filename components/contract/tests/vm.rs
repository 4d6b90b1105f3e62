//! Packed bind requests and steps survive encode and decode; no words make a decoder panic.
#![allow(clippy::unwrap_used)]

use gpumm_contract::BufferId;
use gpumm_contract::vm::packed::{BINDS, Binds, STEPS, Writer, decode_steps, encode_binds};
use gpumm_contract::vm::{Bind, Mapping, Op, Remap, Span, Steps, Unmap};
use gpumm_contract::wire::{LAYOUT_VERSION, WireError};

fn mapping(buffer: Option<u64>) -> Mapping {
    Mapping {
        at: Span {
            start: 1 << 40,
            bytes: 0x9000,
        },
        buffer: buffer.map(BufferId),
        offset: 0x3000,
        attributes: 0xa5,
    }
}

fn some_binds() -> Vec<Bind> {
    vec![
        Bind::Map(mapping(Some(u64::MAX))),
        Bind::Map(mapping(None)),
        Bind::Unmap(Span { start: 7, bytes: 9 }),
    ]
}

fn some_steps() -> Vec<Op> {
    let unmap = |buffer, keep| Unmap {
        mapping: mapping(buffer),
        keep,
    };
    let hole = |from: u64, to: u64| Span {
        start: (1 << 40) + from * 0x1000,
        bytes: (to - from) * 0x1000,
    };
    let remap = |keep, hole| {
        let unmap = unmap(Some(0), keep);
        Op::Remap(Remap { unmap, hole })
    };
    vec![
        Op::Unmap(unmap(Some(4), true)),
        Op::Unmap(unmap(None, false)),
        remap(true, hole(0, 4)),
        remap(false, hole(3, 9)),
        remap(false, hole(3, 5)),
        Op::Map(mapping(Some(0))),
        Op::Ended(BufferId(u64::MAX)),
    ]
}

fn write(ops: &[Op]) -> Vec<u64> {
    let mut list = Writer::reuse(vec![9; 3]);
    ops.iter().for_each(|&op| list.push(op));
    assert_eq!(list.count(), ops.len());
    list.finish()
}

fn read_binds(words: &[u64]) -> Result<Vec<Bind>, WireError> {
    let (mut reader, mut all) = (Binds::new(words)?, Vec::new());
    while let Some(bind) = reader.next()? {
        all.push(bind);
    }
    Ok(all)
}

#[test]
fn lists_come_back_as_written() {
    let (binds, steps) = (some_binds(), some_steps());
    assert_eq!(read_binds(&encode_binds(&binds, vec![1])), Ok(binds));
    assert_eq!(decode_steps(&write(&steps)), Ok(steps));
    assert_eq!(read_binds(&encode_binds(&[], Vec::new())), Ok(vec![]));
}

#[test]
fn steps_are_taken_back() {
    let steps = some_steps();
    for count in 0..=steps.len() {
        let mut list = Writer::reuse(Vec::new());
        steps.iter().for_each(|&op| list.push(op));
        assert_eq!(list.take_back(count), steps[count..]);
        assert_eq!(decode_steps(&list.finish()).unwrap(), steps[..count]);
        let mut typed = steps.clone();
        assert_eq!(Steps::take_back(&mut typed, count), steps[count..]);
        assert_eq!(typed, steps[..count]);
    }
}

#[test]
fn every_damage_is_an_error() {
    let (binds, steps) = (encode_binds(&some_binds(), vec![]), write(&some_steps()));
    for cut in 0..steps.len() {
        assert_eq!(decode_steps(&steps[..cut]), Err(WireError::Truncated));
    }
    for cut in 0..binds.len() {
        assert_eq!(read_binds(&binds[..cut]), Err(WireError::Truncated));
    }
    assert_eq!(decode_steps(&binds), Err(WireError::Kind(BINDS)));
    assert_eq!(read_binds(&steps), Err(WireError::Kind(STEPS)));
    let mut longer = binds.clone();
    longer.push(0);
    assert_eq!(read_binds(&longer), Err(WireError::Count));
    let mut version = steps.clone();
    version[0] += 1;
    let other = WireError::Version(LAYOUT_VERSION + 1);
    assert_eq!(decode_steps(&version), Err(other));
}

/// A list of one item.
fn one(kind: u16, op: u64, operand: u64, body: &[u64]) -> Vec<u64> {
    let header = u64::from(LAYOUT_VERSION) | u64::from(kind) << 16 | 1 << 32;
    let head = op | (body.len() as u64 + 1) << 8 | operand << 32;
    [&[header, head], body].concat()
}

#[test]
fn what_means_nothing_is_an_error() {
    let binds = |op, operand, body: &[u64]| read_binds(&one(BINDS, op, operand, body));
    let steps = |op, operand, body: &[u64]| decode_steps(&one(STEPS, op, operand, body));
    assert!(binds(1, 0, &[0, 4096, 1, 0]).is_ok());
    assert_eq!(
        binds(1, 1 << 9, &[0, 4096, 1, 0]),
        Err(WireError::Value(0)),
        "no bind keeps"
    );
    assert_eq!(
        binds(1, 1 << 8, &[0, 4096, 1, 0]),
        Err(WireError::Value(0)),
        "sparse and a buffer"
    );
    assert_eq!(binds(1, 0, &[0, 4096, 1]), Err(WireError::Length(0)));
    assert_eq!(binds(2, 1, &[0, 4096]), Err(WireError::Value(0)));
    assert_eq!(
        binds(3, 0, &[0, 4096]),
        Err(WireError::UnknownOperation(3, 0))
    );
    assert_eq!(
        steps(3, 1 << 9, &[0, 4096, 1, 0]),
        Err(WireError::Value(0)),
        "no map keeps"
    );
    assert_eq!(
        steps(1, 1 << 10, &[0, 4096, 1, 0]),
        Err(WireError::Value(0))
    );
    assert_eq!(steps(4, 1, &[3]), Err(WireError::Value(0)));
    assert_eq!(steps(5, 0, &[3]), Err(WireError::UnknownOperation(5, 0)));
    let remap = |at: [u64; 2], offset, hole: [u64; 2]| {
        steps(2, 0, &[at[0], at[1], 1, offset, hole[0], hole[1]])
    };
    assert!(remap([8, 8], 0, [8, 4]).is_ok());
    for (at, offset, hole) in [
        ([8, 8], 0, [8, 8]),
        ([8, 8], 0, [8, 0]),
        ([8, 8], 0, [7, 4]),
        ([8, 8], 0, [13, 4]),
        ([8, 8], 0, [9, u64::MAX]),
        ([8, u64::MAX], 0, [8, 4]),
        ([8, 8], u64::MAX, [8, 4]),
    ] {
        assert_eq!(
            remap(at, offset, hole),
            Err(WireError::Value(0)),
            "{at:?} {offset} {hole:?}"
        );
    }
}

/// Whatever is read can be written again and has pieces that can be asked for.
#[test]
fn any_words_are_read_or_refused() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut read = 0;
    for _ in 0..200_000 {
        let mut words = write(&some_steps());
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(0..words.len());
            words[at] = match rng.u8(0..4) {
                0 => rng.u64(..),
                1 => words[at] ^ 1 << rng.u32(0..64),
                2 => words[at].wrapping_add(rng.u64(0..9)).wrapping_sub(4),
                _ => u64::MAX - rng.u64(0..3),
            };
        }
        let Ok(ops) = decode_steps(&words) else {
            continue;
        };
        read += 1;
        for op in &ops {
            if let Op::Remap(remap) = op {
                assert!(remap.prev().is_some() || remap.next().is_some());
            }
        }
        assert_eq!(decode_steps(&write(&ops)), Ok(ops));
    }
    assert!(read > 1000, "{read}");
}
