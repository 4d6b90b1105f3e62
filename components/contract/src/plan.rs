//! Plans: the ordered list of operations that the mechanism wants done.
//!
//! Shape of a plan ([`Kind::Plan`]): each request's operations, then its `answer`. A device
//! operation names its timeline and the value it will reach; one timeline runs in order,
//! timelines are ordered only by `wait`.
//!
//! | op | operand | body |
//! |---|---|---|
//! | 1 answer | request index | `status, detail, detail` |
//! | 2 place | allocation | `memory type, buffer`, then `offset, bytes` per extent |
//! | 3 unplace | allocation | `timeline, value` per point that must be reached before |
//! | 4 table | table | `allocation`, then `address, bytes` per segment |
//! | 5 drop-table | table | - |
//! | 6 map-dma | table | - |
//! | 7 unmap-dma | table | - |
//! | 8 copy | timeline | `value, source table, target table, source offset, target offset, bytes` |
//! | 9 fill | timeline | `value, table, offset, bytes, pattern` |
//! | 10 update-ptes | timeline | `value, vm, address, table, offset, bytes, flags` |
//! | 11 invalidate-tlb | timeline | `value, vm` |
//! | 12 run | timeline | `value, job`, then a table per buffer of the job |
//! | 13 wait | timeline | `waited timeline, waited value` |
//! | 14 signal | timeline | `value` |
//! | 15 notify | device | `attachment, gate timeline, gate value` |
//! | 16 poison | - | `buffer` |

use crate::extent::{Extent, Segment};
use crate::id::{AllocationId, BufferId, JobId, MemoryTypeId, TableId, TimelineId};
use crate::point::{Point, PointSet};
use crate::wire::{Item, Kind, Reader, WireError, Writer};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done as planned.
    Good,
    /// No acceptable place has room and nothing that may be evicted is left.
    NoSpace {
        /// The largest hole of the last place tried, in bytes.
        largest_hole: u64,
        /// Bytes in buffers that could not be evicted although they may be (no room to evict to).
        stuck: u64,
    },
    /// The buffer is larger than every acceptable memory type.
    TooLarge {
        /// The largest acceptable memory type, in bytes.
        limit: u64,
    },
    /// The buffer does not exist.
    UnknownBuffer,
    /// The buffer exists already.
    BufferExists,
    /// The size is 0, or does not fit in 64 bits when rounded up.
    InvalidSize,
    /// The placement names a memory type that the device does not have.
    InvalidPlacement,
    /// An access names no buffer or one twice, or a timeline that was not granted.
    InvalidAccess,
    /// More pieces than one table or one grant holds.
    TooScattered,
}

impl Status {
    fn words(self) -> [u64; 3] {
        match self {
            Status::Good => [0, 0, 0],
            Status::NoSpace { largest_hole, stuck } => [1, largest_hole, stuck],
            Status::TooLarge { limit } => [2, limit, 0],
            Status::UnknownBuffer => [3, 0, 0],
            Status::BufferExists => [4, 0, 0],
            Status::InvalidSize => [5, 0, 0],
            Status::InvalidPlacement => [6, 0, 0],
            Status::InvalidAccess => [7, 0, 0],
            Status::TooScattered => [8, 0, 0],
        }
    }

    fn from_words(words: [u64; 3]) -> Option<Self> {
        Some(match words {
            [0, 0, 0] => Status::Good,
            [1, largest_hole, stuck] => Status::NoSpace { largest_hole, stuck },
            [2, limit, 0] => Status::TooLarge { limit },
            [3, 0, 0] => Status::UnknownBuffer,
            [4, 0, 0] => Status::BufferExists,
            [5, 0, 0] => Status::InvalidSize,
            [6, 0, 0] => Status::InvalidPlacement,
            [7, 0, 0] => Status::InvalidAccess,
            [8, 0, 0] => Status::TooScattered,
            _ => return None,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Good => f.write_str("done"),
            Status::NoSpace { largest_hole, stuck: 0 } => {
                write!(f, "no space: the largest hole has {largest_hole} bytes and nothing evictable is left")
            }
            Status::NoSpace { largest_hole, stuck } => write!(
                f,
                "no space: the largest hole has {largest_hole} bytes, and {stuck} evictable bytes have nowhere to go"
            ),
            Status::TooLarge { limit } => {
                write!(f, "too large: the largest acceptable memory type has {limit} bytes")
            }
            Status::UnknownBuffer => f.write_str("the buffer does not exist"),
            Status::BufferExists => f.write_str("the buffer exists already"),
            Status::InvalidSize => f.write_str("the size is 0 or does not fit in 64 bits"),
            Status::InvalidPlacement => f.write_str("the placement names an unknown memory type"),
            Status::InvalidAccess => {
                f.write_str("the access names no buffer, one twice, or an unknown timeline")
            }
            Status::TooScattered => f.write_str("the buffer is in more pieces than a table holds"),
        }
    }
}

/// One operation of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// A request's operations end here.
    Answer {
        /// The request's number in the batch.
        request: u32,
        /// How it ended.
        status: Status,
    },
    /// An allocation becomes the place of a buffer.
    Place {
        /// The allocation.
        allocation: AllocationId,
        /// Of which memory type.
        memory: MemoryTypeId,
        /// The buffer.
        buffer: BufferId,
        /// Its extents, in the buffer's byte order.
        extents: Cow<'a, [Extent]>,
    },
    /// An allocation ends once the points are reached.
    Unplace {
        /// The allocation.
        allocation: AllocationId,
        /// When nobody uses it any more.
        after: PointSet,
    },
    /// An sg-table begins; device operations name memory only by table.
    Table {
        /// The table.
        table: TableId,
        /// The allocation it describes.
        allocation: AllocationId,
        /// Its segments, in the buffer's byte order.
        segments: Cow<'a, [Segment]>,
    },
    /// The last holder of a table is gone.
    DropTable {
        /// The table.
        table: TableId,
    },
    /// The table's memory becomes reachable for the device's DMA.
    MapDma {
        /// The table.
        table: TableId,
    },
    /// The table's memory is no longer reachable for the device's DMA.
    UnmapDma {
        /// The table.
        table: TableId,
    },
    /// Bytes travel between two tables.
    Copy {
        /// The timeline and the value it reaches.
        at: Point,
        /// From where.
        source: TableId,
        /// To where.
        target: TableId,
        /// First byte in the source.
        source_offset: u64,
        /// First byte in the target.
        target_offset: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Bytes get a repeated 64-bit pattern.
    Fill {
        /// The timeline and the value it reaches.
        at: Point,
        /// Which table.
        table: TableId,
        /// First byte.
        offset: u64,
        /// How many bytes.
        bytes: u64,
        /// The pattern, little-endian, from `offset` on.
        pattern: u64,
    },
    /// Page-table entries of a VM are written.
    UpdatePtes {
        /// The timeline and the value it reaches.
        at: Point,
        /// The VM.
        vm: u64,
        /// First GPU virtual address.
        address: u64,
        /// The table that backs the range, or `u32::MAX` for none.
        table: TableId,
        /// First byte in the table.
        offset: u64,
        /// How many bytes.
        bytes: u64,
        /// Access rights and page size.
        flags: u64,
    },
    /// A VM's translations are forgotten.
    InvalidateTlb {
        /// The timeline and the value it reaches.
        at: Point,
        /// The VM.
        vm: u64,
    },
    /// The client's job runs.
    Run {
        /// The timeline and the value it reaches.
        at: Point,
        /// The job.
        job: JobId,
        /// A table per buffer of the job, in the request's order.
        tables: Cow<'a, [TableId]>,
    },
    /// What follows on a timeline begins after a point.
    Wait {
        /// The timeline that waits.
        timeline: TimelineId,
        /// What it waits for.
        point: Point,
    },
    /// A timeline reaches a value without doing anything.
    Signal {
        /// The timeline and the value.
        at: Point,
    },
    /// An importer on another device is told that its mapping ends; the gate is reached when it
    /// is done with it.
    Notify {
        /// The importing device.
        device: u32,
        /// The attachment.
        attachment: u64,
        /// The point that counts as submitted and that the host reaches.
        gate: Point,
    },
    /// The buffer's content is lost.
    Poison {
        /// The buffer.
        buffer: BufferId,
    },
}

impl Op<'_> {
    /// Appends the operation to a plan.
    ///
    /// Errors: `false` when it does not fit in one item.
    #[must_use]
    pub fn encode(&self, out: &mut Writer) -> bool {
        match self {
            Op::Answer { request, status } => out.item(1, *request, |b| b.extend(status.words())),
            Op::Place { allocation, memory, buffer, extents } => out.item(2, allocation.0, |b| {
                b.extend([memory.0.into(), buffer.0]);
                b.extend(extents.iter().flat_map(|e| [e.offset, e.bytes]));
            }),
            Op::Unplace { allocation, after } => out.item(3, allocation.0, |b| {
                b.extend(after.iter().flat_map(|p| [p.timeline.0.into(), p.value]));
            }),
            Op::Table { table, allocation, segments } => out.item(4, table.0, |b| {
                b.push(allocation.0.into());
                b.extend(segments.iter().flat_map(|s| [s.address, s.bytes]));
            }),
            Op::DropTable { table } => out.item(5, table.0, |_| ()),
            Op::MapDma { table } => out.item(6, table.0, |_| ()),
            Op::UnmapDma { table } => out.item(7, table.0, |_| ()),
            Op::Copy { at, source, target, source_offset, target_offset, bytes } => {
                out.item(8, at.timeline.0, |b| {
                    b.extend([at.value, source.0.into(), target.0.into()]);
                    b.extend([*source_offset, *target_offset, *bytes]);
                })
            }
            Op::Fill { at, table, offset, bytes, pattern } => out.item(9, at.timeline.0, |b| {
                b.extend([at.value, table.0.into(), *offset, *bytes, *pattern]);
            }),
            Op::UpdatePtes { at, vm, address, table, offset, bytes, flags } => {
                out.item(10, at.timeline.0, |b| {
                    b.extend([at.value, *vm, *address, table.0.into(), *offset, *bytes, *flags]);
                })
            }
            Op::InvalidateTlb { at, vm } => out.item(11, at.timeline.0, |b| b.extend([at.value, *vm])),
            Op::Run { at, job, tables } => out.item(12, at.timeline.0, |b| {
                b.extend([at.value, job.0]);
                b.extend(tables.iter().map(|t| u64::from(t.0)));
            }),
            Op::Wait { timeline, point } => {
                out.item(13, timeline.0, |b| b.extend([point.timeline.0.into(), point.value]))
            }
            Op::Signal { at } => out.item(14, at.timeline.0, |b| b.push(at.value)),
            Op::Notify { device, attachment, gate } => {
                out.item(15, *device, |b| b.extend([*attachment, gate.timeline.0.into(), gate.value]))
            }
            Op::Poison { buffer } => out.item(16, 0, |b| b.push(buffer.0)),
        }
    }

    /// Reads one operation.
    pub fn decode(item: &Item<'_>) -> Result<Op<'static>, WireError> {
        let wrong = || WireError::Value(item.number);
        let table = |word: u64| item.narrow(word).map(TableId);
        let at = |value: u64| Point { timeline: TimelineId(item.operand), value };
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
                    extents: pairs(item, rest)?.map(|(offset, bytes)| Extent { offset, bytes }).collect(),
                }
            }
            3 => {
                let mut after = PointSet::new();
                for (timeline, value) in pairs(item, item.body)? {
                    after.add(Point { timeline: TimelineId(item.narrow(timeline)?), value });
                }
                Op::Unplace { allocation: AllocationId(item.operand), after }
            }
            4 => {
                let ([allocation], rest) = item.at_least()?;
                Op::Table {
                    table: TableId(item.operand),
                    allocation: AllocationId(item.narrow(allocation)?),
                    segments: pairs(item, rest)?.map(|(address, bytes)| Segment { address, bytes }).collect(),
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
                let [value, source, target, source_offset, target_offset, bytes] = item.exactly()?;
                let (source, target) = (table(source)?, table(target)?);
                Op::Copy { at: at(value), source, target, source_offset, target_offset, bytes }
            }
            9 => {
                let [value, t, offset, bytes, pattern] = item.exactly()?;
                Op::Fill { at: at(value), table: table(t)?, offset, bytes, pattern }
            }
            10 => {
                let [value, vm, address, t, offset, bytes, flags] = item.exactly()?;
                Op::UpdatePtes { at: at(value), vm, address, table: table(t)?, offset, bytes, flags }
            }
            11 => {
                let [value, vm] = item.exactly()?;
                Op::InvalidateTlb { at: at(value), vm }
            }
            12 => {
                let ([value, job], rest) = item.at_least()?;
                let tables = rest.iter().map(|&t| table(t)).collect::<Result<_, _>>()?;
                Op::Run { at: at(value), job: JobId(job), tables }
            }
            13 => {
                let [timeline, value] = item.exactly()?;
                let point = Point { timeline: TimelineId(item.narrow(timeline)?), value };
                Op::Wait { timeline: TimelineId(item.operand), point }
            }
            14 => item.exactly().map(|[value]| Op::Signal { at: at(value) })?,
            15 => {
                let [attachment, timeline, value] = item.exactly()?;
                let gate = Point { timeline: TimelineId(item.narrow(timeline)?), value };
                Op::Notify { device: item.operand, attachment, gate }
            }
            16 => item.exactly().map(|[buffer]| Op::Poison { buffer: BufferId(buffer) })?,
            _ => return Err(item.unknown()),
        })
    }
}

fn pairs<'a>(item: &Item<'_>, body: &'a [u64]) -> Result<impl Iterator<Item = (u64, u64)> + 'a, WireError> {
    if body.len() % 2 != 0 {
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
