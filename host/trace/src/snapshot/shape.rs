//! Typed access to the values of a snapshot, with errors that name the place.

use std::fmt;

use crate::error::ErrorKind;
use crate::pickle::{Pickle, Value};

/// A dict with more keys is no record of a snapshot (those have some ten). Records may be
/// shared, so this bounds the work per event.
const MAX_RECORD_KEYS: usize = 256;

/// A place in a snapshot.
#[derive(Clone, Copy)]
pub(super) enum Path {
    Top,
    Key(&'static str),
    Device(usize),
    Entry(usize, usize),
    Frames(usize, usize),
    Frame(usize, usize, usize),
    Segment(usize),
    Blocks(usize),
    Block(usize, usize),
    Annotation(usize),
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => write!(f, "the snapshot"),
            Self::Key(key) => write!(f, "{key}"),
            Self::Device(d) => write!(f, "device_traces[{d}]"),
            Self::Entry(d, i) => write!(f, "device_traces[{d}][{i}]"),
            Self::Frames(d, i) => write!(f, "device_traces[{d}][{i}].frames"),
            Self::Frame(d, i, k) => write!(f, "device_traces[{d}][{i}].frames[{k}]"),
            Self::Segment(i) => write!(f, "segments[{i}]"),
            Self::Blocks(i) => write!(f, "segments[{i}].blocks"),
            Self::Block(i, j) => write!(f, "segments[{i}].blocks[{j}]"),
            Self::Annotation(i) => write!(f, "external_annotations[{i}]"),
        }
    }
}

impl Path {
    pub(super) fn error(self, problem: &str) -> ErrorKind {
        ErrorKind::Shape {
            path: self.to_string(),
            problem: problem.to_owned(),
        }
    }

    fn wrong_type(self, wanted: &str, found: Value) -> ErrorKind {
        self.error(&format!("expected {wanted}, found {}", found.type_name()))
    }
}

/// The keys of one kind of record and their numbers in the pickle.
pub(super) struct Keys<const N: usize> {
    names: [&'static str; N],
    numbers: [Option<u32>; N],
}

pub(super) struct Shape<'p> {
    pickle: &'p Pickle,
}

impl<'p> Shape<'p> {
    pub(super) fn new(pickle: &'p Pickle) -> Self {
        Self { pickle }
    }

    pub(super) fn keys<const N: usize>(&self, names: [&'static str; N]) -> Keys<N> {
        Keys {
            names,
            numbers: names.map(|name| self.pickle.texts.find(name)),
        }
    }

    pub(super) fn text(&self, number: u32) -> &'p str {
        self.pickle.texts.get(number)
    }

    pub(super) fn list(&self, path: Path, value: Value) -> Result<&'p [Value], ErrorKind> {
        match value {
            Value::List(n) | Value::Tuple(n) => Ok(self.pickle.items(n)),
            other => Err(path.wrong_type("a list", other)),
        }
    }

    /// The values of a dict under these keys.
    pub(super) fn record<const N: usize>(
        &self,
        path: Path,
        value: Value,
        keys: &Keys<N>,
    ) -> Result<Record<N>, ErrorKind> {
        let items = match value {
            Value::Dict(number) => self.pickle.items(number),
            other => return Err(path.wrong_type("a dict", other)),
        };
        if items.len() / 2 > MAX_RECORD_KEYS {
            return Err(path.error(&format!("a dict of {} keys is no record", items.len() / 2)));
        }
        let mut values = [None; N];
        for pair in items.chunks_exact(2) {
            let Value::Text(key) = pair[0] else { continue };
            if let Some(i) = keys.numbers.iter().position(|&n| n == Some(key)) {
                values[i] = Some(pair[1]);
            }
        }
        Ok(Record {
            path,
            names: keys.names,
            values,
        })
    }
}

/// Some values of a dict; fields are named by their index in the keys.
pub(super) struct Record<const N: usize> {
    path: Path,
    names: [&'static str; N],
    values: [Option<Value>; N],
}

impl<const N: usize> Record<N> {
    pub(super) fn get(&self, field: usize) -> Option<Value> {
        self.values[field]
    }

    pub(super) fn need(&self, field: usize) -> Result<Value, ErrorKind> {
        self.values[field].ok_or_else(|| self.error(field, "missing"))
    }

    pub(super) fn text(&self, field: usize) -> Result<u32, ErrorKind> {
        match self.need(field)? {
            Value::Text(number) => Ok(number),
            other => Err(self.wrong_type(field, "text", other)),
        }
    }

    pub(super) fn int(&self, field: usize) -> Result<i128, ErrorKind> {
        match self.need(field)? {
            Value::Int(i) => Ok(i.into()),
            Value::Unsigned(u) => Ok(u.into()),
            other => Err(self.wrong_type(field, "an integer", other)),
        }
    }

    pub(super) fn int_or(&self, field: usize, missing: i128) -> Result<i128, ErrorKind> {
        match self.get(field) {
            Some(_) => self.int(field),
            None => Ok(missing),
        }
    }

    /// A size or an address.
    pub(super) fn u64(&self, field: usize) -> Result<u64, ErrorKind> {
        u64::try_from(self.int(field)?).map_err(|_| self.error(field, "is negative"))
    }

    pub(super) fn u64_or(&self, field: usize, missing: u64) -> Result<u64, ErrorKind> {
        match self.get(field) {
            Some(_) => self.u64(field),
            None => Ok(missing),
        }
    }

    pub(super) fn error(&self, field: usize, problem: &str) -> ErrorKind {
        let name = self.names[field];
        ErrorKind::Shape {
            path: match self.path {
                Path::Top => name.to_owned(),
                path => format!("{path}.{name}"),
            },
            problem: problem.to_owned(),
        }
    }

    fn wrong_type(&self, field: usize, wanted: &str, found: Value) -> ErrorKind {
        let found = found.type_name();
        self.error(field, &format!("expected {wanted}, found {found}"))
    }
}
