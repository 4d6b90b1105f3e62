//! What a device moves and fills, beside loops on the same GPU written by hand.
//!
//! `--device wgpu[:NAME]|sim` (`wgpu` unless said otherwise; NAME is a part of a GPU's name);
//! `--part copies|fills|kernels|replay` runs a part alone, `--case WORD` what has the word in its name.
//!
//! - `copies`: between system memory and vram and inside vram, contiguous and in pages: `pages` are
//!   every second one in random order, so that nothing merges, `reversed` ones all of a range.
//! - `fills`: with zeroes and with a pattern.
//! - `kernels`: jobs on address spaces whose ranges are walked, bound directly, and walked with
//!   scattered pages behind them; `raw/shader` is a shader on buffers of its own.
//! - `replay`: events of a recorded trace per second, with small buffers and all content checked.
//!
//! `device` is timed from the submission until its point is reached; cases as `32x1024KiB` are
//! of so many commands, queued at once, until the last point. The loops use wgpu as a good
//! programmer would: staging buffers are kept and mapped again while nobody waits for them.
//!
//! - `raw/whole`: one staging buffer as large as the transfer, one submit.
//! - `raw/windows`: a few staging buffers take turns, so that CPU and GPU work at once.
//! - `raw/submits`: as many submits as the device has commands, and one wait.
//! - `raw/thread`: as `raw/whole`, asked for by another thread, as a device's engine is: what two
//!   threads cost that wake each other.
//! - `raw/one-submit`: a command per page, all in one submit.
//! - `raw/submit-per-page`: each page in a submit of its own; one wait for all of them.
//!
//! Subjects have memory of their own and take turns; `raw` is the best of the loops that do not
//! submit page by page and are of one thread. The simulated device has no loops beside it: bench
//! `copy` is about that.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
#[path = "device/copies.rs"]
mod copies;
#[path = "device/fills.rs"]
mod fills;
#[path = "device/kernels.rs"]
mod kernels;
#[path = "device/raw.rs"]
mod raw;
#[path = "device/replay.rs"]
mod replay;
#[path = "device/subject.rs"]
mod subject;

use common::{Row, finish_with, option};
use serde_json::{Map, json};
use std::time::{Duration, Instant};

/// Samples of each subject of a case: so many, or what fits into [`TIME`], but for [`MOST`].
const ROUNDS: usize = 15;
const MOST: usize = 500;
const TIME: Duration = Duration::from_millis(500);

/// A subject of a case: what it is called, and one round of its work.
type Turn<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// Lets the subjects take turns; the answer is a row for each, the device's with ratios.
fn measure(case: &str, bytes: u64, mut turns: Vec<Turn<'_>>) -> Vec<Row> {
    let mut samples = vec![Vec::new(); turns.len()];
    let begin = Instant::now();
    let enough = |round| round > MOST || (round > ROUNDS && begin.elapsed() > TIME);
    for round in (0..).take_while(|round| !enough(*round)) {
        for ((_, act), samples) in turns.iter_mut().zip(&mut samples) {
            let start = Instant::now();
            act();
            let nanos = start.elapsed().as_nanos() as f64;
            // The first one touches memory and fills pools.
            if round > 0 {
                samples.push(bytes as f64 * 1e3 / nanos);
            }
        }
    }
    let median = |samples: &[f64]| {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    let first = turns[0].0;
    let mut ratios = Map::new();
    let mut best = (0.0, 0.0);
    for ((name, _), theirs) in turns.iter().zip(&samples).skip(1) {
        let pairs: Vec<_> = samples[0].iter().zip(theirs).map(|(a, b)| a / b).collect();
        let ratio = median(&pairs);
        let rounded = json!((ratio * 1000.0).round() / 1000.0);
        ratios.insert(format!("{first}/{name}"), rounded.clone());
        let speed = median(theirs);
        let peer = ![raw::PER_PAGE, raw::THREAD].contains(name);
        if first == "device" && peer && speed > best.0 {
            best = (speed, ratio);
            ratios.insert("device/raw".into(), rounded);
        }
    }
    let rows = turns.iter().zip(samples).enumerate();
    rows.map(|(index, ((name, _), samples))| Row {
        bench: "device",
        case: case.into(),
        subject: (*name).into(),
        unit: "MB/s",
        samples,
        extra: if index == 0 {
            ratios.clone()
        } else {
            Map::new()
        },
    })
    .collect()
}

/// A part: its name, and what gives its rows for a device and the cases whose names contain a word.
type Part = (&'static str, fn(&str, &str) -> Vec<Row>);

const PARTS: [Part; 4] = [
    ("copies", copies::run),
    ("fills", fills::run),
    ("kernels", kernels::run),
    ("replay", replay::run),
];

fn main() {
    let device = option("--device").unwrap_or_else(|| "wgpu".into());
    let part = option("--part");
    let word = option("--case").unwrap_or_default();
    let parts = PARTS.iter();
    let parts = parts.filter(|(name, _)| part.as_deref().is_none_or(|part| part == *name));
    let rows = parts.flat_map(|(_, run)| run(&device, &word)).collect();
    finish_with(rows, &["--device", "--part", "--case"]);
}
