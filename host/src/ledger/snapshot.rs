//! The facts as a restored component gets them.

use super::Ledger;
use gpumm_contract::Point;
use gpumm_contract::facts::{BufferFact, Content, Fact};
use gpumm_contract::wire::{Kind, Writer};

/// Facts per list: a restore goes in parts, so that no list grows without bound.
const PART: u32 = 4096;

impl Ledger {
    /// Every fact, in the order a mechanism takes them.
    pub(crate) fn facts(&self) -> impl Iterator<Item = Fact> {
        let memory = self.memory.values().map(|m| Fact::Memory(m.kind));
        let timelines = self.timelines.iter().map(|(&timeline, t)| Fact::Timeline {
            completed: Point {
                timeline,
                value: t.completed,
            },
            role: t.role,
        });
        let tables = self.tables.iter().map(|(&table, t)| Fact::Table {
            table,
            layout: t.layout,
            mapped: t.mapped,
            holds: t.holds.clone(),
            segments: t.segments.to_vec(),
        });
        let buffers = self.buffers.iter().filter_map(|(&buffer, b)| {
            let a = self.allocations.get(&b.allocation)?;
            Some(Fact::Buffer(BufferFact {
                buffer,
                tenant: b.tenant,
                bytes: b.bytes,
                placement: b.placement,
                priority: b.priority,
                stamp: b.stamp,
                content: b.content,
                allocation: b.allocation,
                memory: a.memory,
                table: a.table?,
                arrives: a.arrives,
                extents: a.extents.to_vec(),
                readers: a.readers.clone(),
                writers: a.writers.clone(),
                inherited: a.inherited.clone(),
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
    }

    /// Host memory that live buffers have left and that still has their content.
    fn leaving(&self) -> impl Iterator<Item = Fact> {
        self.ending.iter().filter_map(|(number, ())| {
            let a = self.allocations.get(number)?;
            let of = self.buffers.get(&a.buffer)?;
            let host = self.memory.get(&a.memory)?.kind.is_host();
            (host && of.content != Content::Poisoned).then_some(())?;
            Some(Fact::Leaving {
                table: a.table?,
                buffer: a.buffer,
                arrives: a.arrives,
                left: a.left?,
                after: a.ends_after.clone()?,
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
