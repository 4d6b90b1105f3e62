//! The blocks handed out, as one chain of records for each allocation.

use crate::piece::Piece;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;

pub(crate) use gpumm_contract::numbers::NONE;
/// Order of a record that describes nothing and waits to be used again.
const SPARE: u32 = u32::MAX;

/// A block handed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) piece: Piece,
    /// The allocation's next block, or the next spare record.
    pub(crate) next: u32,
    pub(crate) owner: u32,
}

/// The records of one allocation, in the buffer's byte order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) first: u32,
    /// The record before the last one, which a trim needs to replace the last.
    before: u32,
    last: u32,
    owner: u32,
}

impl Chain {
    pub(crate) fn new(owner: u32) -> Self {
        Chain {
            first: NONE,
            before: NONE,
            last: NONE,
            owner,
        }
    }
}

/// All records, live and spare.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    list: Vec<Record>,
    spare: u32,
    /// How many are live.
    pub(crate) live: u64,
}

impl Records {
    pub(crate) fn new() -> Self {
        Records {
            list: Vec::new(),
            spare: NONE,
            live: 0,
        }
    }

    /// Appends a block to a chain.
    pub(crate) fn push(&mut self, chain: &mut Chain, piece: Piece) {
        let record = Record {
            piece,
            next: NONE,
            owner: chain.owner,
        };
        let mut at = self.spare;
        if at != NONE {
            self.spare = self.list[at as usize].next;
            self.list[at as usize] = record;
        } else {
            // OVERFLOW: 2^32 records of 32 bytes do not fit in any memory this runs in.
            at = self.list.len() as u32;
            self.list.push(record);
        }
        if chain.last == NONE {
            chain.first = at;
        } else {
            self.list[chain.last as usize].next = at;
        }
        (chain.before, chain.last) = (chain.last, at);
        self.live += 1;
    }

    /// Takes the last block off a chain, once; the caller pushes another one in its place, which
    /// ends the chain again.
    pub(crate) fn pop(&mut self, chain: &mut Chain) -> Option<Piece> {
        let (piece, _) = self.recycle(chain.last)?;
        (chain.before, chain.last) = (NONE, chain.before);
        Some(piece)
    }

    /// Ends a record; returns its block and the next record.
    pub(crate) fn recycle(&mut self, at: u32) -> Option<(Piece, u32)> {
        let spare = self.spare;
        let record = self.list.get_mut(at as usize)?;
        let ended = (record.piece, record.next);
        record.piece.order = SPARE;
        record.next = spare;
        self.spare = at;
        self.live -= 1;
        Some(ended)
    }

    /// The live records from one on, along its chain.
    pub(crate) fn chain(&self, first: u32) -> impl Iterator<Item = &Record> + '_ {
        let mut at = first;
        core::iter::from_fn(move || {
            let record = self.list.get(at as usize)?;
            at = record.next;
            Some(record)
        })
    }

    /// Every live record, in no meaningful order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> + '_ {
        self.list
            .iter()
            .filter(|record| record.piece.order != SPARE)
    }

    /// The `limit` lowest blocks that end behind a chunk, ascending.
    ///
    /// Complexity: O(records * log limit); it serves views, not allocations.
    pub(crate) fn lowest_behind(&self, chunk: u64, limit: usize) -> Vec<(Piece, u32)> {
        let mut lowest = BinaryHeap::new();
        for record in self.iter() {
            let Piece { offset, order } = record.piece;
            // The last chunk, since the one behind it may not be a 64-bit number.
            if offset + (record.piece.chunks() - 1) < chunk {
                continue;
            }
            lowest.push((offset, order, record.owner));
            if lowest.len() > limit {
                lowest.pop();
            }
        }
        let sorted = lowest.into_sorted_vec();
        sorted
            .into_iter()
            .map(|(offset, order, owner)| (Piece { offset, order }, owner))
            .collect()
    }

    /// Whether every record is live or in the spare list.
    pub(crate) fn consistent(&self) -> bool {
        let mut spare = 0;
        for record in self.chain(self.spare) {
            spare += 1;
            if record.piece.order != SPARE || spare > self.list.len() {
                return false;
            }
        }
        let live = self.iter().count();
        live as u64 == self.live && live + spare == self.list.len()
    }
}
