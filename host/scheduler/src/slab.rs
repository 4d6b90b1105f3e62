//! Numbered places that are used again.

use std::ops::{Index, IndexMut};

/// Values by number; a number together with its generation is never given out twice.
///
/// Complexity: everything O(1).
/// Invariants: a place is live while its generation is odd.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// Stays when its place is given up, so that looking never has to be refused.
    value: T,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Slab {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Files a value; answers number and generation.
    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> (u32, u32) {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.generation = slot.generation.wrapping_add(1);
            slot.value = value;
            return (index, slot.generation);
        }
        // OVERFLOW: 2^32 values fill the memory first.
        let index = self.slots.len() as u32;
        self.slots.push(Slot {
            generation: 1,
            value,
        });
        (index, 1)
    }

    /// Gives a live place up.
    #[inline]
    pub(crate) fn remove(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
    }

    /// The generation that lives at a place, if one does.
    #[inline]
    pub(crate) fn generation(&self, index: u32) -> Option<u32> {
        let generation = self.slots.get(index as usize)?.generation;
        (generation % 2 == 1).then_some(generation)
    }

    /// Whether exactly this generation lives.
    #[inline]
    pub(crate) fn is_live(&self, index: u32, generation: u32) -> bool {
        self.generation(index) == Some(generation)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The live ones, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.slots.iter().zip(0..);
        slots
            .filter(|(slot, _)| slot.generation % 2 == 1)
            .map(|(slot, index)| (index, &slot.value))
    }

    /// The live ones' numbers; numbers that come to live meanwhile do not appear.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.iter().map(|(index, _)| index).collect()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: u32) -> &T {
        &self.slots[index as usize].value
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.slots[index as usize].value
    }
}
