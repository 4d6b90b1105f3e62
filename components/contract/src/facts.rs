//! Facts: what the host's ledger knows, from which a mechanism is rebuilt.
//!
//! Shape of a fact list ([`Kind::Facts`]): memory types and timelines first, then tables,
//! buffers, residue and pending ranges in any order. A restore is any number of lists.
//!
//! | fact | operand | body |
//! |---|---|---|
//! | 1 memory type | id | `size, granule, evict to (255 none), base, max segment` |
//! | 2 timeline | id | `completed, role` |
//! | 3 table | id | `layout, holds`, then `holder, timeline, value` per hold, then `address, bytes` per segment |
//! | 4 buffer | tenant | `buffer, bytes, placement, priority, stamp, written, allocation, memory type, table, extents, readers, writers, inherited`, then the extents and the three point lists as pairs |
//! | 5 residue | memory type | `offset, bytes, tenant` |
//! | 6 pending | memory type | `offset, bytes`, then `timeline, value` per point |

use crate::extent::{Extent, Segment};
use crate::id::{AllocationId, BufferId, MemoryTypeId, Stamp, TableId, TenantId, TimelineId};
use crate::point::{Point, PointSet};
use crate::request::Placement;
use crate::table::{Hold, Holder};
use crate::wire::{Item, Kind, Reader, WireError, Writer};
use alloc::vec::Vec;

/// A kind of memory of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryType {
    /// Which one.
    pub id: MemoryTypeId,
    /// Bytes in its arena.
    pub size: u64,
    /// Granule of its extents, a power of two.
    pub granule: u64,
    /// Where its buffers are evicted to; `None` when they are not evicted.
    pub evict_to: Option<MemoryTypeId>,
    /// DMA address of its first byte.
    pub base: u64,
    /// Largest segment that its DMA takes.
    pub max_segment: u64,
}

/// What a timeline of the device is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Jobs of clients.
    Run,
    /// Copies of the memory manager.
    Copy,
}

/// A buffer with its current place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferFact {
    /// Which one.
    pub buffer: BufferId,
    /// Whose.
    pub tenant: TenantId,
    /// The client's size.
    pub bytes: u64,
    /// Where it may live.
    pub placement: Placement,
    /// Eviction priority.
    pub priority: u8,
    /// Last use.
    pub stamp: Stamp,
    /// Whether its bytes have ever been written; what was never written need not be moved.
    pub written: bool,
    /// Its allocation.
    pub allocation: AllocationId,
    /// Of which memory type.
    pub memory: MemoryTypeId,
    /// The allocation's table.
    pub table: TableId,
    /// The allocation's extents.
    pub extents: Vec<Extent>,
    /// Points of operations that read the allocation.
    pub readers: PointSet,
    /// Points of operations that write the allocation.
    pub writers: PointSet,
    /// Points of the bytes' earlier owners.
    pub inherited: PointSet,
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A memory type.
    Memory(MemoryType),
    /// A timeline of the device.
    Timeline {
        /// Which one and how far it has come, as delivered.
        completed: Point,
        /// What it is for.
        role: Role,
    },
    /// A live table.
    Table {
        /// Which one.
        table: TableId,
        /// Whether the layout holds it.
        layout: bool,
        /// The other holders.
        holds: Vec<Hold>,
        /// Its segments.
        segments: Vec<Segment>,
    },
    /// A live buffer.
    Buffer(BufferFact),
    /// Bytes that still show what a tenant left there.
    Residue {
        /// Of which memory type.
        memory: MemoryTypeId,
        /// Where.
        extent: Extent,
        /// Whose.
        tenant: TenantId,
    },
    /// Free bytes that earlier owners have not finished with.
    Pending {
        /// Of which memory type.
        memory: MemoryTypeId,
        /// Where.
        extent: Extent,
        /// Until when.
        after: PointSet,
    },
}

fn put_points(points: &PointSet, body: &mut Vec<u64>) {
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
                let to = m.evict_to.map_or(255, |to| to.0);
                b.extend([m.size, m.granule, to.into(), m.base, m.max_segment]);
            }),
            Fact::Timeline { completed, role } => out.item(2, completed.timeline.0, |b| {
                b.extend([completed.value, *role as u64])
            }),
            Fact::Table {
                table,
                layout,
                holds,
                segments,
            } => out.item(3, table.0, |b| {
                b.extend([u64::from(*layout), holds.len() as u64]);
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
                let [size, granule, to, base, max_segment] = item.exactly()?;
                let to = u8::try_from(to).map_err(|_| wrong())?;
                let evict_to = (to != 255).then_some(MemoryTypeId(to));
                Fact::Memory(MemoryType {
                    id: memory()?,
                    size,
                    granule,
                    evict_to,
                    base,
                    max_segment,
                })
            }
            2 => {
                let [value, role] = item.exactly()?;
                let completed = Point {
                    timeline: TimelineId(item.operand),
                    value,
                };
                match role {
                    0 => Fact::Timeline {
                        completed,
                        role: Role::Run,
                    },
                    1 => Fact::Timeline {
                        completed,
                        role: Role::Copy,
                    },
                    _ => return Err(wrong()),
                }
            }
            3 => {
                let ([layout, count], mut rest) = item.at_least()?;
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
                if !rest.is_empty() || layout > 1 {
                    return Err(wrong());
                }
                Fact::Table {
                    table: TableId(item.operand),
                    layout: layout == 1,
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
            u64::from(self.written),
            self.allocation.0.into(),
            self.memory.0.into(),
            self.table.0.into(),
        ]);
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
                written,
                allocation,
                memory,
                table,
                extents,
                readers,
                writers,
                inherited,
            ],
            mut rest,
        )) = rest.split_first_chunk::<8>()
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
            written: written == 1,
            allocation: AllocationId(item.narrow(allocation)?),
            memory: MemoryTypeId(u8::try_from(memory).map_err(|_| wrong())?),
            table: TableId(item.narrow(table)?),
            extents: take(item, &mut rest, extents, |[offset, bytes]: [u64; 2]| {
                Ok(Extent { offset, bytes })
            })?,
            readers: points(item, &mut rest, readers)?,
            writers: points(item, &mut rest, writers)?,
            inherited: points(item, &mut rest, inherited)?,
        };
        if rest.is_empty() && written <= 1 {
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

fn points(item: &Item<'_>, rest: &mut &[u64], count: u64) -> Result<PointSet, WireError> {
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
