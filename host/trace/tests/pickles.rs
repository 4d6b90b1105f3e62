//! Hostile and odd pickles.
#![allow(clippy::unwrap_used)]

mod common;

use common::{P, entry, error, kind, one_line, raw, read, read_within, snapshot};
use gpumm_trace::{ErrorKind, Limits, Place};

const RUNS_CODE: [(u8, &str); 13] = [
    (b'c', "GLOBAL"),
    (0x93, "STACK_GLOBAL"),
    (b'R', "REDUCE"),
    (b'b', "BUILD"),
    (b'i', "INST"),
    (b'o', "OBJ"),
    (0x81, "NEWOBJ"),
    (0x92, "NEWOBJ_EX"),
    (0x82, "EXT1"),
    (0x83, "EXT2"),
    (0x84, "EXT4"),
    (b'P', "PERSID"),
    (b'Q', "BINPERSID"),
];

#[test]
fn opcodes_that_could_run_code_are_refused() {
    for (opcode, name) in RUNS_CODE {
        let bytes = raw(&[b'}', opcode, b'o', b's', b'\n', b'x', b'\n']);
        let text = error(&bytes);
        assert!(text.starts_with(&format!("in at byte 3: pickle opcode {name} is refused")));
        assert!(text.contains("could run code"), "{text}");
    }
}

#[test]
fn a_real_exploit_is_refused_at_its_global() {
    // pickle.dumps of an object whose __reduce__ is (os.system, ("id",)), protocol 4.
    let bytes = b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\
        \x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.";
    assert!(error(bytes).starts_with("in at byte 28: pickle opcode STACK_GLOBAL is refused"));
}

#[test]
fn other_opcodes_are_refused_too() {
    for (opcode, name) in [
        (0x97, "NEXT_BUFFER"),
        (0x98, "READONLY_BUFFER"),
        (b'I', "INT"),
        (b'F', "FLOAT"),
        (b'L', "LONG"),
        (b'S', "STRING"),
        (b'V', "UNICODE"),
        (b'd', "DICT"),
        (b'l', "LIST"),
        (b'g', "GET"),
        (b'p', "PUT"),
        (0x8e, "BINBYTES8"),
        (0x8f, "EMPTY_SET"),
        (0x90, "ADDITEMS"),
        (0x91, "FROZENSET"),
        (0x96, "BYTEARRAY8"),
    ] {
        let text = error(&raw(&[b'}', opcode, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert!(
            text.contains(&format!("opcode {name} is refused")),
            "{text}"
        );
    }
}

#[test]
fn every_byte_is_an_opcode_or_an_error() {
    for opcode in 0..=255u8 {
        for filler in [0u8, 1, b'.', 0xff] {
            for start in [&b"}"[..], b"}(", b"](N", b"}\x94(NN"] {
                let mut ops = start.to_vec();
                ops.push(opcode);
                ops.extend([filler; 12]);
                one_line(&read(&raw(&ops)).unwrap_err());
            }
        }
    }
}

#[test]
fn old_and_future_protocols_are_named() {
    for bytes in [
        &b"(dp0\nS'segments'\n"[..],
        b"(lp0\n.",
        b"}q\x00(X\x08\x00\x00\x00segments",
        b"cos\nsystem\n(S'id'\ntR.",
        b"\x80\x01}.",
        b"\x80\x06}.",
    ] {
        assert!(
            matches!(kind(bytes), ErrorKind::Unsupported(_)),
            "{bytes:?}"
        );
        assert!(error(bytes).contains("pickle of a protocol other than 2 to 5"));
    }
    assert!(error(b"\x80\x04\x80\x07}.").contains("protocol 7 is not 2 to 5"));
}

#[test]
fn deep_nesting_ends_in_an_error() {
    const DEEP: usize = 1_000_000;
    let lists = [vec![b']'; DEEP], vec![b'a'; DEEP - 1]].concat();
    let marked_lists = [b"](".repeat(DEEP), vec![b'e'; DEEP]].concat();
    let tuples = [vec![b')'], vec![0x85; DEEP]].concat();
    let marks = vec![b'('; DEEP];
    let dicts = [b"}N".repeat(DEEP), vec![b'}'], vec![b's'; DEEP]].concat();
    for ops in [lists, marked_lists, tuples, marks, dicts] {
        assert!(matches!(
            kind(&raw(&ops)),
            ErrorKind::TooDeep { limit: 200 }
        ));
    }
    let limits = Limits {
        max_depth: 3,
        ..Limits::default()
    };
    let three = read_within(&raw(b"]]]aa"), limits.clone()).unwrap_err();
    assert!(matches!(three.kind, ErrorKind::Shape { .. }));
    let four = read_within(&raw(b"]]]]aaa"), limits).unwrap_err();
    assert!(matches!(four.kind, ErrorKind::TooDeep { limit: 3 }));
}

#[test]
fn a_structure_that_contains_itself_does_not_loop() {
    // A list in itself, as the snapshot, as a device and as an entry.
    let itself = P::Raw(b"]\x94h\x00a".to_vec());
    assert!(error(&itself.pickle()).contains("expected a dict, found a list"));
    let traces = P::Dict(vec![("device_traces", itself)]);
    assert!(error(&traces.pickle()).contains("device_traces[0][0]: expected a dict"));
    // A dict in itself under the key "device_traces".
    let dict = raw(b"}\x94\x8c\x0ddevice_tracesh\x00s");
    assert!(error(&dict).contains("device_traces: expected a list, found a dict"));
}

#[test]
fn shared_structures_are_not_expanded() {
    // 190 levels of a pair of the level below: 2^190 leaves if it were expanded.
    let mut ops = b"N\x85".to_vec();
    for slot in 0..190u8 {
        ops.extend([b'q', slot, b'h', slot, 0x86]);
    }
    assert!(error(&raw(&ops)).contains("expected a dict, found a tuple"));
}

#[test]
fn a_flood_of_memo_reads_is_counted() {
    let limits = Limits {
        max_pickle_objects: 1000,
        ..Limits::default()
    };
    let reads = [&b"]\x94("[..], &b"h\x00".repeat(2000)].concat();
    let writes = [&b"}"[..], &b"\x94".repeat(2000)].concat();
    let dups = [&b"]("[..], b"N", &b"2".repeat(2000), b"e"].concat();
    for ops in [reads, writes, dups] {
        let error = read_within(&raw(&ops), limits.clone()).unwrap_err();
        assert!(one_line(&error).contains("more than 1000 pickled values"));
    }
}

#[test]
fn a_high_memo_slot_takes_no_memory() {
    // LONG_BINPUT to the last slot and back.
    let ops = b"}r\xff\xff\xff\xffj\xff\xff\xff\xff0";
    assert!(error(&raw(ops)).contains("device_traces: missing"));
    assert!(error(&raw(b"j\x00\x00\x00\x01")).contains("memo 16777216 is read before"));
}

#[test]
fn declared_lengths_are_not_believed() {
    let huge: [&[u8]; 4] = [
        b"X\xff\xff\xff\xff",
        b"B\xff\xff\xff\x7f",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8b\xff\xff\xff\x7f",
    ];
    for ops in huge {
        assert!(matches!(kind(&raw(ops)), ErrorKind::TooLarge(_)), "{ops:?}");
    }
    // Within the limit, but the data is short.
    for ops in [
        &b"X\xff\xff\xff\x03"[..],
        b"B\xff\xff\xff\x03",
        b"\x8a\xff",
        b"\x8c\x10ab",
    ] {
        assert!(
            matches!(kind(&raw(ops)), ErrorKind::Truncated(_)),
            "{ops:?}"
        );
    }
    assert!(error(&raw(b"\x8b\xff\xff\xff\xff")).contains("negative length"));
    assert!(error(&raw(b"T\xff\xff\xff\xff")).contains("negative length"));
}

#[test]
fn the_stack_is_checked() {
    for ops in [
        &b"a"[..],
        b"s",
        b"e",
        b"u",
        b"t",
        b"0",
        b"1",
        b"2",
        b"\x85",
        b"\x94",
        b"q\x00",
        b"N(a",
        b"](N(e",
        b"N(Ne",
        b"}(Nu",
        b"}(NNe",
        b"](NNu",
        b"(",
        b"N(",
        b"](N\x86",
    ] {
        let error = read(&raw(ops)).unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::Syntax(_)),
            "{ops:?}: {error}"
        );
        assert!(
            matches!(error.place, Place::Offset(2..)),
            "{ops:?}: {error}"
        );
    }
}

#[test]
fn a_pickle_cut_anywhere_is_truncated() {
    let bytes = snapshot(vec![entry("alloc", 1, 2, 3)]).pickle();
    assert_eq!(read(&bytes).unwrap().events.len(), 1);
    assert!(matches!(kind(&[]), ErrorKind::Empty));
    for len in 1..bytes.len() {
        assert!(
            matches!(kind(&bytes[..len]), ErrorKind::Truncated(_)),
            "{len}"
        );
    }
    let longer = [&bytes[..], b"}"].concat();
    let error = read(&longer).unwrap_err();
    assert_eq!(error.place, Place::Offset(bytes.len() as u64));
}

#[test]
fn all_opcodes_of_data_are_read() {
    // Each of these leaves nothing behind but the memo; the snapshot follows.
    let odd: [&[u8]; 17] = [
        b"N0",
        b"\x880",
        b"\x890",
        b"K\x010",
        b"M\x01\x010",
        b"J\x01\x00\x00\x000",
        b"\x8a\x000",
        b"\x8b\x01\x00\x00\x00\x010",
        b"G\0\0\0\0\0\0\0\x000",
        b"U\x01a0",
        b"T\x01\x00\x00\x00a0",
        b"C\x01a0",
        b"B\x01\x00\x00\x00a0",
        b"\x8d\x01\x00\x00\x00\x00\x00\x00\x00a0",
        b"(NN1",
        b")(NNt\x86NNN\x87N\x85000",
        b"(0\x95\0\0\0\0\0\0\0\0",
    ];
    let bytes = snapshot(vec![entry("alloc", 1, 2, 3)]).pickle();
    for protocol in 2..=5 {
        let ops = [&[0x80, protocol], &odd.concat()[..], &bytes[2..]].concat();
        assert_eq!(read(&ops).unwrap().events.len(), 1);
    }
}

#[test]
fn integers_have_any_length() {
    let with_size = |long: &[u8]| {
        let e = entry("oom", 0, 0, 0).with("size", P::Raw(long.to_vec()));
        read(&snapshot(vec![e]).pickle()).map(|t| t.events[0].bytes)
    };
    assert_eq!(with_size(b"\x8a\x00").unwrap(), 0);
    assert_eq!(with_size(b"\x8a\x01\x7f").unwrap(), 127);
    assert_eq!(
        with_size(b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00").unwrap(),
        u64::MAX
    );
    for (long, problem) in [
        (
            &b"\x8a\x01\xff"[..],
            "device_traces[0][0].size: is negative",
        ),
        (
            b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "found a huge integer",
        ),
        (
            b"\x8a\x11\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x03\x04\x05\x06\x07\x08\x01",
            "huge",
        ),
    ] {
        assert!(one_line(&with_size(long).unwrap_err()).contains(problem));
    }
}
