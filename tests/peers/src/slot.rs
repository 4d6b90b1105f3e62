//! Our strategies as components in their slot: the trait object that the broker's slot calls.

use crate::native::wish;
use crate::{Subject, Watch};
use gpumm::parts::{Strategy, StrategySource};
use gpumm_contract::allocator::Command;
use gpumm_contract::wire::{self, Reader, Writer};
use gpumm_contract::{AllocationId, Extent, Geometry};
use gpumm_tests::workloads::{Kind, Op};
use std::hint::black_box;

/// A strategy behind its slot, asked for so many operations at a time.
pub struct Slot {
    strategy: Box<dyn Strategy>,
    batch: usize,
    live: Vec<bool>,
    granule: u64,
    words: Vec<u64>,
}

impl Slot {
    /// For ids below a bound, with `batch` operations in a call.
    ///
    /// # Panics
    /// When the source cannot be built.
    pub fn new(source: &dyn StrategySource, batch: usize, ids: usize) -> Self {
        let strategy = source.build().expect("a strategy that runs");
        Slot {
            strategy,
            batch,
            live: vec![false; ids],
            granule: 1,
            words: Vec::new(),
        }
    }

    /// Serves a single operation as the broker's slot does: without a list where that works.
    fn one(&mut self, op: &Op) -> bool {
        let number = AllocationId(op.id);
        let live = &mut self.live[op.id as usize];
        match op.kind {
            Kind::Free if !*live => true,
            Kind::Free => {
                *live = false;
                self.strategy.free_one(number).expect("an answer")
            }
            _ => {
                let wish = wish(op, self.granule);
                if !wish.is_plain() {
                    return false;
                }
                let offset = self.strategy.allocate_one(number, wish.bytes);
                *live = black_box(offset.expect("an answer")).is_some();
                *live
            }
        }
    }

    /// Encodes a batch, has it executed, and decodes every answer.
    fn call(&mut self, ops: &[Op], mut seen: impl FnMut(u32, &[u64])) {
        let words = std::mem::take(&mut self.words);
        let mut list = Writer::reuse(words, wire::Kind::Commands);
        for op in ops {
            let live = &mut self.live[op.id as usize];
            match op.kind {
                // What this batch is refused is not known yet; its free is answered as unknown.
                Kind::Free if !std::mem::take(live) => (),
                Kind::Free => Command::free(AllocationId(op.id)).encode(&mut list),
                _ => {
                    *live = true;
                    Command::Allocate(wish(op, self.granule)).encode(&mut list);
                }
            }
        }
        let answers = self.strategy.execute(list.words()).expect("an answer");
        let mut reader = Reader::new(&answers, wire::Kind::Answers).expect("answers");
        while let Some(item) = reader.next().expect("an item") {
            match item.op {
                // An id may be refused, freed and taken again in one batch: the last answer counts.
                1 => {
                    self.live[item.operand as usize] = true;
                    seen(item.operand, item.body);
                }
                2 => {
                    self.live[item.operand as usize] = false;
                    seen(item.operand, &[]);
                }
                _ => (),
            }
        }
        self.words = list.finish();
    }
}

impl Subject for Slot {
    fn start(&mut self, arena: Geometry) {
        self.granule = arena.granule;
        self.live.fill(false);
        let begun = self.strategy.restore(arena, &[]);
        begun.expect("an empty arena");
    }

    fn run(&mut self, ops: &[Op]) {
        for part in ops.chunks(self.batch) {
            if self.batch == 1 && self.one(&part[0]) {
                continue;
            }
            self.call(part, |number, body| _ = black_box((number, body)));
        }
    }

    fn watch(&mut self, ops: &[Op], seen: Watch<'_>) {
        let mut answers = Vec::new();
        for part in ops.chunks(self.batch) {
            answers.clear();
            self.call(part, |_, body| {
                let pairs = body.chunks_exact(2);
                answers.push(
                    pairs
                        .map(|p| Extent {
                            offset: p[0],
                            bytes: p[1],
                        })
                        .collect(),
                );
            });
            // Allocations are answered in order; frees have nothing to show.
            let mut answers = answers.drain(..);
            for op in part {
                let extents: Vec<Extent> = match op.kind {
                    Kind::Free => Vec::new(),
                    _ => answers.next().expect("an answer for each allocation"),
                };
                seen(op, &extents);
            }
        }
    }
}
