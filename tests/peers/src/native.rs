//! Our strategies as libraries, called through the contract's trait.

use crate::{Subject, Watch};
use gpumm_contract::allocator::{Allocate, Mode};
use gpumm_contract::{AllocationId, Allocator, Extent, Geometry};
use gpumm_tests::workloads::{Kind, Op};
use std::hint::black_box;

/// A strategy as a library; an allocation may be several extents.
#[derive(Debug, Default)]
pub struct Native<A> {
    strategy: A,
    live: Vec<bool>,
    extents: Vec<Extent>,
    granule: u64,
    mode: Mode,
}

impl<A: Allocator + Default> Native<A> {
    /// For ids below a bound.
    pub fn new(ids: usize) -> Self {
        Native {
            live: vec![false; ids],
            ..Self::default()
        }
    }

    /// One that every wish prefers this hole of.
    pub fn with_mode(ids: usize, mode: Mode) -> Self {
        Native {
            mode,
            ..Self::new(ids)
        }
    }

    fn step(&mut self, op: &Op) {
        let number = AllocationId(op.id);
        self.extents.clear();
        match op.kind {
            Kind::Free => {
                if std::mem::take(&mut self.live[op.id as usize]) {
                    let _ = self.strategy.free(number);
                }
            }
            _ => {
                let wish = Allocate {
                    mode: self.mode,
                    ..wish(op, self.granule)
                };
                let done = self.strategy.allocate(&wish, &mut self.extents);
                self.live[op.id as usize] = done.is_ok();
            }
        }
    }
}

/// The wish of an operation; the granule is no alignment that has to be asked for.
pub(crate) fn wish(op: &Op, granule: u64) -> Allocate {
    let alignment = 1 << op.align_log2;
    Allocate {
        alignment: if alignment == granule { 0 } else { alignment },
        ..Allocate::plain(AllocationId(op.id), op.bytes)
    }
}

impl<A: Allocator + Default> Subject for Native<A> {
    fn start(&mut self, arena: Geometry) {
        self.granule = arena.granule;
        let begun = self.strategy.init(arena);
        assert!(begun.is_ok(), "a good geometry");
    }

    fn run(&mut self, ops: &[Op]) {
        for op in ops {
            self.step(op);
            black_box(&self.extents);
        }
    }

    fn watch(&mut self, ops: &[Op], seen: Watch<'_>) {
        for op in ops {
            self.step(op);
            seen(op, &self.extents);
        }
    }
}
