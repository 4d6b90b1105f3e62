//! Interned strings.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::ErrorKind;

/// Strings kept once each and named by a number; 0 is always the empty string.
#[derive(Clone, Debug)]
pub struct Names {
    list: Vec<Arc<str>>,
    index: HashMap<Arc<str>, u32>,
    bytes: u64,
}

impl Default for Names {
    fn default() -> Self {
        let empty: Arc<str> = Arc::from("");
        Self {
            list: vec![empty.clone()],
            index: HashMap::from([(empty, 0)]),
            bytes: 0,
        }
    }
}

impl Names {
    /// The string with this number; the empty string if there is none.
    pub fn get(&self, number: u32) -> &str {
        self.list.get(number as usize).map_or("", |s| s)
    }

    /// The number of this string, if it is kept.
    pub fn find(&self, text: &str) -> Option<u32> {
        self.index.get(text).copied()
    }

    /// How many different strings there are, the empty one included.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// All strings in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|s| &**s)
    }

    /// Keeps a string; `max_bytes` bounds all strings together.
    pub(crate) fn intern(&mut self, text: &str, max_bytes: u64) -> Result<u32, ErrorKind> {
        if let Some(&number) = self.index.get(text) {
            return Ok(number);
        }
        self.bytes += text.len() as u64;
        let number = u32::try_from(self.list.len())
            .ok()
            .filter(|_| self.bytes <= max_bytes)
            .ok_or_else(|| {
                ErrorKind::TooLarge(format!(
                    "the different names and operators take more than {max_bytes} bytes"
                ))
            })?;
        let text: Arc<str> = Arc::from(text);
        self.list.push(text.clone());
        self.index.insert(text, number);
        Ok(number)
    }
}
