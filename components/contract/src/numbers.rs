//! From an allocation number to what a strategy files under it.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Nothing is filed.
pub const NONE: u32 = u32::MAX;

/// Numbers from here on are not filed, so that one absurd number cannot ask for gigabytes.
pub const LIMIT: u32 = 1 << 26;

/// Numbers per page.
const PAGE: usize = 1024;

/// A table over dense allocation numbers, in pages made when first used: no growth ever copies it.
///
/// Complexity: O(1).
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    pages: Vec<Box<[u32]>>,
}

impl Numbers {
    /// What is filed under a number, or [`NONE`].
    #[inline]
    pub fn get(&self, number: u32) -> u32 {
        let page = self.pages.get(number as usize / PAGE);
        page.and_then(|page| page.get(number as usize % PAGE))
            .copied()
            .unwrap_or(NONE)
    }

    /// Files something, or [`NONE`], under a number.
    ///
    /// Bounds: `number` is below [`LIMIT`].
    #[inline]
    pub fn set(&mut self, number: u32, node: u32) {
        let at = number as usize / PAGE;
        if self.pages.get(at).is_none_or(|page| page.is_empty()) {
            self.add_page(at);
        }
        self.pages[at][number as usize % PAGE] = node;
    }

    #[cold]
    fn add_page(&mut self, at: usize) {
        if self.pages.len() <= at {
            self.pages.resize_with(at + 1, Box::default);
        }
        self.pages[at] = vec![NONE; PAGE].into_boxed_slice();
    }

    /// Forgets every number.
    pub fn clear(&mut self) {
        self.pages.clear();
    }

    /// Every number that is filed, with what is filed under it.
    pub fn filed(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let pages = self.pages.iter().enumerate();
        let all = pages.flat_map(|(at, page)| {
            page.iter()
                .enumerate()
                .map(move |(i, &node)| ((at * PAGE + i) as u32, node))
        });
        all.filter(|&(_, node)| node != NONE)
    }
}
