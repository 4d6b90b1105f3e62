//! Requests on GPU address spaces.

use super::Intent;
use crate::id::{BufferId, Stamp, TenantId, TimelineId};
use crate::point::{Point, PointSet};
use crate::vm::{Span, VmConfig, VmId};
use crate::wire::{Item, WireError, Writer};
use alloc::vec::Vec;

/// The buffer's word of a [`Used`] that stands for every member of its address space.
const EVERY_MEMBER: u64 = u64::MAX;

/// A request for a new address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateVm {
    /// The new address space.
    pub vm: VmId,
    /// Whose it is: only its own buffers are ever shown there.
    pub tenant: TenantId,
    /// Its addresses and limits.
    pub config: VmConfig,
}

/// A request to end an address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseVm {
    /// The address space.
    pub vm: VmId,
    /// Its last job on each timeline: what a job names that shows no buffer, only the host knows.
    pub after: PointSet,
}

/// A request to map and unmap, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindVm {
    /// The address space.
    pub vm: VmId,
    /// What the page-table writes wait for, beside what the memory manager knows.
    pub after: PointSet,
    /// What to do, packed ([`crate::vm::packed`], binds).
    pub binds: Vec<u64>,
}

/// Addresses that a job names, and what it does there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanUse {
    /// The addresses.
    pub at: Span,
    /// What the job does with them.
    pub intent: Intent,
}

/// A request to make an address space ready for a job that the host submits itself: what the job
/// names is brought back and shown again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit {
    /// The address space.
    pub vm: VmId,
    /// The point that the job will reach, on a timeline of jobs; it is reached in any case.
    pub at: Point,
    /// When the buffers are used.
    pub stamp: Stamp,
    /// The addresses that the job names; none = all that is mapped.
    pub spans: Vec<SpanUse>,
}

/// Word of a job that went to the device without a request: its address space was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The address space.
    pub vm: VmId,
    /// The point that the job reaches, on a timeline of jobs.
    pub at: Point,
    /// When the buffer was used.
    pub stamp: Stamp,
    /// The buffer; none = every member of the address space.
    pub buffer: Option<BufferId>,
    /// What the job does with it.
    pub intent: Intent,
}

impl CreateVm {
    pub(super) fn encode(&self, out: &mut Writer) -> bool {
        out.item(24, self.tenant.0, |body| {
            body.push(self.vm.0);
            body.extend(self.config.words());
        })
    }

    pub(super) fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let [vm, start, bytes, kernel, kernel_bytes, most, of_buffer] = item.exactly()?;
        let config = [start, bytes, kernel, kernel_bytes, most, of_buffer];
        Ok(CreateVm {
            vm: VmId(vm),
            tenant: TenantId(item.operand),
            config: VmConfig::from_words(config).ok_or(WireError::Value(item.number))?,
        })
    }
}

impl CloseVm {
    pub(super) fn encode(&self, out: &mut Writer) -> bool {
        out.item(25, 0, |body| {
            body.push(self.vm.0);
            put_points(&self.after, body);
        })
    }

    pub(super) fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let ([vm], after) = item.at_least()?;
        Ok(CloseVm {
            vm: VmId(vm),
            after: get_points(item, after)?,
        })
    }
}

fn put_points(points: &PointSet, body: &mut Vec<u64>) {
    body.extend(points.iter().flat_map(|p| [p.timeline.0.into(), p.value]));
}

fn get_points(item: &Item<'_>, words: &[u64]) -> Result<PointSet, WireError> {
    let (pairs, []) = words.as_chunks::<2>() else {
        return Err(WireError::Length(item.number));
    };
    let point = |&[timeline, value]: &[u64; 2]| {
        Ok(Point {
            timeline: TimelineId(item.narrow(timeline)?),
            value,
        })
    };
    pairs.iter().map(point).collect()
}

impl BindVm {
    pub(super) fn encode(&self, out: &mut Writer) -> bool {
        let Ok(points) = u32::try_from(self.after.len()) else {
            return false;
        };
        out.item(26, points, |body| {
            body.push(self.vm.0);
            put_points(&self.after, body);
            body.extend(&self.binds);
        })
    }

    pub(super) fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let ([vm], rest) = item.at_least()?;
        let points = usize::try_from(item.operand).map_err(|_| WireError::Length(item.number))?;
        let split = rest.split_at_checked(points.saturating_mul(2));
        let (after, binds) = split.ok_or(WireError::Length(item.number))?;
        Ok(BindVm {
            vm: VmId(vm),
            after: get_points(item, after)?,
            binds: binds.to_vec(),
        })
    }
}

impl Submit {
    pub(super) fn encode(&self, out: &mut Writer) -> bool {
        out.item(27, self.at.timeline.0, |body| {
            body.extend([self.vm.0, self.at.value, self.stamp.0]);
            let span = |s: &SpanUse| [s.at.start, s.at.bytes, s.intent.word()];
            body.extend(self.spans.iter().flat_map(span));
        })
    }

    pub(super) fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let ([vm, value, stamp], rest) = item.at_least()?;
        let (spans, []) = rest.as_chunks::<3>() else {
            return Err(WireError::Length(item.number));
        };
        let span = |&[start, bytes, intent]: &[u64; 3]| {
            Ok(SpanUse {
                at: Span { start, bytes },
                intent: Intent::from_word(intent).ok_or(WireError::Value(item.number))?,
            })
        };
        Ok(Submit {
            vm: VmId(vm),
            at: Point {
                timeline: TimelineId(item.operand),
                value,
            },
            stamp: Stamp(stamp),
            spans: spans.iter().map(span).collect::<Result<_, _>>()?,
        })
    }
}

impl Used {
    pub(super) fn encode(&self, out: &mut Writer) -> bool {
        out.item(28, self.at.timeline.0, |body| {
            let buffer = self.buffer.map_or(EVERY_MEMBER, |b| b.0);
            body.extend([self.vm.0, self.at.value, self.stamp.0, buffer]);
            body.push(self.intent.word());
        })
    }

    pub(super) fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let [vm, value, stamp, buffer, intent] = item.exactly()?;
        Ok(Used {
            vm: VmId(vm),
            at: Point {
                timeline: TimelineId(item.operand),
                value,
            },
            stamp: Stamp(stamp),
            buffer: (buffer != EVERY_MEMBER).then_some(BufferId(buffer)),
            intent: Intent::from_word(intent).ok_or(WireError::Value(item.number))?,
        })
    }
}
