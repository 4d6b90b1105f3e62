//! A pickle reader that holds data only: it has no way to run code.
//!
//! It understands the opcodes that lists, tuples, dicts, numbers and texts of protocols
//! 2 to 5 need and refuses all others. Shared objects stay shared, nothing recurses.

mod memo;
mod opcodes;
mod reader;
mod value;

use std::io::{BufReader, Read};

use crate::error::Fault;
use crate::limits::Limits;

pub(crate) use value::{Pickle, Value};

pub(crate) fn is_opcode(byte: u8) -> bool {
    opcodes::name(byte).is_some()
}

/// Reads one pickle that takes up the whole content.
pub(crate) fn read(content: impl Read, limits: &Limits) -> Result<Pickle, Fault> {
    reader::Reader::new(BufReader::with_capacity(64 << 10, content), limits).read()
}
