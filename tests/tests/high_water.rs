//! The highest byte that recorded traces need, beside what an independent program has computed.
//!
//! In both the arena grows when nothing fits. In a large one best fit leaves its tail alone for
//! longer, since that is the largest hole, and needs less.
//! Reads the traces of the repository, and those of the folder that `GPUMM_TRACES` names.
#![allow(clippy::unwrap_used)]

use gpumm_allocator_range::RangeManager;
use gpumm_contract::AllocationId;
use gpumm_contract::allocator::{Allocate, Allocator, Geometry, Mode};
use gpumm_trace::{EventKind, Options, Trace};
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const GRANULE: u64 = 256;

/// The traces of a folder and the folders in it, by name.
fn traces(folder: &Path, found: &mut HashMap<String, PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            traces(&path, found);
        } else if let Some(name) = file.strip_suffix(".csv.gz") {
            found.insert(name.to_owned(), path);
        }
    }
}

/// Serves a wish, in an arena that grows by what is missing behind its last extent.
fn served(strategy: &mut RangeManager, top: &mut u64, wish: &Allocate) {
    let mut extents = Vec::new();
    if *top > 0 && strategy.allocate(wish, &mut extents).is_ok() {
        return;
    }
    let last = strategy.blocks(top.saturating_sub(1), 1);
    let hole = last.iter().find(|block| block.owner.is_none());
    let start = hole.map_or(*top, |block| block.extent.offset);
    let grown = Geometry {
        size: start + wish.bytes,
        granule: GRANULE,
    };
    match *top {
        0 => strategy.init(grown).unwrap(),
        _ => strategy.resize(grown).unwrap(),
    }
    *top = grown.size;
    strategy.allocate(wish, &mut extents).unwrap();
}

/// How large the arena becomes in which a trace's allocations and frees are served in order.
fn high_water(trace: &Trace, mode: Mode) -> u64 {
    let mut strategy = RangeManager::new();
    let mut top = 0;
    for event in trace.events.iter().filter(|event| event.bytes > 0) {
        let number = || AllocationId(u32::try_from(event.id).unwrap());
        match event.kind {
            EventKind::Alloc => {
                let wish = Allocate {
                    mode,
                    ..Allocate::plain(number(), event.bytes.next_multiple_of(GRANULE))
                };
                served(&mut strategy, &mut top, &wish);
            }
            EventKind::Free => strategy.free(number()).unwrap(),
            EventKind::Other(_) => {}
        }
    }
    strategy.validate().unwrap();
    top
}

#[test]
fn first_fit_and_best_fit_reach_the_same_byte_as_the_reference() {
    let mut found = HashMap::new();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    traces(&own, &mut found);
    if let Some(folder) = std::env::var_os("GPUMM_TRACES") {
        traces(folder.as_ref(), &mut found);
    }
    let table = fs::read_to_string(own.join("reference.csv")).unwrap();
    let mut compared = 0;
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let Some(path) = found.get(cells[0]) else {
            continue;
        };
        let mark = |column: usize| cells[column].parse::<u64>().unwrap();
        let trace = gpumm_trace::import(File::open(path).unwrap(), cells[0], Options::default());
        let trace = trace.unwrap();
        let marks = (
            high_water(&trace, Mode::Low),
            high_water(&trace, Mode::BestLow),
        );
        assert_eq!(marks, (mark(5), mark(6)), "{}", cells[0]);
        compared += 1;
    }
    assert!(compared >= 3, "only {compared} traces were there");
}
