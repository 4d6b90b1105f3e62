//! Replacing components in the middle of a run: a live upgrade of the mechanism, another strategy.

use super::{ReplayOptions, Tally};
use gpumm::parts::{MechanismSource, StrategySource};
use gpumm::wasm::WasmMechanism;
use gpumm::{DeviceHandle, Error, StrategyFault};
use serde::Serialize;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// When a component is replaced, and by what.
#[derive(Clone, Debug)]
pub struct SwapAt {
    /// After this part of the events, 0 to 1, and the batch that they end in.
    pub part: f64,
    /// What takes over.
    pub by: SwapTo,
}

/// What takes over from whom.
#[derive(Clone, Debug)]
pub enum SwapTo {
    /// A mechanism; `None` is a fresh one of the source that the run began with.
    Mechanism(Option<Arc<dyn MechanismSource>>),
    /// A strategy.
    Strategy(Arc<dyn StrategySource>),
    /// The strategy that served before the last swap.
    Back,
}

/// A replacement that was made. How long requests waited for it is in
/// [`Timing::swap_pause_ns`](super::Timing::swap_pause_ns).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SwapDone {
    /// How many events were done.
    pub at_event: u64,
    /// Who served before.
    pub from: String,
    /// Who was brought in.
    pub to: String,
    /// Live buffers, or for a strategy live allocations, carried over.
    pub live: u64,
    /// Whether the newcomer failed soon after, so that the old one came back by itself.
    pub rolled_back: bool,
    /// How it failed then.
    pub reason: Option<String>,
}

/// A strategy failed, and another component answered in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StrategyFaultDone {
    /// Which one.
    pub name: String,
    /// What it did.
    pub error: String,
    /// How many events were done when the batch had ended in which it failed.
    pub at_event: u64,
    /// Who answered in its place.
    pub fallback: String,
}

/// What `--swap` is given: `P%:mechanism`, `P%:mechanism=FILE.wasm`, `P%:STRATEGY`,
/// `P%:FILE.wasm` or `P%:back`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SwapArg {
    pub(crate) part: f64,
    pub(crate) what: What,
}

/// What takes over, as it is named.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    Mechanism(Option<PathBuf>),
    /// A built-in strategy, or the file of one.
    Strategy(String),
    Back,
}

impl What {
    /// Whether other plans may follow for the same requests.
    pub(crate) fn changes_plans(&self) -> bool {
        !matches!(self, What::Mechanism(_))
    }
}

impl FromStr for SwapArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "expected P%:STRATEGY, P%:FILE.wasm, P%:back or P%:mechanism[=FILE.wasm], such as \
             50%:buddy"
                .to_owned()
        };
        let (part, what) = text.trim().split_once("%:").ok_or_else(wrong)?;
        // `f64` would also take inf, nan and 1e300.
        if !part.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(wrong());
        }
        let percent = part.parse::<f64>().map_err(|_| wrong())?;
        if percent > 100.0 {
            return Err(format!(
                "{part}% of the events are more than all; 0% to 100%"
            ));
        }
        let what = match what.split_once('=') {
            None if what == "mechanism" => What::Mechanism(None),
            None if what == "back" => What::Back,
            None if !what.is_empty() => What::Strategy(what.into()),
            Some(("mechanism", file)) if !file.is_empty() => {
                What::Mechanism(Some(PathBuf::from(file)))
            }
            _ => return Err(wrong()),
        };
        let part = percent / 100.0;
        Ok(SwapArg { part, what })
    }
}

/// The replacements that are still to be made.
pub(super) struct Swaps {
    /// By the number of events.
    due: VecDeque<(u64, SwapTo)>,
    first: Arc<dyn MechanismSource>,
    /// Which of the tally's swaps are the strategy's.
    strategies: Vec<usize>,
    /// Faults of strategies that are in the tally.
    faults: u64,
}

impl Swaps {
    pub(super) fn new(options: &ReplayOptions, events: u64) -> Self {
        let first = match &options.parts {
            Some(parts) => parts.mechanism.clone(),
            None => Arc::new(WasmMechanism::built_in()),
        };
        let due = options.swaps.iter().map(|swap| {
            let at = (swap.part * events as f64).ceil() as u64;
            (at, swap.by.clone())
        });
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(at, _)| *at);
        Swaps {
            due: due.into(),
            first,
            strategies: Vec::new(),
            faults: 0,
        }
    }

    /// After so many events, and the batch that they ended in: notes what strategies have done
    /// wrong, and makes the replacements that are due.
    ///
    /// Errors: the planner has ended.
    pub(super) fn turn(
        &mut self,
        done: u64,
        device: &DeviceHandle,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        self.note_faults(done, device, tally)?;
        while let Some((_, by)) = self.due.pop_front_if(|(at, _)| *at <= done) {
            self.make(done, by, device, tally)?;
        }
        Ok(())
    }

    /// Notes what strategies have done wrong since the last time.
    ///
    /// Errors: the planner has ended.
    pub(super) fn note_faults(
        &mut self,
        done: u64,
        device: &DeviceHandle,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        if device.strategy_fault_count() == self.faults {
            return Ok(());
        }
        let faults = device.strategy_faults()?;
        for StrategyFault {
            name,
            fault,
            replaced_by,
        } in faults.into_iter().skip(tally.strategy_faults.len())
        {
            tally.strategy_faults.push(StrategyFaultDone {
                name,
                error: fault.to_string(),
                at_event: done,
                fallback: replaced_by,
            });
        }
        self.faults = device.strategy_fault_count();
        let swaps = device.strategy_swaps()?;
        for (&at, swap) in self.strategies.iter().zip(swaps) {
            if let Some(told) = tally.swaps.get_mut(at) {
                (told.rolled_back, told.reason) = (swap.rolled_back, swap.reason);
            }
        }
        Ok(())
    }

    /// Makes one replacement. One that does not start is a finding: the old component goes on.
    fn make(
        &mut self,
        done: u64,
        by: SwapTo,
        device: &DeviceHandle,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let (name, made) = match by {
            SwapTo::Mechanism(source) => {
                let source = source.unwrap_or_else(|| self.first.clone());
                let name = source.name().to_owned();
                let swap = device.swap_mechanism(source);
                (name, swap.map(|s| (s.from, s.to, s.live, s.pause)))
            }
            SwapTo::Strategy(source) => {
                let name = source.name().to_owned();
                let swap = device.swap_strategy(source);
                self.strategies
                    .extend(swap.is_ok().then_some(tally.swaps.len()));
                (name, swap.map(|s| (s.from, s.to, s.live, s.pause)))
            }
            SwapTo::Back => {
                let swap = device.roll_back_strategy();
                self.strategies
                    .extend(swap.is_ok().then_some(tally.swaps.len()));
                let made = swap.map(|s| (s.from, s.to, s.live, s.pause));
                ("the earlier strategy".to_owned(), made)
            }
        };
        match made {
            Ok((from, to, live, pause)) => {
                let made = SwapDone {
                    at_event: done,
                    from,
                    to,
                    live,
                    rolled_back: false,
                    reason: None,
                };
                tally.swaps.push(made);
                tally.pauses.push(nanos(pause));
            }
            Err(error @ (Error::Component { .. } | Error::NoWayBack)) => {
                tally.failed_swaps += 1;
                let note =
                    format!("at event {done}, {name} did not take over, the old one went on");
                tally.details.notes.push(note);
                let text = || format!("the swap to {name}: {error}");
                tally.details.first_failure.get_or_insert_with(text);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn nanos(pause: Duration) -> u64 {
    u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swaps_are_read() {
        let read = |text: &str| text.parse::<SwapArg>().map(|s| (s.part, s.what));
        assert_eq!(read("50%:mechanism"), Ok((0.5, What::Mechanism(None))));
        assert_eq!(read("0%:back"), Ok((0.0, What::Back)));
        let file = What::Mechanism(Some(PathBuf::from("a/b=c.wasm")));
        assert_eq!(read("12.5%:mechanism=a/b=c.wasm"), Ok((0.125, file)));
        for name in ["buddy", "./mine.wasm", "mechanism.wasm"] {
            let strategy = What::Strategy(name.into());
            assert_eq!(read(&format!("50%:{name}")), Ok((0.5, strategy)));
        }
        let wrong = [
            "",
            "50%",
            "50%:",
            "50:mechanism",
            "%:mechanism",
            "-1%:mechanism",
            "101%:mechanism",
            "nan%:mechanism",
            "1e1%:mechanism",
            "50%:strategy=buddy",
            "50%:mechanism=",
        ];
        for text in wrong {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
