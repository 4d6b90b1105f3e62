//! Import errors: one clear line each, with a place.

use std::fmt;
use std::io;

/// Why a trace could not be imported, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}{place}: {kind}", clean(name, usize::MAX))]
pub struct TraceError {
    /// The name of the input as the caller gave it.
    pub name: String,
    /// Where in the input.
    pub place: Place,
    /// What is wrong; part of the message, so not its source.
    pub kind: ErrorKind,
}

/// A place in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The input as a whole, or a place that the message names itself.
    Whole,
    /// A line of the (decompressed) text; the first is 1.
    Line(u64),
    /// A byte offset in the (decompressed) data; the first is 0.
    Offset(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Line(line) => write!(f, ":{line}"),
            Self::Offset(offset) => write!(f, " at byte {offset}"),
        }
    }
}

/// What is wrong with an input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Nothing that this version recognises; holds a description of the first bytes.
    #[error(
        "not a trace that this version knows (it reads gpumm CSV and PyTorch CUDA memory \
         snapshots, plain or gzip'd); {0}"
    )]
    UnknownFormat(String),
    /// A format that is recognised but not read; holds its name.
    #[error("this is {0}; this version does not read it yet")]
    Unsupported(&'static str),
    /// A gpumm request log, which is replayed as it is and not imported.
    #[error("this is a gpumm request log, which is replayed and not imported as a trace")]
    RequestLog,
    /// The gzip layer is damaged or not acceptable.
    #[error("gzip: {0}")]
    Compression(String),
    /// The data does not follow its format.
    #[error("{0}")]
    Syntax(String),
    /// The data ends too early; says in the middle of what.
    #[error("the data ends in the middle of {0}")]
    Truncated(String),
    /// A pickle opcode that this reader never executes.
    #[error("pickle opcode {name} is refused: {why}")]
    RefusedOpcode {
        /// The name of the opcode in Python's pickletools.
        name: &'static str,
        /// Why it is refused.
        why: &'static str,
    },
    /// A value of a snapshot is missing or of the wrong type.
    #[error("{path}: {problem}")]
    Shape {
        /// The value, as in `device_traces[0][17].size`.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nested deeper than [`Limits::max_depth`](crate::Limits::max_depth).
    #[error("nested too deeply: more than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: u32,
    },
    /// One of the [`Limits`](crate::Limits) is crossed; says which.
    #[error("too large: {0}")]
    TooLarge(String),
    /// Well-formed, but it cannot have happened.
    #[error("{0}")]
    Semantic(String),
    /// The input could not be read.
    #[error("cannot read: {}", clean(&.0.to_string(), 200))]
    Io(#[source] io::Error),
}

/// An error before the name of the input is known.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) kind: ErrorKind,
}

impl Fault {
    pub(crate) fn line(line: u64, kind: ErrorKind) -> Self {
        Self {
            place: Place::Line(line),
            kind,
        }
    }

    pub(crate) fn offset(offset: u64, kind: ErrorKind) -> Self {
        Self {
            place: Place::Offset(offset),
            kind,
        }
    }

    pub(crate) fn named(self, name: &str) -> TraceError {
        TraceError {
            name: name.to_owned(),
            place: self.place,
            kind: self.kind,
        }
    }
}

impl From<ErrorKind> for Fault {
    fn from(kind: ErrorKind) -> Self {
        Self {
            place: Place::Whole,
            kind,
        }
    }
}

/// What the layers below the formats report through `std::io`.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StreamFault {
    #[error("too large: {0}")]
    TooLarge(String),
    #[error("the gzip data is cut off")]
    Truncated,
    #[error("gzip: {0}")]
    Gzip(String),
}

impl From<io::Error> for ErrorKind {
    fn from(error: io::Error) -> Self {
        let own = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<StreamFault>());
        match own.cloned() {
            Some(StreamFault::TooLarge(what)) => Self::TooLarge(what),
            Some(StreamFault::Truncated) => Self::Truncated("the gzip data".to_owned()),
            Some(StreamFault::Gzip(what)) => Self::Compression(what),
            None => Self::Io(error),
        }
    }
}

/// Text of the input for a message: in quotes, on one line, not too long.
pub(crate) fn quote(text: &str) -> String {
    format!("\"{}\"", clean(text, 60))
}

/// Bytes of the input for a message.
pub(crate) fn quote_bytes(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(256)];
    quote(&String::from_utf8_lossy(head))
}

fn clean(text: &str, max_chars: usize) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == max_chars {
            out.push('…');
            break;
        }
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
