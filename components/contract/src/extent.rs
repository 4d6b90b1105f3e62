//! Extents (bytes in an arena) and segments (what DMA addresses).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Deref;
use core::slice;

/// Consecutive bytes of a memory type's arena.
///
/// Units: bytes. Bounds: never empty in an answer; `offset + bytes` fits in 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// First byte, from the start of the arena.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Extent {
    /// The first byte behind the extent, or `None` where the sum does not fit in 64 bits.
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.bytes)
    }
}

/// The extents of one allocation in the buffer's byte order, read as a slice.
///
/// Nearly always it is one, which takes no heap block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extents(Pieces);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pieces {
    One(Extent),
    /// INVARIANT: not exactly one.
    Other(Box<[Extent]>),
}

impl Deref for Extents {
    type Target = [Extent];

    #[inline]
    fn deref(&self) -> &[Extent] {
        match &self.0 {
            Pieces::One(extent) => slice::from_ref(extent),
            Pieces::Other(extents) => extents,
        }
    }
}

impl FromIterator<Extent> for Extents {
    fn from_iter<T: IntoIterator<Item = Extent>>(extents: T) -> Self {
        let mut extents = extents.into_iter();
        let (first, second) = (extents.next(), extents.next());
        Extents(match (first, second) {
            (Some(one), None) => Pieces::One(one),
            _ => Pieces::Other(first.into_iter().chain(second).chain(extents).collect()),
        })
    }
}

impl From<&[Extent]> for Extents {
    fn from(extents: &[Extent]) -> Self {
        extents.iter().copied().collect()
    }
}

impl From<Vec<Extent>> for Extents {
    fn from(extents: Vec<Extent>) -> Self {
        match extents[..] {
            [one] => Extents(Pieces::One(one)),
            _ => Extents(Pieces::Other(extents.into())),
        }
    }
}

/// The sum of the extents' bytes, or `None` where it does not fit in 64 bits.
pub fn total(extents: &[Extent]) -> Option<u64> {
    extents
        .iter()
        .try_fold(0u64, |sum, e| sum.checked_add(e.bytes))
}

/// A piece of memory as the device's DMA addresses it.
///
/// Units: bytes. Bounds: `bytes` is at most the maximum segment size of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// DMA address: the memory type's base plus the offset in its arena.
    pub address: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// `value` rounded up to a multiple of `granule`, or `None` on overflow.
///
/// Bounds: `granule` is a power of two.
pub fn round_up(value: u64, granule: u64) -> Option<u64> {
    debug_assert!(granule.is_power_of_two());
    value.checked_add(granule - 1).map(|v| v & !(granule - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_a_slice_of_any_length() {
        let extent = |n: u64| Extent {
            offset: n * 8,
            bytes: 8,
        };
        for n in 0..4 {
            let list: Vec<Extent> = (0..n).map(extent).collect();
            let collected: Extents = list.iter().copied().collect();
            assert_eq!(collected[..], list[..]);
            assert_eq!(Extents::from(&list[..]), collected);
            assert_eq!(Extents::from(list), collected);
        }
    }
}
