//! Devices that perform plans: the trait, the simulated device, and (feature `wgpu`) one on a GPU.
//!
//! # The contract
//!
//! The host checks a plan of a sandboxed component against its ledger, and then hands
//! device operations to a [`Device`]. Between the two lies this line:
//!
//! **A device checks** everything that could make the process unsound or hang, because
//! [`Device::submit`] is a safe function:
//!
//! - the engine exists, and the value to signal is larger than the engine's last one;
//! - every timeline waited on exists, and no engine waits for a value of its own that it
//!   has not been given yet;
//! - every segment lies inside its memory, sums do not overflow, and a list holds all the
//!   bytes the command names;
//! - no byte is written twice by one command, or read and written by one copy;
//! - page table entries name whole pages inside their memories;
//! - while a command runs, no other command of any device touches the same bytes unless
//!   both only read: otherwise the later one fails with [`DeviceError::Conflict`];
//! - a command touches only system memory that is mapped for the device: otherwise it fails
//!   with [`DeviceError::IommuFault`];
//! - a job touches only what the page table of its address space says, or said when a
//!   translation was last looked up: otherwise it fails with [`DeviceError::VmFault`].
//!
//! **A device does not check**, and the caller (the ledger) must have:
//!
//! - *ownership*: that the bytes belong to the tenant, and are clean before it sees them;
//! - *translations*: that what stands behind addresses belongs to whoever may use the address
//!   space, and that memory is given to somebody else only after [`Command::InvalidateTlb`];
//! - *ordering*: that a command waits for everything whose results it uses. Two commands on
//!   different engines without a point between them run in any order; only when they
//!   actually meet does [`DeviceError::Conflict`] say so;
//! - *liveness*: that every point waited on belongs to something submitted. An engine waits
//!   for ever for a point of another timeline that nobody reaches, until
//!   [`Device::reset`] or the end of the device.
//!
//! # Failure
//!
//! [`Device::submit`] either refuses (nothing happened) or accepts. An accepted command may
//! still fail; **its point is reached all the same**, after its error has been recorded, so
//! a wait never hangs on a failure. The error travels beside the point: in the command's
//! [`Outcome`], and either to the submission's [`Hooks`] or into the device's log
//! ([`Device::take_faults`]). A reached point therefore says "finished", not "correct". A failed
//! command may have written part of its destination, except after [`DeviceError::Conflict`],
//! [`DeviceError::IommuFault`], [`DeviceError::Reset`], [`DeviceError::Stopped`] and
//! [`DeviceError::Lost`], and when its hooks kept it from running, which touch nothing. A job is
//! claimed and checked piece by piece: whatever ends it, the pieces before are done.
//!
//! # Hooks
//!
//! A submission may carry [`Hooks`], for whoever repairs and records failures:
//!
//! 1. its waits are over;
//! 2. [`Hooks::before`]: an error keeps the command from running;
//! 3. the command runs;
//! 4. if it failed, or something above kept it from running: [`Hooks::failed`], once, with no
//!    bytes in use by it any more. Its answer replaces the failure: who redid the work by
//!    [`CpuAccess`] makes it a success;
//! 5. [`Hooks::ended`], once, whatever happened, with what becomes the outcome;
//! 6. the hooks are let go, the outcome is filled, the point is reached.
//!
//! Nothing later of the same engine begins meanwhile, so a repair comes before everything that
//! is ordered behind the command. A command that is cancelled (reset, loss, end of the device)
//! goes from wherever it is to step 4 **without having waited**: who does its work there must
//! know that its points are reached. Hooks run on the engine's thread and must not wait for
//! the device; [`Hooks::ended`] may submit. A panic in them is caught.
//!
//! # Virtual memory
//!
//! [`Device::create_vm`] makes an address space, in which [`Command::WritePtes`] puts memory
//! behind addresses, and [`Command::Launch`] runs a job on them. All of that are commands of
//! engines like others: nothing orders them but engines and points.
//!
//! - A page is as large (4 KiB, 64 KiB, 2 MiB) as address, place and length of one write are
//!   aligned; a part of it can be written later. [`Device::reserve_ptes`] gets the memory for
//!   tables beforehand, so that a write does not fail for it.
//! - A device may keep translations: until [`Command::InvalidateTlb`] has ended, a job may use
//!   what the page table said before, memory and rights. What was not mapped is not kept. When it
//!   has ended, no job uses an older translation, also none that is at work.
//! - What depends on the address space is judged when the command runs, not when it is
//!   submitted: [`DeviceError::UnknownVm`], [`DeviceError::OutsideVm`].
//! - A job works in pieces of at most 1 MiB, each translated and registered when it begins. A
//!   [`DeviceError::VmFault`] names the first byte that the job could not use; what comes before
//!   it in the order of the job's work is done.
//! - [`Device::reset_engine`] ends a job that hangs or works. [`Device::reset`] empties all page
//!   tables; address spaces and reservations stay.
//!
//! # The CPU's own way
//!
//! [`Device::cpu`] copies, fills, reads, writes and binds on the caller's thread, without queues, points
//! and DMA mappings. It takes part in the check for conflicts, and waits for nobody: ordering is
//! the caller's. It is for repairs, and for clients that hold a buffer still.
//!
//! # DMA mapping
//!
//! Engines reach the system memory that [`Device::map_dma`] made reachable for their device,
//! and nothing else. It is looked at when a command begins, as a whole. Mapping and unmapping
//! work on bytes, wholly or not at all; a byte is mapped once. Unmapping does not wait: that no
//! command uses the bytes any more is the caller's part. A device may be able to reach
//! everything; then mapping changes nothing. Contents do not depend on mappings.
//!
//! # Loss
//!
//! A device can get lost ([`Device::is_lost`]), and with it the content of its own memory. What
//! was submitted before a loss that comes by an operation's number still runs to its end. What is
//! submitted to a lost device is accepted, waits for nobody, and ends with
//! [`DeviceError::Lost`]: its points are reached in their order, so others go on. As it waits
//! for nobody, its point says nothing about the points it would have waited for. System memory
//! keeps its content and its mappings. [`Device::reset`] brings the device back, empty.
//!
//! # Fences
//!
//! A fence is a [`Point`]: a timeline and a value. Values only grow. The timelines live in
//! one [`Timelines`] per runtime, shared by its devices, so a device may wait for another.
//! [`Timelines::watch`] has somebody told instead of waiting.
//!
//! # Unsafe code
//!
//! All of it is in `arena`, `claim` and `bulk`, and in the call of `bulk::batch` in `exec`.
//! A claim registers byte ranges in the memory's table of running commands, and hands out slices
//! only inside what it registered; streaming stores are fenced before the claims of a command end.

mod arena;
mod base;
pub mod bulk;
mod claim;
mod command;
pub mod conformance;
mod device;
mod engine;
mod engine_list;
mod error;
mod exec;
mod footprint;
mod hooks;
mod iommu;
mod mmu;
mod outcome;
pub mod pattern;
mod runs;
mod shader;
pub mod sim;
mod statistics;
mod sync;
mod system;
mod timeline;
mod vm;
mod vm_check;
#[cfg(feature = "wgpu")]
pub mod wgpu;
mod worker;

pub use command::{Check, Command, Kernel, MemorySpace, Segment, Submission};
pub use device::{
    Device, DeviceProperties, EngineId, EngineKind, EngineProperties, Fault, MemoryTypeProperties,
};
pub use error::{DeviceError, ListSide, OsError};
pub use hooks::{CpuAccess, Hooks};
pub use mmu::MmuStatistics;
pub use outcome::{Outcome, OutcomeValue};
pub use pattern::{CheckReport, PatternKey};
pub use shader::{ShaderCall, ShaderError, ShaderId};
pub use statistics::{DeviceStatistics, EngineStatistics};
pub use system::SystemMemory;
pub use timeline::{Interrupt, Point, TimelineError, TimelineId, Timelines, WaitError, Watcher};
pub use vm::{
    Access, Backing, Launch, PAGE_BYTES, PteEntry, PteTarget, PteWrite, VM_ADDRESS_BITS,
    VmFaultReason, VmId, VmKernel, VmRange, VmReport,
};
