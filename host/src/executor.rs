//! Performing accepted plans: resolved operations become submissions to the device's engines.

use crate::job::Job;
use gpumm_contract::{JobId, MemoryTypeId, Point, Segment, TimelineId};
use gpumm_hw as hw;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Memory of an operation: the memory type, and segments of its DMA address space.
pub(crate) type Memory = (MemoryTypeId, Arc<[Segment]>);

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
        memory: Vec<(MemoryTypeId, Arc<[Segment]>, u64)>,
    },
}

/// A job that waits for its plan, and where its outcome goes.
#[derive(Debug)]
pub(crate) struct WaitingJob {
    pub(crate) job: Job,
    pub(crate) outcome: Arc<hw::Outcome>,
}

/// Where a memory type is on the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    pub(crate) space: hw::MemorySpace,
    /// DMA address of its first byte.
    pub(crate) base: u64,
}

/// Hands operations to a device in plan order.
#[derive(Debug)]
pub(crate) struct Executor {
    device: Arc<dyn hw::Device>,
    engines: BTreeMap<TimelineId, hw::EngineId>,
    spaces: BTreeMap<MemoryTypeId, Space>,
    /// Waits that the next submission of a timeline carries.
    waits: BTreeMap<TimelineId, Vec<hw::Point>>,
}

impl Executor {
    pub(crate) fn new(
        device: Arc<dyn hw::Device>,
        engines: BTreeMap<TimelineId, hw::EngineId>,
        spaces: BTreeMap<MemoryTypeId, Space>,
    ) -> Self {
        Executor {
            device,
            engines,
            spaces,
            waits: BTreeMap::new(),
        }
    }

    /// Submits every operation of a plan.
    ///
    /// Errors: the device refuses one, which is a bug of ledger or device; what came before it runs.
    pub(crate) fn execute(
        &mut self,
        ops: Vec<DeviceOp>,
        jobs: &mut HashMap<JobId, WaitingJob>,
    ) -> Result<(), hw::DeviceError> {
        for op in ops {
            match op {
                DeviceOp::Wait { timeline, point } => {
                    self.waits
                        .entry(timeline)
                        .or_default()
                        .push(hardware_point(point));
                }
                DeviceOp::Signal { at } => self.submit(at, hw::Command::Nop, None)?,
                DeviceOp::Copy {
                    at,
                    source,
                    target,
                    source_offset,
                    target_offset,
                    bytes,
                } => {
                    let (src, dst) = (self.segments(&source)?, self.segments(&target)?);
                    let (src_offset, dst_offset) = (source_offset, target_offset);
                    self.submit(
                        at,
                        hw::Command::Copy {
                            src,
                            dst,
                            src_offset,
                            dst_offset,
                            bytes,
                        },
                        None,
                    )?;
                }
                DeviceOp::Fill {
                    at,
                    target,
                    offset,
                    bytes,
                    pattern,
                } => {
                    let dst = self.segments(&target)?;
                    self.submit(
                        at,
                        hw::Command::Fill {
                            dst,
                            offset,
                            bytes,
                            pattern,
                        },
                        None,
                    )?;
                }
                DeviceOp::Run { at, job, memory } => {
                    let lists = memory.into_iter().map(|(kind, segments, bytes)| {
                        Ok((self.segments(&(kind, segments))?, bytes))
                    });
                    let lists = lists.collect::<Result<Vec<_>, hw::DeviceError>>()?;
                    match jobs.remove(&job) {
                        Some(waiting) => {
                            let command = waiting.job.command(&lists);
                            self.submit(at, command, Some(waiting.outcome))?;
                        }
                        None => self.submit(at, hw::Command::Nop, None)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn submit(
        &mut self,
        at: Point,
        command: hw::Command,
        outcome: Option<Arc<hw::Outcome>>,
    ) -> Result<(), hw::DeviceError> {
        let unknown = hw::DeviceError::UnknownTimeline(hw::TimelineId(at.timeline.0));
        let engine = *self.engines.get(&at.timeline).ok_or(unknown)?;
        let waits = self
            .waits
            .get_mut(&at.timeline)
            .map(std::mem::take)
            .unwrap_or_default();
        self.device.submit(
            engine,
            hw::Submission {
                waits,
                command,
                signal: Some(at.value),
                outcome,
            },
        )
    }

    fn segments(&self, (kind, segments): &Memory) -> Result<Arc<[hw::Segment]>, hw::DeviceError> {
        let unknown = hw::DeviceError::InvalidConfig("a memory type that the device does not have");
        let Space { space, base } = *self.spaces.get(kind).ok_or(unknown)?;
        let piece = |s: &Segment| hw::Segment {
            memory: space,
            // The ledger has checked that the address lies in the memory type.
            offset: s.address.wrapping_sub(base),
            bytes: s.bytes,
        };
        Ok(segments.iter().map(piece).collect())
    }
}

/// The device's form of a point.
pub(crate) fn hardware_point(point: Point) -> hw::Point {
    hw::Point {
        timeline: hw::TimelineId(point.timeline.0),
        value: point.value,
    }
}
