//! What injected faults explain, and what they do not.

use super::Summary;
use gpumm_hw::DeviceError;
use gpumm_hw::sim::{FAULT_HELP, FaultRule, FaultRuleError};
use serde::{Serialize, Serializer};
use std::str::FromStr;

/// What `--fault` is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultArg {
    /// How rules are written.
    Help,
    /// A rule.
    Rule(FaultRule),
}

impl FromStr for FaultArg {
    type Err = FaultRuleError;

    fn from_str(text: &str) -> Result<Self, FaultRuleError> {
        match text.trim() {
            "help" => Ok(FaultArg::Help),
            rule => rule.parse().map(FaultArg::Rule),
        }
    }
}

/// The rules of a command line; what help to print instead, if that was asked for.
pub(super) fn rules(args: &[FaultArg]) -> Result<Vec<FaultRule>, &'static str> {
    let rule = |arg: &FaultArg| match arg {
        FaultArg::Help => Err(FAULT_HELP),
        FaultArg::Rule(rule) => Ok(*rule),
    };
    args.iter().map(rule).collect()
}

/// Fault rules as JSON: texts that parse back.
pub(super) fn as_texts<S: Serializer>(rules: &[FaultRule], to: S) -> Result<S::Ok, S::Error> {
    let texts: Vec<String> = rules.iter().map(FaultRule::to_string).collect();
    texts.serialize(to)
}

fn fails_copies(rule: &FaultRule) -> bool {
    matches!(rule, FaultRule::FailCopy(_) | FaultRule::HangCopy(_))
}

fn fails_jobs(rule: &FaultRule) -> bool {
    matches!(rule, FaultRule::FailJob(_) | FaultRule::HangJob(_))
}

fn fails_ptes(rule: &FaultRule) -> bool {
    matches!(rule, FaultRule::FailPteWrite(_))
}

fn loses_device(rule: &FaultRule) -> bool {
    matches!(rule, FaultRule::LoseDevice { .. })
}

/// Contents are lost with the device, or with a copy that nobody may redo.
fn loses_content(rule: &FaultRule) -> bool {
    loses_device(rule) || *rule == FaultRule::RefuseFallback
}

/// Whether rules explain that mappings for DMA fail.
pub(super) fn fail_mappings(rules: &[FaultRule]) -> bool {
    let fails = |rule: &FaultRule| matches!(rule, FaultRule::FailDmaMap(_));
    rules.iter().any(fails)
}

/// Whether rules explain that content is lost.
pub(super) fn lose_content(rules: &[FaultRule]) -> bool {
    rules.iter().any(loses_content)
}

/// Whether rules explain that a command ended so.
pub(super) fn explain(rules: &[FaultRule], error: DeviceError) -> bool {
    let by = |rule: &FaultRule| match error {
        DeviceError::Injected => {
            fails_ptes(rule) || matches!(rule, FaultRule::FailCopy(_) | FaultRule::FailJob(_))
        }
        DeviceError::TimedOut => {
            matches!(rule, FaultRule::HangCopy(_) | FaultRule::HangJob(_))
        }
        DeviceError::Lost => loses_device(rule),
        DeviceError::Poisoned => loses_content(rule),
        DeviceError::PageTablesLost => fails_ptes(rule),
        DeviceError::NoRescueMemory => matches!(rule, FaultRule::FailFallbackAllocation(_)),
        _ => false,
    };
    rules.iter().any(by)
}

/// What injected faults do not explain, in words; nothing when all is well.
pub(super) fn unexplained(s: &Summary) -> Vec<String> {
    let rules = s.faults.as_slice();
    let any = |is: fn(&FaultRule) -> bool| rules.iter().any(is);
    let mut found = Vec::new();
    let mut list = |wrong: bool, text: String| {
        if wrong {
            found.push(text);
        }
    };
    let counted = super::report::counted;
    let operations = any(fails_copies) || any(fails_jobs) || any(fails_ptes);
    list(
        s.cpu_fallbacks > 0 && (!operations || s.cpu_fallbacks > s.faults_injected),
        format!(
            "{} failed and had to be redone by the CPU",
            counted(s.cpu_fallbacks, "operation")
        ),
    );
    let poisoned = s.poisoned.len() as u64;
    list(
        poisoned > 0 && !any(loses_content),
        format!("{} lost their content", counted(poisoned, "buffer")),
    );
    list(
        s.refused_accesses > 0 && poisoned == 0,
        format!(
            "{} of buffers that have not lost their content were refused",
            counted(s.refused_accesses, "access")
        ),
    );
    list(
        s.cancelled_jobs > 0 && !(any(fails_jobs) || any(loses_content)),
        format!("{} did not run", counted(s.cancelled_jobs, "job")),
    );
    let losses = rules.iter().filter(|rule| loses_device(rule)).count() as u64;
    list(
        s.resets > losses,
        format!("the device was lost {}", counted(s.resets, "time")),
    );
    list(
        s.failed_operations > 0 && !operations && !any(loses_device) && s.cpu_fallbacks == 0,
        format!(
            "{} failed on the device",
            counted(s.failed_operations, "operation")
        ),
    );
    list(
        s.failed_swaps > 0,
        format!("{} failed", counted(s.failed_swaps, "swap")),
    );
    found
}
