//! Replacing the mechanism in the middle of a run: a live upgrade.

use super::{ReplayOptions, Tally};
use gpumm::parts::MechanismSource;
use gpumm::wasm::WasmMechanism;
use gpumm::{DeviceHandle, Error, Swap};
use serde::Serialize;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// When the mechanism is replaced, and by what.
#[derive(Clone, Debug)]
pub struct SwapAt {
    /// After this part of the events, 0 to 1, and the batch that they end in.
    pub part: f64,
    /// What takes over; `None` is a fresh one of the source that the run began with.
    pub source: Option<Arc<dyn MechanismSource>>,
}

/// A replacement that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SwapDone {
    /// How many events were done.
    pub at_event: u64,
    /// Who planned before.
    pub from: String,
    /// Who has planned since.
    pub to: String,
    /// Live buffers carried over.
    pub live: u64,
}

/// What `--swap` is given: `P%:mechanism`, or `P%:mechanism=FILE.wasm`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SwapArg {
    pub(crate) part: f64,
    pub(crate) file: Option<PathBuf>,
}

impl FromStr for SwapArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "expected P%:mechanism or P%:mechanism=FILE.wasm, such as 50%:mechanism".to_owned();
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
        let file = match what.split_once('=') {
            None if what == "mechanism" => None,
            Some(("mechanism", file)) if !file.is_empty() => Some(PathBuf::from(file)),
            _ => return Err(wrong()),
        };
        let part = percent / 100.0;
        Ok(SwapArg { part, file })
    }
}

/// The replacements that are still to be made.
pub(super) struct Swaps {
    /// By the number of events.
    due: VecDeque<(u64, Arc<dyn MechanismSource>)>,
}

impl Swaps {
    pub(super) fn new(options: &ReplayOptions, events: u64) -> Self {
        let first = || match &options.parts {
            Some(parts) => parts.mechanism.clone(),
            None => Arc::new(WasmMechanism::built_in()),
        };
        let due = options.swaps.iter().map(|swap| {
            let source = swap.source.clone().unwrap_or_else(first);
            ((swap.part * events as f64).ceil() as u64, source)
        });
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(at, _)| *at);
        Swaps { due: due.into() }
    }

    /// Makes the replacements that are due after so many events. One that does not start is a
    /// finding: the old one goes on.
    ///
    /// Errors: the planner has ended.
    pub(super) fn make(
        &mut self,
        done: u64,
        device: &DeviceHandle,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        while let Some((_, source)) = self.due.pop_front_if(|(at, _)| *at <= done) {
            let name = source.name().to_owned();
            match device.swap_mechanism(source) {
                Ok(swap) => {
                    let Swap {
                        from,
                        to,
                        live,
                        pause,
                    } = swap;
                    let at_event = done;
                    let made = SwapDone {
                        at_event,
                        from,
                        to,
                        live,
                    };
                    tally.swaps.push(made);
                    tally.pauses.push(pause.as_secs_f64());
                }
                Err(error @ Error::Component { .. }) => {
                    tally.failed_swaps += 1;
                    let note =
                        format!("at event {done}, {name} did not take over, the old one went on");
                    tally.details.notes.push(note);
                    let text = || format!("the swap to {name}: {error}");
                    tally.details.first_failure.get_or_insert_with(text);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swaps_are_read() {
        let read = |text: &str| text.parse::<SwapArg>().map(|s| (s.part, s.file));
        assert_eq!(read("50%:mechanism"), Ok((0.5, None)));
        assert_eq!(read("0%:mechanism"), Ok((0.0, None)));
        let file = Some(PathBuf::from("a/b=c.wasm"));
        assert_eq!(read("12.5%:mechanism=a/b=c.wasm"), Ok((0.125, file)));
        let wrong = [
            "",
            "50%",
            "50:mechanism",
            "%:mechanism",
            "-1%:mechanism",
            "101%:mechanism",
            "nan%:mechanism",
            "1e1%:mechanism",
            "50%:strategy",
            "50%:mechanism=",
            "50%:mechanism.wasm",
        ];
        for text in wrong {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
