//! Devices that perform plans: the trait, and the simulated device.
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
//! - while a command runs, no other command of any device touches the same bytes unless
//!   both only read: otherwise the later one fails with [`DeviceError::Conflict`].
//!
//! **A device does not check**, and the caller (the ledger) must have:
//!
//! - *ownership*: that the bytes belong to the tenant, and are clean before it sees them;
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
//! [`Outcome`], and in the device's log ([`Device::take_faults`]). A reached point therefore
//! says "finished", not "correct". A failed command may have written part of its
//! destination, except after [`DeviceError::Conflict`], [`DeviceError::Reset`] and
//! [`DeviceError::Stopped`], which touch nothing.
//!
//! # Fences
//!
//! A fence is a [`Point`]: a timeline and a value. Values only grow. The timelines live in
//! one [`Timelines`] per runtime, shared by its devices, so a device may wait for another.
//!
//! # Unsafe code
//!
//! All of it is in `arena` and `claim`: a claim registers byte ranges in the memory's table
//! of running commands, and hands out slices only inside what it registered.

mod arena;
mod claim;
mod command;
pub mod conformance;
mod device;
mod error;
mod footprint;
mod outcome;
pub mod pattern;
mod runs;
pub mod sim;
mod sync;
mod system;
mod timeline;

pub use command::{Check, Command, Kernel, MemorySpace, Segment, Submission};
pub use device::{
    Device, DeviceProperties, EngineId, EngineKind, EngineProperties, Fault, MemoryTypeProperties,
};
pub use error::{DeviceError, ListSide, OsError};
pub use outcome::{Outcome, OutcomeValue};
pub use pattern::{CheckReport, PatternKey};
pub use system::SystemMemory;
pub use timeline::{Interrupt, Point, TimelineError, TimelineId, Timelines, WaitError};
