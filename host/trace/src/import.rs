//! The entry point: recognises the format and calls its reader.

use std::io::{Cursor, Read};

use crate::error::{ErrorKind, Fault, TraceError, quote_bytes};
use crate::event::Trace;
use crate::gzip::{Counted, Gunzip, Limited, read_prefix};
use crate::limits::Limits;
use crate::sniff::{SNIFF_LEN, Sniffed, sniff};
use crate::{our_csv, pickle, snapshot};

/// How to import.
#[derive(Default)]
pub struct Options<'a> {
    /// Bounds on memory and work.
    pub limits: Limits,
    /// Which device of a snapshot to import; `None` takes device 0, or the first one
    /// that has events if device 0 has none (a note says so).
    pub device: Option<u32>,
    /// Called now and then with the number of input bytes read so far (before
    /// decompression).
    pub progress: Option<&'a mut dyn FnMut(u64)>,
}

/// Imports a trace; the format is recognised by content, `name` is only for messages.
///
/// # Errors
/// Anything wrong with the input, with its place; see [`ErrorKind`].
pub fn import(reader: impl Read, name: &str, options: Options<'_>) -> Result<Trace, TraceError> {
    read(reader, options).map_err(|fault| fault.named(name))
}

fn read(mut reader: impl Read, options: Options<'_>) -> Result<Trace, Fault> {
    let Options {
        limits,
        device,
        progress,
    } = options;
    let prefix = read_prefix(&mut reader, SNIFF_LEN).map_err(ErrorKind::from)?;
    let sniffed = sniff(&prefix);
    let input = Counted::new(Cursor::new(prefix.clone()).chain(reader), progress);
    if sniffed != Sniffed::Gzip {
        let content = Limited::new(input, limits.max_decompressed_bytes);
        return dispatch(sniffed, &prefix, content, device, &limits);
    }
    let content = Gunzip::new(input, &limits);
    let mut content = Limited::new(content, limits.max_decompressed_bytes);
    let prefix = read_prefix(&mut content, SNIFF_LEN).map_err(ErrorKind::from)?;
    let content = Cursor::new(prefix.clone()).chain(content);
    dispatch(sniff(&prefix), &prefix, content, device, &limits)
}

fn dispatch(
    sniffed: Sniffed,
    prefix: &[u8],
    content: impl Read,
    device: Option<u32>,
    limits: &Limits,
) -> Result<Trace, Fault> {
    let kind = match sniffed {
        Sniffed::Csv => return our_csv::read(content, limits),
        Sniffed::Pickle => {
            let pickle = pickle::read(content, limits)?;
            return snapshot::read(&pickle, device, limits);
        }
        Sniffed::Empty => ErrorKind::Empty,
        Sniffed::RequestLog => ErrorKind::RequestLog,
        Sniffed::Gzip => {
            ErrorKind::Compression("a gzip file inside a gzip file is refused".to_owned())
        }
        other => match other.unsupported() {
            Some(format) => ErrorKind::Unsupported(format),
            None => {
                let start = quote_bytes(&prefix[..prefix.len().min(24)]);
                ErrorKind::UnknownFormat(format!("the file begins with {start}"))
            }
        },
    };
    Err(kind.into())
}
