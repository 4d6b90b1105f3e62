//! What a device refuses, and how commands fail.

use std::{fmt, io};

use crate::command::{MemorySpace, Segment};
use crate::device::EngineId;
use crate::shader::ShaderId;
use crate::timeline::{Point, TimelineId};
use crate::vm::{Access, PAGE_BYTES, VM_ADDRESS_BITS, VmFaultReason, VmId};

/// Which segment list of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListSide {
    /// The list that is read.
    Source,
    /// The list that is written.
    Destination,
}

impl fmt::Display for ListSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ListSide::Source => "source",
            ListSide::Destination => "destination",
        })
    }
}

/// An operating system error that can be copied and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", match .code { Some(code) => io::Error::from_raw_os_error(*code), None => io::Error::from(*.kind) })]
pub struct OsError {
    /// The kind, in the words of `std`.
    pub kind: io::ErrorKind,
    /// The error number of the system, if it came from there.
    pub code: Option<i32>,
}

impl From<io::Error> for OsError {
    fn from(error: io::Error) -> Self {
        OsError {
            kind: error.kind(),
            code: error.raw_os_error(),
        }
    }
}

/// Why a device refused a request or a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The device has no such engine.
    #[error("{0} does not exist")]
    UnknownEngine(EngineId),
    /// A submission waits on a timeline that nobody created.
    #[error("{0} does not exist")]
    UnknownTimeline(TimelineId),
    /// The value to signal is not larger than the engine's last one.
    #[error("{engine} was last given value {last} to signal and cannot be given {value}")]
    ValueNotIncreasing {
        /// The engine.
        engine: EngineId,
        /// The last value it accepted.
        last: u64,
        /// The value refused.
        value: u64,
    },
    /// The engine would wait for work that stands behind this submission.
    #[error("{engine} would wait for its own {point}, but was only given values up to {last}")]
    WaitsForItself {
        /// The engine.
        engine: EngineId,
        /// The point it would wait for.
        point: Point,
        /// The last value it accepted.
        last: u64,
    },
    /// A segment does not lie inside its memory.
    #[error("{side} segment {index} ({segment}) leaves its memory of {size} bytes")]
    SegmentOutOfBounds {
        /// The list.
        side: ListSide,
        /// The segment's index in the list.
        index: usize,
        /// The segment.
        segment: Segment,
        /// The size of the memory in bytes.
        size: u64,
    },
    /// The list holds fewer bytes than the command names.
    #[error("the {side} list holds {available} bytes, {needed} are needed")]
    ListTooShort {
        /// The list.
        side: ListSide,
        /// Offset plus bytes of the command; `u64::MAX` when the sum overflows.
        needed: u64,
        /// The sum of the list, saturated.
        available: u64,
    },
    /// The command would write bytes twice, or read and write the same bytes.
    #[error("the command uses {bytes} bytes at {offset:#x} of {memory} twice, and writes them")]
    Overlap {
        /// The memory.
        memory: MemorySpace,
        /// Where the doubled bytes begin.
        offset: u64,
        /// How many they are.
        bytes: u64,
    },
    /// Another running command uses these bytes; this one touched nothing.
    #[error("{bytes} bytes at {offset:#x} of {memory} are in use by another running command")]
    Conflict {
        /// The memory.
        memory: MemorySpace,
        /// Where the contested bytes begin.
        offset: u64,
        /// How many they are.
        bytes: u64,
    },
    /// A range does not lie inside the memory.
    #[error("{bytes} bytes at {offset:#x} leave {memory} of {size} bytes")]
    OutOfBounds {
        /// The memory.
        memory: MemorySpace,
        /// Where the range begins.
        offset: u64,
        /// Its length.
        bytes: u64,
        /// The size of the memory in bytes.
        size: u64,
    },
    /// The device was reset before the command began, and it touched nothing; or its engine was
    /// reset while it was in progress.
    #[error("the device or its engine was reset")]
    Reset,
    /// The device has stopped; the command touched nothing.
    #[error("the device has stopped")]
    Stopped,
    /// The device is lost, and with it the content of its own memory; the command touched nothing.
    #[error("the device is lost")]
    Lost,
    /// The command made no progress for as long as the device is patient, and was ended.
    #[error("the command made no progress and was ended")]
    TimedOut,
    /// The device was told to fail this command; it may have damaged what it writes.
    #[error("the device was told to fail the command")]
    Injected,
    /// The command touches system memory that is not mapped for the device; it touched nothing.
    #[error("{bytes} bytes at {offset:#x} of system memory are not mapped for the device")]
    IommuFault {
        /// Where the first bytes that are not mapped begin.
        offset: u64,
        /// How many they are.
        bytes: u64,
    },
    /// The device could not map system memory; nothing is mapped that was not before.
    #[error("mapping system memory for the device failed")]
    DmaMap,
    /// Bytes to be mapped are mapped already; nothing changed.
    #[error("{bytes} bytes at {offset:#x} of system memory are mapped for the device already")]
    DmaMapped {
        /// Where the first such bytes begin.
        offset: u64,
        /// How many they are.
        bytes: u64,
    },
    /// Bytes to be unmapped are not mapped; nothing changed.
    #[error("{bytes} bytes at {offset:#x} of system memory are not mapped and cannot be unmapped")]
    NotMapped {
        /// Where the first such bytes begin.
        offset: u64,
        /// How many they are.
        bytes: u64,
    },
    /// Only system memory is mapped for DMA.
    #[error("only system memory can be mapped for the device")]
    InvalidDma,
    /// The CPU may not do the work of this command.
    #[error("the CPU may not do the work of the command")]
    CpuRefused,
    /// There is no memory for whoever would repair the command; without hooks it is accepted.
    #[error("no memory for whoever would repair the command")]
    NoRescueMemory,
    /// The command would use content that is lost. Devices do not say so themselves: it is for
    /// [`Hooks`](crate::Hooks).
    #[error("it would use content that is lost")]
    Poisoned,
    /// A job used an address that it cannot use. All before it in the order of the job's work
    /// was done.
    #[error("job {job} on {vm} cannot {access} at {address:#x}: {why}")]
    VmFault {
        /// The address space.
        vm: VmId,
        /// The job.
        job: u64,
        /// The first such byte.
        address: u64,
        /// What the job did with it.
        access: Access,
        /// Why it cannot.
        why: VmFaultReason,
    },
    /// The device has no such address space, or no longer.
    #[error("{0} does not exist")]
    UnknownVm(VmId),
    /// The device has this address space already.
    #[error("{0} exists already")]
    VmExists(VmId),
    /// A range leaves its address space, or an address space leaves what addresses can name.
    #[error("{bytes} bytes at {address:#x} leave {vm} or the {bits} bits of an address", bits = VM_ADDRESS_BITS)]
    OutsideVm {
        /// The address space.
        vm: VmId,
        /// Where the range begins.
        address: u64,
        /// Its length.
        bytes: u64,
    },
    /// There is no memory for page tables.
    #[error("no memory for page tables")]
    PageTableMemory,
    /// The page tables of the job's address space could not be written; the job did nothing.
    #[error("the page tables of the address space are lost")]
    PageTablesLost,
    /// The job was not run: other jobs of its queue hung.
    #[error("cancelled, because jobs of its queue have hung")]
    Cancelled,
    /// The job was not run: its queue was killed.
    #[error("its queue was killed before it ran")]
    Killed,
    /// An address, offset or length is not a multiple of a page.
    #[error("{value:#x} is not a multiple of {page} bytes", page = PAGE_BYTES)]
    NotAPage {
        /// The number.
        value: u64,
    },
    /// The operating system gives no address space for a memory of this size.
    #[error("no address space for a memory of {bytes} bytes")]
    Reserve {
        /// The size asked for.
        bytes: u64,
        /// What the system said.
        #[source]
        source: OsError,
    },
    /// The operating system gives no pages for these bytes.
    #[error("no pages for {bytes} bytes at {offset:#x} of {memory}")]
    Commit {
        /// The memory.
        memory: MemorySpace,
        /// Where the range begins.
        offset: u64,
        /// Its length.
        bytes: u64,
        /// What the system said.
        #[source]
        source: OsError,
    },
    /// The process has no memory for the bytes to be read.
    #[error("the process has no memory for {bytes} bytes")]
    HostMemory {
        /// The bytes asked for.
        bytes: u64,
    },
    /// The operating system starts no thread for an engine.
    #[error("no thread for {engine}")]
    Thread {
        /// The engine.
        engine: EngineId,
        /// What the system said.
        #[source]
        source: OsError,
    },
    /// The configuration of a device makes no sense.
    #[error("a device cannot be made so: {0}")]
    InvalidConfig(&'static str),
    /// There is no GPU, or none of the kind asked for.
    #[error(
        "no GPU adapter was found that fits; without a GPU, Debian's mesa-vulkan-drivers (and libvulkan1) has one that runs on the CPU"
    )]
    NoAdapter,
    /// No such shader, or the device runs none.
    #[error("there is no {0} on this device")]
    UnknownShader(ShaderId),
    /// A GPU, or the device an embedder made of it, can do less than is asked for.
    #[error("the GPU's limit {limit} is {has}, and {needed} is needed")]
    LimitTooSmall {
        /// Its name in WebGPU.
        limit: &'static str,
        /// What it is.
        has: u64,
        /// What it would have to be.
        needed: u64,
    },
    /// The GPU can use bytes of the device's own memory only.
    #[error("{0} is not in the device's own memory")]
    NotInVram(Segment),
    /// The GPU has no memory for what a command needs.
    #[error("the GPU has no memory left")]
    GpuMemory,
    /// The GPU's driver, or the layer above it, refused work that the device gave it.
    #[error("the GPU's driver refused the work: {0}")]
    Driver(&'static str),
    /// The device itself is wrong: it panicked, or touched what it had not claimed.
    #[error("a bug of the device: {0}")]
    Bug(&'static str),
}
