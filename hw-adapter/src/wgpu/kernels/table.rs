//! The page tables of address spaces as the GPU has them.
//!
//! An image is the table in nodes of 512 entries of 8 bytes. Entries are the host's; what leads
//! to a node has its number in the place of a page's, and a page of 2 MiB is flagged. The host
//! keeps a copy of the image, and brings what changed when a shader is next to walk it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use crate::error::DeviceError;
use crate::mmu::{Changes, Entries, LARGE, PAGE, Space, Table};
use crate::sync::lock;
use crate::vm::VmId;

use super::super::context::Context;

/// Entries of a node.
const NODE: usize = 512;

const PRESENT: u64 = 1;

/// The images of a wgpu device, by address space.
#[derive(Default)]
pub(in super::super) struct Images(Mutex<HashMap<VmId, Arc<Mutex<Image>>>>);

impl Images {
    /// The image of an address space; it is locked while it is brought and used in a submit.
    pub(super) fn of(&self, vm: VmId) -> Arc<Mutex<Image>> {
        Arc::clone(lock(&self.0).entry(vm).or_default())
    }

    /// The address space has ended.
    pub(in super::super) fn forget(&self, vm: VmId) {
        lock(&self.0).remove(&vm);
    }
}

/// The page table of an address space.
#[derive(Default)]
pub(super) struct Image {
    /// Node 0 is where a walk begins.
    words: Vec<u64>,
    /// What is present by the beginning of its 2 MiB: the node of its pages of 4 KiB, if it is not
    /// one page.
    present: BTreeMap<u64, Option<usize>>,
    /// Nodes of 4 KiB pages that nothing leads to.
    idle: Vec<usize>,
    buffer: Option<wgpu::Buffer>,
    /// What is to be brought, in words.
    dirty: Vec<(usize, usize)>,
}

impl Image {
    /// Brings what has changed, and answers the buffer. Only inside [`Context::guarded`], whose
    /// next submit sees it.
    pub(super) fn bring(
        &mut self,
        context: &Context,
        space: &Space,
    ) -> Result<wgpu::Buffer, DeviceError> {
        space.changes(|table, changes| {
            self.change(changes, table);
            Ok::<(), DeviceError>(())
        })?;
        let bytes = self.words.len() as u64 * 8;
        let fits = self.buffer.as_ref().filter(|buffer| buffer.size() >= bytes);
        let buffer = match fits {
            Some(buffer) => buffer.clone(),
            None => {
                let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
                let buffer = context.buffer("page table", bytes.next_power_of_two(), usage);
                self.dirty = vec![(0, self.words.len())];
                self.buffer.insert(buffer).clone()
            }
        };
        for (start, end) in std::mem::take(&mut self.dirty) {
            let words = self.words[start..end].iter();
            let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
            context
                .queue
                .write_buffer(&buffer, start as u64 * 8, &bytes);
        }
        Ok(buffer)
    }

    /// The buffer may not hold what it should: the next one is a new one.
    pub(super) fn lose_buffer(&mut self) {
        self.buffer = None;
    }

    fn change(&mut self, changes: &Changes, table: &Table) {
        if changes.cleared || self.words.is_empty() {
            self.words = vec![0; NODE];
            self.present.clear();
            self.idle.clear();
            self.dirty = vec![(0, NODE)];
        }
        for (start, end) in &changes.ranges {
            let mut at = start - start % LARGE;
            let last = end.next_multiple_of(LARGE);
            // As much work as there is in the range, then and now, however long it is.
            while at < last {
                let next = table.next(at, last);
                let region = next - next % LARGE;
                self.clear(at, region.min(last));
                if next < last {
                    let changed = ((*start).max(region), (*end).min(region + LARGE));
                    self.write(region, changed, &table.entries(region));
                }
                at = region + LARGE;
            }
        }
    }

    /// Nothing is present any more in whole pieces of 2 MiB.
    fn clear(&mut self, start: u64, end: u64) {
        let gone: Vec<u64> = self.present.range(start..end).map(|(at, _)| *at).collect();
        for region in gone {
            self.link_to(region, None, 0);
            self.present.remove(&region);
        }
    }

    /// Writes the entry of 2 MiB, whose pages are in a node or not in any.
    fn link_to(&mut self, region: u64, node: Option<usize>, entry: u64) -> bool {
        let before = self.present.insert(region, node).flatten();
        if before != node {
            self.idle.extend(before);
        }
        let place = self.path(region);
        let changed = std::mem::replace(&mut self.words[place], entry) != entry;
        if changed {
            self.touch(place, place + 1);
        }
        changed
    }

    /// Writes the entries of 2 MiB, of which a range has changed.
    fn write(&mut self, region: u64, (start, end): (u64, u64), entries: &Entries<'_>) {
        match entries {
            Entries::None => self.clear(region, region + LARGE),
            Entries::Large(page) => {
                self.link_to(region, None, *page);
            }
            Entries::Small(pages) => {
                let known = self.present.get(&region).copied().flatten();
                let node = known.unwrap_or_else(|| self.idle.pop().unwrap_or_else(|| self.node()));
                // When nothing led there, what is in the node is old.
                let (from, to) = match self.link_to(region, Some(node), link(node)) {
                    true => (0, NODE),
                    false => (page_of(start), page_of(end - 1) + 1),
                };
                let begin = node * NODE;
                self.words[begin + from..begin + to].copy_from_slice(&pages[from..to]);
                self.touch(begin + from, begin + to);
            }
        }
    }

    /// Where the entry of 2 MiB of addresses is; nodes on the way are made.
    fn path(&mut self, address: u64) -> usize {
        let mut node = 0;
        for shift in [39, 30] {
            let place = node * NODE + (address >> shift) as usize % NODE;
            if self.words[place] == 0 {
                self.words[place] = link(self.node());
                self.touch(place, place + 1);
            }
            node = (self.words[place] >> 12) as usize;
        }
        node * NODE + (address >> 21) as usize % NODE
    }

    fn node(&mut self) -> usize {
        let begin = self.words.len();
        self.words.resize(begin + NODE, 0);
        self.touch(begin, begin + NODE);
        begin / NODE
    }

    fn touch(&mut self, start: usize, end: usize) {
        match self.dirty.last_mut() {
            Some(last) if last.0 <= start && start <= last.1 => last.1 = last.1.max(end),
            _ => self.dirty.push((start, end)),
        }
    }
}

/// The entry that leads to a node.
fn link(node: usize) -> u64 {
    (node as u64) << 12 | PRESENT
}

/// The number of an address's page in its 2 MiB.
fn page_of(address: u64) -> usize {
    (address / PAGE) as usize % NODE
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
