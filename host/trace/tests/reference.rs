//! Real traces give the numbers that an independent program computed.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use gpumm_trace::{Event, EventKind, Format, Options, Trace, import, write_csv};

struct Reference {
    events: u64,
    allocs: u64,
    live_peak_bytes: u64,
    live_peak_allocations: u64,
}

fn small() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/traces")
}

fn reference() -> HashMap<String, Reference> {
    let mut csv = csv::Reader::from_path(small().join("reference.csv")).unwrap();
    csv.records()
        .map(|row| {
            let row = row.unwrap();
            let n = |i: usize| row[i].parse().unwrap();
            let reference = Reference {
                events: n(1),
                allocs: n(2),
                live_peak_bytes: n(3),
                live_peak_allocations: n(4),
            };
            (row[0].to_owned(), reference)
        })
        .collect()
}

/// The trace files below a folder by name, each with its files.
fn traces(folder: &Path, found: &mut BTreeMap<String, Vec<PathBuf>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            traces(&path, found);
            continue;
        }
        let file = path.file_name().unwrap().to_str().unwrap();
        let plain = file.strip_suffix(".gz").unwrap_or(file);
        let packed_csv = plain.strip_suffix(".csv").filter(|_| plain != file);
        if let Some(name) = packed_csv.or(plain.strip_suffix(".pickle")) {
            found.entry(name.to_owned()).or_default().push(path.clone());
        }
    }
}

fn open(path: &Path) -> Trace {
    let name = path.file_name().unwrap().to_str().unwrap();
    import(File::open(path).unwrap(), name, Options::default()).unwrap()
}

/// The events with their texts instead of numbers.
fn spelled(trace: &Trace) -> Vec<String> {
    let events = trace.events.iter().map(|e| {
        let bare = Event {
            tag: 0,
            op: 0,
            ..*e
        };
        format!("{bare:?} {:?} {:?}", trace.tag(e), trace.op(e))
    });
    events.collect()
}

fn unpacked(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(File::open(path).unwrap())
        .read_to_end(&mut out)
        .unwrap();
    out
}

/// How many files were checked, and how many times two of them had the same events.
fn check_folder(folder: &Path) -> (usize, usize) {
    let reference = reference();
    let mut found = BTreeMap::new();
    traces(folder, &mut found);
    let (mut checked, mut compared) = (0, 0);
    for (name, files) in found {
        let Some(want) = reference.get(&name) else {
            panic!("{name} is not in reference.csv");
        };
        let mut lists = Vec::new();
        for file in &files {
            let trace = open(file);
            let s = trace.stats();
            assert_eq!(s.events, want.events, "{file:?}");
            assert_eq!(s.allocations, want.allocs, "{file:?}");
            assert_eq!(s.live_peak_bytes, want.live_peak_bytes, "{file:?}");
            assert_eq!(
                s.live_peak_allocations, want.live_peak_allocations,
                "{file:?}"
            );
            assert_eq!(s.still_live, s.allocations - s.frees, "{file:?}");
            assert!(s.streams >= 1 && s.largest <= s.live_peak_bytes, "{file:?}");
            if trace.format == Format::Csv {
                let mut out = Vec::new();
                write_csv(&trace, &mut out).unwrap();
                assert!(out == unpacked(file), "{file:?} changes when written again");
            }
            lists.push(spelled(&trace));
            checked += 1;
        }
        // The snapshot and the CSV made from it by another program.
        for list in &lists[1..] {
            assert_eq!(list.len(), lists[0].len(), "{name}");
            for (i, (a, b)) in lists[0].iter().zip(list).enumerate() {
                assert_eq!(a, b, "{name}: event {i}");
            }
            compared += 1;
        }
    }
    (checked, compared)
}

#[test]
fn small_traces_give_the_reference_numbers() {
    assert_eq!(check_folder(&small()), (4, 1));
}

#[test]
fn all_traces_give_the_reference_numbers() {
    let Some(folder) = std::env::var_os("GPUMM_TRACES") else {
        eprintln!("GPUMM_TRACES is not set: only the small traces are checked");
        return;
    };
    let (checked, _) = check_folder(Path::new(&folder));
    assert!(checked > 0, "no trace of the reference in the folder");
}

#[test]
fn the_small_snapshot_in_detail() {
    let trace = open(&small().join("cs336_weighted_sum.pickle"));
    assert_eq!(trace.format, Format::TorchSnapshot);
    assert_eq!(trace.devices, ["cuda:0"]);
    let s = trace.stats();
    assert_eq!((s.frees, s.still_live, s.streams), (26, 10, 1));
    let segments = trace
        .events
        .iter()
        .filter(|e| matches!(e.kind, EventKind::Other(_)));
    assert_eq!(segments.count(), 9);
    assert!(
        trace.notes[0].starts_with("9 segment events"),
        "{:?}",
        trace.notes
    );
    assert_eq!(trace.op(&trace.events[1]), "trace_peak_memory.py:35 main");
}

#[test]
fn blocks_older_than_the_recording_come_first() {
    let trace = open(&small().join("cs336_forward_fp32_ctx128.csv.gz"));
    let old = |e: &&Event| trace.tag(e) == "before-recording";
    assert_eq!(trace.events.iter().take_while(old).count(), 137);
    assert_eq!(trace.events.iter().filter(old).count(), 137);
}

#[test]
fn progress_ends_at_the_size_of_the_file() {
    let path = small().join("torch_cpu_resnet18_train.csv.gz");
    let mut seen = Vec::new();
    let mut hook = |n| seen.push(n);
    let options = Options {
        progress: Some(&mut hook),
        ..Options::default()
    };
    import(File::open(&path).unwrap(), "x", options).unwrap();
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&fs::metadata(&path).unwrap().len()));
}
