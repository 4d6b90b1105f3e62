//! Performing accepted plans: resolved operations become submissions to the device's engines.

mod at_once;
mod page_tables;

pub(crate) use page_tables::PteBacking;

use crate::capture::{Role, TableSubmitted};
use crate::failsafe::{Failsafe, Watch, What};
use crate::guard::{Guard, Opened};
use crate::job::Job;
use crate::runtime::IMPORT;
use crate::share::{Notice, Sharing};
use crate::shared::Shared;
use gpumm_contract::vm::VmId;
use gpumm_contract::{
    AllocationId, BufferId, JobId, MemoryTypeId, Point, Segment, TableId, TenantId, TimelineId,
};
use gpumm_hw as hw;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Memory of an operation, as its table describes it.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) table: TableId,
    pub(crate) allocation: AllocationId,
    pub(crate) buffer: BufferId,
    pub(crate) tenant: TenantId,
    pub(crate) kind: MemoryTypeId,
    pub(crate) segments: Shared<Segment>,
    /// The buffer's size, not rounded.
    pub(crate) bytes: u64,
}

impl Memory {
    /// The memory as a capture wants it.
    pub(crate) fn submitted(&self, role: Role) -> TableSubmitted {
        TableSubmitted {
            role,
            table: self.table,
            allocation: self.allocation,
            buffer: self.buffer,
            tenant: self.tenant,
            memory: self.kind,
            bytes: self.bytes,
            segments: self.segments.clone(),
            keep_content: false,
        }
    }
}

/// A device operation of an accepted plan, resolved from the ledger's mirror of the tables.
#[derive(Clone, Debug)]
pub(crate) enum DeviceOp {
    Wait {
        timeline: TimelineId,
        point: Point,
    },
    Signal {
        at: Point,
    },
    Unmap {
        table: TableId,
        memory: MemoryTypeId,
        buffer: BufferId,
        segments: Shared<Segment>,
    },
    Copy {
        at: Point,
        source: Memory,
        target: Memory,
        source_offset: u64,
        target_offset: u64,
        bytes: u64,
    },
    Fill {
        at: Point,
        target: Memory,
        offset: u64,
        bytes: u64,
        pattern: u64,
    },
    Run {
        at: Point,
        job: JobId,
        memory: Vec<Memory>,
    },
    Notify(Notice),
    UpdatePtes {
        at: Point,
        vm: VmId,
        address: u64,
        bytes: u64,
        backing: PteBacking,
    },
    InvalidateTlb {
        at: Point,
        vm: VmId,
    },
}

/// A job that waits for its plan, and where its outcome goes.
#[derive(Debug)]
pub(crate) struct WaitingJob {
    pub(crate) job: Job,
    pub(crate) outcome: Arc<hw::Outcome>,
    /// The CPU's access that this is, if it is one.
    pub(crate) guard: Option<Arc<Guard>>,
}

/// Where a memory type is on the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    pub(crate) space: hw::MemorySpace,
    /// DMA address of its first byte.
    pub(crate) base: u64,
}

/// Where the memory types are on the device.
#[derive(Debug)]
pub(crate) struct Spaces {
    pub(crate) by_type: BTreeMap<MemoryTypeId, Space>,
    /// The memory type whose segments are mapped for DMA.
    pub(crate) host: MemoryTypeId,
}

impl Spaces {
    /// The device's segments of an operation's memory.
    ///
    /// Errors: the device does not have the memory type.
    pub(crate) fn segments(&self, memory: &Memory) -> Result<Arc<[hw::Segment]>, hw::DeviceError> {
        self.list(memory.kind, &memory.segments)
    }

    /// The device's segments of a table.
    ///
    /// Errors: the device does not have the memory type.
    pub(crate) fn list(
        &self,
        kind: MemoryTypeId,
        segments: &[Segment],
    ) -> Result<Arc<[hw::Segment]>, hw::DeviceError> {
        let unknown = hw::DeviceError::InvalidConfig("a memory type that the device does not have");
        let Space { space, base } = *self.by_type.get(&kind).ok_or(unknown)?;
        let piece = |s: &Segment| hw::Segment {
            memory: space,
            // The ledger has checked that the address lies in the memory type.
            offset: s.address.wrapping_sub(base),
            bytes: s.bytes,
        };
        Ok(segments.iter().map(piece).collect())
    }
}

/// Hands operations to a device in plan order.
#[derive(Debug)]
pub(crate) struct Executor {
    device: Arc<dyn hw::Device>,
    engines: BTreeMap<TimelineId, hw::EngineId>,
    spaces: Arc<Spaces>,
    failsafe: Arc<Failsafe>,
    /// Waits that the next submission of a timeline carries.
    waits: BTreeMap<TimelineId, Vec<hw::Point>>,
    /// The timelines of the CPU's accesses, with the last one on each.
    cpu: BTreeMap<TimelineId, Option<Arc<Guard>>>,
    timelines: Arc<hw::Timelines>,
    sharing: Sharing,
}

impl Executor {
    pub(crate) fn new(
        device: Arc<dyn hw::Device>,
        engines: BTreeMap<TimelineId, hw::EngineId>,
        spaces: Arc<Spaces>,
        failsafe: Arc<Failsafe>,
        timelines: Arc<hw::Timelines>,
        sharing: Sharing,
        cpu: &[TimelineId],
    ) -> Self {
        Executor {
            device,
            engines,
            spaces,
            failsafe,
            waits: BTreeMap::new(),
            cpu: cpu.iter().map(|&t| (t, None)).collect(),
            timelines,
            sharing,
        }
    }

    /// Reaches a point that no engine does; one that is reached already stays so.
    pub(crate) fn reach(&self, point: Point) {
        let at = hardware_point(point);
        let _ = self.timelines.advance(at.timeline, at.value);
    }

    /// The device itself.
    pub(crate) fn device(&self) -> &Arc<dyn hw::Device> {
        &self.device
    }

    /// Submits every operation of a plan, and has importers told when all of it stands.
    ///
    /// Errors: the device refuses one, which is a bug of ledger or device; what came before it runs.
    pub(crate) fn execute(
        &mut self,
        ops: Vec<DeviceOp>,
        jobs: &mut HashMap<JobId, WaitingJob>,
    ) -> Result<(), hw::DeviceError> {
        let mut told = Vec::new();
        let done = self.each(ops, jobs, &mut told);
        // Also of a plan that broke off: nobody else reaches the gates.
        self.sharing.tell(told);
        done
    }

    fn each(
        &mut self,
        ops: Vec<DeviceOp>,
        jobs: &mut HashMap<JobId, WaitingJob>,
        told: &mut Vec<Notice>,
    ) -> Result<(), hw::DeviceError> {
        let mut ops = ops.into_iter().peekable();
        while let Some(op) = ops.next() {
            match op {
                DeviceOp::Notify(notice) => told.push(notice),
                DeviceOp::Wait { timeline, point } => self.wait(timeline, point),
                DeviceOp::Signal { at } => self.submit(at, hw::Command::Nop, None, None)?,
                DeviceOp::UpdatePtes {
                    at,
                    vm,
                    address,
                    bytes,
                    backing,
                } => {
                    let first = (at, address, bytes, backing);
                    self.update_ptes(vm, first, &mut ops)?;
                }
                DeviceOp::InvalidateTlb { at, vm } => {
                    let vm = hw::VmId(vm.0);
                    self.page_tables(at, hw::Command::InvalidateTlb { vm })?;
                }
                DeviceOp::Unmap { memory, buffer, .. } if memory == IMPORT => {
                    self.sharing.unmap(buffer)?
                }
                DeviceOp::Unmap { segments, .. } => {
                    let segments = self.spaces.list(self.spaces.host, &segments)?;
                    self.device.unmap_dma(&segments)?;
                }
                DeviceOp::Copy {
                    at,
                    source,
                    target,
                    source_offset,
                    target_offset,
                    bytes,
                } => {
                    let command = hw::Command::Copy {
                        src: self.spaces.segments(&source)?,
                        dst: self.spaces.segments(&target)?,
                        src_offset: source_offset,
                        dst_offset: target_offset,
                        bytes,
                    };
                    let what = What::Copy {
                        source,
                        target,
                        command: command.clone(),
                    };
                    self.submit(at, command, None, Some(what))?;
                }
                DeviceOp::Fill {
                    at,
                    target,
                    offset,
                    bytes,
                    pattern,
                } => {
                    let command = hw::Command::Fill {
                        dst: self.spaces.segments(&target)?,
                        offset,
                        bytes,
                        pattern,
                    };
                    let what = What::Fill {
                        target,
                        command: command.clone(),
                    };
                    self.submit(at, command, None, Some(what))?;
                }
                DeviceOp::Run { at, job, memory } if self.cpu.contains_key(&at.timeline) => {
                    self.by_cpu(at, memory, jobs.remove(&job))?;
                }
                DeviceOp::Run { at, job, memory } => {
                    let list = |m: &Memory| Ok((self.spaces.segments(m)?, m.bytes));
                    let lists = memory.iter().map(list);
                    let lists = lists.collect::<Result<Vec<_>, hw::DeviceError>>()?;
                    match jobs.remove(&job) {
                        Some(WaitingJob { job, outcome, .. }) => {
                            let name = job.name().to_owned();
                            let what = What::Job { memory, name };
                            self.submit(at, job.command(&lists), Some(outcome), Some(what))?;
                        }
                        None => self.submit(at, hw::Command::Nop, None, None)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// The next operation of a timeline waits for a point. An access of the CPU that gives way to
    /// moves ends here; what it waited for is waited for in its place.
    fn wait(&mut self, timeline: TimelineId, point: Point) {
        let waits = self.waits.entry(timeline).or_default();
        if let Some(Some(guard)) = self.cpu.get(&point.timeline)
            && let Some(instead) = guard.revoke(point)
        {
            waits.extend(instead);
        }
        waits.push(hardware_point(point));
    }

    /// Opens an access of the CPU, or passes it by where nobody wants it any more: the planning of
    /// a request log.
    fn by_cpu(
        &mut self,
        at: Point,
        memory: Vec<Memory>,
        waiting: Option<WaitingJob>,
    ) -> Result<(), hw::DeviceError> {
        let waits = self.waits.remove(&at.timeline).unwrap_or_default();
        self.failsafe.submitted(at);
        let guard = waiting.and_then(|w| w.guard);
        match guard {
            Some(guard) => {
                let list = |memory: Memory| {
                    let list = self.spaces.segments(&memory)?;
                    Ok((memory, list))
                };
                let memory = memory.into_iter().map(list);
                guard.open(Opened {
                    at,
                    waits,
                    memory: memory.collect::<Result<_, hw::DeviceError>>()?,
                    device: self.device.clone(),
                    failsafe: self.failsafe.clone(),
                    timelines: self.timelines.clone(),
                });
                self.cpu.insert(at.timeline, Some(guard));
            }
            None => {
                for point in waits {
                    // Submitted before, so reached some time; without a limit nothing else fails.
                    let _ = self.timelines.wait(point, None);
                }
                let _ = self
                    .timelines
                    .advance(hw::TimelineId(at.timeline.0), at.value);
            }
        }
        Ok(())
    }

    fn submit(
        &mut self,
        at: Point,
        command: hw::Command,
        outcome: Option<Arc<hw::Outcome>>,
        what: Option<What>,
    ) -> Result<(), hw::DeviceError> {
        let unknown = hw::DeviceError::UnknownTimeline(hw::TimelineId(at.timeline.0));
        let engine = *self.engines.get(&at.timeline).ok_or(unknown)?;
        let waits = self
            .waits
            .get_mut(&at.timeline)
            .map(std::mem::take)
            .unwrap_or_default();
        self.failsafe.submitted(at);
        // Only a copy may be refused for want of memory for its repair, and comes again then.
        let again = match &what {
            Some(What::Copy { .. }) => Some((waits.clone(), command.clone())),
            _ => None,
        };
        let watch = what.map(|what| {
            Arc::new(Watch {
                failsafe: self.failsafe.clone(),
                spaces: self.spaces.clone(),
                at,
                what,
            })
        });
        let submission = hw::Submission {
            waits,
            command,
            signal: Some(at.value),
            outcome,
            hooks: watch.clone().map(|w| w as Arc<dyn hw::Hooks>),
        };
        match (self.device.submit(engine, submission), watch, again) {
            (Err(hw::DeviceError::NoRescueMemory), Some(watch), Some((waits, command))) => {
                self.at_once(engine, waits, command, &watch)
            }
            (submitted, ..) => submitted,
        }
    }
}

/// The device's form of a point.
pub(crate) fn hardware_point(point: Point) -> hw::Point {
    hw::Point {
        timeline: hw::TimelineId(point.timeline.0),
        value: point.value,
    }
}
