//! Fault rules, and the words they are written in.

use std::fmt;
use std::str::{FromStr, SplitWhitespace};

/// Which of the things that a rule counts it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// This one, counted from 1; 0 hits nothing.
    Nth(u64),
    /// One in so many: with 3 the 3rd, 6th, 9th; 0 hits nothing.
    Every(u64),
    /// By chance, in parts per million. Equal seeds choose alike.
    Percent(u32),
    /// Every one.
    All,
}

/// What a simulated device does wrong by itself, as devices do.
///
/// Counting begins at 1 with the rule. Which submission is hit is decided when it is accepted,
/// so equal submissions in equal order are hit alike, whatever the engines do meanwhile.
/// *Copies* are [`Command::Copy`](crate::Command::Copy) on engines of
/// [`EngineKind::Copy`](crate::EngineKind::Copy), *jobs* everything but
/// [`Command::Nop`](crate::Command::Nop) on engines of
/// [`EngineKind::Compute`](crate::EngineKind::Compute), *ops* everything but `Nop` on any
/// engine. Of several rules that hit a submission, the first one acts.
///
/// # Shape
/// As text: see [`FAULT_HELP`]. What `Display` writes parses back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultRule {
    /// Copies damage the first half of what they would write, and fail with
    /// [`DeviceError::Injected`](crate::DeviceError::Injected).
    FailCopy(Which),
    /// Copies begin, touch nothing and do not end by themselves: see
    /// [`SimConfig::timeout`](crate::sim::SimConfig::timeout).
    HangCopy(Which),
    /// Jobs do what copies do under [`FaultRule::FailCopy`].
    FailJob(Which),
    /// Jobs do what copies do under [`FaultRule::HangCopy`].
    HangJob(Which),
    /// The device is lost once so many ops are accepted: these still run, every later
    /// submission ends with [`DeviceError::Lost`](crate::DeviceError::Lost). It happens once.
    LoseDevice {
        /// How many ops are still good.
        after: u64,
    },
    /// The CPU copies nothing: [`DeviceError::CpuRefused`](crate::DeviceError::CpuRefused).
    RefuseFallback,
    /// Copies with hooks are refused with
    /// [`DeviceError::NoRescueMemory`](crate::DeviceError::NoRescueMemory) when they are
    /// submitted; the refused ones are counted by this rule alone.
    FailFallbackAllocation(Which),
    /// Calls of [`Device::map_dma`](crate::Device::map_dma) fail with
    /// [`DeviceError::DmaMap`](crate::DeviceError::DmaMap).
    FailDmaMap(Which),
    /// Every [`Command::WritePtes`](crate::Command::WritePtes), on any engine, writes the first
    /// half and fails with [`DeviceError::Injected`](crate::DeviceError::Injected).
    FailPteWrite(Which),
    /// Calls of [`Device::reserve_ptes`](crate::Device::reserve_ptes) fail with
    /// [`DeviceError::PageTableMemory`](crate::DeviceError::PageTableMemory).
    FailPteReservation(Which),
}

/// Teaches the text form of [`FaultRule`], one line each.
pub const FAULT_HELP: &str = "\
A fault rule makes the simulated device fail on purpose. The same rules with the same seed fail
the same operations in every run.

  fail copy WHICH                     copies write half, as garbage, and fail
  hang copy WHICH                     copies make no progress until the device ends them
  fail job WHICH                      jobs write half, as garbage, and fail
  hang job WHICH                      jobs make no progress until the device ends them
  lose device after N ops             N operations still run, then the device is lost
  refuse fallback                     the CPU may not redo a failed copy
  fail allocation of fallback WHICH   there is no memory to prepare the redoing of a copy
  fail dma map WHICH                  system memory cannot be mapped for the device
  fail pte write WHICH                page table writes do half, and fail
  fail pte reservation WHICH          there is no memory for page tables

WHICH is one of
  N          the N-th one, counted from 1
  every N    one in N: the N-th, the 2N-th and so on
  P%         by chance, 0.0001% to 100%
  (nothing)  every one

Examples
  fail copy 3
  fail copy every 10
  hang copy 0.5%
  fail job every 100
  hang job 1
  lose device after 5000 ops
  refuse fallback
  fail allocation of fallback 2
  fail dma map every 7
  fail pte write 2
  fail pte reservation 10%
";

/// Parts per million in one percent.
const PERCENT: u32 = 10_000;

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Nth(n) => write!(f, " {n}"),
            Which::Every(n) => write!(f, " every {n}"),
            Which::Percent(millionths) => {
                let (whole, part) = (millionths / PERCENT, millionths % PERCENT);
                let part = format!("{part:04}");
                match part.trim_end_matches('0') {
                    "" => write!(f, " {whole}%"),
                    part => write!(f, " {whole}.{part}%"),
                }
            }
            Which::All => Ok(()),
        }
    }
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultRule::FailCopy(which) => write!(f, "fail copy{which}"),
            FaultRule::HangCopy(which) => write!(f, "hang copy{which}"),
            FaultRule::FailJob(which) => write!(f, "fail job{which}"),
            FaultRule::HangJob(which) => write!(f, "hang job{which}"),
            FaultRule::LoseDevice { after } => write!(f, "lose device after {after} ops"),
            FaultRule::RefuseFallback => f.write_str("refuse fallback"),
            FaultRule::FailFallbackAllocation(which) => {
                write!(f, "fail allocation of fallback{which}")
            }
            FaultRule::FailDmaMap(which) => write!(f, "fail dma map{which}"),
            FaultRule::FailPteWrite(which) => write!(f, "fail pte write{which}"),
            FaultRule::FailPteReservation(which) => write!(f, "fail pte reservation{which}"),
        }
    }
}

/// Why a text is no fault rule: a word that is not possible where it stands, or an end that
/// comes too early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRuleError {
    word: Option<String>,
    possible: &'static str,
}

impl FaultRuleError {
    /// How much of a word is shown, in characters.
    const SHOWN: usize = 40;

    fn at(word: Option<&str>, possible: &'static str) -> FaultRuleError {
        let shown = |word: &str| match word.char_indices().nth(FaultRuleError::SHOWN) {
            Some((end, _)) => format!("{}...", &word[..end]),
            None => word.to_owned(),
        };
        FaultRuleError {
            word: word.map(shown),
            possible,
        }
    }
}

impl fmt::Display for FaultRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.word {
            Some(word) => write!(f, "a fault rule cannot have {word:?} here")?,
            None => f.write_str("a fault rule is not complete")?,
        }
        write!(f, "; possible: {}", self.possible)
    }
}

impl std::error::Error for FaultRuleError {}

/// How a rule begins.
#[derive(Clone, Copy)]
enum Verb {
    Fail,
    Hang,
    Lose,
    Refuse,
}

/// The words of a rule, taken one by one.
struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    /// The choice whose name is the next word.
    fn choose<T: Copy>(
        &mut self,
        possible: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, FaultRuleError> {
        let word = self.0.next();
        choices
            .iter()
            .find(|(name, _)| Some(*name) == word)
            .map(|(_, choice)| *choice)
            .ok_or_else(|| FaultRuleError::at(word, possible))
    }

    fn expect(&mut self, expected: &'static str) -> Result<(), FaultRuleError> {
        self.choose(expected, &[(expected, ())])
    }

    fn number(&mut self, from: u64, possible: &'static str) -> Result<u64, FaultRuleError> {
        let word = self.0.next();
        word.and_then(digits)
            .filter(|number| *number >= from)
            .ok_or_else(|| FaultRuleError::at(word, possible))
    }

    fn which(&mut self) -> Result<Which, FaultRuleError> {
        let Some(word) = self.0.clone().next() else {
            return Ok(Which::All);
        };
        if word == "every" {
            self.0.next();
            return self.number(1, "a number from 1").map(Which::Every);
        }
        if let Some(text) = word.strip_suffix('%') {
            self.0.next();
            return millionths(text).map(Which::Percent).ok_or_else(|| {
                FaultRuleError::at(Some(word), "0% to 100%, with up to 4 decimals")
            });
        }
        let possible = "a number from 1, every N, P%, or nothing for every one";
        self.number(1, possible).map(Which::Nth)
    }

    fn end(&mut self) -> Result<(), FaultRuleError> {
        match self.0.next() {
            None => Ok(()),
            word => Err(FaultRuleError::at(word, "nothing more")),
        }
    }
}

/// Plain decimal digits.
fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// A percentage in parts per million.
fn millionths(text: &str) -> Option<u32> {
    let (whole, part) = match text.split_once('.') {
        Some((whole, part)) if (1..=4).contains(&part.len()) => {
            (digits(whole)?, digits(&format!("{part:0<4}"))?)
        }
        Some(_) => return None,
        None => (digits(text)?, 0),
    };
    let sum = whole.checked_mul(u64::from(PERCENT))?.checked_add(part)?;
    u32::try_from(sum).ok().filter(|sum| *sum <= 100 * PERCENT)
}

impl FromStr for FaultRule {
    type Err = FaultRuleError;

    fn from_str(text: &str) -> Result<FaultRule, FaultRuleError> {
        /// A rule that takes a [`Which`].
        type Make = fn(Which) -> FaultRule;
        let mut words = Words(text.split_whitespace());
        let verb = words.choose(
            "fail, hang, lose, refuse",
            &[
                ("fail", Verb::Fail),
                ("hang", Verb::Hang),
                ("lose", Verb::Lose),
                ("refuse", Verb::Refuse),
            ],
        )?;
        let rule = match verb {
            Verb::Fail => {
                let what = words.choose(
                    "copy, job, allocation of fallback, dma map, pte write, pte reservation",
                    &[
                        ("copy", FaultRule::FailCopy as Make),
                        ("job", FaultRule::FailJob),
                        ("allocation", FaultRule::FailFallbackAllocation),
                        ("dma", FaultRule::FailDmaMap),
                        ("pte", FaultRule::FailPteWrite),
                    ],
                )?;
                let what = match what(Which::All) {
                    FaultRule::FailFallbackAllocation(_) => {
                        words.expect("of")?;
                        words.expect("fallback")?;
                        what
                    }
                    FaultRule::FailDmaMap(_) => {
                        words.expect("map")?;
                        what
                    }
                    FaultRule::FailPteWrite(_) => words.choose(
                        "write, reservation",
                        &[
                            ("write", FaultRule::FailPteWrite as Make),
                            ("reservation", FaultRule::FailPteReservation),
                        ],
                    )?,
                    _ => what,
                };
                what(words.which()?)
            }
            Verb::Hang => {
                let what = words.choose(
                    "copy, job",
                    &[
                        ("copy", FaultRule::HangCopy as Make),
                        ("job", FaultRule::HangJob),
                    ],
                )?;
                what(words.which()?)
            }
            Verb::Lose => {
                words.expect("device")?;
                words.expect("after")?;
                let after = words.number(0, "a number")?;
                words.choose("ops", &[("ops", ()), ("op", ())])?;
                FaultRule::LoseDevice { after }
            }
            Verb::Refuse => {
                words.expect("fallback")?;
                FaultRule::RefuseFallback
            }
        };
        words.end()?;
        Ok(rule)
    }
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
