//! Drives a Runtime with a trace: events become batches of requests, and every answer is followed.
//!
//! ```text
//! events -> Batch (requests, and a Step for each) -> submit -> steps judged -> fences wait in line
//!                                                                           -> reports added up
//! ```
//! The requests of a batch are made before any of them has an answer. So a buffer is used as if
//! its creation and earlier uses went well; when one did not, what depends on it is left out.

use super::tally::{Tally, check};
use super::{Hooks, ReplayOptions, Summary, Tenants};
use crate::size::human;
use gpumm::job::PatternKey;
use gpumm::{
    Batch, Buffer, BufferDesc, Client, DeviceHandle, Error, Fence, Job, Pacing, Runtime, Slot,
};
use gpumm_hw::OutcomeValue;
use gpumm_hw::sim::{Sim, SimConfig};
use gpumm_trace::{Event, EventKind, Trace};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::mpsc::channel;
use std::time::Instant;

/// A buffer of the trace that is live.
struct Live {
    buffer: Buffer,
    stream: u32,
    /// The generation of its content when all requests so far go well; 0 was never written.
    generation: u64,
}

/// A request of the batch being made.
enum Step {
    Create {
        slot: Slot,
        id: u64,
        bytes: u64,
    },
    Use {
        slot: Slot,
        id: u64,
        old: u64,
        new: u64,
    },
    Release {
        slot: Slot,
        id: u64,
    },
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
    /// Generations before this batch of the buffers that it uses.
    before: BTreeMap<u64, u64>,
    batches: u64,
    /// Fences of batches that may still run, and whether what they compared counts.
    outstanding: VecDeque<Vec<(Fence, bool)>>,
    tally: Tally,
}

/// Replays a trace on a simulated device.
///
/// # Errors
/// The device cannot be made, or has stopped. That requests fail is no error but a finding.
pub fn run(trace: &Trace, options: &ReplayOptions, hooks: Hooks<'_>) -> Result<Summary, Error> {
    let Hooks {
        mut progress,
        log,
        device: on_device,
    } = hooks;
    let began = Instant::now();
    let (sender, controls) = channel();
    let config = SimConfig::new("sim", options.vram_bytes);
    let mut builder = Runtime::builder()
        .device(move |timelines, system| {
            let sim = Sim::new(config, timelines, system)?;
            let _ = sender.send(sim.control());
            Ok(sim)
        })
        .system_memory(options.system_bytes)
        .strategy(&options.strategy)
        .pacing(Pacing::Window(options.window_batches.max(1) as usize));
    if let Some(parts) = &options.parts {
        builder = builder.parts(parts.clone());
    }
    if let Some(log) = log {
        builder = builder.log(log);
    }
    let runtime = builder.build()?;
    if let (Some(on_device), Ok(control)) = (on_device, controls.recv()) {
        on_device(control);
    }
    let device = runtime.device(0)?;
    let startup = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut driver = Driver::new(options, device.clone());
    let mut in_batch = 0;
    for (at, event) in trace.events.iter().enumerate() {
        match event.kind {
            EventKind::Alloc => driver.allocate(event),
            EventKind::Free => driver.free(event),
            EventKind::Other(_) => continue,
        }
        in_batch += 1;
        if in_batch >= options.batch_events {
            in_batch = 0;
            driver.submit()?;
            if let Some(progress) = &mut progress {
                progress(at as u64 + 1);
            }
        }
    }
    driver.submit()?;
    driver.use_live()?;
    device.drain()?;
    driver.fold(0)?;
    device.end_log()?;
    let seconds = began.elapsed().as_secs_f64();
    let report = device.report()?;
    Ok(driver
        .tally
        .summary(trace, options, &report, [startup, seconds]))
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
            before: BTreeMap::new(),
            batches: 0,
            outstanding: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Makes the following requests those of a stream's tenant.
    fn on_behalf_of(&mut self, stream: u32) {
        let tenant = match self.options.tenants {
            Tenants::One => 0,
            Tenants::Stream => stream,
        };
        let device = &self.device;
        let client = self
            .clients
            .entry(tenant)
            .or_insert_with(|| device.client());
        self.batch.on_behalf_of(client);
    }

    fn allocate(&mut self, event: &Event) {
        let &Event {
            id, bytes, stream, ..
        } = event;
        if bytes == 0 {
            self.tally.empty += 1;
            return;
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
        let generation = 0;
        let live = Live {
            buffer,
            stream,
            generation,
        };
        self.live.insert(id, live);
        self.newest.entry(stream).or_default().insert(id);
        self.access(id);
        for id in touched {
            self.access(id);
        }
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

    /// Uses a buffer: its content is compared with what must be there, and replaced.
    fn access(&mut self, id: u64) {
        let Some(live) = self.live.get_mut(&id) else {
            return;
        };
        let (old, new) = (live.generation, live.generation + 1);
        let key = |generation| PatternKey {
            buffer: id,
            generation,
        };
        let job = match old {
            0 => Job::WritePattern(key(new)),
            _ => Job::Rewrite {
                old: key(old),
                new: key(new),
                check: check(self.options.verify, id, old),
            },
        };
        let slot = self.batch.access(job, &[&live.buffer], false);
        live.generation = new;
        self.before.entry(id).or_insert(old);
        self.steps.push(Step::Use { slot, id, old, new });
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
        let mut content = std::mem::take(&mut self.before);
        if batch.is_empty() {
            return Ok(());
        }
        let mut ended = batch.submit()?;
        let mut fences = Vec::new();
        // Buffers without a place: what else is asked of them fails for no reason of its own.
        let mut dead = HashSet::new();
        for step in steps {
            match step {
                Step::Create { slot, id, bytes } => {
                    let made = match self.live.remove(&id) {
                        Some(live) => {
                            let Live {
                                buffer,
                                stream,
                                generation,
                            } = live;
                            ended.created(slot, buffer).map(|buffer| {
                                let live = Live {
                                    buffer,
                                    stream,
                                    generation,
                                };
                                self.live.insert(id, live);
                            })
                        }
                        // Released in this very batch.
                        None => ended.done(slot),
                    };
                    if let Err(error) = made {
                        dead.insert(id);
                        let what = || format!("allocation {id} of {}", human(bytes));
                        self.tally.failed(error, what)?;
                        self.tally.failed_allocations += 1;
                    }
                }
                Step::Use { id, .. } | Step::Release { id, .. } if dead.contains(&id) => {}
                Step::Use { slot, id, old, new } => match ended.take(slot) {
                    Ok(fence) => {
                        let now = content.insert(id, new);
                        fences.push((fence, now == Some(old)));
                    }
                    Err(error) => {
                        self.tally
                            .failed(error, || format!("an access of allocation {id}"))?;
                        self.tally.failed_accesses += 1;
                    }
                },
                Step::Release { slot, id } => {
                    if let Err(error) = ended.done(slot) {
                        self.tally
                            .failed(error, || format!("the free of allocation {id}"))?;
                        self.tally.failed_accesses += 1;
                    }
                }
            }
        }
        // A use that failed has not changed the content.
        for (id, generation) in content {
            if let Some(live) = self.live.get_mut(&id) {
                live.generation = generation;
            }
        }
        for ids in self.newest.values_mut() {
            dead.iter().for_each(|id| {
                ids.remove(id);
            });
        }
        self.outstanding.push_back(fences);
        self.batches += 1;
        let every = self.options.restart_mechanism_every.unwrap_or(0);
        if every > 0 && self.batches.is_multiple_of(every) {
            self.device.restart_mechanism()?;
        }
        self.fold(self.options.window_batches as usize)
    }

    /// Adds up what all but the newest batches have compared. What the window has delivered has
    /// ended, so this does not wait for the device.
    fn fold(&mut self, keep: usize) -> Result<(), Error> {
        while self.outstanding.len() > keep {
            for (fence, counts) in self.outstanding.pop_front().unwrap_or_default() {
                match fence.outcome() {
                    Ok(OutcomeValue::Checked(report)) if counts => self.tally.compared(&report),
                    // A command that failed stands in the device's log of faults.
                    Ok(_) | Err(Error::Device(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        for fault in self.device.hardware().take_faults() {
            self.tally.device_faults += 1;
            let text = || format!("a command failed on the device: {}", fault.error);
            self.tally.details.first_failure.get_or_insert_with(text);
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
