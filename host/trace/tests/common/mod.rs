//! What several tests need: importing bytes, packing them, and writing pickles.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use gpumm_trace::{ErrorKind, Limits, Options, Trace, TraceError, import};

pub const HEADER: &str = "time_ns,action,id,addr,bytes,device,stream,tag,op\n";

pub fn read(bytes: &[u8]) -> Result<Trace, TraceError> {
    import(bytes, "in", Options::default())
}

pub fn read_within(bytes: &[u8], limits: Limits) -> Result<Trace, TraceError> {
    let options = Options {
        limits,
        ..Options::default()
    };
    import(bytes, "in", options)
}

/// The message of the error that this input must give.
pub fn error(bytes: &[u8]) -> String {
    one_line(&read(bytes).unwrap_err())
}

pub fn kind(bytes: &[u8]) -> ErrorKind {
    read(bytes).unwrap_err().kind
}

/// Every error is one line of a readable length.
pub fn one_line(error: &TraceError) -> String {
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.len() < 400, "{text}");
    text
}

pub fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A value of a pickle to be written.
#[derive(Clone)]
pub enum P {
    None,
    Int(i64),
    Text(&'static str),
    List(Vec<P>),
    Dict(Vec<(&'static str, P)>),
    /// Opcodes as they are.
    Raw(Vec<u8>),
}

impl P {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            P::None => out.push(b'N'),
            P::Int(i) => {
                out.extend([0x8a, 8]);
                out.extend(i.to_le_bytes());
            }
            P::Text(text) => {
                out.push(b'X');
                out.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
                out.extend(text.as_bytes());
            }
            P::List(items) => {
                out.extend(b"](");
                items.iter().for_each(|item| item.write(out));
                out.push(b'e');
            }
            P::Dict(items) => {
                out.extend(b"}(");
                for (key, value) in items {
                    P::Text(key).write(out);
                    value.write(out);
                }
                out.push(b'u');
            }
            P::Raw(bytes) => out.extend(bytes),
        }
    }

    /// The whole pickle.
    pub fn pickle(&self) -> Vec<u8> {
        let mut out = vec![0x80, 4];
        self.write(&mut out);
        out.push(b'.');
        out
    }

    /// Sets a key of a dict.
    pub fn with(mut self, key: &'static str, value: P) -> P {
        let P::Dict(items) = &mut self else {
            panic!("not a dict");
        };
        items.retain(|(k, _)| *k != key);
        items.push((key, value));
        self
    }

    /// Removes a key of a dict.
    pub fn without(mut self, key: &str) -> P {
        if let P::Dict(items) = &mut self {
            items.retain(|(k, _)| *k != key);
        }
        self
    }
}

/// Opcodes between the header and the end.
pub fn raw(opcodes: &[u8]) -> Vec<u8> {
    P::Raw(opcodes.to_vec()).pickle()
}

pub fn frame(file: &'static str, line: i64, name: &'static str) -> P {
    P::Dict(vec![
        ("filename", P::Text(file)),
        ("line", P::Int(line)),
        ("name", P::Text(name)),
    ])
}

pub fn entry(action: &'static str, addr: i64, size: i64, time_us: i64) -> P {
    P::Dict(vec![
        ("action", P::Text(action)),
        ("addr", P::Int(addr)),
        ("size", P::Int(size)),
        ("stream", P::Int(0)),
        ("time_us", P::Int(time_us)),
        ("frames", P::List(vec![frame("/a/b.py", 7, "f")])),
    ])
}

/// A snapshot of one device with these entries.
pub fn snapshot(entries: Vec<P>) -> P {
    P::Dict(vec![
        ("segments", P::List(vec![])),
        ("device_traces", P::List(vec![P::List(entries)])),
        ("external_annotations", P::List(vec![])),
    ])
}
