//! Plans: the ordered list of operations that the mechanism wants done.
//!
//! Shape of a plan ([`Kind::Plan`](crate::wire::Kind::Plan)): each request's operations, then its `answer`. A device
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

mod codec;
mod status;

pub use codec::{Lists, decode};
pub use status::Status;

use crate::extent::{Extent, Segment};
use crate::id::{
    AllocationId, AttachmentId, BufferId, DeviceId, JobId, MemoryTypeId, TableId, TimelineId,
};
use crate::point::{Point, PointSet};
use crate::vm::VmId;
use alloc::borrow::Cow;

/// Flag of [`Op::UpdatePtes`]: the entries are sparse.
pub const SPARSE_PTES: u64 = 1 << 8;

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
        vm: VmId,
        /// First GPU virtual address.
        address: u64,
        /// The table that backs the range, or [`TableId::NONE`].
        table: TableId,
        /// First byte in the table.
        offset: u64,
        /// How many bytes.
        bytes: u64,
        /// Bits 0..8 the mapping's attributes; [`SPARSE_PTES`]: reads give zero, writes are
        /// dropped, and there is no table. Neither table nor that: invalid entries.
        flags: u64,
    },
    /// A VM's translations are forgotten.
    InvalidateTlb {
        /// The timeline and the value it reaches.
        at: Point,
        /// The VM.
        vm: VmId,
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
        device: DeviceId,
        /// The attachment; it is over with this.
        attachment: AttachmentId,
        /// The point that counts as submitted and that the host reaches.
        gate: Point,
    },
    /// The buffer's content is lost.
    Poison {
        /// The buffer.
        buffer: BufferId,
    },
}
