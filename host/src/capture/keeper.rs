//! Taking captures and keeping them as files.

use super::input::{Context, FailedOp, Read, TableSubmitted};
use super::look::look;
use super::model::{
    At, Buffer, BufferState, Capture, Component, Failed, Plan, Repaired, Role, SCHEMA_VERSION,
    Table,
};
use super::space::address_space;
use super::{input, plan_text};
use cap_std::fs::{Dir, OpenOptions};
use gpumm_contract::{Point, TimelineId};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The first so many failures of each timeline are kept: which ones these are does not depend
    /// on how the engines' threads interleave.
    pub(crate) per_timeline: u32,
    /// So many first bytes of a buffer that is marked for it.
    pub(crate) content_bytes: u64,
    /// A capture holds so many plans.
    pub(crate) plans: usize,
    /// So many words of plans are remembered, so that the failed operation's own plan is still
    /// there when planning runs ahead of the device.
    pub(crate) plan_words: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            per_timeline: 4,
            content_bytes: 4096,
            plans: 8,
            plan_words: 1 << 20,
        }
    }
}

/// Takes captures of one device. Engines and planner share it.
#[derive(Debug)]
pub(crate) struct Captures {
    /// Where files go, and what the user calls it; without it failures are only counted.
    directory: Option<(Dir, String)>,
    limits: Limits,
    state: Mutex<State>,
    plans: Mutex<Plans>,
}

/// Remembered plans, oldest first.
#[derive(Debug, Default)]
struct Plans {
    list: VecDeque<(u64, Arc<[u64]>)>,
    words: usize,
}

#[derive(Debug, Default)]
struct State {
    taken: u64,
    /// Failures seen of each timeline.
    seen: BTreeMap<TimelineId, u32>,
    /// Paths of the files, by timeline and value.
    kept: BTreeMap<(String, u64), String>,
    problems: Vec<String>,
}

/// What the tables of a failed operation showed, if it is to be kept.
#[derive(Debug)]
pub(crate) struct Looked(Option<Vec<Table>>);

impl Captures {
    /// Captures go to the directory, of which the text is what the user calls it.
    pub(crate) fn new(directory: Option<(Dir, String)>, limits: Limits) -> Self {
        Captures {
            directory,
            limits,
            state: Mutex::default(),
            plans: Mutex::default(),
        }
    }

    /// Remembers the plan of a batch; it is put into words only when something fails.
    pub(crate) fn note_plan(&self, batch: u64, words: &[u64]) {
        if self.directory.is_none() || self.limits.plans == 0 {
            return;
        }
        // Small plans count for what they cost besides their words.
        let cost = |words: &[u64]| words.len() + 16;
        let plan = (batch, Arc::from(words));
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.words += cost(words);
        plans.list.push_back(plan);
        while plans.words > self.limits.plan_words && plans.list.len() > self.limits.plans {
            let oldest = plans.list.pop_front();
            plans.words -= oldest.map_or(0, |(_, words)| cost(&words));
        }
    }

    /// The first half of a capture, after the failure and before the repair: what the tables show
    /// then. It waits for nothing but `read`.
    pub(crate) fn look(
        &self,
        at: Point,
        tables: &[TableSubmitted],
        context: &Context<'_>,
        read: Read<'_>,
    ) -> Looked {
        if !self.count(at.timeline) || self.directory.is_none() {
            return Looked(None);
        }
        let table = |t| look(t, context, self.limits.content_bytes, read);
        Looked(Some(tables.iter().map(table).collect()))
    }

    /// The second half, after the repair and before the operation's point is reached: writes the
    /// file. It cannot fail: what goes wrong is told by [`Captures::problems`].
    pub(crate) fn keep(&self, looked: Looked, failed: &FailedOp<'_>, context: &Context<'_>) {
        let (Looked(Some(tables)), Some((directory, named))) = (looked, &self.directory) else {
            return;
        };
        let name = safe(&context.timeline(failed.at.timeline.0), failed.at.timeline);
        let file = format!("capture-{name}-{}.json", failed.at.value);
        let path = match named.as_str() {
            "" | "." => file.clone(),
            named if named.ends_with('/') => format!("{named}{file}"),
            named => format!("{named}/{file}"),
        };
        let written = write(directory, &file, &self.capture(tables, failed, context));
        let mut state = self.state();
        match written {
            Ok(()) => {
                state.kept.insert((name, failed.at.value), path);
            }
            Err(error) => state.problems.push(format!("{path}: {error}")),
        }
    }

    /// The files written so far, by timeline and value.
    pub(crate) fn kept(&self) -> Vec<String> {
        self.state().kept.values().cloned().collect()
    }

    /// How many failures were seen, kept or not.
    pub(crate) fn taken(&self) -> u64 {
        self.state().taken
    }

    /// What could not be written, and why. At most one line per capture that should be there.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.state().problems.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failure; `true` when it is one of the first of its timeline.
    fn count(&self, timeline: TimelineId) -> bool {
        let mut state = self.state();
        state.taken = state.taken.saturating_add(1);
        let seen = state.seen.entry(timeline).or_default();
        *seen = seen.saturating_add(1);
        *seen <= self.limits.per_timeline
    }

    fn capture(&self, tables: Vec<Table>, failed: &FailedOp<'_>, context: &Context<'_>) -> Capture {
        Capture {
            schema_version: SCHEMA_VERSION,
            gpumm_version: env!("CARGO_PKG_VERSION").into(),
            device: context.device.into(),
            failed: Failed {
                operation: failed.operation,
                at: At {
                    timeline: failed.at.timeline.0,
                    name: context.timeline(failed.at.timeline.0),
                    value: failed.at.value,
                },
                job: failed.job.map(str::to_owned),
                error: failed.error.to_string(),
                cause: input::cause(&failed.error).into(),
                repaired: failed.repaired,
            },
            tables,
            buffers: buffers(failed),
            vm: failed.vm.map(|view| address_space(view, context)),
            fences: context.timelines.to_vec(),
            plans: self.plans(failed.at, context),
            components: components(context),
        }
    }
}

impl Captures {
    /// The plan of the failed operation with those around it: more of those before it, as what
    /// was planned later is no cause. If it is forgotten, the last plans.
    fn plans(&self, at: Point, context: &Context<'_>) -> Vec<Plan> {
        const LATER: usize = 2;
        let list = self.plans.lock();
        let list = list.unwrap_or_else(PoisonError::into_inner).list.clone();
        let own = list.iter().rposition(|(_, w)| plan_text::has(w, at));
        let end = own.map_or(list.len(), |own| (own + 1 + LATER).min(list.len()));
        let begin = end.saturating_sub(self.limits.plans);
        let plan = |(batch, words): &(u64, Arc<[u64]>)| {
            let (operations, index) = plan_text::lines(words, at, context);
            Plan {
                batch: *batch,
                operations,
                failed: index.map(|index| index as u64),
            }
        };
        list.range(begin..end).map(plan).collect()
    }
}

/// The components, each once: one may serve in several slots.
fn components(context: &Context<'_>) -> Vec<Component> {
    let mut components: Vec<Component> = Vec::new();
    for component in context.components {
        if !components.contains(component) {
            components.push(component.clone());
        }
    }
    components
}

/// The buffers of the operation's tables, by number, and what became of those it may have written.
fn buffers(failed: &FailedOp<'_>) -> Vec<Buffer> {
    let mut buffers = BTreeMap::new();
    for table in failed.tables {
        let state = match (table.role, failed.repaired) {
            (Role::Source, _) | (_, Repaired::NotNeeded) => None,
            (_, Repaired::ByCpu) => Some(BufferState::Repaired),
            (_, Repaired::Poisoned) => Some(BufferState::Poisoned),
            (_, Repaired::Lost) => Some(BufferState::Lost),
            (_, Repaired::VmLost) => None,
        };
        // A move copies within one buffer: what the target became is what counts.
        let buffer = buffers.entry(table.buffer).or_insert(Buffer {
            buffer: table.buffer.0,
            tenant: table.tenant.0,
            bytes: table.bytes,
            state,
        });
        buffer.state = buffer.state.or(state);
    }
    buffers.into_values().collect()
}

/// A timeline's name as part of a file's name, `sim-copy` of `sim/copy`; one that has to be changed
/// further gets its number.
fn safe(name: &str, timeline: TimelineId) -> String {
    const LONGEST: usize = 100;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = name.replace(['/', ' '], "-");
    let text: String = name.chars().take(LONGEST).collect();
    let text = text.replace(|c| !good(c), "-");
    match text == name && !text.is_empty() {
        true => text,
        false => format!("{text}-t{timeline}"),
    }
}

/// Writes the file beside its place and puts it there when it is whole. One of an earlier run is
/// replaced.
fn write(directory: &Dir, name: &str, capture: &Capture) -> io::Result<()> {
    let fresh = format!(".{name}.part");
    let done = (|| {
        match directory.remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = directory.open_with(&fresh, options.write(true).create_new(true))?;
        let mut out = BufWriter::new(file);
        serde_json::to_writer_pretty(&mut out, capture)?;
        out.write_all(b"\n")?;
        out.flush()?;
        directory.rename(&fresh, directory, name)
    })();
    if done.is_err() {
        let _ = directory.remove_file(&fresh);
    }
    done
}
