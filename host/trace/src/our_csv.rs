//! Our CSV, read row by row.

use std::io::{self, Read};

use csv::{ByteRecord, ReaderBuilder, Terminator};

use crate::builder::{Builder, Row};
use crate::error::{ErrorKind, Fault, StreamFault, quote_bytes};
use crate::event::{Format, OtherKind, Trace};
use crate::limits::Limits;

/// Device names that get listed.
const MAX_DEVICES: usize = 64;

/// Where the columns are; those that a file may lack are optional.
struct Columns {
    count: usize,
    time_ns: usize,
    action: usize,
    id: usize,
    bytes: usize,
    addr: Option<usize>,
    device: Option<usize>,
    stream: Option<usize>,
    tag: Option<usize>,
    op: Option<usize>,
}

pub(crate) fn read(content: impl Read, limits: &Limits) -> Result<Trace, Fault> {
    let mut csv = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        // "\r\n" as one terminator would make line numbers wrong; "\r" is cut off below.
        .terminator(Terminator::Any(b'\n'))
        .from_reader(RowGuard::new(content, limits.max_string));
    let mut record = ByteRecord::new();
    let mut columns: Option<Columns> = None;
    let mut builder = Builder::new(limits);
    loop {
        let more = csv.read_byte_record(&mut record);
        let more = more.map_err(|e| Fault::line(csv.position().line(), csv_error(e)))?;
        if !more {
            break;
        }
        csv.get_mut().since_row = 0;
        let blank = record.len() == 1 && record[0].trim_ascii().is_empty();
        let done = match &columns {
            _ if blank => Ok(()),
            Some(columns) => add(columns, &record, &mut builder),
            None => Columns::find(&record).map(|found| columns = Some(found)),
        };
        if let Err(kind) = done {
            // The reader stands behind the row: count back to its first line.
            let inside = record.as_slice().iter().filter(|&&b| b == b'\n').count() as u64;
            let at_end = csv.position().byte() == csv.get_ref().total;
            let terminator = u64::from(!at_end || csv.get_ref().last == b'\n');
            let line = csv.position().line() - inside - terminator;
            return Err(Fault::line(line, kind));
        }
    }
    if csv.get_ref().odd_quotes {
        let kind = ErrorKind::Syntax("a quote is not closed before the end of the file".to_owned());
        return Err(Fault::line(csv.position().line(), kind));
    }
    if builder.devices.len() > 1 {
        let names = builder.devices.join(", ");
        let note = format!("events of several devices are read as one trace: {names}");
        builder.notes.push(note);
    }
    Ok(builder.finish(Format::Csv))
}

impl Columns {
    fn find(header: &ByteRecord) -> Result<Self, ErrorKind> {
        let at = |name: &str| {
            header
                .iter()
                .position(|c| c.trim_ascii() == name.as_bytes())
        };
        let need = |name: &str| {
            at(name).ok_or_else(|| {
                let text = format!("the header has no column \"{name}\"");
                ErrorKind::Syntax(text)
            })
        };
        for (i, name) in header.iter().enumerate() {
            let same = |other: &[u8]| other.trim_ascii() == name.trim_ascii();
            if header.iter().take(i).any(same) {
                let text = format!("the header names the column {} twice", quote_bytes(name));
                return Err(ErrorKind::Syntax(text));
            }
            if i > 1000 {
                let text = "the header has more than 1000 columns".to_owned();
                return Err(ErrorKind::TooLarge(text));
            }
        }
        Ok(Self {
            count: header.len(),
            time_ns: need("time_ns")?,
            action: need("action")?,
            id: need("id")?,
            bytes: need("bytes")?,
            addr: at("addr"),
            device: at("device"),
            stream: at("stream"),
            tag: at("tag"),
            op: at("op"),
        })
    }
}

fn add(columns: &Columns, record: &ByteRecord, builder: &mut Builder<'_>) -> Result<(), ErrorKind> {
    if record.len() != columns.count {
        return Err(ErrorKind::Syntax(format!(
            "the row has {} fields, the header has {}",
            record.len(),
            columns.count
        )));
    }
    let raw = |column: usize| {
        let field = &record[column];
        match field.strip_suffix(b"\r") {
            Some(cut) if column + 1 == columns.count => cut,
            _ => field,
        }
    };
    let text = |column: Option<usize>, name: &str| match column {
        Some(column) => std::str::from_utf8(raw(column))
            .map_err(|_| ErrorKind::Syntax(format!("{name} is not UTF-8"))),
        None => Ok(""),
    };
    let action = text(Some(columns.action), "action")?;
    let row = Row {
        time_ns: number(raw(columns.time_ns), "time_ns")?,
        addr: columns.addr.map_or(Ok(0), |c| address(raw(c)))?,
        bytes: number(raw(columns.bytes), "bytes")?,
        stream: match columns.stream {
            Some(column) => u32::try_from(number(raw(column), "stream")?)
                .map_err(|_| ErrorKind::Syntax("stream is larger than 2^32".to_owned()))?,
            None => 0,
        },
        tag: builder.name(text(columns.tag, "tag")?)?,
        op: builder.name(text(columns.op, "op")?)?,
    };
    let device = text(columns.device, "device")?;
    let known = device.is_empty() || builder.devices.iter().rev().any(|d| d == device);
    if !known && builder.devices.len() < MAX_DEVICES {
        builder.devices.push(device.to_owned());
    }
    match action {
        "alloc" => {
            let id = number(raw(columns.id), "id")?;
            if id != builder.next_id() {
                return Err(ErrorKind::Semantic(format!(
                    "allocation has id {id}, but ids count up and the next one is {}",
                    builder.next_id()
                )));
            }
            builder.alloc(row).map(|_| ())
        }
        "free" => builder.free(number(raw(columns.id), "id")?, row),
        other => match OtherKind::from_name(other) {
            Some(kind) => builder.other(kind, row),
            None => {
                builder.unknown(other);
                Ok(())
            }
        },
    }
}

fn number(field: &[u8], name: &str) -> Result<u64, ErrorKind> {
    let digits = !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    let value = std::str::from_utf8(field).ok().and_then(|t| t.parse().ok());
    value.filter(|_| digits).ok_or_else(|| {
        ErrorKind::Syntax(format!(
            "{name} is not a whole number below 2^64: {}",
            quote_bytes(field)
        ))
    })
}

/// Hex with 0x, or empty.
fn address(field: &[u8]) -> Result<u64, ErrorKind> {
    if field.is_empty() {
        return Ok(0);
    }
    let digits = field.strip_prefix(b"0x").filter(|d| !d.starts_with(b"+"));
    let text = digits.and_then(|d| std::str::from_utf8(d).ok());
    text.and_then(|t| u64::from_str_radix(t, 16).ok())
        .ok_or_else(|| {
            let text = format!("addr is not a hex number with 0x: {}", quote_bytes(field));
            ErrorKind::Syntax(text)
        })
}

fn csv_error(error: csv::Error) -> ErrorKind {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => ErrorKind::Syntax(format!("{other:?}")),
    }
}

/// Bounds the length of a row (the CSV reader would buffer any) and counts quotes, which
/// come in pairs in a whole file.
struct RowGuard<R> {
    inner: R,
    since_row: u64,
    max_row: u64,
    total: u64,
    last: u8,
    odd_quotes: bool,
}

impl<R> RowGuard<R> {
    fn new(inner: R, max_row: u64) -> Self {
        Self {
            inner,
            since_row: 0,
            max_row,
            total: 0,
            last: 0,
            odd_quotes: false,
        }
    }
}

impl<R: Read> Read for RowGuard<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.since_row > self.max_row {
            let what = format!("a row of more than {} bytes", self.max_row);
            return Err(io::Error::other(StreamFault::TooLarge(what)));
        }
        let n = self.inner.read(buf)?;
        self.since_row += n as u64;
        self.total += n as u64;
        self.last = buf[..n].last().copied().unwrap_or(self.last);
        let quotes = buf[..n].iter().filter(|&&b| b == b'"').count();
        self.odd_quotes ^= quotes % 2 == 1;
        Ok(n)
    }
}
