//! Operations of a plan in words, one line each.

use super::input::Context;
use gpumm_contract::{Op, Point, TableId, TimelineId};

/// How many points or tables a line names.
const NAMED: usize = 4;

/// A plan's words as lines, and the index of the operation that reaches the point.
pub(super) fn lines(
    words: &[u64],
    at: Point,
    context: &Context<'_>,
) -> (Vec<String>, Option<usize>) {
    match gpumm_contract::plan::decode(words) {
        Ok(ops) => (
            ops.iter().map(|op| line(op, context)).collect(),
            ops.iter().position(|op| reaches(op) == Some(at)),
        ),
        Err(error) => (vec![format!("this plan cannot be read: {error}")], None),
    }
}

/// Whether an operation of the plan reaches the point.
pub(super) fn has(words: &[u64], at: Point) -> bool {
    let ops = gpumm_contract::plan::decode(words);
    ops.is_ok_and(|ops| ops.iter().any(|op| reaches(op) == Some(at)))
}

/// The point that an operation reaches on the device.
fn reaches(op: &Op<'_>) -> Option<Point> {
    match op {
        Op::Copy { at, .. }
        | Op::Fill { at, .. }
        | Op::UpdatePtes { at, .. }
        | Op::InvalidateTlb { at, .. }
        | Op::Run { at, .. }
        | Op::Signal { at } => Some(*at),
        Op::Answer { .. }
        | Op::Place { .. }
        | Op::Unplace { .. }
        | Op::Table { .. }
        | Op::DropTable { .. }
        | Op::MapDma { .. }
        | Op::UnmapDma { .. }
        | Op::Wait { .. }
        | Op::Notify { .. }
        | Op::Poison { .. } => None,
    }
}

/// One operation.
fn line(op: &Op<'_>, context: &Context<'_>) -> String {
    let name = |timeline: TimelineId| context.timeline(timeline.0);
    let point = |p: &Point| format!("{} {}", name(p.timeline), p.value);
    match op {
        Op::Answer { request, status } => format!("answer to request {request}: {status}"),
        Op::Place {
            allocation,
            memory,
            buffer,
            extents,
        } => {
            let memory = context.memory(*memory);
            let where_ = pieces(extents.iter().map(|e| (e.offset, e.bytes)), "extent");
            format!("place buffer {buffer} in {memory} as allocation {allocation}: {where_}")
        }
        Op::Unplace { allocation, after } if after.is_empty() => {
            format!("unplace allocation {allocation} at once")
        }
        Op::Unplace { allocation, after } => {
            let points = listed(after.iter().map(|p| point(&p)));
            format!("unplace allocation {allocation} after {points}")
        }
        Op::Table {
            table,
            allocation,
            segments,
        } => {
            let where_ = pieces(segments.iter().map(|s| (s.address, s.bytes)), "segment");
            format!("table {table} of allocation {allocation}: {where_}")
        }
        Op::DropTable { table } => format!("drop-table {table}"),
        Op::MapDma { table } => format!("map-dma {table}"),
        Op::UnmapDma { table } => format!("unmap-dma {table}"),
        Op::Copy {
            at,
            source,
            target,
            source_offset,
            target_offset,
            bytes,
        } => {
            let (from, to) = (part(*source, *source_offset), part(*target, *target_offset));
            format!("copy {from} -> {to}, {bytes} bytes, reaches {}", point(at))
        }
        Op::Fill {
            at,
            table,
            offset,
            bytes,
            pattern,
        } => {
            let (to, at) = (part(*table, *offset), point(at));
            format!("fill {to} with {pattern:#x}, {bytes} bytes, reaches {at}")
        }
        Op::UpdatePtes {
            at,
            vm,
            address,
            table,
            offset,
            bytes,
            flags,
        } => {
            let to = match table {
                TableId(u32::MAX) => "nothing".into(),
                table => format!("table {}", part(*table, *offset)),
            };
            format!(
                "update-ptes of vm {vm} at {address:#x} to {to}, {bytes} bytes, flags {flags:#x}, reaches {}",
                point(at)
            )
        }
        Op::InvalidateTlb { at, vm } => format!("invalidate-tlb of vm {vm}, reaches {}", point(at)),
        Op::Run { at, job, tables } => {
            let tables = listed(tables.iter().map(TableId::to_string));
            format!("run job {job} on {tables}, reaches {}", point(at))
        }
        Op::Wait {
            timeline,
            point: other,
        } => format!("wait: {} waits for {}", name(*timeline), point(other)),
        Op::Signal { at } => format!("signal, reaches {}", point(at)),
        Op::Notify {
            device,
            attachment,
            gate,
        } => format!(
            "notify device {device} that attachment {attachment} ends, gate {}",
            point(gate)
        ),
        Op::Poison { buffer } => format!("poison buffer {buffer}"),
    }
}

/// `12`, or `12+4096` from a later byte on.
fn part(table: TableId, offset: u64) -> String {
    match offset {
        0 => table.to_string(),
        offset => format!("{table}+{offset}"),
    }
}

/// `65536 bytes at 0x1000`, `8192 bytes in 2 extents, the first at 0x1000`.
fn pieces(list: impl ExactSizeIterator<Item = (u64, u64)>, word: &str) -> String {
    let (count, mut first, mut sum) = (list.len(), None, 0u64);
    for (begin, bytes) in list {
        first.get_or_insert(begin);
        sum = sum.saturating_add(bytes);
    }
    let first = first.unwrap_or_default();
    match count {
        1 => format!("{sum} bytes at {first:#x}"),
        count => format!("{sum} bytes in {count} {word}s, the first at {first:#x}"),
    }
}

/// `a, b, c and 7 more`.
fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(NAMED);
    let named: Vec<String> = items.take(NAMED).collect();
    match (named.join(", "), more) {
        (text, _) if text.is_empty() => "nothing".into(),
        (text, 0) => text,
        (text, more) => format!("{text} and {more} more"),
    }
}
