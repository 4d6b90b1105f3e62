//! Our CSV: what is accepted and what is refused, with its line.
#![allow(clippy::unwrap_used)]

mod common;

use common::{HEADER, error, kind, one_line, read, read_within};
use gpumm_trace::{ErrorKind, Limits, Place, write_csv};

const ROWS: &str = "0,alloc,0,0x10,64,cpu,0,init,aten::empty\n\
    5,alloc,1,0x50,0,cpu,2,init,\"aten::cat, \"\"big\"\"\"\n\
    5,oom,-1,0x0,99999999999999999,cpu,0,,\n\
    9,free,0,0x10,64,cpu,0,,\n";

fn good() -> String {
    format!("{HEADER}{ROWS}")
}

/// The error and the line of a file with this one row after two good allocations.
fn bad_row(row: &str) -> String {
    let text = format!("{HEADER}1,alloc,0,0x1,8,,0,,\n1,alloc,1,0x2,8,,0,,\n{row}\n");
    let error = read(text.as_bytes()).unwrap_err();
    assert_eq!(error.place, Place::Line(4), "{error}");
    one_line(&error)
}

#[test]
fn a_good_file_is_read() {
    let trace = read(good().as_bytes()).unwrap();
    let s = trace.stats();
    assert_eq!((s.events, s.allocations, s.frees, s.streams), (4, 2, 1, 2));
    assert_eq!(
        (s.live_peak_bytes, s.live_peak_allocations, s.largest),
        (64, 2, 64)
    );
    assert_eq!((s.still_live, s.still_live_bytes, s.span_ns), (1, 0, 9));
    assert_eq!(trace.op(&trace.events[1]), "aten::cat, \"big\"");
    assert_eq!(trace.events[1].addr, 0x50);
    let mut again = Vec::new();
    write_csv(&trace, &mut again).unwrap();
    assert_eq!(String::from_utf8(again).unwrap(), good());
}

#[test]
fn bom_crlf_blank_lines_and_no_last_newline_are_fine() {
    let want = read(good().as_bytes()).unwrap().events;
    for text in [
        format!("\u{feff}{}", good()),
        good().replace('\n', "\r\n"),
        format!("\u{feff}{}\r\n", good().replace('\n', "\r\n")),
        good().replace('\n', "\n\n"),
        good().replace('\n', "\r\n\r\n"),
        good().trim_end().to_owned(),
        good().replace("time_ns,action", "\"time_ns\", action "),
    ] {
        assert_eq!(read(text.as_bytes()).unwrap().events, want, "{text:?}");
    }
}

#[test]
fn columns_are_found_by_name() {
    let text = "color,bytes,id,action,time_ns\nred,8,0,alloc,1\n\"b,\nlue\",8,0,free,2\n";
    let trace = read(text.as_bytes()).unwrap();
    assert_eq!(trace.stats().frees, 1);
    assert_eq!((trace.events[1].time_ns, trace.events[1].bytes), (2, 8));
    assert!(trace.devices.is_empty());
    for missing in ["time_ns", "action", "id", "bytes"] {
        let text = good().replacen(missing, "else", 1);
        let want = format!("in:1: the header has no column \"{missing}\"");
        assert_eq!(error(text.as_bytes()), want);
    }
    let twice = good().replacen("tag", "op", 1);
    assert_eq!(
        error(twice.as_bytes()),
        "in:1: the header names the column \"op\" twice"
    );
    assert_eq!(read(HEADER.as_bytes()).unwrap().events.len(), 0);
    assert_eq!(read(HEADER.trim_end().as_bytes()).unwrap().events.len(), 0);
}

#[test]
fn rows_that_cannot_have_happened_are_refused() {
    for (row, want) in [
        (
            "2,free,2,0x1,8,,0,,",
            "free names allocation 2, which is not live",
        ),
        (
            "2,alloc,3,0x1,8,,0,,",
            "has id 3, but ids count up and the next one is 2",
        ),
        (
            "2,alloc,1,0x1,8,,0,,",
            "has id 1, but ids count up and the next one is 2",
        ),
        ("0,alloc,2,0x1,8,,0,,", "time goes back from 1 to 0 ns"),
        ("2,free,0,0x1,9,,0,,", "says 9 bytes, but 8 were allocated"),
        ("2,free,0,0x3,8,,0,,", "says address 0x3, but it is at 0x1"),
        ("2,alloc,2,0x1,72057594037927937,,0,,", "is absurd"),
        ("2,alloc,2,0x1,18446744073709551615,,0,,", "is absurd"),
    ] {
        let text = bad_row(row);
        assert!(text.starts_with("in:4: ") && text.contains(want), "{text}");
    }
    let twice = good() + "9,free,0,0x10,64,cpu,0,,\n";
    assert_eq!(
        error(twice.as_bytes()),
        "in:6: allocation 0 is freed a second time"
    );
}

#[test]
fn rows_that_are_not_well_formed_are_refused() {
    for (row, want) in [
        (
            "2,alloc,2,0x1,8,,0,",
            "the row has 8 fields, the header has 9",
        ),
        (
            "2,alloc,2,0x1,8,,0,,,",
            "the row has 10 fields, the header has 9",
        ),
        ("x", "the row has 1 fields"),
        (
            "-2,alloc,2,0x1,8,,0,,",
            "time_ns is not a whole number below 2^64: \"-2\"",
        ),
        ("2.5,alloc,2,0x1,8,,0,,", "time_ns is not a whole number"),
        (",alloc,2,0x1,8,,0,,", "time_ns is not a whole number"),
        (
            "2,alloc,2,0x1,18446744073709551616,,0,,",
            "bytes is not a whole number",
        ),
        ("2,alloc,+2,0x1,8,,0,,", "id is not a whole number"),
        ("2,alloc,-1,0x1,8,,0,,", "id is not a whole number"),
        (
            "2,alloc,2,12,8,,0,,",
            "addr is not a hex number with 0x: \"12\"",
        ),
        ("2,alloc,2,0x,8,,0,,", "addr is not a hex number"),
        ("2,alloc,2,0x+1,8,,0,,", "addr is not a hex number"),
        (
            "2,alloc,2,0x1,8,,4294967296,,",
            "stream is larger than 2^32",
        ),
        (
            "2,alloc,2,0x1,8,,a\u{7}b,,",
            "stream is not a whole number below 2^64: \"a\\u{7}b\"",
        ),
    ] {
        let text = bad_row(row);
        assert!(text.contains(want), "{text}");
    }
}

#[test]
fn lines_are_counted_with_crlf_blank_lines_and_quotes() {
    let bad = "x,alloc,2,,8,,0,,";
    for (text, line) in [
        (format!("{HEADER}{bad}"), 2),
        (format!("{HEADER}{bad}\n"), 2),
        (format!("{HEADER}{bad}\r\n\r\n"), 2),
        (format!("{HEADER}{ROWS}{bad}\n").replace('\n', "\r\n"), 6),
        (format!("{HEADER}\n\n{bad}\n{ROWS}"), 4),
        (format!("{HEADER}{bad}\"a\nb\nc\"\n{ROWS}"), 2),
        (format!("{HEADER}1,alloc,0,,8,,0,\"a\nb\",\n{bad}\n"), 4),
        (format!("{HEADER}1,alloc,0,,8,,0,\"a\r\nb\",\r\n{bad}"), 4),
    ] {
        let error = read(text.as_bytes()).unwrap_err();
        assert_eq!(error.place, Place::Line(line), "{text:?}: {error}");
    }
}

#[test]
fn text_must_be_utf_8_and_quotes_closed() {
    let mut bytes = good().into_bytes();
    bytes.extend(b"9,free,1,0x50,0,cpu,2,\xff,\n");
    assert_eq!(error(&bytes), "in:6: tag is not UTF-8");
    let open = good() + "9,free,1,0x50,0,cpu,2,\"never closed,\n1,2,3\n";
    assert!(matches!(kind(open.as_bytes()), ErrorKind::Syntax(_)));
    let open = good() + "9,free,1,0x50,0,cpu,2,,\"never closed\n1,2,3\n";
    assert!(error(open.as_bytes()).contains("a quote is not closed"));
}

#[test]
fn live_bytes_that_overflow_are_refused() {
    let mut text = HEADER.to_owned();
    for i in 0..=256 {
        text += &format!("0,alloc,{i},0x1,{},,0,,\n", 1u64 << 56);
    }
    let want = "in:257: the live allocations sum up to more than 2^64 bytes";
    assert_eq!(error(text.as_bytes()), want);
}

#[test]
fn unknown_actions_are_skipped_with_a_note() {
    let mut text = good();
    for i in 0..100 {
        text += &format!("9,resize{},7,0x1,8,cpu,0,,\n", i % 20);
    }
    let trace = read(text.as_bytes()).unwrap();
    assert_eq!((trace.stats().events, trace.events.len()), (104, 4));
    assert_eq!(trace.skipped_rows, 100);
    assert_eq!(trace.notes[0], "unknown action \"resize0\": 5 rows skipped");
    assert_eq!(
        trace.notes.last().unwrap(),
        "more unknown actions: 20 rows skipped"
    );
}

#[test]
fn several_devices_are_noted() {
    let text = good().replacen("cpu", "cuda:1", 1);
    let trace = read(text.as_bytes()).unwrap();
    assert_eq!(trace.devices, ["cuda:1", "cpu"]);
    assert!(trace.notes[0].contains("cuda:1, cpu"));
}

#[test]
fn limits_hold() {
    let limits = Limits {
        max_decompressed_bytes: 1 << 20,
        max_events: 3,
        max_string: 100_000,
        max_name_bytes: 1000,
        ..Limits::default()
    };
    let row = "0,oom,,,1,,0,,\n";
    let names: String = (0..3)
        .map(|i| format!("0,oom,,,1,,0,{},{i}\n", "x".repeat(400 + i)))
        .collect();
    for (text, want) in [
        (row.repeat(4), "in:5: too large: more than 3 events"),
        (
            names,
            "in:4: too large: the different names and operators take more than 1000 bytes",
        ),
        (
            "0,new,,,1,,0,,\n".repeat(1 << 17),
            "too large: more than 1048576 bytes of content",
        ),
        (
            "x".repeat(200_000),
            "too large: a row of more than 100000 bytes",
        ),
        (
            format!("\"{}", "\n".repeat(200_000)),
            "too large: a row of more than 100000 bytes",
        ),
        (
            ",".repeat(200_000),
            "too large: a row of more than 100000 bytes",
        ),
    ] {
        let text = HEADER.to_owned() + &text;
        let error = read_within(text.as_bytes(), limits.clone()).unwrap_err();
        assert!(one_line(&error).ends_with(want), "{error}");
    }
}
