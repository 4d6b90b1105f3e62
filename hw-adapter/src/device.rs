//! The device trait. Its contract is on the page of the crate.

use std::fmt::{self, Debug};
use std::time::Duration;

use crate::command::{MemorySpace, Segment, Submission};
use crate::error::DeviceError;
use crate::hooks::CpuAccess;
use crate::shader::{ShaderError, ShaderId};
use crate::statistics::DeviceStatistics;
use crate::timeline::{TimelineId, WaitError};
use crate::vm::{PteEntry, VmId, VmReport};

/// Names an engine of one device: its index in [`DeviceProperties::engines`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineId(pub u32);

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "engine {}", self.0)
    }
}

/// What an engine is meant for. It is advice: every engine takes every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// Moves bytes.
    Copy,
    /// Runs kernels.
    Compute,
    /// Writes page tables.
    Bind,
}

/// What a device says about itself; it does not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceProperties {
    /// For people.
    pub name: String,
    /// The memories that segments can lie in, each kind at most once.
    pub memory_types: Vec<MemoryTypeProperties>,
    /// The engines, indexed by [`EngineId`].
    pub engines: Vec<EngineProperties>,
}

impl DeviceProperties {
    /// The properties of a memory, if the device has it.
    pub fn memory(&self, kind: MemorySpace) -> Option<&MemoryTypeProperties> {
        self.memory_types.iter().find(|memory| memory.kind == kind)
    }

    /// The first engine of a kind.
    pub fn engine(&self, kind: EngineKind) -> Option<(EngineId, &EngineProperties)> {
        (0..)
            .map(EngineId)
            .zip(&self.engines)
            .find(|(_, engine)| engine.kind == kind)
    }
}

/// A memory of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryTypeProperties {
    /// Which memory.
    pub kind: MemorySpace,
    /// The most it may have, in bytes.
    pub size: u64,
    /// What it has from the start, in bytes; [`Device::grow`] gets more, up to the size.
    pub initial: u64,
    /// What allocations should be multiples of, in bytes; a power of two.
    pub granule: u64,
    /// What is on both sides of a multiple of it lies in two pieces for programs that use the
    /// memory by themselves, in bytes: allocations that are no larger should not cross one. A
    /// multiple of the granule; the size, where there are no such borders.
    pub chunk: u64,
    /// The longest segment the device takes, in bytes.
    pub max_segment: u64,
}

/// An engine of a device: a queue that works in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineProperties {
    /// For people.
    pub name: String,
    /// What it is meant for.
    pub kind: EngineKind,
    /// The timeline its submissions reach values of.
    pub timeline: TimelineId,
}

/// A command without hooks that failed, from the device's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The engine.
    pub engine: EngineId,
    /// The submission's number on the engine, from 0.
    pub submission: u64,
    /// The value it signalled.
    pub signal: Option<u64>,
    /// Why it failed.
    pub error: DeviceError,
}

/// A device: memories, and engines that work on them.
///
/// # Invariants
/// Submissions of one engine begin and end in the order given. A device may begin one while others
/// that use none of its bytes have not ended. Engines are ordered only by the points that
/// submissions wait for.
pub trait Device: Send + Sync + Debug {
    /// What the device is.
    fn properties(&self) -> &DeviceProperties;

    /// Queues a submission and returns without waiting for it.
    ///
    /// See the page of the crate for what is checked here and what the caller must have
    /// checked.
    ///
    /// # Errors
    /// A refused submission changes nothing. [`DeviceError::UnknownEngine`],
    /// [`DeviceError::UnknownTimeline`], [`DeviceError::ValueNotIncreasing`],
    /// [`DeviceError::WaitsForItself`], [`DeviceError::SegmentOutOfBounds`],
    /// [`DeviceError::ListTooShort`], [`DeviceError::Overlap`], [`DeviceError::NotAPage`],
    /// [`DeviceError::Stopped`], and for a copy with hooks [`DeviceError::NoRescueMemory`].
    /// Everything else arrives in the outcome, and either at the submission's hooks or in
    /// [`Device::take_faults`].
    fn submit(&self, engine: EngineId, submission: Submission) -> Result<(), DeviceError>;

    /// Waits until everything submitted so far has finished; `None` waits for ever.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`] after the time.
    fn idle(&self, timeout: Option<Duration>) -> Result<(), WaitError>;

    /// Waits until what has begun by now has finished; what is queued may not have begun.
    ///
    /// # Bounds
    /// No longer than a command may take without being ended as hung.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`] after the time.
    fn settle(&self, timeout: Option<Duration>) -> Result<(), WaitError>;

    /// The failed commands without hooks since the last call, oldest first per engine.
    ///
    /// # Bounds
    /// The log keeps a bounded number of them, the oldest ones (4096 in `sim`).
    fn take_faults(&self) -> Vec<Fault>;

    /// Ends everything submitted before with [`DeviceError::Reset`] (running commands finish
    /// first, hung ones are ended), reaches its points, and makes the device's own memory zero.
    /// System memory and its mappings stay. Returns when the device is ready again, also when
    /// it was lost: what was submitted to a lost device ends with [`DeviceError::Lost`].
    ///
    /// What a memory has grown to, it keeps.
    ///
    /// # Errors
    /// [`DeviceError::Stopped`] when there is nothing left to reset; [`DeviceError::Lost`] for a
    /// lost device that somebody else made, and so has to make again; what making it again fails
    /// with.
    fn reset(&self) -> Result<(), DeviceError>;

    /// Ends the command in progress on one engine with [`DeviceError::Reset`]: one that hangs at
    /// once, a [`Command::Launch`](crate::Command::Launch) before its next piece; every other one
    /// finishes. What is queued goes on, and nothing happens when nothing is in progress. Does
    /// not wait.
    ///
    /// # Errors
    /// [`DeviceError::UnknownEngine`].
    fn reset_engine(&self, engine: EngineId) -> Result<(), DeviceError>;

    /// Whether the command in progress on an engine makes no progress; `true` also where the
    /// device cannot tell. Nothing in progress, or no such engine, is no hang.
    fn is_hung(&self, engine: EngineId) -> bool;

    /// Whether the device is lost: what is submitted now ends with [`DeviceError::Lost`], and
    /// the content of its own memory is gone. [`Device::reset`] brings the device back.
    fn is_lost(&self) -> bool;

    /// Gets more for a memory, so that using it does not fail for want of memory: at least so many
    /// bytes, or what is missing to its size; more where that is sensible. Answers how much it has
    /// now, from offset 0; for 0 bytes it only answers. Does not wait for commands.
    ///
    /// What lies behind, as far as the size, can be named by commands all the same. A device gets
    /// memory for it when it is used, and a command may then fail because there is none.
    ///
    /// Without a word of its own, a device has everything from the start.
    ///
    /// # Units
    /// The answer is a multiple of the granule.
    ///
    /// # Errors
    /// Nothing has grown: [`DeviceError::InvalidConfig`] for a memory that the device does not
    /// have, [`DeviceError::GpuMemory`], [`DeviceError::Driver`], [`DeviceError::Lost`].
    fn grow(&self, memory: MemorySpace, bytes: u64) -> Result<u64, DeviceError> {
        let _ = bytes;
        let memory = self.properties().memory(memory);
        let missing = DeviceError::InvalidConfig("the device does not have the memory");
        memory.map(|memory| memory.size).ok_or(missing)
    }

    /// The device as one on a GPU, if it is one: for programs that use the GPU as well.
    #[cfg(feature = "wgpu")]
    fn as_wgpu(&self) -> Option<&crate::wgpu::WgpuDevice> {
        None
    }

    /// What the engines have done so far.
    fn statistics(&self) -> DeviceStatistics;

    /// The CPU's own way to the memories.
    fn cpu(&self) -> &dyn CpuAccess;

    /// Makes system memory reachable for the engines, wholly or, on an error, not at all.
    ///
    /// # Errors
    /// [`DeviceError::InvalidDma`] for other memory, [`DeviceError::OutOfBounds`],
    /// [`DeviceError::DmaMapped`] for bytes that are mapped or named twice, and
    /// [`DeviceError::DmaMap`]. A device that reaches all system memory does not know which
    /// bytes are mapped.
    fn map_dma(&self, segments: &[Segment]) -> Result<(), DeviceError>;

    /// Takes system memory out of the engines' reach, wholly or, on an error, not at all. Any
    /// mapped bytes may be named, however they were mapped. A command that has begun is not
    /// kept from them: the caller must know that none uses them.
    ///
    /// # Errors
    /// [`DeviceError::InvalidDma`] for other memory, [`DeviceError::OutOfBounds`],
    /// [`DeviceError::NotMapped`] for bytes that are not mapped or named twice, if the device
    /// knows.
    fn unmap_dma(&self, segments: &[Segment]) -> Result<(), DeviceError>;

    /// Makes an address space with nothing mapped.
    ///
    /// # Units
    /// Multiples of [`PAGE_BYTES`](crate::PAGE_BYTES).
    ///
    /// # Errors
    /// [`DeviceError::VmExists`], [`DeviceError::NotAPage`], [`DeviceError::OutsideVm`] for what
    /// an address cannot name, [`DeviceError::PageTableMemory`].
    fn create_vm(&self, vm: VmId, start: u64, bytes: u64) -> Result<(), DeviceError>;

    /// Ends an address space: what is queued on it ends with [`DeviceError::UnknownVm`], a job at
    /// work before its next piece. Afterwards no job uses memory through it.
    ///
    /// # Errors
    /// [`DeviceError::UnknownVm`].
    fn destroy_vm(&self, vm: VmId) -> Result<(), DeviceError>;

    /// Gets the memory that page tables need for any later
    /// [`Command::WritePtes`](crate::Command::WritePtes) in a range, wholly or, on an error, not
    /// at all: an accepted bind then does not fail for memory. It stays until the address space
    /// ends, also through a reset; a second reservation of a range needs no more.
    ///
    /// # Units
    /// Multiples of [`PAGE_BYTES`](crate::PAGE_BYTES).
    ///
    /// # Errors
    /// [`DeviceError::UnknownVm`], [`DeviceError::NotAPage`], [`DeviceError::OutsideVm`],
    /// [`DeviceError::PageTableMemory`].
    fn reserve_ptes(&self, vm: VmId, address: u64, bytes: u64) -> Result<(), DeviceError>;

    /// Takes a shader in WGSL, whose entry point is `main`, for jobs to run. It reaches memory by
    /// address: `gmm_load(address) -> u32`, `gmm_store(address, u32)`, where an address is a
    /// `vec2<u32>`, the lower half first, and a multiple of 4. `gmm_at(range, offset)` is an
    /// address in a range of the call, `gmm_bytes(range)` the length of it, and `gmm_arg(number)`
    /// an argument. No other name may begin with `gmm`, and there are no bindings of its own.
    ///
    /// # Errors
    /// [`ShaderError::Unsupported`] unless a device says otherwise, [`ShaderError::Invalid`],
    /// [`ShaderError::Device`].
    fn load_shader(&self, source: &str) -> Result<ShaderId, ShaderError> {
        let _ = source;
        Err(ShaderError::Unsupported)
    }

    /// Forgets a shader: a job that has not begun ends with [`DeviceError::UnknownShader`].
    ///
    /// # Errors
    /// [`DeviceError::UnknownShader`].
    fn unload_shader(&self, shader: ShaderId) -> Result<(), DeviceError> {
        Err(DeviceError::UnknownShader(shader))
    }

    /// What an address space holds now.
    ///
    /// # Errors
    /// [`DeviceError::UnknownVm`].
    fn vm_report(&self, vm: VmId) -> Result<VmReport, DeviceError>;

    /// The first so many pages of an address space that are mapped or sparse, by address.
    ///
    /// # Errors
    /// [`DeviceError::UnknownVm`].
    fn page_table(&self, vm: VmId, limit: usize) -> Result<Vec<PteEntry>, DeviceError>;
}
