//! A leaf: up to 64 neighbouring mappings.

use super::{Entry, FAN, NONE, upper};

/// What is kept of a mapping beside where it starts.
///
/// Words are halved so that a slot takes 28 bytes instead of 32. A slot never moves within its
/// leaf, so that others can refer to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// Bits 0..52 the end in pages, 56..64 the attributes.
    end: [u32; 2],
    offset: [u32; 2],
    pub(super) vm_bo: u32,
    /// The neighbours in the vm-bo's list.
    pub(super) prev: u32,
    pub(super) next: u32,
}

const ATTRIBUTES: u32 = 56;
const END: u64 = (1 << ATTRIBUTES) - 1;

#[inline]
fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

#[inline]
fn whole([low, high]: [u32; 2]) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

impl Slot {
    #[inline]
    fn new(e: &Entry) -> Self {
        Slot {
            end: halves(e.end | u64::from(e.attributes) << ATTRIBUTES),
            offset: halves(e.offset),
            vm_bo: e.vm_bo,
            prev: NONE,
            next: NONE,
        }
    }

    #[inline]
    fn entry(&self, start: u64) -> Entry {
        let end = whole(self.end);
        Entry {
            start,
            end: end & END,
            offset: whole(self.offset),
            vm_bo: self.vm_bo,
            attributes: (end >> ATTRIBUTES) as u8,
        }
    }
}

/// A leaf.
///
/// Invariants: `keys[..len]` ascend strictly, what is behind is `u64::MAX`; `order[..len]` are
/// different slots, and `free` has exactly the bits of the others.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Leaf {
    /// Where each mapping starts, in pages, ascending.
    keys: [u64; FAN],
    /// The slot of each key.
    order: [u8; FAN],
    free: u64,
    len: usize,
    slots: [Slot; FAN],
}

impl Leaf {
    pub(super) fn new() -> Self {
        Leaf {
            keys: [u64::MAX; FAN],
            order: [0; FAN],
            free: u64::MAX,
            len: 0,
            slots: [Slot::default(); FAN],
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn keys(&self) -> &[u64] {
        &self.keys[..self.len]
    }

    /// How many mappings start at `key` or before.
    #[inline]
    pub(super) fn upper(&self, key: u64) -> usize {
        upper(&self.keys, key)
    }

    #[inline]
    pub(super) fn key(&self, at: usize) -> u64 {
        self.keys[at]
    }

    /// The slot number of the `at`th mapping.
    #[inline]
    pub(super) fn slot_of(&self, at: usize) -> usize {
        self.order[at].into()
    }

    #[inline]
    pub(super) fn slot(&self, slot: usize) -> &Slot {
        &self.slots[slot]
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, slot: usize) -> &mut Slot {
        &mut self.slots[slot]
    }

    #[inline]
    pub(super) fn entry(&self, at: usize) -> Entry {
        self.slots[usize::from(self.order[at])].entry(self.keys[at])
    }

    /// The mapping in a slot.
    pub(super) fn entry_in(&self, slot: usize) -> Option<Entry> {
        let at = self.order[..self.len]
            .iter()
            .position(|&s| usize::from(s) == slot)?;
        Some(self.entry(at))
    }

    /// Lets the `at`th mapping end earlier.
    #[inline]
    pub(super) fn cut_end(&mut self, at: usize, end: u64) {
        let slot = &mut self.slots[usize::from(self.order[at])];
        slot.end = halves(whole(slot.end) & !END | end);
    }

    /// Lets the `at`th mapping start later.
    #[inline]
    pub(super) fn cut_start(&mut self, at: usize, start: u64) {
        let slot = &mut self.slots[usize::from(self.order[at])];
        slot.offset = halves(whole(slot.offset) + (start - self.keys[at]));
        self.keys[at] = start;
    }

    /// Puts another mapping in the place of the `at`th one; its slot.
    #[inline]
    pub(super) fn overwrite(&mut self, at: usize, e: &Entry) -> usize {
        let slot = self.order[at].into();
        self.slots[slot] = Slot::new(e);
        self.keys[at] = e.start;
        slot
    }

    /// Inserts a mapping as the `at`th one; its slot. There must be room.
    #[inline]
    pub(super) fn insert(&mut self, at: usize, e: &Entry) -> usize {
        self.insert_slot(at, e.start, Slot::new(e))
    }

    /// Inserts a mapping that comes from another leaf, links included.
    #[inline]
    pub(super) fn insert_slot(&mut self, at: usize, key: u64, new: Slot) -> usize {
        let slot = self.free.trailing_zeros() as usize;
        self.free &= self.free - 1;
        self.slots[slot] = new;
        self.keys.copy_within(at..self.len, at + 1);
        self.order.copy_within(at..self.len, at + 1);
        self.keys[at] = key;
        self.order[at] = slot as u8;
        self.len += 1;
        slot
    }

    /// Takes the mappings from `from` to `to` out; their links are the caller's business.
    #[inline]
    pub(super) fn remove(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        for &slot in &self.order[from..to] {
            self.free |= 1 << slot;
        }
        self.keys.copy_within(to..self.len, from);
        self.order.copy_within(to..self.len, from);
        let len = self.len - (to - from);
        self.keys[len..self.len].fill(u64::MAX);
        self.len = len;
    }

    pub(super) fn validate(&self) -> Result<(), &'static str> {
        let order = &self.order[..self.len];
        let used = order.iter().fold(0, |bits, &slot| bits | 1u64 << slot);
        if used != !self.free || used.count_ones() as usize != self.len {
            return Err("a leaf's slots do not match its order");
        }
        if self.keys[self.len..].iter().any(|&k| k != u64::MAX) {
            return Err("a leaf has keys behind its last one");
        }
        let ascend = (1..self.len).all(|i| self.keys[i - 1] < self.keys[i]);
        ascend.then_some(()).ok_or("a leaf's keys do not ascend")
    }
}
