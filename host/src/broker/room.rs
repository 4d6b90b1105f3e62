//! Refusals of wishes that have room.

use super::overlay::Overlay;
use crate::error::ComponentFault;
use crate::ledger::Ledger;
use crate::slot::Slot;
use gpumm_contract::MemoryTypeId;

/// Holds refusals of plain wishes of these sizes against the holes that the facts know.
///
/// What a hint, a range or an alignment rules out is the strategy's business.
///
/// Errors: wishes that have room are refused too often.
pub(super) fn refusals(
    ledger: &Ledger,
    overlay: &Overlay,
    slot: &mut Slot,
    refused: &[u64],
) -> Result<(), ComponentFault> {
    let (memory, size) = (slot.memory(), slot.geometry.size);
    refused.iter().try_for_each(|&bytes| {
        let room = || has_hole(ledger, overlay, memory, size, bytes);
        slot.books.refused(bytes, size, room)
    })
}

/// Whether a hole holds so many bytes.
///
/// Complexity: O(live).
fn has_hole(
    ledger: &Ledger,
    overlay: &Overlay,
    memory: MemoryTypeId,
    size: u64,
    bytes: u64,
) -> bool {
    let Some(facts) = ledger.memory.get(&memory) else {
        return false;
    };
    let old = facts
        .live_extents()
        .filter(|(_, n)| !overlay.freed.contains_key(n));
    let mut old = old.map(|(extent, _)| extent).peekable();
    let mut new = overlay.taken(memory).peekable();
    let mut end = 0;
    loop {
        let first = match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if a.offset <= b.offset => old.next(),
            (_, Some(_)) => new.next(),
            (_, None) => old.next(),
        };
        let Some(extent) = first else {
            return size.saturating_sub(end) >= bytes;
        };
        if extent.offset.saturating_sub(end) >= bytes {
            return true;
        }
        end = end.max(extent.offset.saturating_add(extent.bytes));
    }
}
