//! Scheduling of jobs as a state machine: many entities, one or several rings.
//!
//! A [`Scheduler`] has no thread, no clock and no locks. Calls tell it what happened; the caller
//! then takes the [`Action`]s that follow, one by one.
//!
//! ```
//! use gpumm_contract::TimelineId;
//! use gpumm_scheduler::{Action, EntityConfig, JobDesc, RingConfig, RingId, Scheduler};
//! use std::time::Duration;
//!
//! let (ring, timeout) = (RingId(0), Some(Duration::from_secs(1)));
//! let mut scheduler = Scheduler::new(&[RingConfig { credits: 4, timeout }])?;
//! let entity = scheduler.add_entity(TimelineId(7), &EntityConfig::new(ring))?;
//! let pushed = scheduler.push(entity, JobDesc::new("work"))?;
//!
//! let mut now = Duration::ZERO;
//! let Some(Action::Run { key, payload: "work", .. }) = scheduler.poll(now) else { panic!() };
//! now += Duration::from_millis(3);
//! scheduler.ended(key, Ok(()), Duration::from_millis(3), now)?;
//! let Some(Action::Finish { point, error: None, .. }) = scheduler.poll(now) else { panic!() };
//! assert_eq!(point, pushed.point);
//! # Ok::<(), gpumm_scheduler::Error>(())
//! ```
#![forbid(unsafe_code)]

mod end;
mod entity;
mod error;
mod job;
mod key;
mod line;
mod queue;
mod ring;
mod run;
mod scheduler;
mod slab;
mod timeout;
mod validate;
mod wait;

pub use entity::{EntityConfig, EntityStatus};
pub use error::{Error, JobError};
pub use job::{Action, Dependency, JobDesc, Pushed};
pub use key::{EntityKey, JobKey, Priority, RingId, RingSet};
pub use ring::RingConfig;
pub use scheduler::{Counts, HANG_LIMIT, Scheduler};
pub use timeout::Verdict;
pub use validate::Broken;

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Scheduler<Box<u8>>>();
};
