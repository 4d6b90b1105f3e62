//! Writes a trace as our CSV.

use std::io::{self, Write};

use crate::event::{EventKind, Trace};

/// Writes a trace as our CSV, not compressed; the `device` column gets the first device.
///
/// # Errors
/// Those of `out`.
pub fn write_csv(trace: &Trace, out: impl Write) -> io::Result<()> {
    let mut csv = csv::WriterBuilder::new().from_writer(out);
    csv.write_record([
        "time_ns", "action", "id", "addr", "bytes", "device", "stream", "tag", "op",
    ])?;
    let device = trace.devices.first().map_or("", String::as_str);
    for e in &trace.events {
        let (action, id) = match e.kind {
            EventKind::Alloc => ("alloc", e.id.to_string()),
            EventKind::Free => ("free", e.id.to_string()),
            EventKind::Other(kind) => (kind.name(), "-1".to_owned()),
        };
        csv.write_record([
            e.time_ns.to_string().as_str(),
            action,
            &id,
            &format!("{:#x}", e.addr),
            &e.bytes.to_string(),
            device,
            &e.stream.to_string(),
            trace.tag(e),
            trace.op(e),
        ])?;
    }
    csv.flush()
}
