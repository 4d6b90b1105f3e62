//! Bind requests, and the steps that carry them out.

use super::{Mapping, Span};
use crate::id::BufferId;
use alloc::vec::Vec;

/// A bind request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// Show this there, whatever was shown there before.
    Map(Mapping),
    /// Show nothing there.
    Unmap(Span),
}

/// A mapping that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmap {
    /// The mapping.
    pub mapping: Mapping,
    /// Whether the request's own map shows the same bytes at the same addresses with the same
    /// attributes, so that page-table entries may stay; never so for a sparse mapping.
    pub keep: bool,
}

/// A mapping that loses a middle, its end or its beginning.
///
/// ```text
/// mapping   |---------------------------|
/// hole              |----------|
///           |-prev--|          |--next--|
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remap {
    /// The mapping as it was, and whether the entries in the hole may stay.
    pub unmap: Unmap,
    /// Which part of it ends; not all, and not empty.
    pub hole: Span,
}

impl Remap {
    /// What is left in front of the hole.
    #[inline]
    pub fn prev(&self) -> Option<Mapping> {
        let (start, end) = (self.unmap.mapping.at.start, self.hole.start);
        (start < end).then(|| self.unmap.mapping.part(start, end))
    }

    /// What is left behind the hole.
    #[inline]
    pub fn next(&self) -> Option<Mapping> {
        let at = self.unmap.mapping.at;
        let (start, end) = (self.hole.start + self.hole.bytes, at.start + at.bytes);
        (start < end).then(|| self.unmap.mapping.part(start, end))
    }
}

/// A step of carrying out bind requests.
///
/// Invariant: done in order, no step maps what is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A mapping ends.
    Unmap(Unmap),
    /// A part of a mapping ends.
    Remap(Remap),
    /// A mapping begins.
    Map(Mapping),
    /// A vm-bo has ended with its last mapping.
    Ended(BufferId),
}

/// Takes steps as they are decided.
pub trait Steps {
    /// Appends a step.
    fn push(&mut self, op: Op);

    /// Takes back every step behind the first `count`, in order.
    fn take_back(&mut self, count: usize) -> Vec<Op>;

    /// How many steps there are.
    fn count(&self) -> usize;
}

impl Steps for Vec<Op> {
    #[inline]
    fn push(&mut self, op: Op) {
        Vec::push(self, op);
    }

    fn take_back(&mut self, count: usize) -> Vec<Op> {
        self.split_off(count)
    }

    fn count(&self) -> usize {
        self.len()
    }
}
