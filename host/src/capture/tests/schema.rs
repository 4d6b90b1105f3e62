//! The schema says what captures are, and reading refuses what they are not.

use super::*;
use serde_json::{Value, json};

/// The schema as users know it. After a change on purpose:
/// `gpumm capture schema > host/src/capture/capture.schema.json`.
const GOLDEN: &str = include_str!("../capture.schema.json");

fn golden() -> Value {
    serde_json::from_str(GOLDEN).unwrap()
}

/// What is wrong with a value, by a schema in the words that `schemars` uses. A word that is
/// not known here ends the test: a check that skips words checks nothing.
fn wrong(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let say = |what: String| format!("{path}: {what}");
    for (word, rule) in schema.as_object().unwrap() {
        match word.as_str() {
            "$schema" | "title" | "description" | "format" | "$defs" | "default" => {}
            "type" => {
                let is = |name: &Value| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "null" => value.is_null(),
                    other => panic!("unknown type {other}"),
                };
                let names = rule.as_array().cloned().unwrap_or(vec![rule.clone()]);
                if !names.iter().any(is) {
                    found.push(say(format!("not {rule}")));
                }
            }
            "minimum" => {
                assert_eq!(rule.as_u64(), Some(0));
                if value.as_i64().is_some_and(|v| v < 0) {
                    found.push(say("negative".into()));
                }
            }
            "maximum" => {
                let most = rule.as_u64().unwrap();
                if value.as_u64().is_some_and(|v| v > most) {
                    found.push(say(format!("more than {most}")));
                }
            }
            "const" if value != rule => found.push(say(format!("not {rule}"))),
            "const" => {}
            "pattern" => {
                let hex = value.as_str().is_none_or(|text| {
                    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                    let fits = match rule.as_str().unwrap() {
                        "^[0-9a-f]{64}$" => text.len() == 64,
                        "^([0-9a-f]{2})*$" => text.len() % 2 == 0,
                        other => panic!("unknown pattern {other}"),
                    };
                    fits && text.bytes().all(digit)
                });
                if !hex {
                    found.push(say("no hexadecimal".into()));
                }
            }
            "required" => {
                for key in rule.as_array().unwrap() {
                    if value.get(key.as_str().unwrap()).is_none() {
                        found.push(say(format!("no {key}")));
                    }
                }
            }
            "properties" => {
                for (key, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        wrong(root, rule, value, &format!("{path}.{key}"), found);
                    }
                }
            }
            "items" => {
                for (n, value) in value.as_array().into_iter().flatten().enumerate() {
                    wrong(root, rule, value, &format!("{path}[{n}]"), found);
                }
            }
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#');
                wrong(root, root.pointer(pointer).unwrap(), value, path, found);
            }
            "oneOf" | "anyOf" => {
                let fits = |rule: &&Value| {
                    let mut found = Vec::new();
                    wrong(root, rule, value, path, &mut found);
                    found.is_empty()
                };
                let count = rule.as_array().unwrap().iter().filter(fits).count();
                if count == 0 || (word == "oneOf" && count > 1) {
                    found.push(say(format!("{count} choices fit")));
                }
            }
            other => panic!("unknown word {other}"),
        }
    }
}

#[track_caller]
fn violations(value: &Value) -> Vec<String> {
    let (root, mut found) = (golden(), Vec::new());
    wrong(&root, &root, value, "capture", &mut found);
    found
}

/// A capture with everything that there can be.
fn full() -> (Folder, Vec<u8>) {
    let folder = Folder::new();
    let captures = folder.captures(Limits::default());
    captures.note_plan(3, &plans::plan(7));
    let mut tables = [Role::Source, Role::Target, Role::Buffer].map(|r| table(r, 12, 100));
    tables[1].keep_content = true;
    tables[2].table = TableId(u32::MAX);
    let read = |t: &TableSubmitted, offset, bytes| match t.role {
        Role::Source => Err(DeviceError::Stopped),
        _ => read(t, offset, bytes),
    };
    let op = FailedOp {
        job: Some("read 8 bytes"),
        operation: Operation::Job,
        ..failed(at(0, 7), &tables)
    };
    with_context(|context| whole(&captures, &op, context, &read));
    let text = folder.text("capture-copy-7.json");
    (folder, text)
}

#[test]
fn the_schema_is_the_one_that_users_know() {
    let told =
        "run 'gpumm capture schema > host/src/capture/capture.schema.json' if it is to change";
    assert!(super::schema() == GOLDEN, "the schema has changed; {told}");
}

#[test]
fn captures_are_as_the_schema_says() {
    let (_folder, text) = full();
    let value: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(violations(&value), [""; 0]);
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    let order =
        "schema_version gpumm_version device failed tables buffers vm fences plans components";
    assert!(keys.iter().eq(order.split(' ').collect::<Vec<_>>().iter()));
}

#[test]
fn the_schema_and_the_reader_refuse_the_same() {
    let (_folder, text) = full();
    let good: Value = serde_json::from_slice(&text).unwrap();
    let cases = [
        ("/device", json!(7)),
        ("/failed/operation", json!("fly")),
        ("/failed/repaired", json!(null)),
        ("/failed/at/value", json!(-1)),
        ("/failed/at", json!("copy 7")),
        ("/tables", json!({})),
        ("/tables/0/role", json!("table")),
        ("/tables/1/sha256", json!("ABC")),
        ("/tables/1/content", json!("abc")),
        ("/tables/1/segments/0", json!(7)),
        ("/buffers/0/state", json!("well")),
        ("/fences/0/completed", json!("6")),
        ("/plans/0/operations", json!([1])),
        ("/plans/0/failed", json!("0")),
        ("/components/0/sha256", json!("")),
    ];
    for (pointer, value) in cases {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert_ne!(violations(&bad), [""; 0], "{pointer}");
        assert!(
            Capture::from_json(bad.to_string().as_bytes()).is_err(),
            "{pointer}"
        );
    }
    // What later versions add is skipped by both.
    let mut more = good;
    more["failed"]["mood"] = json!("bad");
    assert_eq!(violations(&more), [""; 0]);
    assert!(Capture::from_json(more.to_string().as_bytes()).is_ok());
}

#[test]
fn reading_says_where_it_ends() {
    let (_folder, text) = full();
    let error = |text: &[u8]| Capture::from_json(text).unwrap_err().to_string();
    assert_eq!(error(b"{\n  oh"), "line 2, column 3: key must be a string");
    assert_eq!(
        error(b"{}"),
        "line 1, column 2: missing field `schema_version`"
    );
    let text = String::from_utf8(text).unwrap();
    let newer = text.replacen("\"schema_version\": 1", "\"schema_version\": 2", 1);
    let ours = env!("CARGO_PKG_VERSION");
    let told = format!(
        "its schema version is 2, and this gpumm reads version 1; read it with gpumm {ours}, which wrote it"
    );
    assert_eq!(error(newer.as_bytes()), told);
    assert!(error(br#"{"schema_version": 99, "plans": 0}"#).ends_with("the gpumm that wrote it"));
    let far = text.replacen("\"failed\": 0", "\"failed\": 2", 1);
    assert_eq!(
        error(far.as_bytes()),
        "plans[0].failed: the plan does not have so many operations"
    );
    let silent = text.replacen("\"the device has stopped\"", "null", 1);
    assert!(error(silent.as_bytes()).starts_with("tables[0].sha256: it is missing"));
    let cut = &text[..text.len() / 2];
    assert!(
        error(cut.as_bytes()).contains("EOF"),
        "{}",
        error(cut.as_bytes())
    );
}
