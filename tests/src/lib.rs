//! What the tests share.
//!
//! [`native`] puts the logic libraries where the components go; [`shadow`] restores a second
//! mechanism after every request and compares its plans; [`life`] is a random client; [`fixture`]
//! starts Runtimes whose engines a test can hold; [`growing`] is a device that gets its memory bit by bit;
//! [`demanding`] wants more of strategies; [`program`] calls the
//! built `gpumm`; [`small_traces`] replays recorded traces with small buffers; [`strategies`] misbehave;
//! [`template`] adds a strategy to a copy of the workspace; [`vm_client`] has an address space, [`vm_life`] lives
//! in one; [`tables`] runs the sg-table component alone, [`vms`] that of gpuvm,
//! [`planning`] a mechanism alone; [`moves`] orders moves and failures of them, [`killing`] ends mechanisms
//! between calls; [`workloads`] are the streams that benches replay.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it cannot go on"
)]

pub mod crowd;
pub mod demanding;
pub mod fixture;
pub mod growing;
pub mod killing;
pub mod life;
pub mod moves;
pub mod native;
pub mod planning;
pub mod program;
pub mod shadow;
pub mod small_traces;
pub mod strategies;
pub mod tables;
pub mod template;
pub mod tidy;
pub mod vm_cases;
pub mod vm_client;
pub mod vm_life;
pub mod vms;
pub mod workloads;
