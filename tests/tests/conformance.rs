//! The table of conformance cases is complete and names tests that exist.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Cases per part of the reference that the table covers.
const PARTS: [(&str, u32); 8] = [
    ("A", 39),
    ("B", 22),
    ("C", 19),
    ("D", 38),
    ("E", 51),
    ("G", 39),
    ("H", 24),
    ("I", 34),
];

#[test]
fn every_case_has_one_row_and_every_named_test_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let table = fs::read_to_string(root.join("tests/conformance/status.csv")).unwrap();
    let mut seen = BTreeMap::new();
    let mut named = BTreeSet::new();
    for line in table.lines().skip(1) {
        let mut cells = line.splitn(5, ',');
        let mut cell = || cells.next().unwrap();
        let (id, status, file, test, reason) = (cell(), cell(), cell(), cell(), cell());
        assert!(seen.insert(id, status).is_none(), "{id} twice");
        let (has_test, has_reason) = (!test.is_empty(), !reason.is_empty());
        match status {
            "passed" => assert!(has_test && !has_reason, "{id}"),
            "partly" => assert!(has_test && has_reason, "{id}"),
            "later" | "not-here" => assert!(!has_test && has_reason, "{id}"),
            "overruled" | "elsewhere" => assert!(has_reason, "{id}"),
            other => panic!("{id}: {other}"),
        }
        assert_eq!(has_test, !file.is_empty(), "{id}");
        if has_test {
            let text = fs::read_to_string(root.join(file)).unwrap();
            let function = format!("fn {test}()");
            assert!(text.contains(&function), "{id}: no test {test}");
            named.insert(test.to_owned());
        }
        // What shows a case that passes bears its name.
        let name = id.to_lowercase().replace('-', "_") + "_";
        let own = matches!(status, "passed" | "partly");
        assert!(!own || test.contains(&name), "{id}: {test}");
    }
    for (part, cases) in PARTS {
        let count = (1..=cases)
            .filter(|n| seen.contains_key(format!("{part}-{n}").as_str()))
            .count();
        assert_eq!(count, cases as usize, "part {part}");
    }
    assert_eq!(
        seen.len(),
        PARTS.iter().map(|p| p.1 as usize).sum::<usize>()
    );
    // And no case's test is left out of the table.
    for part in ["d", "e", "h"] {
        let file = format!("tests/tests/conformance_{part}.rs");
        let text = fs::read_to_string(root.join(file)).unwrap();
        let tests = text.lines().filter_map(|line| line.strip_prefix("fn "));
        let tests = tests.filter_map(|line| line.strip_suffix("() {"));
        for test in tests.filter(|test| test.starts_with(&format!("{part}_"))) {
            assert!(named.contains(test), "{test} is in no row");
        }
    }
}
