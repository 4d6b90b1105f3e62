//! `gpumm capture` from outside: what it shows, what it refuses.
//!
//! `tests/captures/poisoned-copy.json` is made by hand; the text beside it is what people see.

use gpumm_tests::program::{Ended, call, call_with};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

fn folder() -> PathBuf {
    gpumm_tests::tidy::root().join("tests/captures")
}

fn file() -> String {
    let path = folder().join("poisoned-copy.json");
    path.to_string_lossy().into_owned()
}

fn bytes() -> Vec<u8> {
    fs::read(file()).expect("it is there")
}

/// Shows a capture that comes through a pipe.
fn piped(bytes: impl Into<Vec<u8>>, args: &[&str]) -> Ended {
    let args = [&["capture", "show", "-"], args].concat();
    call_with(&args, Stdio::piped(), Some(bytes.into()))
}

/// Shows the capture with one value changed.
fn changed(pointer: &str, value: Value) -> Ended {
    let mut capture: Value = serde_json::from_slice(&bytes()).expect("JSON");
    *capture.pointer_mut(pointer).expect(pointer) = value;
    piped(capture.to_string(), &[])
}

#[track_caller]
fn good(ended: Ended) -> String {
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    ended.out
}

#[test]
fn a_capture_in_words() {
    let text = good(piped(bytes(), &[]));
    let expected = folder().join("poisoned-copy.txt");
    let expected = fs::read_to_string(expected).expect("it is there");
    assert_eq!(text, expected);
    // From a file only the name differs.
    let named = good(call(&["capture", "show", &file()]));
    assert_eq!(named, text.replacen("standard input", &file(), 1));
}

#[test]
fn all_is_all() {
    let text = good(piped(bytes(), &["--all"]));
    assert!(!text.contains("--all") && !text.contains("..."), "{text}");
    let capture: Value = serde_json::from_slice(&bytes()).expect("JSON");
    let list = |pointer: &str| capture.pointer(pointer).and_then(Value::as_array).cloned();
    for segment in list("/tables/0/segments").expect("segments") {
        let address = segment["address"].as_u64().expect("a number");
        assert!(text.contains(&format!(" at {address:#x}\n")), "{text}");
    }
    for plan in list("/plans").expect("plans") {
        for operation in plan["operations"].as_array().expect("lines") {
            let operation = operation.as_str().expect("text");
            assert!(text.contains(&format!(" {operation}\n")), "{text}");
        }
    }
    let hash = capture["tables"][0]["sha256"].as_str().expect("text");
    assert!(text.contains(&format!(" {hash}\n")), "{text}");
    assert!(text.contains("     30  30 31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f\n"));
}

#[test]
fn every_failure_has_its_sentence() {
    let shown = |changes: &[(&str, Value)]| {
        let mut capture: Value = serde_json::from_slice(&bytes()).expect("JSON");
        for (pointer, value) in changes {
            *capture.pointer_mut(pointer).expect(pointer) = value.clone();
        }
        good(piped(capture.to_string(), &[]))
    };
    let repaired = |word: &str, state: Value| {
        shown(&[
            ("/failed/repaired", json!(word)),
            ("/buffers/0/state", state),
        ])
    };
    let by_cpu = repaired("by-cpu", json!("repaired"));
    assert!(by_cpu.contains("\nThe CPU did it again "), "{by_cpu}");
    assert!(by_cpu.contains(": content repaired\n"), "{by_cpu}");
    let lost = repaired("lost", json!("lost"));
    assert!(lost.contains("\nThe device was lost or reset, "), "{lost}");
    assert!(lost.contains(": lost with the device\n"), "{lost}");
    let nothing = repaired("not-needed", Value::Null);
    assert!(
        nothing.contains("\nNothing had to be done about it"),
        "{nothing}"
    );
    let job = shown(&[
        ("/failed/operation", json!("job")),
        ("/failed/job", json!("read 8 bytes")),
        ("/failed/cause", json!("timed-out")),
        ("/failed/repaired", json!("not-needed")),
        ("/plans/1/failed", Value::Null),
        ("/tables", json!([])),
    ]);
    let sentence = "\nThe job 'read 8 bytes' that reaches copy 7 failed (timed-out): ";
    assert!(job.contains(sentence), "{job}");
    assert!(job.contains("\nJobs are not done again: "), "{job}");
    assert!(job.contains("  The operation that failed is of an older plan.\n"));
    assert!(
        job.contains("submitted:\n  none\n") && !job.contains("->  "),
        "{job}"
    );
    let bare = shown(&[
        ("/failed/operation", json!("fill")),
        ("/buffers", json!([])),
        ("/fences", json!([])),
        ("/plans", json!([])),
        ("/components", json!([])),
    ]);
    assert!(bare.contains("\nThe fill that reaches copy 7 "), "{bare}");
    assert!(
        !bare.contains("Buffers:") && !bare.contains("Plans"),
        "{bare}"
    );
}

#[test]
fn json_goes_through_whole() {
    let text = good(piped(bytes(), &["--json"]));
    assert_eq!(text.as_bytes(), bytes(), "it was pretty already");
    // What a later version adds is not lost.
    let mut capture: Value = serde_json::from_slice(&bytes()).expect("JSON");
    capture["mood"] = json!({"value": u64::MAX});
    let text = good(piped(capture.to_string(), &["--json"]));
    assert_eq!(
        text,
        serde_json::to_string_pretty(&capture).expect("JSON") + "\n"
    );
}

#[test]
fn what_is_no_capture_is_one_line_with_its_place() {
    piped(*b"", &[]).failed(3, &["standard input: ", "empty"]);
    piped(*b"gpumm-log 1\n", &[]).failed(3, &["no capture", "line 1, column 1"]);
    piped(*b"{\n}", &["--json"]).failed(3, &["line 2, column 1", "schema_version"]);
    let text = String::from_utf8(bytes()).expect("text");
    let cut = &text[..text.len() / 2];
    let lines = cut.lines().count();
    piped(cut, &[]).failed(3, &["no capture", &format!("line {lines}, column ")]);
    let misspelt = text
        .replacen("\"by", "\"my", 1)
        .replacen("\"at\"", "\"it\"", 1);
    let line = misspelt
        .lines()
        .position(|l| l.contains("repaired"))
        .expect("it");
    // The object that lacks it ends one line later.
    let place = format!("line {}, column", line + 2);
    piped(misspelt, &[]).failed(3, &[&place, "missing field `at`"]);
    changed("/failed/operation", json!("fly")).failed(3, &["unknown variant `fly`", "line 1"]);
    changed("/tables/0/sha256", json!("12\u{1b}")).failed(3, &["tables[0].sha256"]);
    changed("/tables/0/content", json!("ä")).failed(3, &["tables[0].content"]);
    changed("/plans/0/failed", json!(2)).failed(3, &["plans[0].failed"]);
    changed("/schema_version", json!(2)).failed(3, &["version is 2", "reads version 1", "0.1.0"]);
    changed("/schema_version", json!(-1)).failed(3, &["-1"]);
    piped(vec![b'['; 1 << 20], &[]).failed(3, &["no capture", "line 1"]);
    let folder = folder();
    call(&["capture", "show", &folder.to_string_lossy()]).failed(3, &["directory"]);
    let none = Path::new(&folder).join("none.json");
    call(&["capture", "show", &none.to_string_lossy()]).failed(3, &["none.json"]);
}

#[test]
fn a_file_does_not_write_on_the_terminal() {
    let text = "red \u{1b}[31m\nnew\u{2028}line";
    for pointer in [
        "/device",
        "/failed/error",
        "/failed/at/name",
        "/tables/0/memory",
        "/tables/1/unreadable",
        "/fences/0/name",
        "/plans/1/operations/8",
        "/components/0/name",
    ] {
        let shown = good(changed(pointer, json!(text)));
        let escaped = "red \\u{1b}[31m\\nnew\\u{2028}line";
        assert!(shown.contains(escaped), "{pointer}: {shown}");
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{2028}'));
    }
}

#[test]
fn bad_command_lines_are_one_line() {
    let file = file();
    call(&["capture"]).failed(2, &["gpumm help capture"]);
    call(&["capture", "show"]).failed(2, &["FILE", "gpumm help capture"]);
    call(&["capture", "nonsense"]).failed(2, &["nonsense", "gpumm help capture"]);
    call(&["capture", "show", &file, "--nonsense"]).failed(2, &["--nonsense"]);
    call(&["capture", "show", &file, "--all", "--json"]).failed(2, &["--all", "--json"]);
    call(&["capture", "schema", &file]).failed(2, &["poisoned-copy.json"]);
    call(&["nonsense"]).failed(2, &["nonsense", "see 'gpumm help'"]);
    call(&["replay"]).failed(2, &["gpumm help replay"]);
}

#[test]
fn help_teaches() {
    for args in [&["help", "capture"][..], &["capture", "--help"]] {
        let text = good(call(args));
        for word in ["show", "schema", "Examples:", "Exit status:", "arrow"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
    assert!(good(call(&["help", "capture", "show"])).contains("--all"));
    assert!(good(call(&["help"])).contains("capture"));
}

#[test]
fn the_schema_is_printed() {
    let text = good(call(&["capture", "schema"]));
    let file = gpumm_tests::tidy::root().join("host/src/capture/capture.schema.json");
    assert_eq!(text, fs::read_to_string(file).expect("it is there"));
}
