//! Part A of the reference, case by case, of whatever `crate::each` hands out.
//!
//! Written against [`pool::Subject`], so that the library and a component run the same cases: the
//! including test crate has `each`, and `STEPS` for the property test.

mod aligned;
mod bias;
mod clear;
mod contiguous;
mod exact;
mod orders;
#[allow(
    dead_code,
    reason = "not everybody who includes the cases packs commands"
)]
pub(crate) mod packed;
pub(crate) mod pool;
mod property;
mod trim;
