//! An inner node: up to 64 children, each with the lowest key below it.

use super::{FAN, upper};

/// An inner node.
///
/// Invariants: `keys[..len]` ascend strictly, what is behind is `u64::MAX`; `len` is not 0.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Inner {
    keys: [u64; FAN],
    children: [u32; FAN],
    len: usize,
}

impl Inner {
    pub(super) fn new() -> Self {
        Inner {
            keys: [u64::MAX; FAN],
            children: [0; FAN],
            len: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The child below which `key` is, or would be.
    #[inline]
    pub(super) fn find(&self, key: u64) -> usize {
        upper(&self.keys, key).saturating_sub(1)
    }

    #[inline]
    pub(super) fn child(&self, at: usize) -> u32 {
        self.children[at]
    }

    #[inline]
    pub(super) fn key(&self, at: usize) -> u64 {
        self.keys[at]
    }

    #[inline]
    pub(super) fn set_key(&mut self, at: usize, key: u64) {
        self.keys[at] = key;
    }

    /// Inserts a child as the `at`th one. There must be room.
    pub(super) fn insert(&mut self, at: usize, key: u64, child: u32) {
        self.keys.copy_within(at..self.len, at + 1);
        self.children.copy_within(at..self.len, at + 1);
        self.keys[at] = key;
        self.children[at] = child;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.keys.copy_within(at + 1..self.len, at);
        self.children.copy_within(at + 1..self.len, at);
        self.len -= 1;
        self.keys[self.len] = u64::MAX;
    }

    /// Takes the upper half out.
    pub(super) fn split(&mut self) -> Inner {
        let mut right = Inner::new();
        let half = self.len / 2;
        right.len = self.len - half;
        right.keys[..right.len].copy_from_slice(&self.keys[half..self.len]);
        right.children[..right.len].copy_from_slice(&self.children[half..self.len]);
        self.keys[half..].fill(u64::MAX);
        self.len = half;
        right
    }

    /// Appends all children of the right neighbour. There must be room.
    pub(super) fn append(&mut self, right: &Inner) {
        let (from, len) = (self.len, self.len + right.len);
        self.keys[from..len].copy_from_slice(&right.keys[..right.len]);
        self.children[from..len].copy_from_slice(&right.children[..right.len]);
        self.len = len;
    }

    pub(super) fn validate(&self) -> Result<(), &'static str> {
        if self.len == 0 || self.keys[self.len..].iter().any(|&k| k != u64::MAX) {
            return Err("an inner node is empty, or has keys behind its last one");
        }
        let ascend = (1..self.len).all(|i| self.keys[i - 1] < self.keys[i]);
        ascend.then_some(()).ok_or("a node's keys do not ascend")
    }
}
