//! What a pickle holds.

use crate::names::Names;

/// A value; containers and texts are numbers into [`Pickle`], so copying one shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    None,
    Bool,
    /// An integer that fits; others are [`Value::HugeInt`].
    Int(i64),
    /// An integer above `i64::MAX`, such as a high address.
    Unsigned(u64),
    HugeInt,
    Float,
    Text(u32),
    Bytes,
    List(u32),
    Tuple(u32),
    Dict(u32),
}

// Snapshots have tens of millions of them.
const _: () = assert!(size_of::<Value>() == 16);

impl Value {
    /// What it is, for messages.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::None => "nothing (None)",
            Self::Bool => "a truth value",
            Self::Int(_) | Self::Unsigned(_) => "an integer",
            Self::HugeInt => "a huge integer",
            Self::Float => "a fraction",
            Self::Text(_) => "text",
            Self::Bytes => "bytes",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dict",
        }
    }
}

/// A pickle that was read; containers may contain themselves.
#[derive(Debug)]
pub(crate) struct Pickle {
    pub(crate) root: Value,
    pub(crate) texts: Names,
    /// The items of each container; those of a dict are key, value, key, value…
    pub(crate) items: Vec<Vec<Value>>,
}

impl Pickle {
    pub(crate) fn items(&self, container: u32) -> &[Value] {
        self.items
            .get(container as usize)
            .map_or(&[], Vec::as_slice)
    }
}
