//! The highest byte that recorded traces need, beside what an independent program has computed.
//!
//! Reads the traces of the repository, and those of the folder that `GPUMM_TRACES` names.
#![allow(clippy::unwrap_used)]

use gpumm_allocator_range::RangeManager;
use gpumm_contract::AllocationId;
use gpumm_contract::allocator::{Allocate, Allocator, Geometry, Mode};
use gpumm_trace::{EventKind, Options, Trace};
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Far more room than needed.
const ARENA: Geometry = Geometry {
    size: 64 << 30,
    granule: 256,
};

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

/// The highest end of an extent when a trace's allocations and frees are served in order.
fn high_water(
    trace: &Trace,
    strategy: &mut dyn Allocator,
    wish: impl Fn(AllocationId, u64) -> Allocate,
) -> u64 {
    strategy.init(ARENA).unwrap();
    let mut highest = 0;
    for event in trace.events.iter().filter(|event| event.bytes > 0) {
        let number = AllocationId(u32::try_from(event.id).unwrap());
        match event.kind {
            EventKind::Alloc => {
                let mut extents = Vec::new();
                let wish = wish(number, event.bytes);
                strategy.allocate(&wish, &mut extents).unwrap();
                let ends = extents.iter().filter_map(|extent| extent.end());
                highest = ends.fold(highest, u64::max);
            }
            EventKind::Free => strategy.free(number).unwrap(),
            EventKind::Other(_) => {}
        }
    }
    highest
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
        let rounded = |mode: Mode| {
            move |number, bytes: u64| Allocate {
                mode,
                ..Allocate::plain(number, bytes.next_multiple_of(ARENA.granule))
            }
        };
        let mut range = RangeManager::new();
        let low = high_water(&trace, &mut range, rounded(Mode::Low));
        let best = high_water(&trace, &mut range, rounded(Mode::BestLow));
        assert_eq!((low, best), (mark(5), mark(6)), "{}", cells[0]);
        compared += 1;
    }
    assert!(compared >= 3, "only {compared} traces were there");
}
