//! Holes in an order: a B+ tree whose entries also know the most room below them.
//!
//! A page holds up to 16 entries side by side. A leaf's entry is a hole (its place in the order,
//! how much room it has, which node it lies behind), an inner page's the same about a page below:
//! its first key and its most room. So each level is searched the same way, for a key or for room.

use alloc::vec::Vec;

const WIDTH: usize = 16;
/// Above the key of every hole.
const UNUSED: u128 = u128::MAX;
/// A page with fewer entries is filled up or emptied into its neighbour.
const LEAST: usize = WIDTH / 4;
/// Four entries a page reach 2^32 holes in 16 levels, and the root may have two.
const LEVELS: usize = 17;

/// A hole, or what an inner page knows of one below it.
///
/// Units: granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The place of the hole, or of the first one, in the order.
    pub(crate) key: u128,
    /// How much room the hole has, or the one with most.
    pub(crate) most: u64,
    /// The node that the hole lies behind, or the page.
    pub(crate) child: u32,
}

/// Entries by key, in columns so that a search reads few cache lines.
///
/// Invariants: behind the last entry keys are [`UNUSED`] and rooms 0.
#[derive(Clone, Debug)]
struct Page {
    keys: [u128; WIDTH],
    most: [u64; WIDTH],
    child: [u32; WIDTH],
    len: usize,
}

impl Page {
    const EMPTY: Page = Page {
        keys: [UNUSED; WIDTH],
        most: [0; WIDTH],
        child: [0; WIDTH],
        len: 0,
    };

    fn entry(&self, at: usize) -> Entry {
        Entry {
            key: self.keys[at],
            most: self.most[at],
            child: self.child[at],
        }
    }

    fn set(&mut self, at: usize, entry: Entry) {
        self.keys[at] = entry.key;
        self.most[at] = entry.most;
        self.child[at] = entry.child;
    }

    fn insert(&mut self, at: usize, entry: Entry) {
        self.keys.copy_within(at..self.len, at + 1);
        self.most.copy_within(at..self.len, at + 1);
        self.child.copy_within(at..self.len, at + 1);
        self.set(at, entry);
        self.len += 1;
    }

    fn remove(&mut self, at: usize) {
        self.keys.copy_within(at + 1..self.len, at);
        self.most.copy_within(at + 1..self.len, at);
        self.child.copy_within(at + 1..self.len, at);
        self.len -= 1;
        self.keys[self.len] = UNUSED;
        self.most[self.len] = 0;
    }

    /// Moves the entries from `at` on into a page of their own.
    fn split_off(&mut self, at: usize) -> Page {
        let mut right = Page::EMPTY;
        for from in at..self.len {
            right.set(from - at, self.entry(from));
            self.keys[from] = UNUSED;
            self.most[from] = 0;
        }
        right.len = self.len - at;
        self.len = at;
        right
    }

    fn append(&mut self, right: &Page) {
        for at in 0..right.len {
            self.set(self.len + at, right.entry(at));
        }
        self.len += right.len;
    }

    /// How many keys are below `key`, which may be no hole's.
    fn below(&self, key: u128) -> usize {
        // Two rounds of four without a branch, which could not be predicted: in which quarter,
        // and where in it. The comparisons of a round do not wait for each other.
        let below = |at: usize| usize::from(self.keys[at] < key);
        let quarter = 4 * (below(3) + below(7) + below(11));
        quarter + below(quarter) + below(quarter + 1) + below(quarter + 2) + below(quarter + 3)
    }

    /// The most room below.
    fn largest(&self) -> u64 {
        self.most.iter().fold(0, |most, &room| most.max(room))
    }
}

/// The way from the root to a leaf: pages, and which entry was followed in each.
struct Path {
    steps: [(u32, u32); LEVELS],
    len: usize,
}

impl Path {
    fn step(&self, depth: usize) -> (u32, usize) {
        let (page, at) = self.steps[depth];
        (page, at as usize)
    }
}

/// The tree.
///
/// Complexity: each operation O(log n), unless it says otherwise.
/// Invariants: all leaves are equally deep; an inner entry has its page's first key and most
/// room; a page but the root has at least [`LEAST`] entries, an inner root two.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pages: Vec<Page>,
    spare: Vec<u32>,
    root: u32,
    /// Inner levels above the leaves.
    height: usize,
    len: u64,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Tree {
            pages: [Page::EMPTY].into(),
            spare: Vec::new(),
            root: 0,
            height: 0,
            len: 0,
        }
    }

    /// How many holes there are. Complexity: O(1).
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The most room, or 0. Complexity: O(1).
    pub(crate) fn largest(&self) -> u64 {
        self.page(self.root).largest()
    }

    fn page(&self, at: u32) -> &Page {
        &self.pages[at as usize]
    }

    fn page_mut(&mut self, at: u32) -> &mut Page {
        &mut self.pages[at as usize]
    }

    fn add(&mut self, page: Page) -> u32 {
        if let Some(at) = self.spare.pop() {
            *self.page_mut(at) = page;
            return at;
        }
        self.pages.push(page);
        (self.pages.len() - 1) as u32
    }

    /// The way to the last entry below `key`, or to the first one.
    fn path(&self, key: u128) -> Path {
        let (mut steps, mut page) = ([(0, 0); LEVELS], self.root);
        for step in &mut steps[..=self.height] {
            let at = self.page(page).below(key).saturating_sub(1);
            *step = (page, at as u32);
            page = self.page(page).child[at];
        }
        Path {
            steps,
            len: self.height + 1,
        }
    }

    fn summary(&self, at: u32) -> Entry {
        let page = self.page(at);
        Entry {
            key: page.keys[0],
            most: page.largest(),
            child: at,
        }
    }

    /// Makes the entries above a changed page true again, up to the first that is true already.
    fn refresh(&mut self, path: &Path, below: usize) {
        for depth in (0..below).rev() {
            let (page, at) = path.step(depth);
            let entry = self.summary(path.step(depth + 1).0);
            if self.page(page).entry(at) == entry {
                return;
            }
            self.page_mut(page).set(at, entry);
        }
    }

    /// Adds a hole. Bounds: none has its key.
    pub(crate) fn insert(&mut self, hole: Entry) {
        self.len += 1;
        let path = self.path(hole.key);
        let mut entry = hole;
        for depth in (0..path.len).rev() {
            let (at, followed) = path.step(depth);
            if depth + 1 < path.len {
                // The page below was split: it lost its larger half.
                let below = self.summary(path.step(depth + 1).0);
                self.page_mut(at).set(followed, below);
            }
            let page = self.page_mut(at);
            let place = page.below(entry.key);
            if page.len < WIDTH {
                page.insert(place, entry);
                return self.refresh(&path, depth);
            }
            let mut right = page.split_off(WIDTH / 2);
            match place.checked_sub(WIDTH / 2) {
                Some(place) if place > 0 => right.insert(place, entry),
                _ => page.insert(place, entry),
            }
            let right = self.add(right);
            entry = self.summary(right);
        }
        let mut root = Page::EMPTY;
        root.insert(0, self.summary(self.root));
        root.insert(1, entry);
        self.root = self.add(root);
        self.height += 1;
    }

    /// Removes the hole of a key. Bounds: there is one.
    pub(crate) fn remove(&mut self, key: u128) {
        self.len -= 1;
        let path = self.path(key + 1);
        let (leaf, at) = path.step(path.len - 1);
        debug_assert_eq!(self.page(leaf).keys[at], key);
        self.page_mut(leaf).remove(at);
        for depth in (1..path.len).rev() {
            if self.page(path.step(depth).0).len >= LEAST {
                return self.refresh(&path, depth);
            }
            let (above, at) = path.step(depth - 1);
            self.balance(above, at.saturating_sub(1));
        }
        if self.height > 0 && self.page(self.root).len == 1 {
            self.spare.push(self.root);
            self.root = self.page(self.root).child[0];
            self.height -= 1;
        }
    }

    /// Makes one page of two neighbours, or two that are equally full.
    fn balance(&mut self, above: u32, left: usize) {
        let page = self.page(above);
        let (low, high) = (page.child[left], page.child[left + 1]);
        let mut joined = [Page::EMPTY, Page::EMPTY];
        core::mem::swap(&mut joined[0], self.page_mut(low));
        core::mem::swap(&mut joined[1], self.page_mut(high));
        let [mut first, mut second] = joined;
        let total = first.len + second.len;
        if total <= WIDTH {
            first.append(&second);
            *self.page_mut(low) = first;
            self.spare.push(high);
            self.page_mut(above).remove(left + 1);
        } else {
            if first.len > second.len {
                let mut moved = first.split_off(total / 2);
                moved.append(&second);
                second = moved;
            } else {
                let rest = second.split_off(second.len - total / 2);
                first.append(&second);
                second = rest;
            }
            *self.page_mut(low) = first;
            *self.page_mut(high) = second;
            let entry = self.summary(high);
            self.page_mut(above).set(left + 1, entry);
        }
        let entry = self.summary(low);
        self.page_mut(above).set(left, entry);
    }

    /// Puts another hole in the place of the one of a key. Bounds: no hole is between the two.
    pub(crate) fn change(&mut self, key: u128, hole: Entry) {
        let path = self.path(key + 1);
        let (leaf, at) = path.step(path.len - 1);
        debug_assert_eq!(self.page(leaf).keys[at], key);
        self.page_mut(leaf).set(at, hole);
        self.refresh(&path, path.len - 1);
    }

    /// The last hole below `key`.
    pub(crate) fn before(&self, key: u128) -> Option<Entry> {
        let path = self.path(key);
        let (leaf, at) = path.step(path.len - 1);
        let page = self.page(leaf);
        (page.keys[at] < key).then(|| page.entry(at))
    }

    /// The first hole at or above `key` that has room for `units`.
    pub(crate) fn first(&self, key: u128, units: u64) -> Option<Entry> {
        let path = self.path(key);
        for depth in (0..path.len).rev() {
            let (at, followed) = path.step(depth);
            let leaf = depth + 1 == path.len;
            let page = self.page(at);
            // In a leaf the entry itself may be meant; above, what it leads to has been searched.
            let from = followed + usize::from(!leaf || page.keys[followed] < key);
            if let Some(found) = (from..page.len).find(|&i| page.most[i] >= units) {
                let first = |page: &Page| (0..page.len).find(|&i| page.most[i] >= units);
                return self.descend(page.entry(found), depth, first);
            }
        }
        None
    }

    /// The last hole below `key` that has room for `units`.
    pub(crate) fn last(&self, key: u128, units: u64) -> Option<Entry> {
        let path = self.path(key);
        for depth in (0..path.len).rev() {
            let (at, followed) = path.step(depth);
            let leaf = depth + 1 == path.len;
            let page = self.page(at);
            let end = followed + usize::from(leaf && page.keys[followed] < key);
            if let Some(found) = (0..end).rfind(|&i| page.most[i] >= units) {
                let last = |page: &Page| (0..page.len).rfind(|&i| page.most[i] >= units);
                return self.descend(page.entry(found), depth, last);
            }
        }
        None
    }

    /// From an entry at a depth to the hole below it that `choose` leads to.
    fn descend(
        &self,
        mut entry: Entry,
        depth: usize,
        choose: impl Fn(&Page) -> Option<usize>,
    ) -> Option<Entry> {
        for _ in depth..self.height {
            let page = self.page(entry.child);
            entry = page.entry(choose(page)?);
        }
        Some(entry)
    }

    /// Checks the tree from scratch and returns its holes in order. Complexity: O(n).
    pub(crate) fn validate(&self) -> Result<Vec<Entry>, &'static str> {
        let mut holes = Vec::new();
        let pages = self.check(self.root, 0, &mut holes)?;
        let root = self.page(self.root).len;
        let good = pages + self.spare.len() == self.pages.len()
            && holes.len() as u64 == self.len
            && (self.height == 0 || root >= 2);
        if good {
            Ok(holes)
        } else {
            Err("the tree of holes has lost a page, an entry or a level")
        }
    }

    fn check(&self, at: u32, depth: usize, out: &mut Vec<Entry>) -> Result<usize, &'static str> {
        let page = self.page(at);
        let sorted = page.keys[..page.len].is_sorted_by(|a, b| a < b);
        let unused = page.keys[page.len..].iter().all(|&key| key == UNUSED)
            && page.most[page.len..].iter().all(|&room| room == 0);
        if !sorted || !unused || (depth > 0 && page.len < LEAST) {
            return Err("a page of the tree of holes is sorted and filled");
        }
        if depth == self.height {
            out.extend((0..page.len).map(|i| page.entry(i)));
            return Ok(1);
        }
        let mut pages = 1;
        for i in 0..page.len {
            if page.entry(i) != self.summary(page.child[i]) {
                return Err("an entry of the tree of holes knows its page");
            }
            pages += self.check(page.child[i], depth + 1, out)?;
        }
        Ok(pages)
    }
}
