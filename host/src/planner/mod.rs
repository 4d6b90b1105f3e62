//! One planner per device: it owns the mechanism's Store, the broker, the ledger and the slots.
//!
//! A batch goes: verbs become requests (`admit.rs`), reached points are delivered (`pacing.rs`),
//! the mechanism plans, the ledger judges, the executor performs (`batch.rs`). `loss.rs` tells the
//! mechanism what the device lost. `vm.rs` prepares address spaces and hands over their jobs, `share.rs`
//! serves imports, `strategy.rs` replaces strategies, `thread.rs` groups waiting requests into batches.

mod admit;
mod batch;
mod drain;
mod headroom;
mod loss;
mod pacing;
mod share;
mod strategy;
mod thread;
mod verb;
mod vm;

pub use pacing::Pacing;
pub(crate) use thread::{Message, start};
pub(crate) use verb::{Reply, Verb};

use crate::broker::Broker;
use crate::client::BufferState;
use crate::error::{ComponentFault, Error};
use crate::executor::{Executor, WaitingJob};
use crate::failsafe::Failsafe;
use crate::jobs::{Gate, Ring};
use crate::ledger::{Counts, Ledger};
use crate::log::LogWriter;
use crate::parts::{Mechanism, MechanismSource, Parts, SlotDesk};
use crate::system::SystemPool;
use gpumm_contract::{AllocationId, BufferId, JobId, MemoryTypeId, TenantId, TimelineId};
use gpumm_hw as hw;
use pacing::Delivered;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::job::Job;

/// The facts and the slots: what travels into a mechanism's call and back.
pub struct Desk {
    pub(crate) ledger: Ledger,
    pub(crate) broker: Broker,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// The facts as packed lists: what a mechanism is restored from at this moment.
    pub fn facts(&self) -> Vec<Vec<u64>> {
        self.ledger.fact_lists()
    }
}

impl SlotDesk for Desk {
    fn allocate(
        &mut self,
        memory: MemoryTypeId,
        commands: &[u64],
    ) -> Result<Vec<u64>, ComponentFault> {
        self.broker.allocate(&self.ledger, memory, commands)
    }

    fn map_dma(&mut self, allocation: AllocationId) -> Result<bool, ComponentFault> {
        self.broker.map_dma(&self.ledger, allocation)
    }
}

/// What a device has done so far.
///
/// All of it but nothing else is repeatable: equal inputs give an equal report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceReport {
    /// Calls of the mechanism with requests; restores and repetitions are not counted.
    pub crossings: u64,
    /// What accepted plans did.
    pub counts: Counts,
    /// Components replaced: the mechanism and the strategies.
    pub restarts: u64,
    /// Highest end ever placed in the memory type with the strategy's slot, in bytes.
    pub high_water_bytes: u64,
    /// What device memory has by now, in bytes: it may grow.
    pub vram_bytes: u64,
    /// Live buffers.
    pub live_buffers: u64,
    /// Bytes in live buffers.
    pub live_bytes: u64,
    /// SHA-256 over all accepted plans, in order.
    pub plans_digest: [u8; 32],
    /// Operations that failed on the device and were done again by the CPU.
    pub cpu_fallbacks: u64,
    /// Buffers whose content was lost, ascending; also those that have been released since.
    pub poisoned: Vec<BufferId>,
    /// How often the device was lost and brought back.
    pub resets: u64,
    /// Failed operations seen by error capture, kept or not.
    pub failed_operations: u64,
    /// The files of captures, by timeline and value.
    pub captures: Vec<String>,
    /// Captures that could not be written, and why.
    pub capture_problems: Vec<String>,
}

/// A component was replaced by another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// Who served before.
    pub from: String,
    /// Who serves now.
    pub to: String,
    /// Live buffers carried over.
    pub live: u64,
    /// How long the planner served nobody.
    pub pause: Duration,
}

/// Plans for one device.
pub(crate) struct Planner {
    desk: Option<Box<Desk>>,
    mechanism: Box<dyn Mechanism>,
    parts: Parts,
    executor: Executor,
    pool: Arc<SystemPool>,
    system: MemoryTypeId,
    vram: MemoryTypeId,
    run_timeline: TimelineId,
    delivered: Delivered,
    failsafe: Arc<Failsafe>,
    resets: u64,
    cpu: CpuTimelines,
    /// Buffers whose content was lost.
    poisoned: BTreeSet<BufferId>,
    jobs: HashMap<JobId, WaitingJob>,
    gate: Arc<Gate>,
    /// None where the device has no page tables.
    jobs_of_vms: Option<Arc<Ring>>,
    closing: Vec<vm::Closing>,
    next_job: u64,
    crossings: u64,
    counts: Counts,
    mechanism_restarts: u64,
    /// Requests that failed alone since one last went well.
    failed_in_a_row: usize,
    digest: sha2::Sha256,
    /// Of the plans of the last batch.
    last_digest: [u64; 4],
    log: Option<LogWriter>,
    /// Set when a component could not be replaced: everything is refused from then on.
    stopped: Option<Arc<Error>>,
}

/// What a planner is made of.
pub(crate) struct Setup {
    pub(crate) desk: Desk,
    pub(crate) parts: Parts,
    pub(crate) executor: Executor,
    pub(crate) pool: Arc<SystemPool>,
    pub(crate) system: MemoryTypeId,
    pub(crate) vram: MemoryTypeId,
    pub(crate) run_timeline: TimelineId,
    pub(crate) timelines: Arc<hw::Timelines>,
    pub(crate) pacing: Pacing,
    pub(crate) log: Option<LogWriter>,
    pub(crate) failsafe: Arc<Failsafe>,
    pub(crate) cpu: CpuTimelines,
    pub(crate) gate: Arc<Gate>,
    pub(crate) ring: Option<Arc<Ring>>,
}

/// The timelines of the CPU's accesses: those that keep buffers where they are, and those that
/// give way to moves.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuTimelines {
    pub(crate) waiting: Vec<TimelineId>,
    pub(crate) revocable: Vec<TimelineId>,
}

impl CpuTimelines {
    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = TimelineId> {
        self.waiting.iter().chain(&self.revocable).copied()
    }
}

impl Planner {
    /// Starts the mechanism on the ledger's facts.
    ///
    /// Errors: it does not start.
    pub(crate) fn new(setup: Setup) -> Result<Self, Error> {
        let Setup {
            desk,
            parts,
            executor,
            pool,
            system,
            vram,
            run_timeline,
            timelines,
            pacing,
            log,
            failsafe,
            cpu,
            gate,
            ring,
        } = setup;
        let source = &parts.mechanism;
        let failed = |fault| Error::Component {
            name: source.name().into(),
            fault,
        };
        let mut mechanism = source.build().map_err(failed)?;
        mechanism
            .restore(&desk.ledger.fact_lists())
            .map_err(failed)?;
        Ok(Planner {
            desk: Some(Box::new(desk)),
            mechanism,
            parts,
            executor,
            pool,
            system,
            vram,
            run_timeline,
            delivered: Delivered::new(timelines, pacing, cpu.all().collect()),
            failsafe,
            resets: 0,
            cpu,
            poisoned: BTreeSet::new(),
            jobs: HashMap::new(),
            gate,
            jobs_of_vms: ring,
            closing: Vec::new(),
            next_job: 1,
            crossings: 0,
            counts: Counts::default(),
            mechanism_restarts: 0,
            failed_in_a_row: 0,
            digest: sha2::Digest::new(),
            last_digest: [0; 4],
            log,
            stopped: None,
        })
    }

    /// The facts; at rest they are always here.
    fn desk(&mut self) -> Result<&mut Desk, Error> {
        self.desk
            .as_deref_mut()
            .ok_or_else(|| Error::System("the facts are not at rest".into()))
    }

    /// What has been done so far.
    pub(crate) fn report(&mut self) -> DeviceReport {
        let (crossings, counts, restarts) = (self.crossings, self.counts, self.mechanism_restarts);
        let plans_digest = sha2::Digest::finalize(self.digest.clone()).into();
        let mut report = DeviceReport {
            crossings,
            counts,
            restarts,
            plans_digest,
            ..DeviceReport::default()
        };
        let captures = &self.failsafe.captures;
        report.cpu_fallbacks = self.failsafe.cpu_fallbacks();
        report.resets = self.resets;
        report.poisoned = self.poisoned.iter().copied().collect();
        report.failed_operations = captures.taken();
        report.captures = captures.kept();
        report.capture_problems = captures.problems();
        let vram = self.vram;
        if let Ok(desk) = self.desk() {
            report.restarts += desk.broker.restarts();
            report.high_water_bytes = desk.ledger.memory.get(&vram).map_or(0, |m| m.high_water);
            report.vram_bytes = desk.broker.arena_size(vram).unwrap_or(0);
            (report.live_buffers, report.live_bytes) = desk.ledger.live();
        }
        report
    }

    /// The digest of the plans of the last batch, as a request log keeps it.
    pub(crate) fn last_digest(&self) -> [u64; 4] {
        self.last_digest
    }

    /// Makes a job known that a logged request names.
    pub(crate) fn add_job(&mut self, id: JobId, job: Job, outcome: Arc<hw::Outcome>) {
        let guard = None;
        let waiting = WaitingJob {
            job,
            outcome,
            guard,
        };
        self.jobs.insert(id, waiting);
    }

    /// Replaces the mechanism by another one, rebuilt from the facts.
    ///
    /// Errors: it does not start; then the old one goes on.
    pub(crate) fn swap_mechanism(
        &mut self,
        source: Arc<dyn MechanismSource>,
    ) -> Result<Swap, Error> {
        let began = Instant::now();
        let desk = self.desk()?;
        let (facts, live) = (desk.ledger.fact_lists(), desk.ledger.live().0);
        let fresh = source
            .build()
            .and_then(|mut m| m.restore(&facts).map(|()| m));
        self.mechanism = fresh.map_err(|fault| Error::Component {
            name: source.name().into(),
            fault,
        })?;
        let to = source.name().to_owned();
        let old = std::mem::replace(&mut self.parts.mechanism, source);
        Ok(Swap {
            from: old.name().to_owned(),
            to,
            live,
            pause: began.elapsed(),
        })
    }

    /// Why nothing is served any more.
    pub(crate) fn stopped(&mut self) -> Option<Arc<Error>> {
        self.stopped.clone()
    }

    /// Where a tenant's buffer is, and how its content is.
    pub(crate) fn buffer_state(
        &mut self,
        tenant: TenantId,
        buffer: BufferId,
    ) -> Option<BufferState> {
        let ledger = &self.desk().ok()?.ledger;
        (ledger.buffer_tenant(buffer)? == tenant).then_some(())?;
        Some(BufferState {
            place: ledger.place_of(buffer)?,
            content: ledger.content_of(buffer)?,
        })
    }

    /// Says which mappings of the next batch shall fail, counted from 0, and what the answers shall
    /// be when device memory is to grow; `None` is up to the device.
    pub(crate) fn script(
        &mut self,
        failed: BTreeSet<u64>,
        grown: Option<Vec<u64>>,
    ) -> Result<(), Error> {
        let broker = &mut self.desk()?.broker;
        broker.dma.begin(failed);
        broker.growth.begin(grown);
        Ok(())
    }

    /// Ends the request log.
    pub(crate) fn end_log(&mut self) -> Result<(), Error> {
        self.log.take().map_or(Ok(()), LogWriter::end)
    }

    /// The facts as packed lists.
    pub(crate) fn facts(&mut self) -> Vec<Vec<u64>> {
        self.desk()
            .map(|desk| desk.ledger.fact_lists())
            .unwrap_or_default()
    }
}
