//! What of a page table has changed since somebody copied it.

/// Ranges of addresses whose entries may have changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The table was emptied before the other changes.
    pub(crate) cleared: bool,
    /// Beginnings and ends, in the order of the changes.
    pub(crate) ranges: Vec<(u64, u64)>,
}

impl Changes {
    pub(super) fn add(&mut self, address: u64, bytes: u64) {
        let end = address + bytes;
        match self.ranges.last_mut() {
            Some(last) if last.1 == address => last.1 = end,
            _ => self.ranges.push((address, end)),
        }
    }

    pub(super) fn clear(&mut self) {
        self.cleared = true;
        self.ranges.clear();
    }
}
