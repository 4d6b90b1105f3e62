//! Why a plan is refused: every lie has a name.

use gpumm_contract::plan::Status;
use gpumm_contract::vm::{VmError, VmId};
use gpumm_contract::wire::WireError;
use gpumm_contract::{
    AllocationId, AttachmentId, BufferId, Extent, MemoryTypeId, Point, TableId, TimelineId,
};

/// Why the ledger refuses a plan. Nothing of a refused plan happens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The words are no plan.
    #[error("the plan cannot be read: {0}")]
    Unreadable(#[from] WireError),
    /// An operation that this version's devices do not perform.
    #[error("operation {0} is not supported")]
    Unsupported(&'static str),
    /// An answer is missing, double, or for another request.
    #[error("answer {answered} where request {expected} was due")]
    AnswerOrder {
        /// The request that should have been answered.
        expected: u32,
        /// The request that was answered.
        answered: u32,
    },
    /// Requests without an answer.
    #[error("{answered} of {requests} requests are answered")]
    Unanswered {
        /// Answers.
        answered: u32,
        /// Requests.
        requests: u32,
    },
    /// The answer claims what the operations did not do, or the other way round.
    #[error("request {request} is answered '{status}', which its operations contradict")]
    FalseAnswer {
        /// The request.
        request: u32,
        /// The answer.
        status: Status,
    },
    /// The number or table is in use.
    #[error("{0} {1} is in use already")]
    InUse(&'static str, u64),
    /// The number, table, buffer or timeline does not exist.
    #[error("{0} {1} does not exist")]
    Unknown(&'static str, u64),
    /// The extents are not what the strategy answered.
    #[error("allocation {0} is not what the strategy granted")]
    NotGranted(AllocationId),
    /// The strategy holds what the plan does not, or the other way round.
    #[error("allocation {0} is live for the strategy or for the plan, but not for both")]
    StrategyDisagrees(AllocationId),
    /// An extent leaves the arena or its granule.
    #[error("{bytes} bytes at {offset:#x} leave memory type {memory} or its granule", offset = extent.offset, bytes = extent.bytes)]
    OutsideArena {
        /// The memory type.
        memory: MemoryTypeId,
        /// The extent.
        extent: Extent,
    },
    /// An extent belongs to a live allocation.
    #[error("{bytes} bytes at {offset:#x} of memory type {memory} belong to a live allocation", offset = extent.offset, bytes = extent.bytes)]
    Overlap {
        /// The memory type.
        memory: MemoryTypeId,
        /// The extent.
        extent: Extent,
    },
    /// The extents do not have the buffer's size.
    #[error("allocation {0} does not have the size of its buffer")]
    WrongSize(AllocationId),
    /// The segments are not the allocation's extents.
    #[error("table {0} does not describe its allocation")]
    WrongTable(TableId),
    /// A table ends while somebody holds it.
    #[error("table {0} is still held")]
    TableInUse(TableId),
    /// A table outlives its last holder.
    #[error("table {0} is held by nobody and was not dropped")]
    TableLeaked(TableId),
    /// An allocation ends before its last use.
    #[error("allocation {allocation} ends before {point:?} is reached")]
    EndsTooEarly {
        /// The allocation.
        allocation: AllocationId,
        /// The use.
        point: Point,
    },
    /// A live buffer loses its place.
    #[error("allocation {0} is the place of a live buffer")]
    StillPlaced(AllocationId),
    /// A former place of a buffer is not given back.
    #[error("allocation {0} is no place any more and was not given back")]
    NotGivenBack(AllocationId),
    /// An operation names a value out of turn.
    #[error("timeline {timeline} is due to reach {expected}, not {found}")]
    WrongValue {
        /// The timeline.
        timeline: TimelineId,
        /// The next value.
        expected: u64,
        /// What the operation says.
        found: u64,
    },
    /// A wait on a value that nobody submitted.
    #[error("a wait on {0:?}, which nobody has submitted")]
    WaitsForever(Point),
    /// An operation is not ordered after another use of the same bytes.
    #[error("allocation {allocation} is used on timeline {timeline} without waiting for {point:?}")]
    NotOrdered {
        /// Whose bytes.
        allocation: AllocationId,
        /// Where it is used.
        timeline: TimelineId,
        /// What it must wait for.
        point: Point,
    },
    /// An operation leaves the table's bytes.
    #[error("an operation leaves table {0}")]
    OutsideTable(TableId),
    /// A copy between the memory of two tenants.
    #[error("a copy from table {from} to table {to} crosses tenants")]
    CrossesTenants {
        /// The source.
        from: TableId,
        /// The target.
        to: TableId,
    },
    /// A job that nobody asked for, or with other buffers or another timeline.
    #[error("request {0} did not ask for this job")]
    WrongJob(u32),
    /// A job on a buffer outside its acceptable places.
    #[error("buffer {0} is not resident in an acceptable place")]
    NotResident(BufferId),
    /// A job would see bytes of another tenant.
    #[error("buffer {0} would show another tenant's bytes")]
    ForeignBytes(BufferId),
    /// A job would see a place that the content never reached.
    #[error("the content of buffer {0} was left behind")]
    ContentLost(BufferId),
    /// The device's DMA would reach host memory that is not mapped.
    #[error("table {0} is used by the device, but not mapped for its DMA")]
    NotMapped(TableId),
    /// A mapping that the host has not made, or of memory that needs none, or a second one.
    #[error("table {0} is said to be mapped, but the host has not mapped it")]
    NoMapping(TableId),
    /// More is mapped than the aperture holds.
    #[error("memory type {0} stands for more mapped bytes than it has")]
    ApertureFull(MemoryTypeId),
    /// A table ends while its memory is mapped.
    #[error("table {0} is dropped, but still mapped")]
    StillMapped(TableId),
    /// A job on a buffer whose content is lost.
    #[error("the content of buffer {0} is lost, and a job would use it")]
    Poisoned(BufferId),
    /// A buffer is given up whose content is not lost, or one that is lost is not given up.
    #[error("buffer {0} is poisoned by the plan or by the facts, but not by both")]
    FalsePoison(BufferId),
    /// Memory that another device reads is given up, and the device is not told.
    #[error("attachment {0} reads memory that ends without a notification")]
    NotNotified(AttachmentId),
    /// A notification for another device than the attachment's, or on a timeline that is not the
    /// device's gate.
    #[error("attachment {attachment} does not end by timeline {timeline}")]
    WrongGate {
        /// The attachment.
        attachment: AttachmentId,
        /// The timeline.
        timeline: TimelineId,
    },
    /// An operation on a timeline that no engine works on.
    #[error("timeline {0} is not an engine's")]
    NotAnEngine(TimelineId),
    /// An address space is made with addresses or limits that none may have.
    #[error("vm {0} is made with addresses or limits that must be refused")]
    FalseVm(VmId),
    /// Binds are carried out although one of them must be refused.
    #[error("bind {bind} of vm {vm} must be refused: {why}")]
    FalseBind {
        /// The address space.
        vm: VmId,
        /// Which bind of the list, from 0.
        bind: u32,
        /// Why.
        why: VmError,
    },
    /// An address space would show a buffer of another tenant.
    #[error("vm {vm} would show buffer {buffer}, which is another tenant's")]
    ForeignBuffer {
        /// The address space.
        vm: VmId,
        /// The buffer.
        buffer: BufferId,
    },
    /// Page-table entries outside the address space, not in pages, or with flags that mean nothing.
    #[error("no entries of vm {vm} can be written at {address:#x} like this")]
    WrongPtes {
        /// The address space.
        vm: VmId,
        /// The first address.
        address: u64,
    },
    /// Page tables would show memory that is not, or not any more, a buffer's place.
    #[error("vm {vm} would show table {table}, which is not where its buffer lives")]
    NotHome {
        /// The address space.
        vm: VmId,
        /// The table.
        table: TableId,
    },
    /// Page tables are written without waiting for an earlier write, or for a job that uses them.
    #[error(
        "page tables of vm {vm} are written on timeline {timeline} without waiting for {point:?}"
    )]
    VmNotOrdered {
        /// The address space.
        vm: VmId,
        /// Where they are written.
        timeline: TimelineId,
        /// What it must wait for.
        point: Point,
    },
    /// The device may remember translations that are not true any more.
    #[error("translations of vm {0} have changed and are not invalidated")]
    StaleTlb(VmId),
    /// What the page tables show is not what is mapped.
    #[error("the page tables of vm {vm} do not show what is mapped at {address:#x}")]
    FalsePtes {
        /// The address space.
        vm: VmId,
        /// The first address that is wrong.
        address: u64,
    },
    /// Some mappings of a buffer show another place of it than others, or none.
    #[error("vm {vm} shows buffer {buffer} in part")]
    HalfShown {
        /// The address space.
        vm: VmId,
        /// The buffer.
        buffer: BufferId,
    },
    /// Memory is given up, or taken out of the device's reach, while page tables show it.
    #[error("vm {vm} still shows table {table}")]
    StillShown {
        /// The address space.
        vm: VmId,
        /// The table.
        table: TableId,
    },
    /// An address space ends while its page tables show something.
    #[error("vm {0} is closed, but its page tables are not empty")]
    PtesLeft(VmId),
    /// A job names a buffer that the page tables do not show.
    #[error("a job uses buffer {buffer}, which vm {vm} does not show")]
    NotShown {
        /// The address space.
        vm: VmId,
        /// The buffer.
        buffer: BufferId,
    },
    /// A job would not wait for what happens to its buffers.
    #[error("vm {vm} is said to be ready for a job without waiting for {point:?}")]
    NotReady {
        /// The address space.
        vm: VmId,
        /// What it must wait for.
        point: Point,
    },
}
