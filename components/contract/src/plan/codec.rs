//! Operations as words.

use super::{Op, Status};
use crate::extent::{Extent, Segment};
use crate::id::{
    AllocationId, AttachmentId, BufferId, DeviceId, JobId, MemoryTypeId, TableId, TimelineId,
};
use crate::point::{Point, PointSet};
use crate::vm::VmId;
use crate::wire::{Item, Kind, Reader, WireError, Writer};
use alloc::borrow::Cow;
use alloc::vec::Vec;

impl Op<'_> {
    /// Appends the operation to a plan.
    ///
    /// Errors: `false` when it does not fit in one item.
    #[must_use]
    pub fn encode(&self, out: &mut Writer) -> bool {
        match self {
            Op::Answer { request, status } => out.item(1, *request, |b| b.extend(status.words())),
            Op::Place {
                allocation,
                memory,
                buffer,
                extents,
            } => out.item(2, allocation.0, |b| {
                b.extend([memory.0.into(), buffer.0]);
                b.extend(extents.iter().flat_map(|e| [e.offset, e.bytes]));
            }),
            Op::Unplace { allocation, after } => out.item(3, allocation.0, |b| {
                b.extend(after.iter().flat_map(|p| [p.timeline.0.into(), p.value]));
            }),
            Op::Table {
                table,
                allocation,
                segments,
            } => out.item(4, table.0, |b| {
                b.push(allocation.0.into());
                b.extend(segments.iter().flat_map(|s| [s.address, s.bytes]));
            }),
            Op::DropTable { table } => out.item(5, table.0, |_| ()),
            Op::MapDma { table } => out.item(6, table.0, |_| ()),
            Op::UnmapDma { table } => out.item(7, table.0, |_| ()),
            Op::Copy {
                at,
                source,
                target,
                source_offset,
                target_offset,
                bytes,
            } => out.item(8, at.timeline.0, |b| {
                b.extend([at.value, source.0.into(), target.0.into()]);
                b.extend([*source_offset, *target_offset, *bytes]);
            }),
            Op::Fill {
                at,
                table,
                offset,
                bytes,
                pattern,
            } => out.item(9, at.timeline.0, |b| {
                b.extend([at.value, table.0.into(), *offset, *bytes, *pattern]);
            }),
            Op::UpdatePtes {
                at,
                vm,
                address,
                table,
                offset,
                bytes,
                flags,
            } => out.item(10, at.timeline.0, |b| {
                b.extend([
                    at.value,
                    vm.0,
                    *address,
                    table.0.into(),
                    *offset,
                    *bytes,
                    *flags,
                ]);
            }),
            Op::InvalidateTlb { at, vm } => {
                out.item(11, at.timeline.0, |b| b.extend([at.value, vm.0]))
            }
            Op::Run { at, job, tables } => out.item(12, at.timeline.0, |b| {
                b.extend([at.value, job.0]);
                b.extend(tables.iter().map(|t| u64::from(t.0)));
            }),
            Op::Wait { timeline, point } => out.item(13, timeline.0, |b| {
                b.extend([point.timeline.0.into(), point.value])
            }),
            Op::Signal { at } => out.item(14, at.timeline.0, |b| b.push(at.value)),
            Op::Notify {
                device,
                attachment,
                gate,
            } => out.item(15, device.0, |b| {
                b.extend([attachment.0, gate.timeline.0.into(), gate.value])
            }),
            Op::Poison { buffer } => out.item(16, 0, |b| b.push(buffer.0)),
        }
    }

    /// Reads one operation with lists of its own.
    pub fn decode(item: &Item<'_>) -> Result<Op<'static>, WireError> {
        Op::read_into(item, Own)
    }

    /// Reads one operation; its lists take the room of those of the one that was read before.
    pub fn read<'a>(item: &Item<'_>, lists: &'a mut Lists) -> Result<Op<'a>, WireError> {
        Op::read_into(item, lists)
    }

    /// Whether an operation can be read, and which one it is: itself, but with empty lists.
    pub fn outline(item: &Item<'_>) -> Result<Op<'static>, WireError> {
        Op::read_into(item, Nowhere)
    }

    fn read_into<'a>(item: &Item<'_>, room: impl Room<'a>) -> Result<Op<'a>, WireError> {
        let wrong = || WireError::Value(item.number);
        let table = |word: u64| item.narrow(word).map(TableId);
        let at = |value: u64| Point {
            timeline: TimelineId(item.operand),
            value,
        };
        Ok(match item.op {
            1 => Op::Answer {
                request: item.operand,
                status: Status::from_words(item.exactly()?).ok_or_else(wrong)?,
            },
            2 => {
                let ([memory, buffer], rest) = item.at_least()?;
                Op::Place {
                    allocation: AllocationId(item.operand),
                    memory: MemoryTypeId(u8::try_from(memory).map_err(|_| wrong())?),
                    buffer: BufferId(buffer),
                    extents: room.extents(
                        pairs(item, rest)?.map(|(offset, bytes)| Extent { offset, bytes }),
                    ),
                }
            }
            3 => {
                let point = |(timeline, value)| {
                    let timeline = TimelineId(item.narrow(timeline)?);
                    Ok(Point { timeline, value })
                };
                Op::Unplace {
                    allocation: AllocationId(item.operand),
                    after: room.points(pairs(item, item.body)?.map(point))?,
                }
            }
            4 => {
                let ([allocation], rest) = item.at_least()?;
                Op::Table {
                    table: TableId(item.operand),
                    allocation: AllocationId(item.narrow(allocation)?),
                    segments: room.segments(
                        pairs(item, rest)?.map(|(address, bytes)| Segment { address, bytes }),
                    ),
                }
            }
            5..=7 => {
                let [] = item.exactly()?;
                let table = TableId(item.operand);
                match item.op {
                    5 => Op::DropTable { table },
                    6 => Op::MapDma { table },
                    _ => Op::UnmapDma { table },
                }
            }
            8 => {
                let [value, source, target, source_offset, target_offset, bytes] =
                    item.exactly()?;
                let (source, target) = (table(source)?, table(target)?);
                Op::Copy {
                    at: at(value),
                    source,
                    target,
                    source_offset,
                    target_offset,
                    bytes,
                }
            }
            9 => {
                let [value, t, offset, bytes, pattern] = item.exactly()?;
                Op::Fill {
                    at: at(value),
                    table: table(t)?,
                    offset,
                    bytes,
                    pattern,
                }
            }
            10 => {
                let [value, vm, address, t, offset, bytes, flags] = item.exactly()?;
                Op::UpdatePtes {
                    at: at(value),
                    vm: VmId(vm),
                    address,
                    table: table(t)?,
                    offset,
                    bytes,
                    flags,
                }
            }
            11 => {
                let [value, vm] = item.exactly()?;
                Op::InvalidateTlb {
                    at: at(value),
                    vm: VmId(vm),
                }
            }
            12 => {
                let ([value, job], rest) = item.at_least()?;
                let tables = room.tables(rest.iter().map(|&t| table(t)))?;
                Op::Run {
                    at: at(value),
                    job: JobId(job),
                    tables,
                }
            }
            13 => {
                let [timeline, value] = item.exactly()?;
                let point = Point {
                    timeline: TimelineId(item.narrow(timeline)?),
                    value,
                };
                Op::Wait {
                    timeline: TimelineId(item.operand),
                    point,
                }
            }
            14 => item.exactly().map(|[value]| Op::Signal { at: at(value) })?,
            15 => {
                let [attachment, timeline, value] = item.exactly()?;
                let gate = Point {
                    timeline: TimelineId(item.narrow(timeline)?),
                    value,
                };
                Op::Notify {
                    device: DeviceId(item.operand),
                    attachment: AttachmentId(attachment),
                    gate,
                }
            }
            16 => item.exactly().map(|[buffer]| Op::Poison {
                buffer: BufferId(buffer),
            })?,
            _ => return Err(item.unknown()),
        })
    }
}

/// Room for the lists of one operation, to be used again for the next one.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    extents: Vec<Extent>,
    segments: Vec<Segment>,
    tables: Vec<TableId>,
}

/// How much room is kept when there is no telling whether it is needed again.
const KEPT: usize = 1024;

impl Lists {
    /// Gives room back that only an unusually long list needs.
    pub fn trim(&mut self) {
        self.extents.clear();
        self.extents.shrink_to(KEPT);
        self.segments.clear();
        self.segments.shrink_to(KEPT);
        self.tables.clear();
        self.tables.shrink_to(KEPT);
    }
}

/// Where the lists of an operation that is read go.
trait Room<'a> {
    fn extents(self, list: impl Iterator<Item = Extent>) -> Cow<'a, [Extent]>;
    fn segments(self, list: impl Iterator<Item = Segment>) -> Cow<'a, [Segment]>;
    fn tables(
        self,
        list: impl Iterator<Item = Result<TableId, WireError>>,
    ) -> Result<Cow<'a, [TableId]>, WireError>;

    fn points(
        self,
        list: impl Iterator<Item = Result<Point, WireError>>,
    ) -> Result<PointSet, WireError>
    where
        Self: Sized,
    {
        list.collect()
    }
}

/// Each list gets room of its own.
struct Own;

impl Room<'static> for Own {
    fn extents(self, list: impl Iterator<Item = Extent>) -> Cow<'static, [Extent]> {
        list.collect()
    }

    fn segments(self, list: impl Iterator<Item = Segment>) -> Cow<'static, [Segment]> {
        list.collect()
    }

    fn tables(
        self,
        list: impl Iterator<Item = Result<TableId, WireError>>,
    ) -> Result<Cow<'static, [TableId]>, WireError> {
        list.collect()
    }
}

/// What is in the lists is looked at, but not kept.
struct Nowhere;

impl Room<'static> for Nowhere {
    fn extents(self, _: impl Iterator<Item = Extent>) -> Cow<'static, [Extent]> {
        Cow::Borrowed(&[])
    }

    fn segments(self, _: impl Iterator<Item = Segment>) -> Cow<'static, [Segment]> {
        Cow::Borrowed(&[])
    }

    fn tables(
        self,
        mut list: impl Iterator<Item = Result<TableId, WireError>>,
    ) -> Result<Cow<'static, [TableId]>, WireError> {
        list.try_for_each(|table| table.map(|_| ()))?;
        Ok(Cow::Borrowed(&[]))
    }

    fn points(
        self,
        mut list: impl Iterator<Item = Result<Point, WireError>>,
    ) -> Result<PointSet, WireError> {
        list.try_for_each(|point| point.map(|_| ()))?;
        Ok(PointSet::new())
    }
}

impl<'a> Room<'a> for &'a mut Lists {
    fn extents(self, list: impl Iterator<Item = Extent>) -> Cow<'a, [Extent]> {
        self.extents.clear();
        self.extents.extend(list);
        Cow::Borrowed(&self.extents)
    }

    fn segments(self, list: impl Iterator<Item = Segment>) -> Cow<'a, [Segment]> {
        self.segments.clear();
        self.segments.extend(list);
        Cow::Borrowed(&self.segments)
    }

    fn tables(
        self,
        list: impl Iterator<Item = Result<TableId, WireError>>,
    ) -> Result<Cow<'a, [TableId]>, WireError> {
        self.tables.clear();
        for table in list {
            self.tables.push(table?);
        }
        Ok(Cow::Borrowed(&self.tables))
    }
}

fn pairs<'a>(
    item: &Item<'_>,
    body: &'a [u64],
) -> Result<impl Iterator<Item = (u64, u64)> + 'a, WireError> {
    if !body.len().is_multiple_of(2) {
        return Err(WireError::Length(item.number));
    }
    Ok(body.chunks_exact(2).map(|p| (p[0], p[1])))
}

/// Reads a whole plan.
///
/// Errors: as [`Reader`], and of the first operation that cannot be read.
pub fn decode(words: &[u64]) -> Result<Vec<Op<'static>>, WireError> {
    let mut reader = Reader::new(words, Kind::Plan)?;
    let mut ops = Vec::new();
    while let Some(item) = reader.next()? {
        ops.push(Op::decode(&item)?);
    }
    Ok(ops)
}
