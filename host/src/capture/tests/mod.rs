//! Captures are taken, limited and written as promised.

mod plans;
mod schema;

use super::keeper::{Captures, Limits};
use super::*;
use crate::shared::Shared;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use gpumm_contract::{AllocationId, BufferId, MemoryTypeId, Point, TableId, TenantId, TimelineId};
use gpumm_hw::DeviceError;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::fs;
use tempfile::TempDir;

/// The components of every context here.
fn components() -> Vec<Component> {
    vec![
        Component::new("mechanism", Some("0.1.0"), b"bytes of a component"),
        Component::new("mine", None, b""),
    ]
}

fn fences() -> Vec<Fence> {
    let fence = |timeline, name: &str, completed, submitted| Fence {
        timeline,
        name: name.into(),
        completed,
        submitted,
    };
    vec![fence(0, "copy", 6, 9), fence(1, "run", 3, 3)]
}

const MEMORIES: [(MemoryTypeId, &str); 2] =
    [(MemoryTypeId(0), "system"), (MemoryTypeId(1), "vram")];

/// Calls with the context that all tests share.
fn with_context<T>(call: impl FnOnce(&Context<'_>) -> T) -> T {
    call(&Context {
        device: "sim",
        timelines: &fences(),
        memories: &MEMORIES,
        // One component in two slots is named once.
        components: &[components(), components()].concat(),
    })
}

fn at(timeline: u32, value: u64) -> Point {
    Point {
        timeline: TimelineId(timeline),
        value,
    }
}

fn table(role: Role, number: u32, bytes: u64) -> TableSubmitted {
    let segment = |address, bytes| gpumm_contract::Segment { address, bytes };
    let half = bytes / 2;
    TableSubmitted {
        role,
        table: TableId(number),
        allocation: AllocationId(number + 100),
        buffer: BufferId(4),
        tenant: TenantId(1),
        memory: MemoryTypeId(u8::from(role != Role::Source)),
        bytes,
        segments: Shared::from(&[segment(4096, half), segment(1 << 20, bytes - half)][..]),
        keep_content: false,
    }
}

/// The byte that every table shows at an offset.
fn byte(offset: u64) -> u8 {
    (offset % 251) as u8
}

fn read(_: &TableSubmitted, offset: u64, bytes: u64) -> Result<Vec<u8>, DeviceError> {
    Ok((offset..offset + bytes).map(byte).collect())
}

fn failed(at: Point, tables: &[TableSubmitted]) -> FailedOp<'_> {
    FailedOp {
        operation: Operation::Copy,
        at,
        error: DeviceError::Reset,
        job: None,
        repaired: Repaired::ByCpu,
        tables,
        vm: None,
    }
}

struct Folder {
    folder: TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Folder { folder }
    }

    fn captures(&self, limits: Limits) -> Captures {
        let directory = Dir::open_ambient_dir(self.folder.path(), ambient_authority()).unwrap();
        Captures::new(Some((directory, "out".into())), limits)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|e| name(e.unwrap())).collect();
        names.sort();
        names
    }

    fn text(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }

    fn capture(&self, name: &str) -> Capture {
        Capture::from_json(&self.text(name)).unwrap()
    }
}

/// Both halves.
fn whole(captures: &Captures, op: &FailedOp<'_>, context: &Context<'_>, read: input::Read<'_>) {
    let looked = captures.look(op.at, op.tables, context, read);
    captures.keep(looked, op, context);
}

fn take(captures: &Captures, at: Point) {
    with_context(|context| whole(captures, &failed(at, &[]), context, &read));
}

#[test]
fn a_capture_says_what_was_submitted_and_what_it_showed() {
    let folder = Folder::new();
    let captures = folder.captures(Limits::default());
    let long = 3 * (1 << 20) + 5;
    let mut target = table(Role::Target, 15, long);
    target.keep_content = true;
    let tables = [table(Role::Source, 12, long), target];
    let mut op = failed(at(0, 7), &tables);
    op.repaired = Repaired::Poisoned;
    let largest = RefCell::new(0);
    let chunks = |t: &TableSubmitted, offset, bytes: u64| {
        largest.replace_with(|&mut old| bytes.max(old));
        read(t, offset, bytes)
    };
    with_context(|context| whole(&captures, &op, context, &chunks));
    assert_eq!(folder.names(), ["capture-copy-7.json"]);
    assert_eq!(captures.kept(), ["out/capture-copy-7.json"]);
    assert_eq!((captures.taken(), captures.problems().len()), (1, 0));
    assert_eq!(largest.into_inner(), 1 << 20, "a table is read in chunks");

    let capture = folder.capture("capture-copy-7.json");
    assert_eq!(capture.schema_version, SCHEMA_VERSION);
    assert_eq!((capture.device.as_str(), capture.fences), ("sim", fences()));
    assert_eq!(capture.components, components());
    let Failed { at, cause, .. } = &capture.failed;
    assert_eq!(
        (at.name.as_str(), at.value, cause.as_str()),
        ("copy", 7, "reset")
    );
    let bytes: Vec<u8> = (0..long).map(byte).collect();
    let sha256 = model::hex(&Sha256::digest(&bytes));
    for (seen, memory) in capture.tables.iter().zip(["system", "vram"]) {
        assert_eq!(seen.sha256.as_ref(), Some(&sha256));
        assert_eq!((seen.memory.as_str(), seen.segments.len()), (memory, 2));
    }
    assert_eq!(capture.tables[0].content, None);
    assert_eq!(capture.tables[1].content, Some(model::hex(&bytes[..4096])));
    let [buffer] = &capture.buffers[..] else {
        panic!("one buffer moved: {:?}", capture.buffers);
    };
    assert_eq!(
        (buffer.bytes, buffer.state),
        (long, Some(BufferState::Poisoned))
    );
}

#[test]
fn the_first_failures_of_each_timeline_are_kept_and_the_others_counted() {
    let folder = Folder::new();
    let captures = folder.captures(Limits {
        per_timeline: 3,
        ..Limits::default()
    });
    for value in 8..14 {
        take(&captures, at(1, value));
        take(&captures, at(0, value));
    }
    let expected = ["copy-8", "copy-9", "copy-10", "run-8", "run-9", "run-10"];
    let path = |name: &str| format!("out/capture-{name}.json");
    assert_eq!(captures.kept(), expected.map(path));
    assert_eq!(folder.names().len(), 6);
    assert_eq!(captures.taken(), 12);
}

#[test]
fn what_is_kept_does_not_depend_on_threads() {
    let folder = Folder::new();
    let captures = folder.captures(Limits::default());
    let tables = [table(Role::Target, 1, 5000)];
    std::thread::scope(|scope| {
        for timeline in 0..2 {
            let (captures, tables) = (&captures, &tables);
            scope.spawn(move || {
                for value in 1..=50 {
                    let op = failed(at(timeline, value), tables);
                    with_context(|context| whole(captures, &op, context, &read));
                }
            });
        }
        scope.spawn(|| (0..500).for_each(|batch| captures.note_plan(batch, &plans::plan(batch))));
    });
    let values = |name: &'static str| (1..=4).map(move |v| format!("out/capture-{name}-{v}.json"));
    let expected: Vec<String> = ["copy", "run"].into_iter().flat_map(values).collect();
    assert_eq!(captures.kept(), expected.as_slice());
    assert_eq!((captures.taken(), captures.problems().len()), (100, 0));
    for name in folder.names() {
        let capture = folder.capture(&name);
        assert!(capture.tables[0].sha256.is_some());
        let batches: Vec<u64> = capture.plans.iter().map(|plan| plan.batch).collect();
        assert!(batches.len() <= 8 && batches.is_sorted(), "{batches:?}");
    }
}

#[test]
fn a_table_that_cannot_be_read_costs_only_itself() {
    let folder = Folder::new();
    let captures = folder.captures(Limits::default());
    let mut tables: Vec<_> = (1..=4).map(|n| table(Role::Buffer, n, 3 << 20)).collect();
    tables
        .iter_mut()
        .for_each(|table| table.keep_content = true);
    tables[3].bytes = 0;
    let read = |t: &TableSubmitted, offset, bytes| match t.table.0 {
        1 if offset > 0 => Err(DeviceError::Stopped),
        2 => Ok(vec![0; 3]),
        _ => read(t, offset, bytes),
    };
    with_context(|context| whole(&captures, &failed(at(0, 1), &tables), context, &read));
    let seen = folder.capture("capture-copy-1.json").tables;
    let why = |n: usize| seen[n].unreadable.as_deref();
    assert_eq!(why(0), Some("the device has stopped"));
    assert_eq!(why(1), Some("3 bytes were read where 1048576 are"));
    assert_eq!((why(2), why(3)), (None, None));
    let (hash, content) = (
        |n: usize| seen[n].sha256.is_some(),
        |n: usize| seen[n].content.as_ref().map(String::len),
    );
    assert_eq!([0, 1, 2, 3].map(hash), [false, false, true, true]);
    assert_eq!([0, 1, 2, 3].map(content), [None, None, Some(8192), Some(0)]);
}

#[test]
fn a_directory_that_takes_nothing_is_told_and_fails_nobody() {
    let folder = Folder::new();
    let captures = folder.captures(Limits::default());
    // What stands in a capture's place cannot be replaced by a file.
    fs::create_dir_all(folder.folder.path().join("capture-copy-1.json/in the way")).unwrap();
    fs::create_dir_all(folder.folder.path().join(".capture-copy-2.json.part/too")).unwrap();
    (1..=3).for_each(|value| take(&captures, at(0, value)));
    assert_eq!(captures.kept(), ["out/capture-copy-3.json"]);
    let problems = captures.problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    for (problem, name) in problems.iter().zip(["copy-1", "copy-2"]) {
        let begin = format!("out/capture-{name}.json: ");
        assert!(problem.starts_with(&begin), "{problem}");
    }
    // No half files.
    let left = [
        ".capture-copy-2.json.part",
        "capture-copy-1.json",
        "capture-copy-3.json",
    ];
    assert_eq!(folder.names(), left);
    drop(folder.folder);
    take(&captures, at(0, 4));
    assert_eq!((captures.taken(), captures.problems().len()), (4, 3));
}

#[test]
fn without_a_directory_failures_are_counted() {
    let captures = Captures::new(None, Limits::default());
    captures.note_plan(1, &plans::plan(1));
    let never = |_: &TableSubmitted, _, _| panic!("nobody keeps what is read");
    let tables = [table(Role::Source, 1, 64)];
    with_context(|context| whole(&captures, &failed(at(0, 1), &tables), context, &never));
    assert_eq!((captures.taken(), captures.kept().len()), (1, 0));
    assert!(captures.problems().is_empty());
}

#[test]
fn a_capture_of_an_earlier_run_is_replaced() {
    let folder = Folder::new();
    fs::write(folder.folder.path().join("capture-copy-1.json"), "old").unwrap();
    fs::write(
        folder.folder.path().join(".capture-copy-1.json.part"),
        "half",
    )
    .unwrap();
    let captures = folder.captures(Limits::default());
    take(&captures, at(0, 1));
    assert_eq!(captures.kept().len(), 1);
    assert_eq!(folder.names(), ["capture-copy-1.json"]);
    assert_eq!(folder.capture("capture-copy-1.json").failed.at.value, 1);
}

#[test]
fn names_of_timelines_become_names_of_files() {
    let folder = Folder::new();
    let captures = folder.captures(Limits::default());
    let long = "x".repeat(300);
    let names = ["sim/copy", "copy 0", "../up", "", "süd", "a.b_c-d", &long];
    let fence = |(timeline, name): (u32, &str)| Fence {
        timeline,
        name: name.into(),
        completed: 0,
        submitted: 0,
    };
    let timelines: Vec<Fence> = (0..).zip(names).map(fence).collect();
    for timeline in 0..8 {
        let context = Context {
            device: "sim",
            timelines: &timelines,
            memories: &[],
            components: &[],
        };
        whole(&captures, &failed(at(timeline, 5), &[]), &context, &read);
    }
    assert!(captures.problems().is_empty(), "{:?}", captures.problems());
    let mut expected = vec![
        "capture--t3-5.json".to_owned(),
        "capture-..-up-5.json".to_owned(),
        "capture-a.b_c-d-5.json".to_owned(),
        "capture-sim-copy-5.json".to_owned(),
        "capture-copy-0-5.json".to_owned(),
        "capture-s-d-t4-5.json".to_owned(),
        "capture-timeline-7-5.json".to_owned(),
        format!("capture-{}-t6-5.json", "x".repeat(100)),
    ];
    expected.sort();
    assert_eq!(folder.names(), expected);
}
