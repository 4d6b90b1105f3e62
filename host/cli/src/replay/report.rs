//! What a replay found, for people.

use super::log::LogSummary;
use super::verdict::{beside, replaced, swapped, verdict};
use super::{Summary, Tenants, Verify, VmDone};
use crate::size::human;
use indicatif::{HumanCount, HumanDuration, HumanFloatCount};
use std::fmt::Write as _;
use std::time::Duration;

/// Rows of a name and what there is to say, the latter aligned.
#[derive(Default)]
struct Table(Vec<(&'static str, String)>);

impl Table {
    fn row(&mut self, name: &'static str, text: impl Into<String>) -> &mut Self {
        self.0.push((name, text.into()));
        self
    }

    fn text(&self, title: &str, end: &str) -> String {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = format!("{title}\n\n");
        for (name, what) in &self.0 {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "  {name:width$}  {what}");
        }
        let _ = writeln!(text, "\n{end}");
        text
    }
}

pub(super) fn count(n: u64) -> String {
    HumanCount(n).to_string()
}

/// `1,024 swap-ins`, `1 swap-in`.
pub(super) fn counted(n: u64, one: &str) -> String {
    let plural = match one.strip_suffix("y") {
        _ if n == 1 => one.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None if one.ends_with("ss") || one.ends_with("ch") => format!("{one}es"),
        None => format!("{one}s"),
    };
    format!("{} {plural}", count(n))
}

/// `1.50x`, of what may be 0.
fn times(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".into(),
        whole => format!("{:.2}x", part as f64 / whole as f64),
    }
}

pub(super) fn took(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.2} s"),
        s => HumanDuration(Duration::from_secs_f64(s)).to_string(),
    }
}

/// The whole report.
pub(super) fn text(s: &Summary) -> String {
    let events = s.allocations + s.frees;
    let model = &s.access_model;
    let verify = match model.verify {
        Verify::Off => "nothing is checked",
        Verify::Sample => "one block in 64 is checked",
        Verify::Full => "every byte is checked",
    };
    let tenants = match model.tenants {
        Tenants::One => "one tenant",
        Tenants::Stream => "a tenant per stream",
    };
    let mut t = Table::default();
    let engines = match s.copy_engines {
        1 => String::new(),
        n => format!(", {n} copy engines"),
    };
    let reach = match s.gtt_bytes < s.system_bytes {
        true => format!(", {} of it mapped at once", human(s.gtt_bytes)),
        false => String::new(),
    };
    let gpu = match &s.adapter {
        None => String::new(),
        Some(gpu) => format!(" on {} by way of {}", gpu.name, gpu.backend),
    };
    let device = format!("{}{gpu}, strategy {}{engines}", s.device, s.strategy);
    t.row("device", device)
        .row(
            "vram",
            format!(
                "{} ({} of the live peak)",
                human(s.vram_bytes),
                times(s.vram_bytes, s.live_peak_bytes)
            ),
        )
        .row("system memory", human(s.system_bytes) + &reach)
        .row(
            "access model",
            format!(
                "each allocation uses the {} newest, each free is a use, and so is the end; {verify}; {tenants}",
                model.touch
            ),
        )
        .row(
            "allocations",
            format!("{}, {} freed", count(s.allocations), count(s.frees)),
        )
        .row(
            "live peak",
            format!(
                "{}; at most {}",
                human(s.live_peak_bytes),
                counted(s.live_peak_allocations, "allocation")
            ),
        )
        .row(
            "high water",
            format!(
                "{} of vram ({} of the live peak)",
                human(s.high_water_bytes),
                times(s.high_water_bytes, s.live_peak_bytes)
            ),
        )
        .row("evictions", count(s.evictions))
        .row("swap-ins", count(s.swap_ins))
        .row("moved", human(s.bytes_moved))
        .row(
            "verified",
            format!(
                "{}, {} corrupt",
                human(s.bytes_verified),
                counted(s.corrupt_bytes, "byte")
            ),
        )
        .row(
            "failed",
            format!(
                "{}, {}, {}",
                counted(s.failed_allocations, "allocation"),
                counted(s.failed_accesses, "access"),
                counted(s.device_faults, "device fault")
            ),
        );
    fault_rows(&mut t, s);
    for (swap, pause) in s.swaps.iter().zip(&s.timing.swap_pause_ns) {
        t.row("swap", swapped(swap, *pause));
    }
    for fault in &s.strategy_faults {
        t.row("strategy fault", replaced(fault));
    }
    if let Some(vm) = &s.vm {
        t.row("address spaces", mapped(vm));
    }
    if let Some(shadow) = &s.shadow {
        t.row("shadow", beside(shadow));
    }
    t.row(
        "crossings",
        format!(
            "{} ({:.3} per event), {} of plans",
            count(s.crossings),
            s.crossings as f64 / events.max(1) as f64,
            counted(s.plan_ops, "operation")
        ),
    )
    .row("restarts", count(s.restarts))
    .row(
        "time",
        format!(
            "{} ({} events/s, {}/s moved), started in {}",
            took(s.timing.seconds),
            HumanFloatCount(s.timing.events_per_second.round()),
            human(s.timing.bytes_per_second_moved as u64),
            took(s.timing.startup_seconds)
        ),
    );
    for note in &s.details.notes {
        t.row("note", note.as_str());
    }
    let source = &s.source;
    let title = format!(
        "{}: {}, {}",
        source.path,
        source.format,
        counted(source.events, "event")
    );
    let maps = s.details.maps.as_ref();
    let maps = maps.map_or_else(String::new, |maps| format!("{maps}\n"));
    maps + &t.text(&title, &verdict(s))
}

/// What came of address spaces.
fn mapped(vm: &VmDone) -> String {
    format!(
        "{} made, {} ended, {} shown again; {}, {}, {}",
        counted(vm.binds, "mapping"),
        count(vm.unbinds),
        count(vm.rebinds),
        counted(vm.jobs, "job"),
        counted(vm.faults, "page fault"),
        counted(vm.stale_accesses, "stale access"),
    )
}

/// What faults did, when some were asked for or something failed.
fn fault_rows(t: &mut Table, s: &Summary) {
    let seen = [
        s.faults_injected,
        s.cpu_fallbacks,
        s.poisoned.len() as u64,
        s.refused_accesses,
        s.cancelled_jobs,
        s.resets,
        s.failed_operations,
        s.captures.len() as u64,
    ];
    if s.faults.is_empty() && seen.iter().all(|&n| n == 0) {
        return;
    }
    for rule in &s.faults {
        t.row("fault rule", rule.to_string());
    }
    t.row(
        "faults",
        format!(
            "{} injected (seed {}), {} failed, {} redone by the CPU",
            count(s.faults_injected),
            s.fault_seed,
            counted(s.failed_operations, "operation"),
            count(s.cpu_fallbacks)
        ),
    )
    .row(
        "lost",
        format!(
            "the device {}, the content of {}; {} cancelled, {} refused",
            counted(s.resets, "time"),
            counted(s.poisoned.len() as u64, "buffer"),
            counted(s.cancelled_jobs, "job"),
            counted(s.refused_accesses, "use")
        ),
    );
    if let Some(first) = s.captures.first() {
        t.row(
            "captures",
            format!(
                "{}, see: gpumm capture show {first}",
                count(s.captures.len() as u64)
            ),
        );
    }
}

/// The whole report on a request log.
pub(super) fn log_text(s: &LogSummary) -> String {
    let mut t = Table::default();
    t.row("device", format!("{}, strategy {}", s.device, s.strategy))
        .row("vram", human(s.vram_bytes))
        .row("system memory", human(s.system_bytes))
        .row("batches", count(s.batches))
        .row("requests", count(s.requests))
        .row("different", counted(s.different_batches, "batch"))
        .row(
            "high water",
            format!("{} of vram", human(s.high_water_bytes)),
        )
        .row("evictions", count(s.evictions))
        .row("swap-ins", count(s.swap_ins))
        .row("moved", human(s.bytes_moved))
        .row(
            "verified",
            format!(
                "{}, {} bytes corrupt, {} device faults",
                human(s.bytes_verified),
                count(s.corrupt_bytes),
                count(s.device_faults)
            ),
        )
        .row("plans", format!("SHA-256 {}", s.plans_digest))
        .row("restarts", count(s.restarts))
        .row("time", took(s.timing.seconds));
    let title = format!("{}: {}", s.source.path, s.source.format);
    t.text(&title, &log_verdict(s))
}

/// What the replay of a log found, in one sentence.
pub(super) fn log_verdict(s: &LogSummary) -> String {
    match s.first_different_batch {
        None if s.corrupt_bytes + s.device_faults > 0 => format!(
            "The plans are equal, but {} bytes are corrupt and {} commands failed on the device.",
            count(s.corrupt_bytes),
            count(s.device_faults)
        ),
        None => format!(
            "All plans of {} are equal byte for byte.",
            counted(s.batches, "batch")
        ),
        Some(first) => format!(
            "The plans of {} of {} differ, first those of batch {first} (counted from 0): the log \
             was changed, or another version of the components made it.{}",
            count(s.different_batches),
            counted(s.batches, "batch"),
            match s.cut_short {
                true => " What follows in the log no longer fits and was left out.",
                false => "",
            }
        ),
    }
}
