//! The table of conformance cases is complete and names tests that exist.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Cases per part of the reference that the table covers.
const PARTS: [(&str, u32); 2] = [("A", 39), ("C", 19)];

#[test]
fn every_case_has_one_row_and_every_named_test_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let table = fs::read_to_string(root.join("tests/conformance/status.csv")).unwrap();
    let mut seen = BTreeMap::new();
    for line in table.lines().skip(1) {
        let mut cells = line.splitn(5, ',');
        let mut cell = || cells.next().unwrap();
        let (id, status, file, test, reason) = (cell(), cell(), cell(), cell(), cell());
        assert!(seen.insert(id, status).is_none(), "{id} twice");
        match status {
            "passed" | "partly" => {
                let text = fs::read_to_string(root.join(file)).unwrap();
                assert!(
                    text.contains(&format!("fn {test}()")),
                    "{id}: no test {test}"
                );
                assert_eq!(reason.is_empty(), status == "passed", "{id}");
            }
            "later" | "not-here" => assert!(!reason.is_empty() && file.is_empty(), "{id}"),
            other => panic!("{id}: {other}"),
        }
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
}
