//! Formats are recognised by content, and gzip is taken off carefully.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{self, Read, Write};

use common::{HEADER, error, gz, kind, one_line, read, read_within};
use flate2::Compression;
use flate2::write::GzEncoder;
use gpumm_trace::{ErrorKind, Limits, Options, Sniffed, import, sniff};

#[test]
fn formats_are_recognised() {
    let utf16: Vec<u8> = "\u{feff}{\"Total\":{}}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (bytes, want) in [
        (&b""[..], Sniffed::Empty),
        (b"\x1f\x8b", Sniffed::Gzip),
        (b"\x1f", Sniffed::Unknown),
        (b"\x80", Sniffed::Pickle),
        (b"\x80\x04", Sniffed::Pickle),
        (b"\x80\x04\x95", Sniffed::Pickle),
        (b"\x80\x02}q\x00", Sniffed::Pickle),
        (b"\x80\x04\x00", Sniffed::Unknown),
        (b"\x80\x09}", Sniffed::UnreadPickle),
        (b"gpumm-log 1\n", Sniffed::RequestLog),
        (HEADER.as_bytes(), Sniffed::Csv),
        (b"\xef\xbb\xbf\"id\",x,\"bytes\"\r\n", Sniffed::Csv),
        (b"Thread,Time,Action,Pointer,Size,Stream\n1,", Sniffed::Rmm),
        (
            b"Vulkan Memory Allocator,Calls recording\n1,8",
            Sniffed::VmaRecording,
        ),
        (b"{\n  \"General\": {", Sniffed::MemoryDump),
        (&utf16, Sniffed::MemoryDump),
        (b"{\"a\": 1}", Sniffed::Unknown),
        (b"hello\n", Sniffed::Unknown),
        (b"\n", Sniffed::Unknown),
    ] {
        assert_eq!(sniff(bytes), want, "{bytes:?}");
    }
    assert!(matches!(sniff(b"SQLite format 3\0"), Sniffed::Foreign(_)));
}

#[test]
fn other_formats_are_named() {
    for (bytes, want) in [
        (
            &b"Thread,Time,Action,Pointer,Size,Stream\n"[..],
            "this is an RMM allocation log; this version does not read it yet",
        ),
        (
            b"Vulkan Memory Allocator,Calls recording\n",
            "this is a Vulkan Memory Allocator call recording; this version",
        ),
        (
            b"{ \"General\": {} }",
            "this is a VMA/D3D12MA JSON dump; this version",
        ),
        (b"gpumm-log 1\n", "this is a gpumm request log"),
        (b"", "in: the file is empty"),
        (b"what\nis this", "not a trace that this version knows"),
    ] {
        assert!(error(bytes).contains(want), "{}", error(bytes));
        assert!(error(&gz(bytes)).contains(want), "{}", error(&gz(bytes)));
    }
    assert!(
        error(b"\x00\x01\n\x1b[0m").ends_with(r#"the file begins with "\u{0}\u{1}\n\u{1b}[0m""#)
    );
}

#[test]
fn the_name_of_the_file_stays_on_one_line() {
    let error = import(&b""[..], "a\nb\u{1b}", Options::default()).unwrap_err();
    assert_eq!(one_line(&error), r"a\nb\u{1b}: the file is empty");
}

fn rows(range: std::ops::Range<u32>) -> String {
    range
        .map(|i| format!("{i},alloc,{i},0x1,8,cpu,0,,\n"))
        .collect()
}

#[test]
fn several_gzip_members_are_one_file() {
    let members = [
        gz(HEADER.as_bytes()),
        gz(b""),
        gz(rows(0..500).as_bytes()),
        gz(rows(500..501).as_bytes()),
    ];
    assert_eq!(read(&members.concat()).unwrap().events.len(), 501);
}

#[test]
fn damaged_gzip_is_named() {
    let text = HEADER.to_owned() + &rows(0..300);
    let bytes = gz(text.as_bytes());
    assert_eq!(read(&bytes).unwrap().events.len(), 300);
    for len in 2..bytes.len() {
        let error = read(&bytes[..len]).unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::Truncated(_)),
            "{len}: {error}"
        );
    }
    for garbage in [&b"\0\0\0"[..], b"x", b"\x1f"] {
        let bytes = [&bytes[..], garbage].concat();
        let kind = kind(&bytes);
        assert!(
            matches!(kind, ErrorKind::Compression(_) | ErrorKind::Truncated(_)),
            "{kind}"
        );
    }
    for back in 1..=8 {
        let mut bytes = bytes.clone();
        let at = bytes.len() - back;
        bytes[at] ^= 1;
        assert!(matches!(kind(&bytes), ErrorKind::Compression(_)), "{back}");
    }
    // The checksum after a pickle counts, too.
    let mut pickle = gz(&common::snapshot(vec![]).pickle());
    assert!(read(&pickle).is_ok());
    let at = pickle.len() - 5;
    pickle[at] ^= 1;
    assert!(matches!(kind(&pickle), ErrorKind::Compression(_)));
}

#[test]
fn gzip_in_gzip_is_refused() {
    let text = error(&gz(&gz(HEADER.as_bytes())));
    assert_eq!(text, "in: gzip: a gzip file inside a gzip file is refused");
}

/// A CSV with one row that never ends.
fn bomb(megabytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(HEADER.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..megabytes {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn gzip_bombs_end_in_one_line() {
    let bytes = bomb(200);
    assert!(bytes.len() < 300_000);
    let text = error(&bytes);
    assert!(text.starts_with("in:2: too large: "), "{text}");
    let no_row_limit = Limits {
        max_string: u64::MAX,
        ..Limits::default()
    };
    let within = |limits| one_line(&read_within(&bytes, limits).unwrap_err());
    let text = within(no_row_limit.clone());
    assert!(
        text.contains("gzip data that grows more than 1000 times"),
        "{text}"
    );
    let text = within(Limits {
        max_decompressed_bytes: 10 << 20,
        ..no_row_limit.clone()
    });
    assert!(
        text.contains("more than 10485760 bytes of content"),
        "{text}"
    );
    let text = within(Limits {
        max_compression_ratio: 100,
        ..no_row_limit
    });
    assert!(text.contains("grows more than 100 times"), "{text}");
}

/// Gives one byte at a time and then fails, with interruptions.
struct Slow<'a>(&'a [u8], bool, Option<io::ErrorKind>);

impl Read for Slow<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match (self.0, self.2) {
            ([], Some(kind)) => Err(kind.into()),
            ([], None) => Ok(0),
            ([first, rest @ ..], _) => {
                buf[0] = *first;
                self.0 = rest;
                Ok(1)
            }
        }
    }
}

#[test]
fn slow_and_failing_readers_are_fine() {
    let text = HEADER.to_owned() + &rows(0..300);
    let pickle = common::snapshot(vec![common::entry("alloc", 1, 2, 3); 40]).pickle();
    for bytes in [text.as_bytes(), &pickle, &gz(text.as_bytes()), &gz(&pickle)] {
        let want = read(bytes).unwrap().events;
        let slow = import(Slow(bytes, false, None), "in", Options::default()).unwrap();
        assert_eq!(slow.events, want);
        for len in [0, 1, bytes.len() / 2, bytes.len()] {
            let reader = Slow(&bytes[..len], false, Some(io::ErrorKind::PermissionDenied));
            let error = import(reader, "in", Options::default()).unwrap_err();
            assert!(matches!(error.kind, ErrorKind::Io(_)), "{error}");
            one_line(&error);
        }
    }
}
