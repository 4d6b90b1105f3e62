//! A GPU memory manager for user space.
//!
//! WebAssembly components plan, this crate checks and performs: a [`Runtime`] owns devices; a
//! [`Client`] is a tenant; a [`Buffer`] is its memory, resident or evicted as room demands; a
//! [`Fence`] is a point that a device will reach.
//!
//! ```
//! use gpumm::{BufferDesc, Runtime};
//!
//! // 1 MiB of device memory for 4 MiB of buffers: the rest waits in system memory.
//! let runtime = Runtime::builder().sim(1 << 20).system_memory(16 << 20).build()?;
//! let client = runtime.client();
//! let buffers: Vec<_> = (0..16)
//!     .map(|n| {
//!         let buffer = client.create(BufferDesc::new(256 << 10))?;
//!         buffer.fill(n)?;
//!         Ok(buffer)
//!     })
//!     .collect::<Result<_, gpumm::Error>>()?;
//! for (n, buffer) in buffers.iter().enumerate() {
//!     assert_eq!(buffer.read(0, 8)?, (n as u64).to_le_bytes());
//! }
//! assert!(runtime.device(0)?.report()?.counts.evictions > 0);
//! # Ok::<(), gpumm::Error>(())
//! ```
//!
//! The way of a request through this crate: `client/` → `planner/` (one thread per device) →
//! `wasm/` (the mechanism's component; its strategy imports come back to `broker/`) →
//! `ledger/` (is the plan true?) → `executor.rs` → the hardware adapter.
#![forbid(unsafe_code)]

mod broker;
pub mod capture;
mod client;
mod error;
mod executor;
mod failsafe;
mod guard;
pub mod job;
mod jobs;
mod ledger;
pub mod log;
pub mod parts;
mod planner;
mod replay_log;
mod runtime;
mod share;
mod shared;
mod slot;
mod system;
pub mod wasm;

#[cfg(feature = "wgpu")]
pub use client::GpuGuard;
pub use client::{
    Batch, Buffer, BufferDesc, BufferState, Client, CpuGuard, Ended, Fence, Import, OnMove,
    Priority, Queue, Rights, Shader, Slot, Vm, VmBind, VmDesc, VmKernel,
};
pub use error::{ComponentFault, Error};
pub use gpumm_contract as contract;
pub use gpumm_hw as hw;
#[cfg(feature = "wgpu")]
pub use gpumm_hw::wgpu::BufferSlice;
pub use job::Job;
pub use ledger::{Counts, Refusal};
pub use planner::{Desk, DeviceReport, Pacing, Swap};
pub use replay_log::{LogReport, replay_log};
pub use runtime::{DeviceHandle, GTT, Health, IMPORT, Runtime, RuntimeBuilder, SYSTEM, VRAM};
pub use slot::{Compared, ShadowReport, StrategyFault, StrategySwap};
pub use system::{SYSTEM_GRANULE, SystemPool};
