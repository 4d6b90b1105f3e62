//! What a replay found, in one paragraph; after a failure with what to try.

use super::report::{count, counted, took};
use super::{Both, ShadowDone, StrategyFaultDone, Summary, SwapDone, Verify, faults};
use crate::size::human;
use std::fmt::Write as _;

/// How many allocations are named.
const NAMED: usize = 8;

/// What happened, in one sentence; after a failure with what to try.
pub(super) fn verdict(s: &Summary) -> String {
    if s.is_good() {
        return good(s);
    }
    let mut found = Vec::new();
    let mut list = |n: u64, text: String| {
        if n > 0 {
            found.push(text);
        }
    };
    let all = count(s.allocations);
    let failed = count(s.failed_allocations);
    list(
        s.failed_allocations,
        format!("{failed} of {all} allocations failed"),
    );
    let accesses = counted(s.failed_accesses, "access");
    list(s.failed_accesses, format!("{accesses} failed"));
    let corrupt = counted(s.corrupt_bytes, "byte");
    let verified = human(s.bytes_verified);
    list(
        s.corrupt_bytes,
        format!("{corrupt} of {verified} verified were corrupt"),
    );
    let commands = counted(s.device_faults, "command");
    list(s.device_faults, format!("{commands} failed on the device"));
    let stale = s.vm.map_or(0, |vm| vm.stale_accesses);
    let accesses = counted(stale, "access");
    list(
        stale,
        format!("{accesses} went through pages that were gone"),
    );
    found.extend(faults::unexplained(s));
    let mut text = found.join(", ");
    if let Some(first) = &s.details.first_failure {
        let _ = write!(text, " (first: {first})");
    }
    let _ = write!(text, "; {}.", advice(s));
    text
}

fn good(s: &Summary) -> String {
    let moved = match (s.evictions, s.swap_ins) {
        (0, _) => "nothing had to be evicted".to_owned(),
        (out, 0) => format!("{} and none was needed again", evicted(out)),
        (out, back) => format!("{} and came back {}", evicted(out), counted(back, "time")),
    };
    let placed = match s.failed_allocations {
        0 => "every allocation found a place".to_owned(),
        _ => "every other allocation found a place".to_owned(),
    };
    let mut said = Vec::new();
    if !s.faults.is_empty() {
        said = happened(s);
    }
    said.push(placed);
    said.push(moved);
    said.push(match (s.access_model.verify, s.faults_injected > 0) {
        (Verify::Off, _) => "contents were not checked".to_owned(),
        (_, false) => format!("{} verified, none corrupt", human(s.bytes_verified)),
        (_, true) => format!(
            "everything else was verified ({}), none corrupt",
            human(s.bytes_verified)
        ),
    });
    let text = said.join("; ");
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str() + "."
}

/// What injected faults led to, a clause each.
fn happened(s: &Summary) -> Vec<String> {
    if s.faults_injected == 0 {
        return vec!["no fault struck: the rules hit nothing in this run".into()];
    }
    let details = &s.details;
    let mut said = vec![format!("{} struck", counted(s.faults_injected, "fault"))];
    let mut say = |n: u64, text: String| {
        if n > 0 {
            said.push(text);
        }
    };
    let were = |n: u64| if n == 1 { "was" } else { "were" };
    let n = s.cpu_fallbacks;
    say(
        n,
        format!(
            "{} failed and {} redone by the CPU",
            counted(n, "operation"),
            were(n)
        ),
    );
    let n = details.failed_jobs;
    say(
        n,
        format!(
            "{} failed, and what they used was written anew",
            counted(n, "job")
        ),
    );
    let n = s.mapping_failures;
    say(
        n,
        format!(
            "{} {} refused because memory could not be mapped",
            counted(n, "request"),
            were(n)
        ),
    );
    let n = s.resets;
    let dropped = match details.lost_jobs {
        0 => String::new(),
        jobs => format!(" without {}", counted(jobs, "job")),
    };
    let lost = match n {
        1 => "once".to_owned(),
        n => counted(n, "time"),
    };
    say(
        n,
        format!("the device was lost {lost} and came back{dropped}"),
    );
    say(s.poisoned.len() as u64, poisoned(s));
    said
}

/// Who lost their content, and what became of their uses.
fn poisoned(s: &Summary) -> String {
    let n = s.poisoned.len() as u64;
    let mut named: Vec<String> = s.poisoned.iter().take(NAMED).map(u64::to_string).collect();
    if s.poisoned.len() > NAMED {
        named.push(format!("and {} more", count(n - NAMED as u64)));
    }
    let (buffers, their, what) = match n {
        1 => ("1 buffer".to_owned(), "its", "allocation"),
        n => (format!("{} buffers", count(n)), "their", "allocations"),
    };
    let named = named.join(", ");
    let mut text = format!("{buffers} lost {their} content ({what} {named})");
    let mut uses = Vec::new();
    match s.refused_accesses {
        0 => {}
        1 => uses.push("1 use was refused".to_owned()),
        n => uses.push(format!("{} uses were refused", count(n))),
    }
    match s.details.poisoned_jobs {
        0 => {}
        1 => uses.push("1 queued job was cancelled".to_owned()),
        n => uses.push(format!("{} queued jobs were cancelled", count(n))),
    }
    if !uses.is_empty() {
        let _ = write!(text, ", {}", uses.join(" and "));
    }
    text
}

/// A replacement of a component, and how to go back.
pub(super) fn swapped(swap: &SwapDone, pause_ns: u64) -> String {
    let end = match &swap.reason {
        Some(why) => format!(
            "then {} failed ({why}) and {} came back",
            swap.to, swap.from
        ),
        None => "--swap P%:back, or to the name, goes back".into(),
    };
    format!(
        "after event {}: {} -> {}, {} live carried over, a pause of {}; {end}",
        count(swap.at_event),
        swap.from,
        swap.to,
        count(swap.live),
        took(pause_ns as f64 / 1e9)
    )
}

/// A fault of a strategy, and who answered in its place.
pub(super) fn replaced(fault: &StrategyFaultDone) -> String {
    format!(
        "by event {}, {} failed: {}; {} answered in its place",
        count(fault.at_event),
        fault.name,
        fault.error,
        fault.fallback
    )
}

/// What the strategy would have done that decided beside.
pub(super) fn beside(shadow: &ShadowDone) -> String {
    if let Some(fault) = &shadow.fault {
        return format!("{} failed: {fault}; nothing came of it", shadow.shadow);
    }
    let of = |what: Both| format!("{} / {}", count(what.serving), count(what.shadow));
    let bytes = |what: Both| format!("{} / {}", human(what.serving), human(what.shadow));
    format!(
        "{} / {}: high water {}, refusals {} of {}, holes {}, largest hole {}",
        shadow.serving,
        shadow.shadow,
        bytes(shadow.high_water_bytes),
        of(shadow.refusals),
        count(shadow.wishes),
        of(shadow.holes),
        bytes(shadow.largest_hole_bytes)
    )
}

fn evicted(n: u64) -> String {
    match n {
        1 => "1 buffer was evicted".into(),
        n => format!("{} buffers were evicted", count(n)),
    }
}

fn advice(s: &Summary) -> &'static str {
    const BUG: &str = "this is a bug of gpumm: please report it with the file that --log writes";
    const GPU: &str = "the GPU or its driver failed: try a smaller --vram, and --device sim, which \
                       tells whether it is a bug of gpumm";
    let bug = match s.adapter.is_some() && s.corrupt_bytes == 0 {
        true => GPU,
        false => BUG,
    };
    if s.corrupt_bytes > 0 || s.device_faults > 0 {
        return bug;
    }
    let gtt = s.gtt_bytes < s.system_bytes;
    match (s.details.more_vram, s.details.more_system) {
        (true, true) if gtt => "try a larger --vram and a larger --system or --gtt",
        (false, true) if gtt => "try a larger --system or --gtt",
        (true, true) => "try a larger --vram and a larger --system",
        (true, false) => "try a larger --vram",
        (false, true) => "try a larger --system",
        (false, false) if s.failed_swaps > 0 => "the old component went on",
        (false, false) if !faults::unexplained(s).is_empty() => bug,
        (false, false) => "try again with GPUMM_LOG=warn, which tells which component failed",
    }
}
