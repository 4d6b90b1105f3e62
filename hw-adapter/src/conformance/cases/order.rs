//! Points, waits, and the end of both.

use std::sync::Arc;
use std::time::Duration;

use super::{KEY, noise};
use crate::command::{Command, Kernel, Segment, Submission};
use crate::conformance::{Bench, ENGINE, Failure, PATIENCE, Verdict, equal};
use crate::error::DeviceError;
use crate::outcome::{Outcome, OutcomeValue};
use crate::pattern::CheckReport;
use crate::timeline::Point;

pub(super) fn points_are_reached_in_order(bench: &mut Bench) -> Verdict {
    let list = [Segment::vram(0, 8)];
    let outcomes: Vec<_> = (0..50).map(|_| Arc::new(Outcome::new())).collect();
    for (value, outcome) in (1..).zip(&outcomes) {
        let (dst, offset, bytes, pattern) = (list.into(), 0, 8, value);
        let fill = Command::Fill {
            dst,
            offset,
            bytes,
            pattern,
        };
        bench.submit(ENGINE, Submission::new(fill).outcome(outcome))?;
    }
    for (value, outcome) in (1..).zip(&outcomes) {
        bench.wait(bench.point(ENGINE, value))?;
        equal("outcome", &outcome.get(), &Some(&OutcomeValue::Done))?;
    }
    equal(
        "last",
        &bench.read(&list, 0, 8)?,
        &50_u64.to_le_bytes().to_vec(),
    )
}

pub(super) fn engines_wait_for_each_other(bench: &mut Bench) -> Verdict {
    let gate = bench.timelines().create("gate");
    let other = bench.last_engine();
    let list: Arc<[Segment]> = [Segment::vram(0, 4096), Segment::system(0, 4096)].into();
    let (bytes, key) = (8192, KEY);
    let open = Point {
        timeline: gate,
        value: 3,
    };
    let dst = Arc::clone(&list);
    let write = Command::Run(Kernel::WritePattern { dst, bytes, key });
    let written = bench.submit(other, Submission::new(write).after(open))?;
    let check = Command::Run(Kernel::CheckPattern {
        src: list,
        bytes,
        key,
    });
    let outcome = Arc::new(Outcome::new());
    let mut submission = Submission::new(check).outcome(&outcome);
    if other != ENGINE {
        submission = submission.after(written);
    }
    let checked = bench.submit(ENGINE, submission)?;
    let advance = |value| {
        let result = bench.timelines().advance(gate, value);
        result.map_err(|error| Failure(error.to_string()))
    };
    advance(2)?;
    equal("too early", &bench.timelines().reached(written), &false)?;
    equal(
        "idle",
        &bench.device().idle(Some(Duration::from_millis(5))).is_err(),
        &true,
    )?;
    advance(4)?;
    bench.wait(checked)?;
    let clean = OutcomeValue::Checked(CheckReport {
        bytes_verified: bytes,
        ..CheckReport::default()
    });
    equal("checked", &outcome.get(), &Some(&clean))?;
    equal("idle", &bench.device().idle(Some(PATIENCE)), &Ok(()))
}

pub(super) fn reset_clears_vram_and_reaches_points(bench: &mut Bench) -> Verdict {
    let list = [Segment::vram(0, 8), Segment::system(0, 8)];
    bench.write(&list, 0, &[7; 16])?;
    let never = Point {
        timeline: bench.timelines().create("never"),
        value: 1,
    };
    let outcomes: Vec<_> = (0..3).map(|_| Arc::new(Outcome::new())).collect();
    let mut points = Vec::new();
    for outcome in &outcomes {
        let submission = Submission::default().after(never).outcome(outcome);
        points.push(bench.submit(ENGINE, submission)?);
    }
    bench.device().take_faults();
    equal("reset", &bench.device().reset(), &Ok(()))?;
    for (point, outcome) in points.iter().zip(&outcomes) {
        equal("reached", &bench.timelines().reached(*point), &true)?;
        let failed = OutcomeValue::Failed(DeviceError::Reset);
        equal("outcome", &outcome.get(), &Some(&failed))?;
    }
    let signals: Vec<_> = bench
        .device()
        .take_faults()
        .iter()
        .map(|f| f.signal)
        .collect();
    let expected: Vec<_> = points.iter().map(|point| Some(point.value)).collect();
    equal("faults", &signals, &expected)?;
    equal("log is taken", &bench.device().take_faults(), &Vec::new())?;
    let expected = [[0; 8], [7; 8]].concat();
    equal("contents", &bench.read(&list, 0, 16)?, &expected)
}

/// Copies and fills that were all queued at once; many use what others before them wrote.
pub(super) fn what_is_queued_ends_as_one_by_one(bench: &mut Bench) -> Verdict {
    const BYTES: u64 = 48 << 10;
    let random = noise(64 << 10);
    let mut numbers = random.chunks_exact(4).map(|n| {
        let small = u16::from_le_bytes([n[0], n[1]]);
        u64::from(small)
    });
    let mut below = |most: u64| numbers.next().unwrap_or_default() % most;
    let mut memories = [noise(BYTES), noise(BYTES + 1)[..BYTES as usize].to_vec()];
    let segment = |memory: usize, at: u64, bytes: u64| match memory {
        0 => Segment::vram(at, bytes),
        _ => Segment::system(at, bytes),
    };
    for (memory, data) in memories.iter().enumerate() {
        bench.write(&[segment(memory, 0, BYTES)], 0, data)?;
    }
    let mut last = None;
    for turn in 0..600 {
        let (memory, bytes) = (below(4) as usize / 3, 1 + below(5000));
        let at = below(BYTES - bytes);
        let (from, start) = (below(2) as usize, below(BYTES - bytes));
        let range = at as usize..(at + bytes) as usize;
        let dst = [segment(memory, at, bytes)].into();
        let command = if turn % 5 == 0 {
            let pattern = 0x0101_0101_0101_0101 * (turn % 256);
            memories[memory][range].fill(turn as u8);
            Command::Fill {
                dst,
                offset: 0,
                bytes,
                pattern,
            }
        } else if from == memory && start.abs_diff(at) < bytes {
            continue;
        } else {
            let data = memories[from][start as usize..(start + bytes) as usize].to_vec();
            memories[memory][range].copy_from_slice(&data);
            Command::Copy {
                src: [segment(from, start, bytes)].into(),
                dst,
                src_offset: 0,
                dst_offset: 0,
                bytes,
            }
        };
        last = Some(bench.submit(ENGINE, Submission::new(command))?);
    }
    if let Some(point) = last {
        bench.wait(point)?;
    }
    equal("failures", &bench.device().take_faults().len(), &0)?;
    for (memory, data) in memories.iter().enumerate() {
        let found = bench.read(&[segment(memory, 0, BYTES)], 0, BYTES)?;
        equal("content", &(found == *data), &true)?;
    }
    Ok(())
}
