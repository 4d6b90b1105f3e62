//! Jobs on address spaces: the way from a client's submit to the device's ring and back.
//!
//! ```text
//! client -> queued.rs: its queue's next point -> gate.rs: is the address space ready?
//!        -> ring.rs: the scheduler decides when, the device runs it; by way of inbox.rs, when
//!           somebody is at work with the scheduler
//!        -> launch.rs: how it ended
//!        -> the queue's timeline reaches the point, in order
//! ```
//! The mechanism never hears of a job itself, only of points at which buffers are used. `contexts.rs`
//! gives each queue a timeline, `queues.rs` begins and ends them; `running.rs` has the jobs that the
//! device has, `watchdog.rs` looks after those that hang, `told.rs` says how they end.

mod contexts;
mod gate;
mod inbox;
mod launch;
mod queued;
mod queues;
mod ring;
mod running;
mod told;
mod watchdog;

pub(crate) use gate::Gate;
pub(crate) use launch::Launched;
pub(crate) use queued::{Passed, Queued, Waiting};
pub(crate) use ring::{Ring, RingSite};
