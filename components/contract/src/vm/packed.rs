//! Packed bind requests and steps.
//!
//! Shape: as every packed list ([`crate::wire`]), of kind 6 (binds) or 7 (steps). Bits 0..8 of
//! an operand are a mapping's attributes; [`SPARSE`] says that there is no buffer, then its word is
//! 0; [`KEEP`] is the step's `keep`.
//!
//! | kind | item | operand | body |
//! |---|---|---|---|
//! | binds | 1 map | attributes, sparse | `start, bytes, buffer, offset` |
//! | binds | 2 unmap | - | `start, bytes` |
//! | steps | 1 unmap | attributes, sparse, keep | `start, bytes, buffer, offset` |
//! | steps | 2 remap | attributes, sparse, keep | `start, bytes, buffer, offset` as it was, `start, bytes` of the hole |
//! | steps | 3 map | attributes, sparse | `start, bytes, buffer, offset` |
//! | steps | 4 ended | - | `buffer` |

use super::{Bind, Mapping, Op, Remap, Span, Steps, Unmap};
use crate::id::BufferId;
use crate::wire::{Item, LAYOUT_VERSION, WireError};
use alloc::vec::Vec;

/// The kind of a list of bind requests.
pub const BINDS: u16 = 6;

/// The kind of a list of steps.
pub const STEPS: u16 = 7;

/// Operand bit: the mapping has no buffer.
pub const SPARSE: u32 = 1 << 8;

/// Operand bit: page-table entries may stay.
pub const KEEP: u32 = 1 << 9;

/// Begins a list in the memory of another one.
fn begin(mut words: Vec<u64>, kind: u16) -> Vec<u64> {
    words.clear();
    words.push(u64::from(LAYOUT_VERSION) | u64::from(kind) << 16);
    words
}

/// Appends an item of `N` words; the first one becomes its head.
#[inline]
fn item<const N: usize>(list: &mut Vec<u64>, op: u8, operand: u32, mut words: [u64; N]) {
    words[0] = u64::from(op) | (N as u64) << 8 | u64::from(operand) << 32;
    list.extend_from_slice(&words);
    list[0] += 1 << 32;
}

/// The operand of a mapping's item.
#[inline]
pub(crate) fn mapping_operand(m: &Mapping) -> u32 {
    u32::from(m.attributes) | if m.buffer.is_none() { SPARSE } else { 0 }
}

#[inline]
fn words(m: &Mapping) -> [u64; 5] {
    let buffer = m.buffer.map_or(0, |b| b.0);
    [0, m.at.start, m.at.bytes, buffer, m.offset]
}

/// The mapping of an item whose operand may have one more bit than a mapping's.
#[inline]
pub(crate) fn get_mapping(
    item: &Item<'_>,
    more: u32,
    words: [u64; 4],
) -> Result<Mapping, WireError> {
    let [start, bytes, buffer, offset] = words;
    let sparse = item.operand & SPARSE != 0;
    if item.operand & !(0xff | SPARSE | more) != 0 || (sparse && buffer != 0) {
        return Err(WireError::Value(item.number));
    }
    Ok(Mapping {
        at: Span { start, bytes },
        buffer: (!sparse).then_some(BufferId(buffer)),
        offset,
        attributes: item.operand as u8,
    })
}

/// Reads a packed list of one of the two kinds.
#[derive(Clone, Debug)]
struct Items<'a> {
    rest: &'a [u64],
    number: u32,
    count: u32,
}

impl<'a> Items<'a> {
    fn new(words: &'a [u64], kind: u16) -> Result<Self, WireError> {
        let (&head, rest) = words.split_first().ok_or(WireError::Truncated)?;
        if head as u16 != LAYOUT_VERSION {
            return Err(WireError::Version(head as u16));
        }
        if (head >> 16) as u16 != kind {
            return Err(WireError::Kind((head >> 16) as u16));
        }
        let count = (head >> 32) as u32;
        Ok(Items {
            rest,
            number: 0,
            count,
        })
    }

    #[inline]
    fn next(&mut self) -> Result<Option<Item<'a>>, WireError> {
        if self.number == self.count {
            return match self.rest {
                [] => Ok(None),
                _ => Err(WireError::Count),
            };
        }
        let &head = self.rest.first().ok_or(WireError::Truncated)?;
        let length = (head >> 8 & 0xff_ffff) as usize;
        let number = self.number;
        if length == 0 {
            return Err(WireError::Length(number));
        }
        let split = self.rest.split_at_checked(length);
        let (item, rest) = split.ok_or(WireError::Truncated)?;
        self.rest = rest;
        self.number += 1;
        Ok(Some(Item {
            op: head as u8,
            operand: (head >> 32) as u32,
            number,
            body: &item[1..],
        }))
    }
}

/// Packs bind requests, in the memory of another list.
pub fn encode_binds(binds: &[Bind], reuse: Vec<u64>) -> Vec<u64> {
    let mut list = begin(reuse, BINDS);
    for bind in binds {
        match bind {
            Bind::Map(m) => item(&mut list, 1, mapping_operand(m), words(m)),
            Bind::Unmap(at) => item(&mut list, 2, 0, [0, at.start, at.bytes]),
        }
    }
    list
}

/// Reads packed bind requests one by one.
#[derive(Clone, Debug)]
pub struct Binds<'a>(Items<'a>);

impl<'a> Binds<'a> {
    /// Checks the header.
    pub fn new(words: &'a [u64]) -> Result<Self, WireError> {
        Items::new(words, BINDS).map(Binds)
    }

    /// The next request, or `None` behind the last one.
    ///
    /// Errors: the list is damaged, or holds what means nothing.
    #[expect(
        clippy::should_implement_trait,
        reason = "an Iterator of results would hide the end check"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Bind>, WireError> {
        let Some(item) = self.0.next()? else {
            return Ok(None);
        };
        match item.op {
            1 => Ok(Some(Bind::Map(get_mapping(&item, 0, item.exactly()?)?))),
            2 if item.operand != 0 => Err(WireError::Value(item.number)),
            2 => {
                let [start, bytes] = item.exactly()?;
                Ok(Some(Bind::Unmap(Span { start, bytes })))
            }
            _ => Err(item.unknown()),
        }
    }
}

/// A packed list of steps that grows.
#[derive(Clone, Debug)]
pub struct Writer(Vec<u64>);

impl Writer {
    /// An empty list in the memory of another one.
    pub fn reuse(words: Vec<u64>) -> Self {
        Writer(begin(words, STEPS))
    }

    /// The finished list.
    pub fn finish(self) -> Vec<u64> {
        self.0
    }
}

impl Steps for Writer {
    #[inline]
    fn push(&mut self, op: Op) {
        let keep = |u: &Unmap| mapping_operand(&u.mapping) | if u.keep { KEEP } else { 0 };
        match &op {
            Op::Unmap(u) => item(&mut self.0, 1, keep(u), words(&u.mapping)),
            Op::Remap(Remap { unmap, hole }) => {
                let [head, start, bytes, buffer, offset] = words(&unmap.mapping);
                let words = [head, start, bytes, buffer, offset, hole.start, hole.bytes];
                item(&mut self.0, 2, keep(unmap), words);
            }
            Op::Map(m) => item(&mut self.0, 3, mapping_operand(m), words(m)),
            Op::Ended(buffer) => item(&mut self.0, 4, 0, [0, buffer.0]),
        }
    }

    fn take_back(&mut self, count: usize) -> Vec<Op> {
        let mut ops = decode_steps(&self.0).unwrap_or_default();
        let back = ops.split_off(count.min(ops.len()));
        self.0 = begin(core::mem::take(&mut self.0), STEPS);
        ops.into_iter().for_each(|op| self.push(op));
        back
    }

    fn count(&self) -> usize {
        (self.0[0] >> 32) as usize
    }
}

/// Reads packed steps one by one.
#[derive(Clone, Debug)]
pub struct StepsReader<'a>(Items<'a>);

impl<'a> StepsReader<'a> {
    /// Checks the header.
    pub fn new(words: &'a [u64]) -> Result<Self, WireError> {
        Items::new(words, STEPS).map(StepsReader)
    }

    /// The next step, or `None` behind the last one.
    ///
    /// Errors: the list is damaged, or holds what means nothing.
    #[expect(
        clippy::should_implement_trait,
        reason = "an Iterator of results would hide the end check"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Op>, WireError> {
        let Some(item) = self.0.next()? else {
            return Ok(None);
        };
        let keep = item.operand & KEEP != 0;
        Ok(Some(match item.op {
            1 => Op::Unmap(Unmap {
                mapping: get_mapping(&item, KEEP, item.exactly()?)?,
                keep,
            }),
            2 => {
                let [at, bytes, buffer, offset, start, hole] = item.exactly()?;
                let mapping = get_mapping(&item, KEEP, [at, bytes, buffer, offset])?;
                Op::Remap(remap(mapping, keep, start, hole).ok_or(WireError::Value(item.number))?)
            }
            3 => Op::Map(get_mapping(&item, 0, item.exactly()?)?),
            4 if item.operand != 0 => return Err(WireError::Value(item.number)),
            4 => item.exactly().map(|[buffer]| Op::Ended(BufferId(buffer)))?,
            _ => return Err(item.unknown()),
        }))
    }
}

/// The remap with a hole, if that is a part of the mapping and not all of it.
#[inline]
fn remap(mapping: Mapping, keep: bool, start: u64, bytes: u64) -> Option<Remap> {
    let (hole, end) = (Span { start, bytes }, mapping.at.end()?);
    let inside = mapping.at.start <= start && hole.end()? <= end;
    let part = 0 < bytes && bytes < mapping.at.bytes;
    let unmap = Unmap { mapping, keep };
    mapping.offset.checked_add(mapping.at.bytes)?;
    (inside && part).then_some(Remap { unmap, hole })
}

/// All steps of a packed list.
pub fn decode_steps(words: &[u64]) -> Result<Vec<Op>, WireError> {
    let mut steps = StepsReader::new(words)?;
    let mut ops = Vec::new();
    while let Some(op) = steps.next()? {
        ops.push(op);
    }
    Ok(ops)
}
