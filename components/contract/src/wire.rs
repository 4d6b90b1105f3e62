//! The packed encoding: lists of 64-bit words with a header and self-describing items.
//!
//! Shape: word 0 is the header: bits 0..16 layout version, 16..32 [`Kind`], 32..64 item count.
//! Each item begins with a head word: bits 0..8 operation, 8..32 length of the item in words
//! (the head included), 32..64 a 32-bit operand. Items follow each other without gaps and fill
//! the list exactly. An unknown operation, version or kind is an error, never skipped.

use alloc::vec::Vec;
use core::fmt;

/// The version of every packed layout in this crate.
pub const LAYOUT_VERSION: u16 = 1;

/// The longest item, in words.
pub const MAX_ITEM_WORDS: usize = (1 << 24) - 1;

/// What a list of words holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// Allocator commands.
    Commands = 1,
    /// Allocator answers.
    Answers = 2,
    /// Requests to the mechanism.
    Requests = 3,
    /// A plan.
    Plan = 4,
    /// Facts of the ledger.
    Facts = 5,
}

/// Why a packed list cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The list ends inside a header or an item.
    Truncated,
    /// The layout version is not [`LAYOUT_VERSION`].
    Version(u16),
    /// The list holds another kind than asked for.
    Kind(u16),
    /// The operation is not known; its code and the item's number.
    UnknownOperation(u8, u32),
    /// An item's length does not fit its operation; the item's number.
    Length(u32),
    /// A field holds a value that the operation does not allow; the item's number.
    Value(u32),
    /// Words follow after the last item, or items are missing.
    Count,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Truncated => write!(f, "the list ends inside an item"),
            WireError::Version(v) => write!(f, "layout version {v} is not {LAYOUT_VERSION}"),
            WireError::Kind(k) => write!(f, "unexpected list kind {k}"),
            WireError::UnknownOperation(op, at) => write!(f, "unknown operation {op} in item {at}"),
            WireError::Length(at) => write!(f, "wrong length of item {at}"),
            WireError::Value(at) => write!(f, "value out of bounds in item {at}"),
            WireError::Count => write!(f, "the item count is wrong"),
        }
    }
}

impl core::error::Error for WireError {}

/// Builds a packed list.
///
/// Invariants: the header's count equals the number of finished items.
#[derive(Clone, Debug)]
pub struct Writer {
    words: Vec<u64>,
}

impl Writer {
    /// An empty list of one kind.
    pub fn new(kind: Kind) -> Self {
        Self::reuse(Vec::new(), kind)
    }

    /// An empty list that reuses the memory of another one.
    pub fn reuse(mut words: Vec<u64>, kind: Kind) -> Self {
        words.clear();
        words.push(u64::from(LAYOUT_VERSION) | (kind as u64) << 16);
        Writer { words }
    }

    /// Appends one item: the head is made from the operation, the operand and the length.
    ///
    /// Errors: `false`, and nothing appended, when the item is longer than [`MAX_ITEM_WORDS`].
    #[must_use]
    #[inline]
    pub fn item(&mut self, op: u8, operand: u32, fill: impl FnOnce(&mut Vec<u64>)) -> bool {
        let start = self.words.len();
        self.words.push(0);
        fill(&mut self.words);
        let len = self.words.len() - start;
        if len > MAX_ITEM_WORDS {
            self.words.truncate(start);
            return false;
        }
        self.words[start] = u64::from(op) | (len as u64) << 8 | u64::from(operand) << 32;
        self.words[0] += 1 << 32;
        true
    }

    /// Makes room for so many more words.
    pub fn reserve(&mut self, words: usize) {
        self.words.reserve(words);
    }

    /// Appends one item of a fixed length: what [`item`](Self::item) does, without a second look
    /// at what was written.
    ///
    /// Bounds: `N` is the length in words, the head included; `words[0]` is overwritten.
    #[inline]
    pub fn fixed<const N: usize>(&mut self, op: u8, operand: u32, mut words: [u64; N]) {
        const { assert!(0 < N && N <= MAX_ITEM_WORDS) };
        words[0] = u64::from(op) | (N as u64) << 8 | u64::from(operand) << 32;
        self.words.extend_from_slice(&words);
        self.words[0] += 1 << 32;
    }

    /// How many items the list holds.
    pub fn count(&self) -> u32 {
        (self.words[0] >> 32) as u32
    }

    /// How many words the list holds, the header included.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether the list holds no item.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The finished list.
    pub fn finish(self) -> Vec<u64> {
        self.words
    }

    /// The list as it stands.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

/// One item of a packed list.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The operation.
    pub op: u8,
    /// The 32-bit operand of the head.
    pub operand: u32,
    /// The item's number in the list, for error messages.
    pub number: u32,
    /// The words behind the head.
    pub body: &'a [u64],
}

impl<'a> Item<'a> {
    /// Takes the first item off some words.
    ///
    /// Errors: they end inside it, or it has no length.
    #[inline]
    pub(crate) fn split_off(words: &mut &'a [u64], number: u32) -> Result<Self, WireError> {
        let &head = words.first().ok_or(WireError::Truncated)?;
        let len = (head >> 8 & 0xff_ffff) as usize;
        if len == 0 {
            return Err(WireError::Length(number));
        }
        let (item, rest) = words.split_at_checked(len).ok_or(WireError::Truncated)?;
        *words = rest;
        Ok(Item {
            op: head as u8,
            operand: (head >> 32) as u32,
            number,
            body: &item[1..],
        })
    }

    /// The body as exactly `N` words.
    pub fn exactly<const N: usize>(&self) -> Result<[u64; N], WireError> {
        self.body
            .try_into()
            .map_err(|_| WireError::Length(self.number))
    }

    /// The first `N` words of the body, and the rest.
    pub fn at_least<const N: usize>(&self) -> Result<([u64; N], &[u64]), WireError> {
        match self.body.split_first_chunk::<N>() {
            Some((head, rest)) => Ok((*head, rest)),
            None => Err(WireError::Length(self.number)),
        }
    }

    /// A word that must fit in 32 bits.
    pub fn narrow(&self, word: u64) -> Result<u32, WireError> {
        u32::try_from(word).map_err(|_| WireError::Value(self.number))
    }

    /// The error for an operation nobody knows.
    pub fn unknown(&self) -> WireError {
        WireError::UnknownOperation(self.op, self.number)
    }
}

/// Reads a packed list item by item.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u64],
    number: u32,
    count: u32,
}

impl<'a> Reader<'a> {
    /// Checks the header.
    #[inline]
    pub fn new(words: &'a [u64], kind: Kind) -> Result<Self, WireError> {
        let (&head, rest) = words.split_first().ok_or(WireError::Truncated)?;
        let version = head as u16;
        if version != LAYOUT_VERSION {
            return Err(WireError::Version(version));
        }
        let found = (head >> 16) as u16;
        if found != kind as u16 {
            return Err(WireError::Kind(found));
        }
        Ok(Reader {
            rest,
            number: 0,
            count: (head >> 32) as u32,
        })
    }

    /// How many items the header announces.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The next item, or `None` behind the last one.
    ///
    /// Errors: the list is shorter or longer than its header says.
    #[expect(
        clippy::should_implement_trait,
        reason = "an Iterator of results would hide the end check"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Item<'a>>, WireError> {
        if self.number == self.count {
            return if self.rest.is_empty() {
                Ok(None)
            } else {
                Err(WireError::Count)
            };
        }
        let item = Item::split_off(&mut self.rest, self.number)?;
        self.number += 1;
        Ok(Some(item))
    }

    /// What is behind the items that were read.
    pub(crate) fn rest(&self) -> &'a [u64] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn items_come_back_as_written() {
        let mut w = Writer::new(Kind::Plan);
        assert!(w.item(7, 42, |b| b.extend([1, 2])));
        assert!(w.item(8, 0, |_| ()));
        let words = w.finish();
        let mut r = Reader::new(&words, Kind::Plan).expect("header");
        let first = r.next().expect("ok").expect("item");
        assert_eq!(
            (first.op, first.operand, first.body),
            (7, 42, &[1u64, 2][..])
        );
        assert_eq!(r.next().expect("ok").expect("item").body, &[] as &[u64]);
        assert!(r.next().expect("end").is_none());
    }

    #[test]
    fn every_damage_is_an_error() {
        let mut w = Writer::new(Kind::Plan);
        assert!(w.item(7, 42, |b| b.extend([1, 2])));
        let words = w.finish();
        let read = |words: &[u64], kind| {
            let mut r = Reader::new(words, kind)?;
            while r.next()?.is_some() {}
            Ok(())
        };
        assert_eq!(read(&[], Kind::Plan), Err(WireError::Truncated));
        assert_eq!(read(&words, Kind::Facts), Err(WireError::Kind(4)));
        for cut in 1..words.len() {
            assert_eq!(read(&words[..cut], Kind::Plan), Err(WireError::Truncated));
        }
        let mut longer = words.clone();
        longer.push(0);
        assert_eq!(read(&longer, Kind::Plan), Err(WireError::Count));
        let mut version = words.clone();
        version[0] += 1;
        assert_eq!(read(&version, Kind::Plan), Err(WireError::Version(2)));
        assert_eq!(
            read(&[words[0], 0, 0, 0], Kind::Plan),
            Err(WireError::Length(0))
        );
        assert_eq!(vec![words[0]].len(), 1);
    }
}
