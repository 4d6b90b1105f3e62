//! Facts as words.

use super::{BufferFact, Content, Fact, MappingFact, MemoryType, Role, VmBoFact, VmFact};
use crate::extent::{Extent, Segment};
use crate::id::{
    AllocationId, AttachmentId, BufferId, DeviceId, MemoryTypeId, Stamp, TableId, TenantId,
    TimelineId,
};
use crate::point::{Point, PointSet};
use crate::request::Placement;
use crate::table::{Hold, Holder};
use crate::wire::{Item, Kind, Reader, WireError, Writer};
use alloc::vec::Vec;

fn put_point(point: Option<Point>) -> [u64; 2] {
    point.map_or([0, 0], |p| [p.timeline.0.into(), p.value])
}

fn get_point(item: &Item<'_>, [timeline, value]: [u64; 2]) -> Result<Option<Point>, WireError> {
    let timeline = TimelineId(item.narrow(timeline)?);
    Ok((value > 0).then_some(Point { timeline, value }))
}

pub(super) fn put_points(points: &PointSet, body: &mut Vec<u64>) {
    body.extend(points.iter().flat_map(|p| [p.timeline.0.into(), p.value]));
}

impl Fact {
    /// Appends the fact to a fact list.
    ///
    /// Errors: `false` when it does not fit in one item.
    #[must_use]
    pub fn encode(&self, out: &mut Writer) -> bool {
        match self {
            Fact::Memory(m) => out.item(1, m.id.0.into(), |b| {
                let other = |id: Option<MemoryTypeId>| u64::from(id.map_or(255, |id| id.0));
                b.extend([m.size, m.granule, other(m.evict_to), m.base, m.max_segment]);
                b.extend([other(m.aperture), other(m.hop)]);
            }),
            Fact::Timeline { completed, role } => out.item(2, completed.timeline.0, |b| {
                let (role, device) = role.words();
                b.extend([completed.value, role]);
                b.extend(device.map(|d| u64::from(d.0)));
            }),
            Fact::Table {
                table,
                layout,
                mapped,
                holds,
                segments,
            } => out.item(3, table.0, |b| {
                let flags = u64::from(*layout) | u64::from(*mapped) << 1;
                b.extend([flags, holds.len() as u64]);
                for h in holds {
                    b.extend([h.holder as u64, h.until.timeline.0.into(), h.until.value]);
                }
                b.extend(segments.iter().flat_map(|s| [s.address, s.bytes]));
            }),
            Fact::Buffer(f) => out.item(4, f.tenant.0, |b| f.body(b)),
            Fact::Residue {
                memory,
                extent,
                tenant,
            } => out.item(5, memory.0.into(), |b| {
                b.extend([extent.offset, extent.bytes, tenant.0.into()])
            }),
            Fact::Pending {
                memory,
                extent,
                after,
            } => out.item(6, memory.0.into(), |b| {
                b.extend([extent.offset, extent.bytes]);
                put_points(after, b);
            }),
            Fact::Leaving {
                table,
                buffer,
                arrives,
                left,
                after,
            } => out.item(7, table.0, |b| {
                b.push(buffer.0);
                b.extend(put_point(*arrives));
                b.extend(put_point(Some(*left)));
                put_points(after, b);
            }),
            Fact::Attachment {
                attachment,
                buffer,
                device,
            } => out.item(8, device.0, |b| b.extend([attachment.0, buffer.0])),
            Fact::Vm(vm) => vm.encode(out),
            Fact::VmBo(vm_bo) => vm_bo.encode(out),
            Fact::Mapping(mapping) => mapping.encode(out),
        }
    }

    /// Reads one fact.
    pub fn decode(item: &Item<'_>) -> Result<Fact, WireError> {
        let wrong = || WireError::Value(item.number);
        let memory = || {
            u8::try_from(item.operand)
                .map(MemoryTypeId)
                .map_err(|_| wrong())
        };
        Ok(match item.op {
            1 => {
                let [size, granule, to, base, max_segment, aperture, hop] = item.exactly()?;
                let other = |id: u64| {
                    let id = u8::try_from(id).map_err(|_| wrong())?;
                    Ok((id != 255).then_some(MemoryTypeId(id)))
                };
                Fact::Memory(MemoryType {
                    id: memory()?,
                    size,
                    granule,
                    evict_to: other(to)?,
                    base,
                    max_segment,
                    aperture: other(aperture)?,
                    hop: other(hop)?,
                })
            }
            2 => {
                let ([value, role], rest) = item.at_least()?;
                let device = match rest {
                    [] => None,
                    &[device] => Some(DeviceId(item.narrow(device)?)),
                    _ => return Err(WireError::Length(item.number)),
                };
                let completed = Point {
                    timeline: TimelineId(item.operand),
                    value,
                };
                Fact::Timeline {
                    completed,
                    role: Role::from_words(role, device).ok_or_else(wrong)?,
                }
            }
            3 => {
                let ([flags, count], mut rest) = item.at_least()?;
                let holds = take(
                    item,
                    &mut rest,
                    count,
                    |[holder, timeline, value]: [u64; 3]| {
                        let until = Point {
                            timeline: TimelineId(item.narrow(timeline)?),
                            value,
                        };
                        Ok(Hold {
                            holder: Holder::from_code(holder).ok_or_else(wrong)?,
                            until,
                        })
                    },
                )?;
                let pieces = (rest.len() / 2) as u64;
                let segments = take(item, &mut rest, pieces, |[address, bytes]: [u64; 2]| {
                    Ok(Segment { address, bytes })
                })?;
                if !rest.is_empty() || flags > 3 {
                    return Err(wrong());
                }
                Fact::Table {
                    table: TableId(item.operand),
                    layout: flags & 1 != 0,
                    mapped: flags & 2 != 0,
                    holds,
                    segments,
                }
            }
            4 => Fact::Buffer(BufferFact::decode(item)?),
            5 => {
                let [offset, bytes, tenant] = item.exactly()?;
                let tenant = TenantId(item.narrow(tenant)?);
                Fact::Residue {
                    memory: memory()?,
                    extent: Extent { offset, bytes },
                    tenant,
                }
            }
            6 => {
                let ([offset, bytes], mut rest) = item.at_least()?;
                let count = (rest.len() / 2) as u64;
                let after = points(item, &mut rest, count)?;
                if !rest.is_empty() {
                    return Err(wrong());
                }
                Fact::Pending {
                    memory: memory()?,
                    extent: Extent { offset, bytes },
                    after,
                }
            }
            7 => {
                let ([buffer, a, b, c, d], mut rest) = item.at_least()?;
                let count = (rest.len() / 2) as u64;
                let after = points(item, &mut rest, count)?;
                let left = get_point(item, [c, d])?.ok_or_else(wrong)?;
                if !rest.is_empty() {
                    return Err(wrong());
                }
                Fact::Leaving {
                    table: TableId(item.operand),
                    buffer: BufferId(buffer),
                    arrives: get_point(item, [a, b])?,
                    left,
                    after,
                }
            }
            8 => {
                let [attachment, buffer] = item.exactly()?;
                Fact::Attachment {
                    attachment: AttachmentId(attachment),
                    buffer: BufferId(buffer),
                    device: DeviceId(item.operand),
                }
            }
            9 => VmFact::decode(item).map(Fact::Vm)?,
            10 => VmBoFact::decode(item).map(Fact::VmBo)?,
            11 => MappingFact::decode(item).map(Fact::Mapping)?,
            _ => return Err(item.unknown()),
        })
    }
}

impl BufferFact {
    fn body(&self, b: &mut Vec<u64>) {
        b.extend([
            self.buffer.0,
            self.bytes,
            self.placement.word(),
            self.priority.into(),
            self.stamp.0,
        ]);
        b.extend([
            self.content as u64,
            self.allocation.0.into(),
            self.memory.0.into(),
            self.table.0.into(),
        ]);
        b.extend(put_point(self.arrives));
        let counts = [
            self.extents.len(),
            self.readers.len(),
            self.writers.len(),
            self.inherited.len(),
        ];
        b.extend(counts.map(|n| n as u64));
        b.extend(self.extents.iter().flat_map(|e| [e.offset, e.bytes]));
        put_points(&self.readers, b);
        put_points(&self.writers, b);
        put_points(&self.inherited, b);
    }

    fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let wrong = || WireError::Value(item.number);
        let ([buffer, bytes, placement, priority, stamp], rest) = item.at_least()?;
        let Some((
            &[
                content,
                allocation,
                memory,
                table,
                arrives_on,
                arrives_at,
                extents,
                readers,
                writers,
                inherited,
            ],
            mut rest,
        )) = rest.split_first_chunk::<10>()
        else {
            return Err(WireError::Length(item.number));
        };
        let fact = BufferFact {
            buffer: BufferId(buffer),
            tenant: TenantId(item.operand),
            bytes,
            placement: Placement::from_word(placement).ok_or_else(wrong)?,
            priority: u8::try_from(priority).map_err(|_| wrong())?,
            stamp: Stamp(stamp),
            content: Content::from_code(content).ok_or_else(wrong)?,
            allocation: AllocationId(item.narrow(allocation)?),
            memory: MemoryTypeId(u8::try_from(memory).map_err(|_| wrong())?),
            table: TableId(item.narrow(table)?),
            arrives: get_point(item, [arrives_on, arrives_at])?,
            extents: take(item, &mut rest, extents, |[offset, bytes]: [u64; 2]| {
                Ok(Extent { offset, bytes })
            })?,
            readers: points(item, &mut rest, readers)?,
            writers: points(item, &mut rest, writers)?,
            inherited: points(item, &mut rest, inherited)?,
        };
        if rest.is_empty() {
            Ok(fact)
        } else {
            Err(wrong())
        }
    }
}

fn take<const N: usize, T>(
    item: &Item<'_>,
    rest: &mut &[u64],
    count: u64,
    mut make: impl FnMut([u64; N]) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let words = usize::try_from(count).ok().and_then(|n| n.checked_mul(N));
    let (mine, after) = words
        .and_then(|n| rest.split_at_checked(n))
        .ok_or(WireError::Length(item.number))?;
    *rest = after;
    mine.as_chunks::<N>()
        .0
        .iter()
        .map(|chunk| make(*chunk))
        .collect()
}

pub(super) fn points(
    item: &Item<'_>,
    rest: &mut &[u64],
    count: u64,
) -> Result<PointSet, WireError> {
    let list = take(item, rest, count, |[timeline, value]: [u64; 2]| {
        Ok(Point {
            timeline: TimelineId(item.narrow(timeline)?),
            value,
        })
    })?;
    Ok(list.into_iter().collect())
}

/// Reads a whole fact list.
///
/// Errors: as [`Reader`], and of the first fact that cannot be read.
pub fn decode(words: &[u64]) -> Result<Vec<Fact>, WireError> {
    let mut reader = Reader::new(words, Kind::Facts)?;
    let mut facts = Vec::new();
    while let Some(item) = reader.next()? {
        facts.push(Fact::decode(&item)?);
    }
    Ok(facts)
}
