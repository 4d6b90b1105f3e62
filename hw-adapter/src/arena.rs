//! Address space for a memory: reserved at once, given pages on first touch.

use memmap2::{MmapOptions, MmapRaw};

use crate::error::{DeviceError, OsError};

/// What the system gives and takes pages in, at most: on x86-64 it is exactly that, elsewhere
/// kernels are built with up to 64 KiB, and giving back in larger units is always right.
const PAGE: usize = if cfg!(target_arch = "x86_64") {
    4096
} else {
    65536
};

/// How an arena gets its pages and gives them back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paging {
    /// Ask for large pages (2 MiB on x86-64): the first touch of memory is three times as fast,
    /// and a walk over scattered pieces misses fewer translations. A byte touched costs a large
    /// page.
    large: bool,
    /// Ranges below this many bytes are cleared in place and stay: giving back a few pages and
    /// getting them again costs several times the clearing, and tears a large page, which then
    /// stays allocated anyway until the system runs short of memory.
    keep: usize,
}

impl Default for Paging {
    fn default() -> Paging {
        Paging {
            large: true,
            keep: 1 << 20,
        }
    }
}

/// Anonymous memory behind a [`Memory`](crate::claim::Memory).
///
/// It hands out slices without looking at who else uses them; `claim` does that.
pub(crate) struct Arena {
    map: MmapRaw,
    keep: usize,
}

impl Arena {
    /// Reserves address space. Contents are zero.
    ///
    /// # Errors
    /// Size 0, and what the system refuses.
    pub(crate) fn new(bytes: u64) -> Result<Arena, DeviceError> {
        Arena::with(Paging::default(), bytes)
    }

    /// For what is used a little at a time and given back soon.
    #[cfg(feature = "wgpu")]
    pub(crate) fn scratch(bytes: u64) -> Result<Arena, DeviceError> {
        let (large, keep) = (false, 0);
        Arena::with(Paging { large, keep }, bytes)
    }

    /// As [`Arena::new`], with other pages.
    pub(crate) fn with(paging: Paging, bytes: u64) -> Result<Arena, DeviceError> {
        if bytes == 0 {
            return Err(DeviceError::InvalidConfig("a memory of 0 bytes"));
        }
        let refused = |source| DeviceError::Reserve { bytes, source };
        let len = usize::try_from(bytes).map_err(|_| refused(too_large()))?;
        let map = MmapOptions::new()
            .len(len)
            .no_reserve_swap()
            .map_anon()
            .map_err(|error| refused(error.into()))?;
        let arena = Arena {
            map: map.into(),
            keep: paging.keep,
        };
        if paging.large {
            arena.ask_for_large_pages();
        }
        Ok(arena)
    }

    #[cfg(target_os = "linux")]
    fn ask_for_large_pages(&self) {
        // Systems without them, or told not to use them, refuse: then small ones do.
        let _ = self.map.advise(memmap2::Advice::HugePage);
    }

    #[cfg(not(target_os = "linux"))]
    fn ask_for_large_pages(&self) {}

    pub(crate) fn size(&self) -> u64 {
        self.map.len() as u64
    }

    /// The range as `usize`, when it lies inside.
    fn range(&self, offset: u64, bytes: u64) -> Option<(usize, usize)> {
        let end = offset.checked_add(bytes)?;
        // Both fit: the end is not beyond a `usize` length.
        (end <= self.size()).then_some((offset as usize, bytes as usize))
    }

    /// The bytes of a range; `None` when it leaves the arena.
    ///
    /// # Safety
    /// While the slice lives, nobody writes to these bytes.
    pub(crate) unsafe fn bytes(&self, offset: u64, bytes: u64) -> Option<&[u8]> {
        let (offset, len) = self.range(offset, bytes)?;
        // SAFETY: the range lies inside the mapping, which lives as long as `self`, is
        // readable, holds zeroes or what was written (never uninitialised), and is shorter
        // than `isize::MAX` (memmap2 refuses others). The caller excludes writers.
        Some(unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(offset), len) })
    }

    /// The bytes of a range for writing; `None` when it leaves the arena.
    ///
    /// # Safety
    /// While the slice lives, nobody else reads or writes these bytes.
    #[expect(clippy::mut_from_ref, reason = "the caller promises exclusive use")]
    pub(crate) unsafe fn bytes_mut(&self, offset: u64, bytes: u64) -> Option<&mut [u8]> {
        let (offset, len) = self.range(offset, bytes)?;
        // SAFETY: as in `bytes`; the mapping is writable, its pointer comes from a mutable
        // one, and the caller excludes every other user.
        Some(unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().add(offset), len) })
    }

    /// Asks the system for the pages of a range now; contents stay. `None` when the range
    /// leaves the arena.
    pub(crate) fn commit(&self, offset: u64, bytes: u64) -> Option<Result<(), OsError>> {
        let (offset, len) = self.range(offset, bytes)?;
        Some(if len == 0 {
            Ok(())
        } else {
            self.populate(offset, len)
        })
    }

    #[cfg(target_os = "linux")]
    fn populate(&self, offset: usize, len: usize) -> Result<(), OsError> {
        let advice = memmap2::Advice::PopulateWrite;
        match self.map.advise_range(advice, offset, len) {
            Ok(()) => Ok(()),
            // A kernel older than 5.14 does not know the request: pages come on touch.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn populate(&self, _offset: usize, _len: usize) -> Result<(), OsError> {
        Ok(())
    }

    /// Makes a range zero, and gives its whole pages back to the system unless it is small.
    /// `None` when it leaves the arena.
    ///
    /// # Safety
    /// During the call nobody else reads or writes these bytes.
    pub(crate) unsafe fn decommit(&self, offset: u64, bytes: u64) -> Option<()> {
        // SAFETY: the caller promises for the range what `bytes_mut` asks.
        let range = unsafe { self.bytes_mut(offset, bytes)? };
        if range.len() < self.keep {
            range.fill(0);
            return Some(());
        }
        let at = range.as_ptr() as usize;
        let first = at.next_multiple_of(PAGE) - at;
        let last = ((at + range.len()) / PAGE * PAGE).saturating_sub(at);
        if first < last && self.drop_pages(&mut range[first..last]) {
            range[..first].fill(0);
            range[last..].fill(0);
        } else {
            range.fill(0);
        }
        Some(())
    }

    /// Gives back pages, which then read as zero; `false` when the system did not. The slice
    /// is a part of this arena that begins and ends at pages; it is mutable because this
    /// writes to it.
    #[cfg(target_os = "linux")]
    fn drop_pages(&self, pages: &mut [u8]) -> bool {
        let offset = pages.as_ptr() as usize - self.map.as_ptr() as usize;
        // SAFETY: the range is the slice's, which is borrowed exclusively, lies in the
        // mapping, and holds whole pages, so nothing else is dropped. Dropped pages of a
        // private anonymous mapping read as zero: for its holder a write of zeroes.
        let result = unsafe {
            self.map
                .unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, pages.len())
        };
        result.is_ok()
    }

    #[cfg(not(target_os = "linux"))]
    fn drop_pages(&self, _pages: &mut [u8]) -> bool {
        false
    }
}

fn too_large() -> OsError {
    std::io::Error::from(std::io::ErrorKind::OutOfMemory).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn impossible_sizes_are_refused() {
        assert!(matches!(Arena::new(0), Err(DeviceError::InvalidConfig(_))));
        for bytes in [u64::MAX, 1 << 62] {
            assert!(matches!(
                Arena::new(bytes),
                Err(DeviceError::Reserve { .. })
            ));
        }
    }

    #[test]
    fn a_large_arena_costs_nothing_until_touched() {
        let arena = Arena::new(1 << 40).unwrap();
        // SAFETY: only this thread knows the arena, and no slice overlaps another.
        unsafe { arena.bytes_mut((1 << 40) - 1, 1).unwrap()[0] = 7 };
        // SAFETY: as above.
        assert_eq!(unsafe { arena.bytes((1 << 40) - 1, 1).unwrap() }, [7]);
        assert!(arena.commit(1 << 40, 1).is_none());
        assert_eq!(arena.commit(4096, 1 << 20), Some(Ok(())));
    }

    #[test]
    fn decommit_makes_exactly_the_range_zero() {
        for (large, keep) in [(false, 0), (true, 0), (true, 8192), (true, usize::MAX)] {
            check_decommit(&Arena::with(Paging { large, keep }, 1 << 20).unwrap());
        }
    }

    fn check_decommit(arena: &Arena) {
        for (offset, bytes) in [(0, 1 << 20), (5, 3), (4096, 8192), (4000, 70_000), (9, 0)] {
            // SAFETY: only this thread knows the arena; each slice ends before the next.
            unsafe {
                arena.bytes_mut(0, 1 << 20).unwrap().fill(0xaa);
                arena.decommit(offset, bytes).unwrap();
                let all = arena.bytes(0, 1 << 20).unwrap();
                for (at, byte) in (0..).zip(all) {
                    let cleared = (offset..offset + bytes).contains(&at);
                    assert_eq!(*byte, if cleared { 0 } else { 0xaa }, "{at}");
                }
            }
        }
        // SAFETY: as above.
        assert!(unsafe { arena.decommit(1, 1 << 20) }.is_none());
    }
}
