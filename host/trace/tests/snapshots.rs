//! The rules by which a snapshot becomes events.
#![allow(clippy::unwrap_used)]

mod common;

use common::{P, entry, error, frame, kind, one_line, read, read_within, snapshot};
use gpumm_trace::{ErrorKind, EventKind, Limits, Options, OtherKind, Trace, import};

fn convert(snapshot: &P) -> Trace {
    read(&snapshot.pickle()).unwrap()
}

/// Time in µs, kind, id (-1 for none), bytes, stream, tag and operator.
fn events(trace: &Trace) -> Vec<(u64, char, i64, u64, u32, &str, &str)> {
    let kind = |kind| match kind {
        EventKind::Alloc => 'a',
        EventKind::Free => 'f',
        EventKind::Other(OtherKind::Oom) => 'o',
        EventKind::Other(_) => 's',
    };
    let events = trace.events.iter();
    events
        .map(|e| {
            let id = i64::try_from(e.id).unwrap_or(-1);
            let (tag, op) = (trace.tag(e), trace.op(e));
            (
                e.time_ns / 1000,
                kind(e.kind),
                id,
                e.bytes,
                e.stream,
                tag,
                op,
            )
        })
        .collect()
}

fn note(name: &'static str, stage: &'static str, device: i64, time_us: i64) -> P {
    P::Dict(vec![
        ("name", P::Text(name)),
        ("stage", P::Text(stage)),
        ("device", P::Int(device)),
        ("time_us", P::Int(time_us)),
    ])
}

fn block(address: Option<i64>, size: i64, state: &'static str) -> P {
    let block = P::Dict(vec![("size", P::Int(size)), ("state", P::Text(state))]);
    match address {
        Some(address) => block.with("address", P::Int(address)),
        None => block,
    }
}

fn segment(device: i64, address: i64, stream: i64, blocks: Vec<P>) -> P {
    P::Dict(vec![
        ("device", P::Int(device)),
        ("address", P::Int(address)),
        ("stream", P::Int(stream)),
        ("blocks", P::List(blocks)),
    ])
}

#[test]
fn an_allocation_ends_at_free_completed() {
    let trace = convert(&snapshot(vec![
        entry("alloc", 16, 100, 1000),
        entry("free_requested", 16, 100, 1001),
        entry("free_completed", 16, 128, 1002),
        entry("alloc", 16, 0, 1003),
    ]));
    let op = "b.py:7 f";
    assert_eq!(
        events(&trace),
        [
            (0, 'a', 0, 100, 0, "", op),
            (2, 'f', 0, 100, 0, "", op),
            (3, 'a', 1, 0, 0, "", op),
        ]
    );
    assert_eq!((trace.notes.len(), trace.skipped_rows), (0, 0));
}

#[test]
fn other_entries_are_kept_or_counted() {
    let trace = convert(&snapshot(vec![
        entry("segment_alloc", 16, 4096, 5),
        entry("segment_map", 16, 1, 5),
        entry("segment_split", 16, 1, 5),
        entry("oom", 16, i64::MAX, 6).without("addr"),
        entry("snapshot", 0, 0, 7),
        entry("teleport", 0, 0, 8),
        entry("teleport", 0, 0, 9),
    ]));
    let kinds: Vec<_> = trace.events.iter().map(|e| e.kind).collect();
    let other = EventKind::Other;
    assert_eq!(
        kinds,
        [
            other(OtherKind::SegmentAlloc),
            other(OtherKind::SegmentMap),
            other(OtherKind::SegmentOther),
            other(OtherKind::Oom),
        ]
    );
    assert_eq!(trace.notes.len(), 2, "{:?}", trace.notes);
    assert_eq!(
        trace.notes[1],
        "unknown action \"teleport\": 2 rows skipped"
    );
    assert_eq!(trace.stats().events, 4);
}

#[test]
fn older_blocks_are_found_by_walking_back() {
    let segments = P::List(vec![
        // Without addresses the blocks follow each other: 100, 110, 130.
        segment(
            0,
            100,
            9,
            vec![
                block(None, 10, "active_allocated"),
                block(None, 20, "inactive"),
                block(None, 30, "active_pending_free"),
            ],
        ),
        segment(0, 10, 0, vec![block(Some(50), 5, "active_awaiting_free")]),
        segment(1, 1, 0, vec![block(None, 1, "active_allocated")]),
    ]);
    let snapshot = snapshot(vec![
        entry("free_completed", 200, 7, 1000).with("stream", P::Int(4)),
        entry("alloc", 100, 10, 1001),
        entry("alloc", 200, 8, 1002),
    ])
    .with("segments", segments);
    let trace = convert(&snapshot);
    let (old, op) = ("before-recording", "b.py:7 f");
    assert_eq!(
        events(&trace),
        [
            (0, 'a', 0, 5, 0, old, ""),
            (0, 'a', 1, 30, 1, old, ""),
            (0, 'a', 2, 7, 2, old, ""),
            (0, 'f', 2, 7, 2, "", op),
            (1, 'a', 3, 10, 0, "", op),
            (2, 'a', 4, 8, 0, "", op),
        ]
    );
    assert!(
        trace.notes[0].starts_with("3 blocks are older"),
        "{:?}",
        trace.notes
    );
}

#[test]
fn tags_are_the_innermost_open_annotation() {
    let at = |time| entry("alloc", time, 1, time).without("frames");
    let notes = vec![
        note("inner", "START", 0, 20),
        note("outer", "START", 0, 10),
        note("elsewhere", "START", 1, 10),
        note("outer", "START", 0, 30),
        note("outer", "END", 0, 40),
        note("never", "END", 0, 40),
        note("outer", "END", 0, 50),
        note("inner", "END", 0, 60),
    ];
    let snapshot = snapshot((0..7).map(|i| at(i * 10 + 5)).collect())
        .with("external_annotations", P::List(notes));
    let trace = convert(&snapshot);
    let tags: Vec<_> = trace.events.iter().map(|e| trace.tag(e)).collect();
    // At 40 the older "outer" ends, so the newer one stays the innermost.
    assert_eq!(tags, ["", "outer", "inner", "outer", "outer", "inner", ""]);
}

#[test]
fn operators_are_the_first_python_frame() {
    let with = |frames| entry("oom", 0, 0, 0).with("frames", P::List(frames));
    let trace = convert(&snapshot(vec![
        with(vec![
            frame("x.cpp", 1, "c"),
            frame(r"C:\a/b\m.py", 12, "<module>"),
        ]),
        with(vec![
            frame("??", 0, "first()"),
            frame("y.cpp", 0, "second()"),
        ]),
        with(vec![]),
        with(vec![frame("p.py", 3, "")]),
    ]));
    let ops: Vec<_> = trace.events.iter().map(|e| trace.op(e)).collect();
    assert_eq!(ops, ["m.py:12 <module>", "first()", "", "p.py:3 "]);
}

#[test]
fn the_device_can_be_chosen() {
    let traces = |lists: Vec<Vec<P>>| {
        let lists = lists.into_iter().map(P::List).collect();
        snapshot(vec![])
            .with("device_traces", P::List(lists))
            .pickle()
    };
    let bytes = traces(vec![vec![], vec![], vec![entry("alloc", 1, 2, 3)], vec![]]);
    let trace = read(&bytes).unwrap();
    assert_eq!((trace.events.len(), &trace.devices[0][..]), (1, "cuda:2"));
    assert_eq!(
        trace.notes,
        ["device 0 has no events; device 2 is imported"]
    );
    let on = |device| {
        let options = Options {
            device: Some(device),
            ..Options::default()
        };
        import(&bytes[..], "in", options)
    };
    assert_eq!(on(2).unwrap().events.len(), 1);
    assert_eq!(on(3).unwrap().events.len(), 0);
    let text = one_line(&on(4).unwrap_err());
    assert_eq!(
        text,
        "in: device 4 is asked for, but the snapshot has 4 devices"
    );
    assert_eq!(read(&traces(vec![])).unwrap().events.len(), 0);
}

#[test]
fn times_may_be_missing_or_go_back() {
    let old = |action, addr| entry(action, addr, 1, 0).without("time_us");
    let trace = convert(&snapshot(vec![old("alloc", 1), old("free_completed", 1)]));
    assert_eq!(trace.events[1].time_ns, 0);
    assert!(trace.notes[0].starts_with("2 entries have no time"));
    let times = [70, 90, 80, 60, 95];
    let entries = times.map(|t| entry("oom", 0, 0, t)).to_vec();
    let trace = convert(&snapshot(entries));
    let times: Vec<_> = trace.events.iter().map(|e| e.time_ns).collect();
    assert_eq!(times, [0, 20_000, 20_000, 20_000, 25_000]);
    assert!(trace.notes[0].starts_with("time goes back at 2 entries"));
}

#[test]
fn wrong_shapes_are_named_by_their_path() {
    let bad_entry = |e| snapshot(vec![entry("alloc", 1, 2, 3), e]);
    let alloc = || entry("alloc", 9, 2, 3);
    let text = || P::Text("12");
    let bad_frame = |f| bad_entry(alloc().with("frames", P::List(vec![f])));
    let seg = |s| snapshot(vec![]).with("segments", P::List(vec![s]));
    let blk = |b| seg(segment(0, 1, 0, vec![b]));
    for (snapshot, want) in [
        (
            P::List(vec![]),
            "the snapshot: expected a dict, found a list",
        ),
        (P::Dict(vec![]), "device_traces: missing"),
        (
            P::Dict(vec![("device_traces", P::None)]),
            "device_traces: expected a list, found nothing",
        ),
        (
            P::Dict(vec![("device_traces", P::List(vec![text()]))]),
            "device_traces[0]: expected a list",
        ),
        (
            bad_entry(text()),
            "device_traces[0][1]: expected a dict, found text",
        ),
        (
            bad_entry(alloc().with("size", text())),
            "device_traces[0][1].size: expected an integer, found text",
        ),
        (
            bad_entry(alloc().without("size")),
            "device_traces[0][1].size: missing",
        ),
        (
            bad_entry(alloc().without("addr")),
            "device_traces[0][1].addr: missing",
        ),
        (
            bad_entry(alloc().with("addr", P::Int(-1))),
            "device_traces[0][1].addr: is negative",
        ),
        (
            bad_entry(alloc().with("action", P::Int(1))),
            "device_traces[0][1].action: expected text",
        ),
        (
            bad_entry(alloc().with("time_us", P::None)),
            "device_traces[0][1].time_us: expected an integer",
        ),
        (
            bad_entry(alloc().with("time_us", P::Int(i64::MAX))),
            "device_traces[0][1].time_us: is more than 2^64 ns",
        ),
        (
            bad_entry(alloc().with("frames", P::None)),
            "device_traces[0][1].frames: expected a list",
        ),
        (
            bad_frame(P::None),
            "device_traces[0][1].frames[0]: expected a dict",
        ),
        (
            bad_frame(frame("a.py", 1, "f").without("line")),
            "device_traces[0][1].frames[0].line: missing",
        ),
        (seg(P::None), "segments[0]: expected a dict"),
        (
            seg(segment(0, 1, 0, vec![]).without("device")),
            "segments[0].device: missing",
        ),
        (
            seg(segment(0, -1, 0, vec![])),
            "segments[0].address: is negative",
        ),
        (blk(text()), "segments[0].blocks[0]: expected a dict"),
        (
            blk(block(None, 1, "x").without("state")),
            "segments[0].blocks[0].state: missing",
        ),
        (
            bad_entry(alloc().with("size", P::Int((1 << 56) + 1))),
            "device_traces[0][1]: an allocation of 72057594037927937 bytes is absurd",
        ),
    ] {
        let text = error(&snapshot.pickle());
        assert!(text.contains(want), "{text}\nwants {want}");
    }
}

#[test]
fn a_record_with_many_keys_is_refused() {
    let many = (0..300).map(|_| ("k", P::None)).collect();
    assert!(error(&snapshot(vec![P::Dict(many)]).pickle()).contains("300 keys"));
}

#[test]
fn live_bytes_that_overflow_are_refused() {
    let entries = (0..=256).map(|i| entry("alloc", i, 1 << 56, 0)).collect();
    let text = error(&snapshot(entries).pickle());
    assert!(text.contains("sum up to more than 2^64"), "{text}");
}

#[test]
fn shared_lists_do_not_multiply_the_work() {
    let limits = || Limits {
        max_events: 100_000,
        max_name_bytes: 100_000,
        ..Limits::default()
    };
    // 1000 segments share a list of 1000 blocks.
    let blocks = P::List((0..1000).map(|i| block(Some(i), 1, "inactive")).collect());
    let shared = |value: P| {
        let mut first = value.pickle()[2..].to_vec();
        first.pop();
        first.extend(b"r\x07\x00\x00\x00");
        P::Raw(first)
    };
    let again = || P::Raw(b"j\x07\x00\x00\x00".to_vec());
    let seg = |blocks| segment(0, 0, 0, vec![]).with("blocks", blocks);
    let mut segments = vec![seg(shared(blocks))];
    segments.extend((1..1000).map(|_| seg(again())));
    let bomb = snapshot(vec![]).with("segments", P::List(segments));
    let text = one_line(&read_within(&bomb.pickle(), limits()).unwrap_err());
    assert!(text.contains("more than 100000 blocks"), "{text}");
    // 1000 frames share a file name of 1000 bytes.
    let long = Box::leak(format!("{}.py", "x".repeat(1000)).into_boxed_str());
    let with = |i: i64, file| {
        let frame = frame("", i, "f").with("filename", file);
        entry("oom", 0, 0, 0).with("frames", P::List(vec![frame]))
    };
    let mut entries = vec![with(0, shared(P::Text(long)))];
    entries.extend((1..1000).map(|i| with(i % 7, again())));
    let error = read_within(&snapshot(entries).pickle(), limits()).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::TooLarge(_)), "{error}");
}

#[test]
fn too_many_events_are_refused() {
    let limits = Limits {
        max_events: 2,
        ..Limits::default()
    };
    let bytes = snapshot(vec![entry("oom", 0, 0, 0); 3]).pickle();
    let error = read_within(&bytes, limits).unwrap_err();
    assert!(one_line(&error).ends_with("too large: more than 2 events"));
    assert!(!matches!(kind(&bytes[..9]), ErrorKind::Semantic(_)));
}
