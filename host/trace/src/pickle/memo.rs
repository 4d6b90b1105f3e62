//! The memo of a pickle: values by number.

use std::collections::HashMap;

use super::value::Value;

/// The memo: slots are written in order, except by hand-made pickles.
#[derive(Default)]
pub(super) struct Memo {
    dense: Vec<Value>,
    sparse: HashMap<u64, Value>,
}

impl Memo {
    pub(super) fn len(&self) -> u64 {
        (self.dense.len() + self.sparse.len()) as u64
    }

    pub(super) fn put(&mut self, slot: u64, value: Value) {
        match usize::try_from(slot) {
            Ok(i) if i < self.dense.len() => self.dense[i] = value,
            Ok(i) if i == self.dense.len() => {
                self.dense.push(value);
                self.sparse.remove(&slot);
            }
            _ => {
                self.sparse.insert(slot, value);
            }
        }
    }

    pub(super) fn get(&self, slot: u64) -> Option<Value> {
        let dense = usize::try_from(slot).ok().and_then(|i| self.dense.get(i));
        dense.or_else(|| self.sparse.get(&slot)).copied()
    }
}
