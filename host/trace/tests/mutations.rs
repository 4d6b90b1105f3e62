//! Damaged real files and random bytes never panic.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use common::{entry, gz, one_line, read_within, snapshot};
use gpumm_trace::Limits;
use proptest::prelude::*;

fn file(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/traces")
        .join(name);
    fs::read(path).unwrap()
}

fn unpacked(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(&file(name)[..])
        .read_to_end(&mut out)
        .unwrap();
    out
}

/// Limits that keep a lucky mutation cheap.
fn limits() -> Limits {
    Limits {
        max_decompressed_bytes: 8 << 20,
        max_pickle_objects: 1 << 20,
        ..Limits::default()
    }
}

/// Reads; an import that succeeds is consistent.
fn survive(bytes: &[u8]) -> bool {
    match read_within(bytes, limits()) {
        Ok(trace) => {
            let s = trace.stats();
            assert_eq!(s.still_live, s.allocations - s.frees);
            trace
                .events
                .iter()
                .for_each(|e| assert!((e.tag.max(e.op) as usize) < trace.names.len()));
            true
        }
        Err(error) => {
            one_line(&error);
            false
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut fastrand::Rng) {
    for _ in 0..rng.usize(1..=8) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.usize(0..bytes.len());
        match rng.u8(0..6) {
            0 => bytes[at] ^= 1 << rng.u8(0..8),
            1 => bytes[at] = rng.u8(..),
            2 => bytes.insert(at, rng.u8(..)),
            3 => {
                bytes.remove(at);
            }
            4 => {
                let end = (at + rng.usize(0..64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = rng.usize(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            _ if rng.u8(0..8) == 0 => bytes.truncate(at),
            _ => bytes[at] = *rng.choice(b"(])}aesut012\x85\x86\x94hjqr.,\"\n").unwrap(),
        }
    }
}

fn mutations(original: &[u8], rounds: usize) {
    assert!(survive(original));
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..rounds {
        let mut bytes = original.to_vec();
        mutate(&mut bytes, &mut rng);
        survive(&bytes);
    }
}

#[test]
fn a_damaged_real_pickle_never_panics() {
    mutations(&file("cs336_weighted_sum.pickle"), 3000);
}

#[test]
fn a_damaged_small_pickle_never_panics() {
    let entries = vec![entry("alloc", 1, 2, 3), entry("free_completed", 1, 2, 4)];
    mutations(&snapshot(entries).pickle(), 20_000);
}

#[test]
fn a_damaged_real_csv_never_panics() {
    mutations(&unpacked("cs336_weighted_sum.csv.gz"), 5000);
}

#[test]
fn damaged_gzip_never_panics() {
    mutations(&file("cs336_weighted_sum.csv.gz"), 5000);
    mutations(&gz(&snapshot(vec![entry("alloc", 1, 2, 3)]).pickle()), 5000);
}

#[test]
fn a_real_pickle_cut_off_is_never_read() {
    let bytes = file("cs336_weighted_sum.pickle");
    for len in (0..bytes.len()).step_by(97) {
        assert!(!survive(&bytes[..len]), "{len}");
    }
}

#[test]
fn files_can_come_from_disk() {
    let mut on_disk = tempfile::tempfile().unwrap();
    std::io::copy(&mut &file("cs336_weighted_sum.csv.gz")[..], &mut on_disk).unwrap();
    std::io::Seek::rewind(&mut on_disk).unwrap();
    let from_disk: &File = &on_disk;
    assert!(gpumm_trace::import(from_disk, "x", gpumm_trace::Options::default()).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survive(&bytes);
        survive(&[&b"\x80\x04"[..], &bytes].concat());
        survive(&[&b"\x1f\x8b\x08\0\0\0\0\0\0\0"[..], &bytes].concat());
        survive(&[common::HEADER.as_bytes(), &bytes].concat());
    }

    #[test]
    fn random_opcodes_never_panic(
        picks in prop::collection::vec(0usize..30, 0..200),
        numbers in prop::collection::vec(0u8..4, 200),
    ) {
        let ops = b"(.012NJKM]})aesutqrhj\x85\x86\x87\x88\x89\x8a\x8c\x94C";
        let mut bytes = vec![0x80, 4, b'}'];
        for (pick, number) in picks.iter().zip(numbers) {
            bytes.push(ops[*pick]);
            let zeros: &[u8] = match ops[*pick] {
                b'K' | b'q' | b'h' => &[0],
                b'M' => &[0; 2],
                b'J' | b'r' | b'j' => &[0; 4],
                _ => &[],
            };
            if !zeros.is_empty() {
                bytes.push(number);
                bytes.extend(&zeros[1..]);
            }
        }
        survive(&bytes);
    }
}
