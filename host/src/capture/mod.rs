//! Error captures: what a failed device operation worked on, kept for whoever looks for the cause.
//!
//! A capture is taken on the engine's thread before the failed operation's fence is reached: the
//! sg-tables *as they were submitted* (the buffer may have moved on since), SHA-256 of what they
//! showed, the timelines, the last plans and the components that made them. It is a file of JSON,
//! [`Capture`]; [`schema`] describes it, `gpumm capture show` reads it aloud.
//!
//! `model.rs` is the file, `keeper.rs` takes and writes captures, `look.rs` reads tables, `space.rs`
//! lists mappings, `plan_text.rs` puts plans into words.

mod input;
mod keeper;
mod look;
mod model;
mod plan_text;
mod space;
#[cfg(test)]
mod tests;

pub(crate) use input::{Context, FailedOp, TableSubmitted};
pub(crate) use keeper::{Captures, Limits};
pub use model::{
    AddressSpace, At, Buffer, BufferState, Capture, Component, Failed, Fence, MappedRange,
    Operation, Plan, ReadError, Repaired, Role, SCHEMA_VERSION, Segment, ShownTable, Table, schema,
};
