//! The facts as a restored component gets them.

use super::{Held, Ledger};
use gpumm_contract::facts::{BufferFact, Content, Fact};
use gpumm_contract::table::Hold;
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{BufferId, Point, TableId};
use std::collections::BTreeMap;

/// Facts per list: a restore goes in parts, so that no list grows without bound.
const PART: u32 = 4096;

impl Ledger {
    /// Every fact, in the order a mechanism takes them.
    pub(crate) fn facts(&self) -> impl Iterator<Item = Fact> {
        let memory = self.memory.values().map(|m| Fact::Memory(m.kind));
        let timelines = self.timelines.iter().map(|t| Fact::Timeline {
            completed: Point {
                timeline: t.id,
                value: t.completed,
            },
            role: t.role,
        });
        let mut holds = self.holds();
        // INVARIANT: tables and allocations are filed under 32-bit numbers.
        let tables = self.tables.iter().map(move |(table, t)| {
            let table = TableId(table as u32);
            Fact::Table {
                table,
                layout: t.layout,
                mapped: t.mapped,
                holds: holds.remove(&table).unwrap_or_default(),
                segments: t.segments.to_vec(),
            }
        });
        let buffers = self.buffers.iter().filter_map(|(buffer, b)| {
            let a = self.allocation(b.allocation)?;
            let uses = self.uses_of(b.allocation);
            Some(Fact::Buffer(BufferFact {
                buffer: BufferId(buffer),
                tenant: a.tenant,
                bytes: a.bytes,
                placement: b.placement,
                priority: b.priority,
                stamp: b.stamp,
                content: b.content,
                allocation: b.allocation,
                memory: a.memory,
                table: a.table?,
                arrives: a.arrives.iter().next(),
                extents: a.extents.to_vec(),
                readers: uses.readers.clone(),
                writers: uses.writers.clone(),
                inherited: uses.inherited.clone(),
            }))
        });
        let free = self.memory.iter().flat_map(|(&memory, m)| {
            let residue = m
                .residue
                .iter()
                .map(move |(extent, &tenant)| Fact::Residue {
                    memory,
                    extent,
                    tenant,
                });
            let pending = m.pending.iter().map(move |(extent, after)| Fact::Pending {
                memory,
                extent,
                after: after.clone(),
            });
            residue.chain(pending)
        });
        memory
            .chain(timelines)
            .chain(tables)
            .chain(buffers)
            .chain(free)
            .chain(self.leaving())
            .chain(self.attachment_facts())
            .chain(self.vm_facts())
    }

    /// The holds of every table that is held, in the order in which they began.
    fn holds(&self) -> BTreeMap<TableId, Vec<Hold>> {
        let mut all: Vec<(Point, Held)> = self.due.iter(&self.timelines).collect();
        all.sort_unstable_by_key(|(_, held)| held.number);
        let mut by_table: BTreeMap<TableId, Vec<Hold>> = BTreeMap::new();
        for (until, held) in all {
            let of = by_table.entry(held.table).or_default();
            of.extend(held.by.holds(until));
        }
        by_table
    }

    /// Host memory that live buffers have left and that still has their content.
    fn leaving(&self) -> impl Iterator<Item = Fact> {
        self.ending.iter().filter_map(|(number, ending)| {
            let a = self.allocations.get(number)?;
            let of = self.buffer(a.buffer)?;
            let host = self.memory.get(&a.memory)?.kind.is_host();
            (host && of.content != Content::Poisoned).then_some(())?;
            Some(Fact::Leaving {
                table: a.table?,
                buffer: a.buffer,
                arrives: a.arrives.iter().next(),
                left: self.uses.get(number)?.left.iter().next()?,
                after: ending.after.clone(),
            })
        })
    }

    /// The facts as packed lists for `restore-part`.
    pub(crate) fn fact_lists(&self) -> Vec<Vec<u64>> {
        let mut lists = Vec::new();
        let mut list = Writer::new(Kind::Facts);
        for fact in self.facts() {
            // INVARIANT: every fact came in as a plan item of the same length, so it fits in one.
            let fits = fact.encode(&mut list);
            debug_assert!(fits);
            if list.count() >= PART {
                lists.push(std::mem::replace(&mut list, Writer::new(Kind::Facts)).finish());
            }
        }
        lists.push(list.finish());
        lists
    }
}
