//! What a device must refuse.

use std::sync::Arc;

use super::KEY;
use crate::command::{Check, Command, Kernel, MemorySpace, Segment, Submission};
use crate::conformance::{Bench, ENGINE, Failure, Verdict, equal};
use crate::device::EngineId;
use crate::error::{DeviceError, ListSide};
use crate::timeline::{Point, TimelineId};

/// Commands that use a list in each possible way.
fn users(list: &Arc<[Segment]>, bytes: u64) -> Vec<(ListSide, Command)> {
    use ListSide::{Destination, Source};
    let list = || Arc::clone(list);
    let good = || Arc::from([Segment::system(0, bytes)]);
    let copy = |src, dst| Command::Copy {
        src,
        dst,
        src_offset: 0,
        dst_offset: 0,
        bytes,
    };
    let (key, offset, pattern) = (KEY, 0, 0);
    let data = vec![0; bytes as usize].into();
    let write = Kernel::WritePattern {
        dst: list(),
        bytes,
        key,
    };
    let check = Kernel::CheckPattern {
        src: list(),
        bytes,
        key,
    };
    let rewrite = Kernel::Rewrite {
        mem: list(),
        bytes,
        old: KEY,
        new: KEY,
        check: Check::Full,
    };
    vec![
        (Source, copy(list(), good())),
        (Destination, copy(good(), list())),
        (
            Destination,
            Command::Fill {
                dst: list(),
                offset,
                bytes,
                pattern,
            },
        ),
        (
            Source,
            Command::Read {
                src: list(),
                offset,
                bytes,
            },
        ),
        (
            Destination,
            Command::Write {
                dst: list(),
                offset,
                data,
            },
        ),
        (Destination, Command::Run(write)),
        (Source, Command::Run(check)),
        (Destination, Command::Run(rewrite)),
    ]
}

pub(super) fn segments_outside_are_refused_by_index(bench: &mut Bench) -> Verdict {
    let size = |kind| {
        bench
            .device()
            .properties()
            .memory(kind)
            .map_or(0, |m| m.size)
    };
    let (vram, system) = (size(MemorySpace::Vram), size(MemorySpace::System));
    for (bad, size) in [
        (Segment::vram(vram, 1), vram),
        (Segment::vram(vram + 1, 0), vram),
        (Segment::vram(vram - 4, 5), vram),
        (Segment::system(u64::MAX, 2), system),
        (Segment::system(0, u64::MAX), system),
    ] {
        let list = [Segment::vram(8, 64), Segment::vram(80, 0), bad].into();
        for (side, command) in users(&list, 64) {
            let refused = bench.device().submit(ENGINE, Submission::new(command));
            let expected = DeviceError::SegmentOutOfBounds {
                side,
                index: 2,
                segment: bad,
                size,
            };
            equal("refusal", &refused, &Err(expected))?;
        }
    }
    Ok(())
}

pub(super) fn short_lists_are_refused(bench: &mut Bench) -> Verdict {
    let list = [Segment::vram(8, 40), Segment::vram(80, 23)].into();
    for (side, command) in users(&list, 64) {
        let refused = bench.device().submit(ENGINE, Submission::new(command));
        let expected = DeviceError::ListTooShort {
            side,
            needed: 64,
            available: 63,
        };
        equal("refusal", &refused, &Err(expected))?;
    }
    let (src, offset, bytes) = (list, u64::MAX, 2);
    let command = Command::Read { src, offset, bytes };
    match bench.device().submit(ENGINE, Submission::new(command)) {
        Err(DeviceError::ListTooShort { .. }) => Ok(()),
        other => Err(Failure(format!("{other:?}"))),
    }
}

pub(super) fn overlap_is_refused(bench: &mut Bench) -> Verdict {
    let copy = |src: &[Segment], dst: &[Segment]| Command::Copy {
        src: src.into(),
        dst: dst.into(),
        src_offset: 0,
        dst_offset: 0,
        bytes: 100,
    };
    let overlap = |offset, bytes| {
        Err(DeviceError::Overlap {
            memory: MemorySpace::Vram,
            offset,
            bytes,
        })
    };
    let one = [Segment::vram(0, 100)];
    let twice = [Segment::vram(250, 50), Segment::vram(220, 50)];
    for (command, expected) in [
        (copy(&one, &[Segment::vram(99, 100)]), overlap(99, 1)),
        (copy(&[Segment::vram(50, 100)], &one), overlap(50, 50)),
        (copy(&one, &twice), overlap(250, 20)),
        (copy(&one, &[Segment::vram(100, 100)]), Ok(())),
        (copy(&one, &[Segment::system(0, 100)]), Ok(())),
        // Reading bytes twice harms nobody.
        (copy(&twice, &one), Ok(())),
    ] {
        let answer = bench.device().submit(ENGINE, Submission::new(command));
        equal("answer", &answer, &expected)?;
    }
    Ok(())
}

pub(super) fn unknown_engines_and_timelines_are_refused(bench: &mut Bench) -> Verdict {
    let engine = EngineId(bench.last_engine().0 + 1);
    let refused = bench.device().submit(engine, Submission::default());
    equal("engine", &refused, &Err(DeviceError::UnknownEngine(engine)))?;
    let timeline = TimelineId(u32::MAX);
    let submission = Submission::default().after(Point { timeline, value: 0 });
    let refused = bench.device().submit(ENGINE, submission);
    let expected = Err(DeviceError::UnknownTimeline(timeline));
    equal("timeline", &refused, &expected)
}

pub(super) fn values_only_grow(bench: &mut Bench) -> Verdict {
    let submit = |value| {
        bench
            .device()
            .submit(ENGINE, Submission::default().signal(value))
    };
    let refused = |last, value| {
        Err(DeviceError::ValueNotIncreasing {
            engine: ENGINE,
            last,
            value,
        })
    };
    equal("0", &submit(0), &refused(0, 0))?;
    equal("5", &submit(5), &Ok(()))?;
    equal("5 again", &submit(5), &refused(5, 5))?;
    equal("4", &submit(4), &refused(5, 4))?;
    equal("9", &submit(9), &Ok(()))?;
    bench.wait(bench.point(ENGINE, 9))
}

pub(super) fn an_engine_does_not_wait_for_itself(bench: &mut Bench) -> Verdict {
    let first = bench.submit(ENGINE, Submission::default())?;
    let second = bench.submit(ENGINE, Submission::default().after(first))?;
    let point = bench.point(ENGINE, second.value + 1);
    let refused = bench.submit(ENGINE, Submission::default().after(point));
    let expected = DeviceError::WaitsForItself {
        engine: ENGINE,
        point,
        last: second.value,
    };
    equal("refusal", &refused, &Err(expected))?;
    bench.wait(second)
}
