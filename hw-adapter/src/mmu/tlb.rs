//! The translations that jobs have used: kept until they are invalidated, whatever the page table
//! says meanwhile.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::table::{LARGE, Leaf, MIDDLE, PAGE};

/// How many translations are kept; one more, and all are forgotten.
const ENTRIES: usize = 65536;

/// A translation, and the version of the table that it was last seen in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) leaf: Leaf,
    pub(super) version: u64,
}

/// Spreads page numbers. They come from outside, but what is slow then is only their own job.
#[derive(Default)]
pub(super) struct PageHasher(u64);

impl Hasher for PageHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let product = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(super) type PageMap<T> = HashMap<u64, T, BuildHasherDefault<PageHasher>>;

/// The sizes of pages, the largest first.
const SIZES: [u64; 3] = [LARGE, MIDDLE, PAGE];

/// The translations of one address space.
#[derive(Default)]
pub(super) struct Tlb {
    /// By the number of the page, per size.
    pages: [PageMap<Entry>; 3],
}

impl Tlb {
    /// The translation of an address.
    pub(super) fn find(&mut self, address: u64) -> Option<&mut Entry> {
        let mut sizes = self.pages.iter_mut().zip(SIZES);
        sizes.find_map(|(pages, size)| match pages.is_empty() {
            true => None,
            false => pages.get_mut(&(address / size)),
        })
    }

    /// Keeps the translation of a page.
    pub(super) fn insert(&mut self, leaf: Leaf, version: u64) {
        if self.pages.iter().map(HashMap::len).sum::<usize>() >= ENTRIES {
            self.clear();
        }
        let entry = Entry { leaf, version };
        for (pages, size) in self.pages.iter_mut().zip(SIZES) {
            if size == leaf.bytes {
                pages.insert(leaf.address / size, entry);
            }
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.pages.iter_mut().for_each(HashMap::clear);
    }
}
