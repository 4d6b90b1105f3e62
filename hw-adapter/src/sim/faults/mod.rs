//! Fault injection: rules that are asked in the order of submissions, never by what engines
//! happen to do first.

mod rule;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

pub use rule::{FAULT_HELP, FaultRule, FaultRuleError, Which};

use crate::command::Command;
use crate::device::EngineKind;
use crate::error::DeviceError;
use crate::sync::lock;

/// What an accepted submission will suffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    #[default]
    Honest,
    /// It damages what it writes, and fails.
    Fail,
    /// It makes no progress.
    Hang,
}

/// The rules of a device, and whether it is lost.
#[derive(Debug)]
pub(crate) struct Faults {
    /// There are rules: submissions of an honest device take no lock here.
    armed: AtomicBool,
    lost: AtomicBool,
    injected: AtomicU64,
    rules: Mutex<Rules>,
}

/// The rules with what they have counted. Who holds their lock orders the submissions of all
/// engines.
#[derive(Debug)]
pub(crate) struct Rules {
    seed: u64,
    armed: Vec<Armed>,
    /// How often the device was lost: tells a reset that there was another loss meanwhile.
    pub(crate) losses: u64,
}

#[derive(Debug)]
struct Armed {
    rule: FaultRule,
    count: u64,
    /// It happens once, and has happened.
    spent: bool,
}

impl Faults {
    /// Without rules.
    pub(crate) fn new(seed: u64) -> Faults {
        Faults {
            armed: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            injected: AtomicU64::new(0),
            rules: Mutex::new(Rules {
                seed,
                armed: Vec::new(),
                losses: 0,
            }),
        }
    }

    /// The rules, if there are any.
    pub(crate) fn armed(&self) -> Option<MutexGuard<'_, Rules>> {
        self.armed.load(Ordering::Acquire).then(|| self.rules())
    }

    /// The rules, if any or not.
    pub(crate) fn rules(&self) -> MutexGuard<'_, Rules> {
        lock(&self.rules)
    }

    /// Adds a rule, which begins to count.
    pub(crate) fn arm(&self, rules: &mut Rules, rule: FaultRule) {
        rules.armed.push(Armed {
            rule,
            count: 0,
            spent: false,
        });
        self.armed.store(true, Ordering::Release);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    pub(crate) fn set_lost(&self, lost: bool) {
        self.lost.store(lost, Ordering::Release);
    }

    /// How many faults have taken effect.
    pub(crate) fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }

    /// A fault takes effect.
    pub(crate) fn inject(&self) {
        self.injected.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a rule keeps the CPU from copying.
    pub(crate) fn refuse_fallback(&self) -> bool {
        let refuses = |rules: MutexGuard<'_, Rules>| {
            let mut armed = rules.armed.iter();
            armed.any(|armed| armed.rule == FaultRule::RefuseFallback)
        };
        self.armed().is_some_and(refuses)
    }

    /// Counts a mapping; whether it fails.
    pub(crate) fn fail_dma_map(&self) -> bool {
        self.fail(|rule| match rule {
            FaultRule::FailDmaMap(which) => Some(which),
            _ => None,
        })
    }

    /// Counts a reservation of page tables; whether it fails.
    pub(crate) fn fail_pte_reservation(&self) -> bool {
        self.fail(|rule| match rule {
            FaultRule::FailPteReservation(which) => Some(which),
            _ => None,
        })
    }

    fn fail(&self, which: impl Fn(FaultRule) -> Option<Which>) -> bool {
        self.armed().is_some_and(|mut rules| rules.count(which))
    }
}

impl Rules {
    /// Counts one thing at every rule that `which` is about; whether one of them hits.
    fn count(&mut self, which: impl Fn(FaultRule) -> Option<Which>) -> bool {
        let seed = self.seed;
        let mut hit = false;
        for (index, armed) in (0..).zip(&mut self.armed) {
            if let Some(which) = which(armed.rule) {
                armed.count += 1;
                hit |= hits(which, armed.count, seed, index);
            }
        }
        hit
    }

    /// Counts a submission that nothing else refuses; what it will suffer.
    ///
    /// # Errors
    /// [`DeviceError::NoRescueMemory`] for a copy with hooks, which then only the rules that
    /// refuse have counted.
    pub(crate) fn judge(
        &mut self,
        kind: EngineKind,
        command: &Command,
        hooks: bool,
    ) -> Result<Verdict, DeviceError> {
        if matches!(command, Command::Nop) {
            return Ok(Verdict::Honest);
        }
        let copy = matches!(command, Command::Copy { .. });
        let refused = hooks
            && copy
            && self.count(|rule| match rule {
                FaultRule::FailFallbackAllocation(which) => Some(which),
                _ => None,
            });
        if refused {
            return Err(DeviceError::NoRescueMemory);
        }
        let copy = copy && kind == EngineKind::Copy;
        let job = kind == EngineKind::Compute;
        let ptes = matches!(command, Command::WritePtes { .. });
        let seed = self.seed;
        let mut verdict = Verdict::Honest;
        for (index, armed) in (0..).zip(&mut self.armed) {
            let (which, effect) = match armed.rule {
                FaultRule::FailCopy(which) if copy => (which, Verdict::Fail),
                FaultRule::HangCopy(which) if copy => (which, Verdict::Hang),
                FaultRule::FailJob(which) if job => (which, Verdict::Fail),
                FaultRule::HangJob(which) if job => (which, Verdict::Hang),
                FaultRule::FailPteWrite(which) if ptes => (which, Verdict::Fail),
                FaultRule::LoseDevice { .. } => {
                    armed.count += 1;
                    continue;
                }
                _ => continue,
            };
            armed.count += 1;
            if verdict == Verdict::Honest && hits(which, armed.count, seed, index) {
                verdict = effect;
            }
        }
        Ok(verdict)
    }

    /// Whether a rule loses the device now; each does so once.
    pub(crate) fn take_loss(&mut self) -> bool {
        let mut due = false;
        for armed in &mut self.armed {
            if let FaultRule::LoseDevice { after } = armed.rule
                && !armed.spent
                && armed.count >= after
            {
                // It keeps its place: places are part of what chance decides.
                armed.spent = true;
                due = true;
            }
        }
        due
    }
}

/// Whether the thing with this number (from 1) is one of those chosen.
fn hits(which: Which, number: u64, seed: u64, rule: u64) -> bool {
    match which {
        Which::All => true,
        Which::Nth(n) => number == n,
        Which::Every(n) => n > 0 && number.is_multiple_of(n),
        Which::Percent(millionths) => {
            let chance = mix(mix(mix(seed).wrapping_add(rule)).wrapping_add(number));
            // The high half of the product spreads the hash over a million numbers.
            let drawn = (u128::from(chance) * 1_000_000) >> 64;
            drawn < u128::from(millionths)
        }
    }
}

/// Spreads every bit over all bits.
///
/// # Source
/// SplitMix64 (Steele, Lea and Flood, 2014; public domain code by Vigna).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
