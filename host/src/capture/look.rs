//! Looking at memory: what a submitted table shows.

use super::input::{Context, Read, TableSubmitted};
use super::model::{Segment, Table, hex};
use sha2::{Digest, Sha256};

/// So much is read at once, in bytes: a large table must not need its size once more.
const CHUNK: u64 = 1 << 20;

/// Reads the table. What cannot be read costs this table its content, and no other.
pub(super) fn look(
    table: &TableSubmitted,
    context: &Context<'_>,
    content_bytes: u64,
    read: Read<'_>,
) -> Table {
    let kept = if table.keep_content { content_bytes } else { 0 };
    let (sha256, unreadable, content) = match contents(table, kept, read) {
        Ok((sha256, content)) => (Some(sha256), None, table.keep_content.then_some(content)),
        Err(why) => (None, Some(why), None),
    };
    let segment = |s: &gpumm_contract::Segment| Segment {
        address: s.address,
        bytes: s.bytes,
    };
    Table {
        role: table.role,
        table: table.table.0,
        allocation: table.allocation.0,
        buffer: table.buffer.0,
        tenant: table.tenant.0,
        memory: context.memory(table.memory),
        bytes: table.bytes,
        segments: table.segments.iter().map(segment).collect(),
        sha256,
        unreadable,
        content,
    }
}

/// The hash of the table's bytes and the first of them, both in hexadecimal.
fn contents(table: &TableSubmitted, kept: u64, read: Read<'_>) -> Result<(String, String), String> {
    let mut hasher = Sha256::new();
    let mut content = String::new();
    let mut offset = 0;
    while offset < table.bytes {
        let bytes = CHUNK.min(table.bytes - offset);
        let chunk = read(table, offset, bytes).map_err(|e| e.to_string())?;
        if chunk.len() as u64 != bytes {
            let len = chunk.len();
            return Err(format!("{len} bytes were read where {bytes} are"));
        }
        hasher.update(&chunk);
        let wanted = kept.saturating_sub(offset).min(bytes);
        // Not more than the chunk has.
        content += &hex(chunk.get(..wanted as usize).unwrap_or_default());
        offset += bytes;
    }
    Ok((hex(&hasher.finalize()), content))
}
