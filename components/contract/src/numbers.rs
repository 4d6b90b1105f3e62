//! From an allocation number to what a strategy files under it.

use alloc::boxed::Box;
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
    pages: Vec<Option<Box<[u32; PAGE]>>>,
}

impl Numbers {
    /// What is filed under a number, or [`NONE`].
    #[inline]
    pub fn get(&self, number: u32) -> u32 {
        let page = self
            .pages
            .get(number as usize / PAGE)
            .and_then(|p| p.as_ref());
        page.map_or(NONE, |page| page[number as usize % PAGE])
    }

    /// The entry of a number, to read and to change; `None` when nothing near it was ever filed.
    #[inline]
    pub fn filed_mut(&mut self, number: u32) -> Option<&mut u32> {
        let page = self.pages.get_mut(number as usize / PAGE)?.as_mut()?;
        Some(&mut page[number as usize % PAGE])
    }

    /// Files something, or [`NONE`], under a number.
    ///
    /// Bounds: `number` is below [`LIMIT`].
    #[inline]
    pub fn set(&mut self, number: u32, node: u32) {
        match self.filed_mut(number) {
            Some(entry) => *entry = node,
            None => self.add_page(number, node),
        }
    }

    #[cold]
    fn add_page(&mut self, number: u32, node: u32) {
        let at = number as usize / PAGE;
        if self.pages.len() <= at {
            self.pages.resize_with(at + 1, Option::default);
        }
        let mut page = Box::new([NONE; PAGE]);
        page[number as usize % PAGE] = node;
        self.pages[at] = Some(page);
    }

    /// Forgets every number.
    pub fn clear(&mut self) {
        self.pages.clear();
    }

    /// Every number that is filed, with what is filed under it.
    pub fn filed(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let pages = self.pages.iter().enumerate();
        let all = pages.filter_map(|(at, page)| Some((at, page.as_ref()?)));
        let all = all.flat_map(|(at, page)| {
            page.iter()
                .enumerate()
                .map(move |(i, &node)| ((at * PAGE + i) as u32, node))
        });
        all.filter(|&(_, node)| node != NONE)
    }
}
