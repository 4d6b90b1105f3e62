//! Refusals of wishes that have room.

use super::overlay::Overlay;
use crate::error::ComponentFault;
use crate::ledger::Ledger;
use crate::slot::Slot;
use gpumm_contract::MemoryTypeId;
use gpumm_contract::allocator::{Answer, Command, extents_of};
use gpumm_contract::wire::{Kind, Reader};

/// Holds judged refusals against the holes that the facts know.
///
/// Only plain wishes count: what a hint, a range or an alignment rules out is the strategy's
/// business.
///
/// Errors: wishes that have room are refused too often.
pub(super) fn refusals(
    ledger: &Ledger,
    overlay: &Overlay,
    slot: &mut Slot,
    commands: &[Command],
    words: &[u64],
) -> Result<(), ComponentFault> {
    let (memory, size) = (slot.memory(), slot.geometry.size);
    let Ok(mut reader) = Reader::new(words, Kind::Answers) else {
        return Ok(());
    };
    // What a later release has made room for was not there before.
    let is_free = |c: &Command| matches!(c, Command::Free { .. });
    let behind = commands.iter().rposition(is_free).map_or(0, |at| at + 1);
    for (at, command) in commands.iter().enumerate() {
        let Ok(Some(item)) = reader.next() else {
            return Ok(());
        };
        if let Command::Allocate(wish) = command
            && at >= behind
            && wish.is_plain()
            && extents_of(&item).is_none()
            && let Ok(Answer::NoSpace { .. }) = Answer::decode(&item)
        {
            let room = || has_hole(ledger, overlay, memory, size, wish.bytes);
            slot.books.refused(wish.bytes, size, room)?;
        }
    }
    Ok(())
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
