#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::{Command, Segment};

fn memory() -> Memory {
    Memory::new(MemorySpace::Vram, 1 << 20).unwrap()
}

#[test]
fn readers_share_and_writers_do_not() {
    let memory = memory();
    let a = memory.claim_range(0, 100, false).unwrap();
    let b = memory.claim_range(50, 100, false).unwrap();
    assert_eq!(
        memory.claim_range(99, 100, true).err(),
        Some(DeviceError::Conflict {
            memory: MemorySpace::Vram,
            offset: 99,
            bytes: 1,
        })
    );
    drop(a);
    assert!(memory.claim_range(99, 100, true).is_err());
    drop(b);
    let writer = memory.claim_range(99, 100, true).unwrap();
    assert!(memory.claim_range(198, 1, false).is_err());
    assert!(memory.claim_range(199, 1, false).is_ok());
    assert!(memory.claim_range(98, 1, true).is_ok());
    drop(writer);
    assert_eq!(memory.conflicts(), 3);
}

#[test]
fn a_claim_gives_only_what_it_claimed() {
    let memory = memory();
    let mut claim = memory.claim_range(100, 100, false).unwrap();
    assert_eq!(claim.read(100, 100), Ok(&[0; 100][..]));
    for (offset, bytes) in [(99, 2), (199, 2), (0, 1), (u64::MAX, 2)] {
        assert_eq!(claim.read(offset, bytes), Err(NOT_CLAIMED));
    }
    assert_eq!(claim.write(100, 1), Err(NOT_CLAIMED));
    assert_eq!(claim.read_write(100, 150, 1), Err(NOT_CLAIMED));
    let mut claim = memory.claim_range(200, 100, true).unwrap();
    claim.write(200, 1).unwrap()[0] = 9;
    assert_eq!(claim.read_write(200, 210, 11), Err(NOT_CLAIMED));
    let (source, destination) = claim.read_write(200, 210, 10).unwrap();
    destination.copy_from_slice(source);
    assert_eq!(claim.read(210, 1), Ok(&[9][..]));
}

#[test]
fn ranges_outside_are_refused() {
    let memory = memory();
    for (offset, bytes) in [(1 << 20, 1), (0, (1 << 20) + 1), (u64::MAX, 2)] {
        assert!(matches!(
            memory.claim_range(offset, bytes, true),
            Err(DeviceError::OutOfBounds { .. })
        ));
        assert!(memory.commit(offset, bytes).is_err());
        assert!(memory.decommit(offset, bytes).is_err());
    }
    assert!(memory.claim_range(1 << 20, 0, true).is_ok());
}

/// Lists of spans against the definition: every pair compared.
#[test]
fn clashes_are_those_of_all_pairs() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut list = |spans: usize, gap: u64| {
        let mut at = random.u64(0..500);
        let mut list = Vec::new();
        for _ in 0..spans {
            let start = at + random.u64(0..gap);
            at = start + random.u64(1..6);
            list.push(Span {
                start,
                end: at,
                write: random.u8(0..3) == 0,
            });
        }
        list
    };
    let mut found = 0;
    for round in 0..4000 {
        let a = list([0, 1, 2, 3, 40][round % 5], [60, 900][round / 20 % 2]);
        let b = list([0, 1, 5, 150][round / 5 % 4], 20);
        let expected = a.iter().any(|a| {
            b.iter()
                .any(|b| a.start < b.end && b.start < a.end && (a.write || b.write))
        });
        let clash = clash(&a, &b);
        assert_eq!(clash.is_some(), expected);
        found += usize::from(expected);
        if let Some((start, end)) = clash {
            let uses = |list: &[Span]| {
                let span = list.iter().find(|s| s.start <= start && end <= s.end);
                span.unwrap().write
            };
            assert!(uses(&a) | uses(&b));
        }
    }
    assert!((300..3700).contains(&found), "{found}");
}

/// The short cut through pages answers as the spans do.
#[test]
fn many_spans_hold_exactly_their_bytes() {
    let mut random = fastrand::Rng::with_seed(9);
    let memory = Memory::new(MemorySpace::Vram, 2 << 20).unwrap();
    // Whole pages, and some that are cut.
    let segments: Arc<[Segment]> = (0..256)
        .map(|page| {
            let cut = random.u64(..3) * 100;
            Segment::vram(8192 * page + cut, 4096 - cut / 2)
        })
        .collect();
    let bytes = segments.iter().map(|segment| segment.bytes).sum();
    let read = Command::Read {
        src: Arc::clone(&segments),
        offset: 0,
        bytes,
    };
    let sizes = crate::footprint::Sizes {
        vram: 2 << 20,
        system: 0,
    };
    let footprint = crate::footprint::footprint(&read, sizes).unwrap();
    let mut claim = memory.claim(&footprint.vram).unwrap();
    assert!(claim.pages.is_some());
    for _ in 0..20_000 {
        let offset = random.u64(..2 << 20);
        let bytes = random.u64(1..6000).min((2 << 20) - offset);
        let held = segments.iter().any(|segment| {
            segment.offset <= offset && offset + bytes <= segment.offset + segment.bytes
        });
        assert_eq!(
            claim.read(offset, bytes).is_ok(),
            held,
            "{bytes} at {offset}"
        );
        assert!(claim.write(offset, bytes).is_err());
    }
    for segment in &*segments {
        assert!(claim.read(segment.offset, segment.bytes).is_ok());
    }
}
