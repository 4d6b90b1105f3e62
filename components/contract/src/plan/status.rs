//! How requests end.

use crate::vm::{BindError, VmError};
use core::fmt;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done as planned.
    Good,
    /// No acceptable place has room and nothing that may be evicted is left.
    NoSpace {
        /// The largest hole of the last place tried, in bytes.
        largest_hole: u64,
        /// Bytes in buffers that could not be evicted although they may be (no room to evict to).
        stuck: u64,
    },
    /// The buffer is larger than every acceptable memory type.
    TooLarge {
        /// The largest acceptable memory type, in bytes.
        limit: u64,
    },
    /// The buffer does not exist.
    UnknownBuffer,
    /// The buffer exists already.
    BufferExists,
    /// The size is 0, or does not fit in 64 bits when rounded up.
    InvalidSize,
    /// The placement names a memory type that the device does not have.
    InvalidPlacement,
    /// An access names no buffer or one twice, or a timeline that was not granted.
    InvalidAccess,
    /// More pieces than one table or one grant holds.
    TooScattered,
    /// A buffer's content is lost; it can only be released.
    Poisoned,
    /// The device's DMA could not be given access to the memory; trying again may help.
    NotMapped,
    /// The buffer is attached to the device already, or the device is none that imports from here.
    NotAttached,
    /// An address space refuses.
    Vm {
        /// Why; never a list that cannot be read.
        why: VmError,
        /// Which request of a list of binds, from 0.
        bind: u32,
    },
    /// A list of binds cannot be read.
    InvalidBind,
}

impl Status {
    pub(super) fn words(self) -> [u64; 3] {
        match self {
            Status::Good => [0, 0, 0],
            Status::NoSpace {
                largest_hole,
                stuck,
            } => [1, largest_hole, stuck],
            Status::TooLarge { limit } => [2, limit, 0],
            Status::UnknownBuffer => [3, 0, 0],
            Status::BufferExists => [4, 0, 0],
            Status::InvalidSize => [5, 0, 0],
            Status::InvalidPlacement => [6, 0, 0],
            Status::InvalidAccess => [7, 0, 0],
            Status::TooScattered => [8, 0, 0],
            Status::Poisoned => [9, 0, 0],
            Status::NotMapped => [10, 0, 0],
            Status::NotAttached => [11, 0, 0],
            Status::Vm { why, bind } => match why.code() {
                Some(code) => [12, code, bind.into()],
                None => [13, 0, 0],
            },
            Status::InvalidBind => [13, 0, 0],
        }
    }

    pub(super) fn from_words(words: [u64; 3]) -> Option<Self> {
        Some(match words {
            [0, 0, 0] => Status::Good,
            [1, largest_hole, stuck] => Status::NoSpace {
                largest_hole,
                stuck,
            },
            [2, limit, 0] => Status::TooLarge { limit },
            [3, 0, 0] => Status::UnknownBuffer,
            [4, 0, 0] => Status::BufferExists,
            [5, 0, 0] => Status::InvalidSize,
            [6, 0, 0] => Status::InvalidPlacement,
            [7, 0, 0] => Status::InvalidAccess,
            [8, 0, 0] => Status::TooScattered,
            [9, 0, 0] => Status::Poisoned,
            [10, 0, 0] => Status::NotMapped,
            [11, 0, 0] => Status::NotAttached,
            [12, code, bind] => Status::Vm {
                why: VmError::from_code(code)?,
                bind: bind.try_into().ok()?,
            },
            [13, 0, 0] => Status::InvalidBind,
            _ => return None,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Good => f.write_str("done"),
            Status::NoSpace {
                largest_hole,
                stuck: 0,
            } => {
                write!(
                    f,
                    "no space: the largest hole has {largest_hole} bytes and nothing evictable is left"
                )
            }
            Status::NoSpace {
                largest_hole,
                stuck,
            } => write!(
                f,
                "no space: the largest hole has {largest_hole} bytes, and {stuck} evictable bytes have nowhere to go"
            ),
            Status::TooLarge { limit } => {
                write!(
                    f,
                    "too large: the largest acceptable memory type has {limit} bytes"
                )
            }
            Status::UnknownBuffer => f.write_str("the buffer does not exist"),
            Status::BufferExists => f.write_str("the buffer exists already"),
            Status::InvalidSize => f.write_str("the size is 0 or does not fit in 64 bits"),
            Status::InvalidPlacement => f.write_str("the placement names an unknown memory type"),
            Status::InvalidAccess => {
                f.write_str("the access names no buffer, one twice, or an unknown timeline")
            }
            Status::TooScattered => f.write_str("the buffer is in more pieces than a table holds"),
            Status::Poisoned => f.write_str("the buffer's content is lost (poisoned)"),
            Status::NotMapped => {
                f.write_str("the memory could not be mapped for the device's DMA; try again")
            }
            Status::NotAttached => f.write_str(
                "the buffer is attached to that device already, or the device cannot import it",
            ),
            Status::Vm { why, bind: 0 } => why.fmt(f),
            Status::Vm { why, bind } => write!(f, "bind request {bind}: {why}"),
            Status::InvalidBind => f.write_str("the list of binds cannot be read"),
        }
    }
}

impl From<VmError> for Status {
    fn from(why: VmError) -> Self {
        BindError { request: 0, why }.into()
    }
}

impl From<BindError> for Status {
    fn from(BindError { request, why }: BindError) -> Self {
        match why {
            VmError::Wire(_) => Status::InvalidBind,
            why => Status::Vm { why, bind: request },
        }
    }
}
