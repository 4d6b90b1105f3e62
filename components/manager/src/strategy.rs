//! Asking the strategy slot.

use crate::{Manager, Slots};
use alloc::vec::Vec;
use gpumm_contract::allocator::{Allocate, Answer, Command, extents_of};
use gpumm_contract::table::Tables;
use gpumm_contract::vm::AddressSpaces;
use gpumm_contract::wire::{Kind, Reader, Writer};
use gpumm_contract::{Extents, MemoryTypeId};

/// About what a wish takes in a list of commands.
const WISH_WORDS: usize = 6;

/// How one wish ended.
pub(crate) type Granted = Result<Extents, u64>;

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Has the strategy of a memory type serve wishes, after the frees that were put off until
    /// now; one call. An answer is the extents, or the largest hole.
    pub(crate) fn allocate(&mut self, memory: MemoryTypeId, wishes: &[Allocate]) -> Vec<Granted> {
        let mut commands = Writer::new(Kind::Commands);
        let frees = self
            .state
            .memory
            .get_mut(memory)
            .map(|m| core::mem::take(&mut m.frees));
        let frees = frees.unwrap_or_default();
        commands.reserve(frees.len() + wishes.len() * WISH_WORDS);
        frees
            .iter()
            .for_each(|&number| Command::free(number).encode(&mut commands));
        wishes
            .iter()
            .for_each(|&wish| Command::Allocate(wish).encode(&mut commands));
        if commands.is_empty() {
            return Vec::new();
        }
        let answers = self.slots.allocate(memory, commands.words());
        let mut granted = read(&answers, frees.len(), wishes);
        // What the broker did not answer was not granted.
        granted.resize(wishes.len(), Err(0));
        if let Some(of) = self.state.memory.get_mut(memory) {
            let bytes = wishes.iter().zip(&granted);
            let bytes =
                bytes.filter_map(|(wish, granted)| granted.as_ref().ok().map(|_| wish.bytes));
            of.used = bytes.fold(of.used, u64::saturating_add);
        }
        granted
    }

    /// One wish.
    pub(crate) fn allocate_one(&mut self, memory: MemoryTypeId, wish: Allocate) -> Granted {
        self.allocate(memory, &[wish]).pop().unwrap_or(Err(0))
    }

    /// Hands the frees that nobody's wish has carried to the strategies.
    pub(crate) fn flush_frees(&mut self) {
        let waiting: Vec<MemoryTypeId> = self
            .state
            .memory
            .iter()
            .filter(|m| !m.frees.is_empty())
            .map(|m| m.kind.id)
            .collect();
        for memory in waiting {
            self.allocate(memory, &[]);
        }
    }
}

fn read(answers: &[u64], skip: usize, wishes: &[Allocate]) -> Vec<Granted> {
    let mut granted = Vec::with_capacity(wishes.len());
    let Ok(mut reader) = Reader::new(answers, Kind::Answers) else {
        return granted;
    };
    let mut at = 0;
    while let Ok(Some(item)) = reader.next() {
        at += 1;
        if at <= skip {
            continue;
        }
        let Some(wish) = wishes.get(granted.len()) else {
            break;
        };
        // The broker has judged the answers; what is neither of these two grants nothing.
        granted.push(match extents_of(&item) {
            Some((number, extents)) if number == wish.number => Ok(extents.collect()),
            Some(_) => Err(0),
            None => match Answer::decode(&item) {
                Ok(Answer::NoSpace { largest_hole, .. }) => Err(largest_hole),
                _ => Err(0),
            },
        });
    }
    granted
}
