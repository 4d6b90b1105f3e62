//! Drives a Runtime with a trace: events become batches of requests, and every answer is followed.
//!
//! ```text
//! events -> Batch (requests, and a Step for each) -> submit -> steps judged -> fences wait in line
//!                                                                           -> reports added up
//! ```
//! The requests of a batch are made before any of them has an answer. So a buffer is used as if
//! its creation and earlier uses went well; when one did not, what depends on it is left out, and
//! `contents.rs` tells what a later use finds.

use super::contents::{Change, Contents, End};
use super::shadow::ShadowDone;
use super::start::start;
use super::swap::Swaps;
use super::tally::{Tally, check};
use super::vm::{Spaces, Use};
use super::{Hooks, ReplayOptions, Summary, Tenants};
use crate::size::human;
use gpumm::contract::BufferId;
use gpumm::contract::plan::Status;
use gpumm::job::PatternKey;
use gpumm::{Batch, Buffer, BufferDesc, Client, DeviceHandle, Error, Fence, Job, Slot};
use gpumm_hw::{DeviceError, OutcomeValue};
use gpumm_trace::{Event, EventKind, Trace};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Instant;

/// A buffer of the trace that is live.
struct Live {
    buffer: Buffer,
    stream: u32,
}

/// A request of the batch being made.
enum Step {
    Create { slot: Slot, id: u64, bytes: u64 },
    Map { slot: Slot, id: u64 },
    Use { slot: Slot, change: Change },
    Release { slot: Slot, id: u64 },
}

struct Driver<'a> {
    options: &'a ReplayOptions,
    device: DeviceHandle,
    /// By stream; of stream 0 only when all are one tenant's.
    clients: BTreeMap<u32, Client>,
    live: BTreeMap<u64, Live>,
    /// Live buffers of each stream; the newest has the highest number.
    newest: BTreeMap<u32, BTreeSet<u64>>,
    batch: Batch,
    steps: Vec<Step>,
    contents: Contents,
    /// None where jobs name buffers, not addresses.
    spaces: Option<Spaces>,
    /// Numbers of all buffers ever asked for, ascending, and the allocations that they are.
    asked: Vec<(BufferId, u64)>,
    batches: u64,
    /// The accepted jobs of batches that may still run.
    outstanding: VecDeque<Vec<(Fence, Change)>>,
    tally: Tally,
}

/// Replays a trace.
///
/// # Errors
/// The device cannot be made, or has stopped. That requests fail is no error but a finding.
pub fn run(trace: &Trace, options: &ReplayOptions, mut hooks: Hooks<'_>) -> Result<Summary, Error> {
    let began = Instant::now();
    let mut progress = hooks.progress.take();
    let (runtime, adapter) = start(options, hooks, options.tenants_of(trace))?;
    let device = runtime.device(0)?;
    let startup = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut driver = Driver::new(options, device.clone());
    if let Some(source) = &options.shadow {
        device.shadow_strategy(source.clone())?;
    }
    let mut swaps = Swaps::new(options, trace.events.len() as u64);
    swaps.turn(0, &device, &mut driver.tally)?;
    let mut in_batch = 0;
    for (done, event) in (1..).zip(&trace.events) {
        match event.kind {
            EventKind::Alloc => driver.allocate(event)?,
            EventKind::Free => driver.free(event),
            EventKind::Other(_) => continue,
        }
        in_batch += 1;
        if in_batch >= options.batch_events {
            in_batch = 0;
            driver.submit()?;
            swaps.turn(done, &device, &mut driver.tally)?;
            driver.list_mappings(done, trace)?;
            if let Some(progress) = &mut progress {
                progress(done);
            }
        }
    }
    driver.submit()?;
    swaps.turn(trace.events.len() as u64, &device, &mut driver.tally)?;
    loop {
        let lost = driver.tally.details.lost_jobs;
        driver.use_live()?;
        device.drain()?;
        driver.fold(0)?;
        // What has not run because of a loss is made up for. Each rule loses the device once.
        if driver.tally.details.lost_jobs == lost {
            break;
        }
    }
    driver.list_mappings(trace.events.len() as u64, trace)?;
    device.end_log()?;
    swaps.note_faults(trace.events.len() as u64, &device, &mut driver.tally)?;
    let done = driver.spaces.as_ref().map(|s| s.done(&device));
    driver.tally.vm = done.transpose()?;
    driver.tally.shadow = device.shadow_report()?.map(ShadowDone::from);
    let seconds = began.elapsed().as_secs_f64();
    let report = device.report()?;
    let poisoned = driver.allocations(&report.poisoned);
    let mut tally = driver.tally;
    tally.poisoned = poisoned;
    tally.faults_injected = device.hardware().statistics().faults_injected;
    tally.adapter = adapter;
    Ok(tally.summary(trace, options, report, [startup, seconds]))
}

impl<'a> Driver<'a> {
    fn new(options: &'a ReplayOptions, device: DeviceHandle) -> Self {
        let first = device.client();
        Driver {
            options,
            device,
            batch: first.batch(),
            clients: BTreeMap::from([(0, first)]),
            live: BTreeMap::new(),
            newest: BTreeMap::new(),
            steps: Vec::new(),
            contents: Contents::default(),
            spaces: options.vm.then(Spaces::new),
            asked: Vec::new(),
            batches: 0,
            outstanding: VecDeque::new(),
            tally: Tally::new(&options.faults),
        }
    }

    /// Whose a stream's buffers are.
    fn tenant(&self, stream: u32) -> u32 {
        match self.options.tenants {
            Tenants::One => 0,
            Tenants::Stream => stream,
        }
    }

    /// Makes the following requests those of a stream's tenant.
    fn on_behalf_of(&mut self, stream: u32) {
        let tenant = self.tenant(stream);
        let device = &self.device;
        let client = self
            .clients
            .entry(tenant)
            .or_insert_with(|| device.client());
        self.batch.on_behalf_of(client);
    }

    fn allocate(&mut self, event: &Event) -> Result<(), Error> {
        let &Event {
            id, bytes, stream, ..
        } = event;
        if bytes == 0 {
            self.tally.empty += 1;
            return Ok(());
        }
        self.on_behalf_of(stream);
        let touched: Vec<u64> = match self.newest.get(&stream) {
            Some(ids) => ids.iter().rev(),
            None => Default::default(),
        }
        .take(self.options.touch as usize)
        .copied()
        .collect();
        let (slot, buffer) = self.batch.create(BufferDesc::new(bytes));
        self.steps.push(Step::Create { slot, id, bytes });
        self.asked.push((buffer.id(), id));
        let tenant = self.tenant(stream);
        if let (Some(spaces), Some(client)) = (&mut self.spaces, self.clients.get(&tenant)) {
            let slot = spaces.map(&mut self.batch, (tenant, client), (id, &buffer))?;
            self.steps.push(Step::Map { slot, id });
        }
        self.contents.add(id);
        self.live.insert(id, Live { buffer, stream });
        self.newest.entry(stream).or_default().insert(id);
        self.access(id);
        for id in touched {
            self.access(id);
        }
        Ok(())
    }

    /// Frees of buffers that were never made (no bytes, no room) have nothing to do.
    fn free(&mut self, event: &Event) {
        self.on_behalf_of(event.stream);
        self.access(event.id);
        if let Some(live) = self.live.remove(&event.id) {
            self.forget(event.id, live.stream);
            let slot = self.batch.release(live.buffer);
            let id = event.id;
            self.steps.push(Step::Release { slot, id });
        }
    }

    fn forget(&mut self, id: u64, stream: u32) {
        if let Some(ids) = self.newest.get_mut(&stream) {
            ids.remove(&id);
        }
    }

    /// Uses a buffer: its content is compared with what must be there, and replaced. What nobody
    /// knows is only replaced.
    fn access(&mut self, id: u64) {
        let Some(live) = self.live.get(&id) else {
            return;
        };
        let Some(change) = self.contents.change(id) else {
            return;
        };
        let key = |generation| PatternKey {
            buffer: id,
            generation,
        };
        let new = key(change.new);
        let what = match change.old {
            None | Some(0) => Use::Write(new),
            Some(old) => Use::Rewrite {
                old: key(old),
                new,
                check: check(self.options.verify, id, old),
            },
        };
        let tenant = self.tenant(live.stream);
        let slot = match &mut self.spaces {
            Some(spaces) => spaces.submit(&mut self.batch, tenant, id, live.buffer.bytes(), what),
            None => {
                let job = match what {
                    Use::Write(new) => Job::WritePattern(new),
                    Use::Rewrite { old, new, check } => Job::Rewrite { old, new, check },
                };
                Some(self.batch.access(job, &[&live.buffer], false))
            }
        };
        self.steps
            .extend(slot.map(|slot| Step::Use { slot, change }));
    }

    /// Has the batch planned and judges every answer.
    fn submit(&mut self) -> Result<(), Error> {
        // Whoever comes next says whose requests it makes.
        let next = match self.clients.values().next() {
            Some(client) => client.batch(),
            None => self.device.client().batch(),
        };
        let batch = std::mem::replace(&mut self.batch, next);
        let steps = std::mem::take(&mut self.steps);
        if batch.is_empty() {
            return Ok(());
        }
        let mut ended = batch.submit()?;
        let mut jobs = Vec::new();
        // Buffers without a place: what else is asked of them fails for no reason of its own.
        let mut dead = HashSet::new();
        for step in steps {
            match step {
                Step::Create { slot, id, bytes } => {
                    let made = match self.live.remove(&id) {
                        Some(Live { buffer, stream }) => {
                            ended.created(slot, buffer).map(|buffer| {
                                self.live.insert(id, Live { buffer, stream });
                            })
                        }
                        // Released in this very batch.
                        None => ended.done(slot),
                    };
                    if let Err(error) = made {
                        dead.insert(id);
                        self.contents.forget(id);
                        let what = || format!("allocation {id} of {}", human(bytes));
                        self.tally.failed(error, what)?;
                        self.tally.failed_allocations += 1;
                    }
                }
                Step::Use { change, .. } if dead.contains(&change.id) => {}
                Step::Map { id, .. } if dead.contains(&id) => {}
                Step::Map { slot, id } => {
                    if let Err(error) = ended.take(slot) {
                        let what = || format!("the mapping of allocation {id}");
                        self.tally.failed(error, what)?;
                        self.tally.failed_accesses += 1;
                    }
                }
                Step::Release { id, .. } if dead.contains(&id) => {}
                Step::Use { slot, change } => {
                    let taken = ended.take(slot);
                    self.contents.answered(&change, taken.is_ok());
                    match taken {
                        Ok(fence) => jobs.push((fence, change)),
                        Err(error) => self.refused(error, change.id)?,
                    }
                }
                Step::Release { slot, id } => {
                    self.contents.forget(id);
                    if let Some(spaces) = &mut self.spaces {
                        spaces.forget(id);
                    }
                    if let Err(error) = ended.done(slot) {
                        self.tally
                            .failed(error, || format!("the free of allocation {id}"))?;
                        self.tally.failed_accesses += 1;
                    }
                }
            }
        }
        for ids in self.newest.values_mut() {
            dead.iter().for_each(|id| {
                ids.remove(id);
            });
        }
        self.outstanding.push_back(jobs);
        self.batches += 1;
        let every = self.options.restart_mechanism_every.unwrap_or(0);
        if every > 0 && self.batches.is_multiple_of(every) {
            self.device.restart_mechanism()?;
        }
        // As far as the planner is told before the next batch: so what the driver knows of a
        // loss when it makes requests is what stands before them in a request log.
        self.fold(self.options.window_batches.max(1) as usize - 1)
    }

    fn refused(&mut self, error: Error, id: u64) -> Result<(), Error> {
        let poisoned = matches!(error, Error::Refused(Status::Poisoned));
        self.tally
            .failed(error, || format!("an access of allocation {id}"))?;
        match poisoned {
            true => self.tally.refused_accesses += 1,
            false => self.tally.failed_accesses += 1,
        }
        Ok(())
    }

    /// Adds up what all but the newest batches have compared, and waits for it as the planner is
    /// about to. After a loss of the device, what comes later has ended as well.
    fn fold(&mut self, mut keep: usize) -> Result<(), Error> {
        while self.outstanding.len() > keep {
            for (fence, change) in self.outstanding.pop_front().unwrap_or_default() {
                let ended = match fence.outcome() {
                    Ok(value) => Ok(value),
                    Err(Error::Device(error)) => Err(error),
                    Err(error) => return Err(error),
                };
                let end = ended.as_ref().map_or_else(|e| End::of(*e), |_| End::Ran);
                let counts = self.contents.ended(&change, end);
                match ended {
                    Ok(OutcomeValue::Checked(report)) if counts => self.tally.compared(&report),
                    Ok(_) => {}
                    Err(error) => {
                        self.tally.cancelled(error);
                        if error == DeviceError::Lost {
                            keep = 0;
                        }
                    }
                }
            }
        }
        for fault in self.device.hardware().take_faults() {
            self.tally.fault(fault.error);
        }
        Ok(())
    }

    /// The allocations that buffers are, ascending.
    fn allocations(&self, buffers: &[BufferId]) -> Vec<u64> {
        let allocation = |buffer: &BufferId| {
            let at = self
                .asked
                .binary_search_by_key(buffer, |(number, _)| *number);
            at.ok().and_then(|at| self.asked.get(at)).map(|(_, id)| *id)
        };
        let mut ids: Vec<u64> = buffers.iter().filter_map(allocation).collect();
        ids.sort_unstable();
        ids
    }

    fn list_mappings(&mut self, done: u64, trace: &Trace) -> Result<(), Error> {
        let at = self.options.maps_at.filter(|_| self.tally.maps.is_none());
        let due = at.is_some_and(|at| done as f64 >= at / 100.0 * trace.events.len() as f64);
        if let Some(spaces) = self.spaces.as_ref().filter(|_| due) {
            self.tally.maps = Some(spaces.maps()?);
        }
        Ok(())
    }

    /// Uses whatever is live at the end once more, as if it were freed: what was evicted comes
    /// back, and every byte that is left has been compared.
    fn use_live(&mut self) -> Result<(), Error> {
        let ids: Vec<(u64, u32)> = self.live.iter().map(|(&id, l)| (id, l.stream)).collect();
        for chunk in ids.chunks(self.options.batch_events.max(1) as usize) {
            for &(id, stream) in chunk {
                self.on_behalf_of(stream);
                self.access(id);
            }
            self.submit()?;
        }
        Ok(())
    }
}
