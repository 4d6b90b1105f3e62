//! The page tables of address spaces as the GPU has them.
//!
//! An image is the table in nodes of 512 entries of 8 bytes. Entries are the host's; what leads
//! to a node has its number in the place of a page's, and a page of 2 MiB is flagged. The host
//! keeps a copy of the image, and brings what changed when a shader is next to walk it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::error::DeviceError;
use crate::mmu::{Changes, Entries, PAGE, Space, regions};
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
    /// The nodes of 4 KiB pages by the number of their 2 MiB; they stay when a large page comes.
    small: HashMap<u64, usize>,
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
            self.change(changes, |at| table.entries(at));
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

    fn change<'t>(&mut self, changes: &Changes, entries: impl Fn(u64) -> Entries<'t>) {
        if changes.cleared || self.words.is_empty() {
            self.words = vec![0; NODE];
            self.small.clear();
            self.dirty = vec![(0, NODE)];
        }
        for (start, end) in &changes.ranges {
            for region in regions(*start, *end) {
                let from = (*start).max(region);
                let to = (*end).min(region + (NODE as u64) * PAGE);
                self.region(region, (from, to), &entries(region));
            }
        }
    }

    /// Writes the entries of 2 MiB, of which a range has changed.
    fn region(&mut self, region: u64, (start, end): (u64, u64), entries: &Entries<'_>) {
        let entry = match entries {
            Entries::None => 0,
            Entries::Large(page) => *page,
            Entries::Small(_) => {
                let node = self.small.get(&region).copied().unwrap_or_else(|| {
                    let node = self.node();
                    self.small.insert(region, node);
                    node
                });
                link(node)
            }
        };
        let place = self.path(region);
        let before = std::mem::replace(&mut self.words[place], entry);
        if before != entry {
            self.touch(place, place + 1);
        }
        if let Entries::Small(pages) = entries {
            let node = (entry >> 12) as usize * NODE;
            // When it did not lead here, the node is old.
            let (from, to) = match before == entry {
                true => (page_of(start), page_of(end - 1) + 1),
                false => (0, NODE),
            };
            self.words[node + from..node + to].copy_from_slice(&pages[from..to]);
            self.touch(node + from, node + to);
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
