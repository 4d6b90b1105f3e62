//! A piece of a job: claimed, bound, dispatched, and what the shaders told of it.

use crate::command::MemorySpace;
use crate::error::DeviceError;
use crate::footprint::{Footprint, Span, Spans};
use crate::mmu::{PAGE, Window};
use crate::sync::lock;
use crate::vm::{self, VmFaultReason};

use super::batch::{Batch, Shader};
use super::job::Job;
use super::stage::Stage;
use super::{Entry, Header, NONE, PAGE_WORDS};

/// A range of a piece: where it begins, what stands behind it, and what is done with it.
pub(super) struct Range<'w> {
    pub(super) at: u64,
    pub(super) window: &'w Window,
    pub(super) access: vm::Access,
    /// Bytes of the range, where the window does not have all of them.
    pub(super) holes: Option<u64>,
}

impl<'w> Range<'w> {
    pub(super) fn new(at: u64, window: &'w Window, access: vm::Access) -> Range<'w> {
        Range {
            at,
            window,
            access,
            holes: None,
        }
    }
}

/// A piece of a job.
pub(super) struct Piece<'w> {
    pub(super) ranges: Vec<Range<'w>>,
    /// Bytes to work on, of every range but those that are looked up.
    pub(super) bytes: u64,
    /// Where they begin in their block of 4096 logical bytes.
    pub(super) into_block: u64,
    /// The range whose pages are worked on by a group each.
    pub(super) by: usize,
    /// Whether ranges that are written are not read.
    pub(super) write_only: bool,
    /// A range and its offset that cannot be used, as far as the host knows.
    pub(super) look: Option<(usize, u64)>,
    /// What the results are at first.
    pub(super) results: [u32; 4],
    /// Whether they are looked at, besides what they tell of faults.
    pub(super) tells: bool,
    /// Whether every page has a result of two words.
    pub(super) sums: bool,
    /// What to run, and what it is told besides.
    pub(super) entries: Vec<(Entry, [u32; 8])>,
}

/// What shaders told of a piece.
pub(super) struct Told {
    /// The first fault: the number of the range, the offset in it, and the error.
    pub(super) fault: Option<(usize, u64, DeviceError)>,
    /// The other results.
    pub(super) words: Vec<u32>,
}

impl Told {
    /// The first fault as an error.
    pub(super) fn good(&self) -> Result<(), DeviceError> {
        self.fault.map_or(Ok(()), |(_, _, error)| Err(error))
    }
}

impl<'w> Piece<'w> {
    pub(super) fn new(ranges: Vec<Range<'w>>, bytes: u64, by: usize) -> Piece<'w> {
        Piece {
            ranges,
            bytes,
            into_block: 0,
            by,
            write_only: false,
            look: None,
            results: [NONE, 0, NONE, 0],
            tells: false,
            sums: false,
            entries: Vec::new(),
        }
    }

    /// What stands behind the ranges. The flag says that some of it stands there twice, and is
    /// written.
    pub(super) fn footprint(&self) -> (Footprint, bool) {
        let mut spans = [Vec::new(), Vec::new()];
        for range in &self.ranges {
            for piece in &range.window.pieces {
                let Some((memory, offset)) = piece.place else {
                    continue;
                };
                spans[usize::from(memory == MemorySpace::System)].push(Span {
                    start: offset,
                    end: offset + piece.bytes,
                    write: range.access == vm::Access::Write,
                });
            }
        }
        let [(vram, one), (system, other)] = spans.map(Spans::cover);
        (Footprint { vram, system }, one || other)
    }

    fn pages(&self) -> u64 {
        let into = self.ranges.get(self.by).map_or(0, |range| range.at % PAGE);
        (into + self.bytes).div_ceil(PAGE).max(1)
    }

    /// The chunk and the offset in it of each range, if all are contiguous in one.
    fn direct(&self, chunk_bytes: u64) -> Option<Vec<(u64, u64)>> {
        if self.look.is_some() {
            return None;
        }
        let whole = |range: &Range<'_>| range.holes.is_none_or(|all| all == range.window.bytes);
        if !self.ranges.iter().all(whole) {
            return None;
        }
        let ranges = self.ranges.iter().map(|range| match *range.window.pieces {
            [piece] => match piece.place {
                Some((MemorySpace::Vram, offset))
                    if offset / chunk_bytes == (offset + piece.bytes - 1) / chunk_bytes =>
                {
                    Some((offset / chunk_bytes, offset % chunk_bytes))
                }
                _ => None,
            },
            _ => None,
        });
        ranges.collect()
    }
}

impl Job<'_> {
    /// Performs a piece. The job has entered its address space.
    pub(super) fn perform(&self, piece: &Piece<'_>) -> Result<Told, DeviceError> {
        let (footprint, _) = piece.footprint();
        self.shared.iommu.check(&footprint.system)?;
        let mut access = self.shared.access(&footprint)?;
        let direct = piece.direct(self.context.chunk_bytes);
        let direct = direct.filter(|_| self.shared.bind_direct);
        let out = match direct {
            Some(places) => {
                let mut batch = Batch::new(super::Mode::Direct);
                self.fill(&mut batch, piece, (0, 0), Some(&places));
                if piece.tells {
                    batch.read_results();
                }
                batch.run(&self.context, &mut access)?
            }
            None => self.walk(piece, &mut access)?,
        };
        let note = out.first().filter(|note| **note != NONE);
        let fault = note.map(|note| self.noted(piece, *note)).transpose()?;
        Ok(Told { fault, words: out })
    }

    /// What a shader has noted of a fault.
    fn noted(
        &self,
        piece: &Piece<'_>,
        note: u32,
    ) -> Result<(usize, u64, DeviceError), DeviceError> {
        let why = match note & 3 {
            2 => VmFaultReason::ReadOnly,
            3 => VmFaultReason::Range,
            _ => VmFaultReason::Unmapped,
        };
        let (number, offset) = ((note >> 2 & 3) as usize, u64::from(note >> 4));
        let range = piece.ranges.get(number);
        let range = range.ok_or(DeviceError::Bug("a shader told of no range"))?;
        let address = range.at.saturating_add(offset);
        Ok((number, offset, self.fault_at(address, range.access, why)))
    }

    /// Performs a piece by way of the page table.
    fn walk(
        &self,
        piece: &Piece<'_>,
        access: &mut crate::exec::Access<'_>,
    ) -> Result<Vec<u32>, DeviceError> {
        let ranges = piece.ranges.iter();
        let mut stage = Stage::of(
            ranges.map(|range| (range.window, range.access)),
            piece.write_only,
        );
        if piece.write_only {
            stage.whole(piece.bytes);
        }
        self.walking(stage, access, |batch, list| {
            self.bind_all(batch, piece);
            self.fill(batch, piece, list, None);
            Ok(())
        })
    }

    /// Binds all chunks of what stands behind the ranges.
    pub(super) fn bind_all(&self, batch: &mut Batch, piece: &Piece<'_>) {
        for range in &piece.ranges {
            for chunk in range.window.chunks(self.context.chunk_bytes) {
                batch.slot(chunk);
            }
        }
    }

    /// Runs what walks the page table: `work` fills the batch, and is told of the list of staged
    /// pages.
    pub(super) fn walking(
        &self,
        stage: Stage,
        access: &mut crate::exec::Access<'_>,
        work: impl FnOnce(&mut Batch, (usize, usize)) -> Result<(), DeviceError>,
    ) -> Result<Vec<u32>, DeviceError> {
        let image = self.context.images.of(self.space.id);
        // Until it is in the queue, nobody else changes it.
        let mut image = lock(&image);
        let context = &self.context;
        let table = context.guarded(|| image.bring(context, self.space));
        let table = table.inspect_err(|_| image.lose_buffer())?;
        let (list, runs) = stage.list();
        let list: Vec<_> = list.collect();
        let mut batch = Batch::walking(table, self.space.bounds(), stage);
        let list = (batch.list(list.into_iter()), runs);
        work(&mut batch, list)?;
        batch.run(context, access)
    }

    fn fill(
        &self,
        batch: &mut Batch,
        piece: &Piece<'_>,
        list: (usize, usize),
        direct: Option<&[(u64, u64)]>,
    ) {
        let mut header = Header::new(piece.bytes, piece.into_block);
        for (number, range) in piece.ranges.iter().enumerate() {
            let write = range.access == vm::Access::Write;
            let bytes = range.holes.unwrap_or(range.window.bytes);
            header.range(number, range.at, bytes, write);
            if let Some((chunk, offset)) = direct.and_then(|places| places.get(number)) {
                let page = (offset / PAGE) as u32 * PAGE_WORDS;
                header.bind(number, batch.slot(*chunk), page);
            }
        }
        if let Some((range, offset)) = piece.look {
            header.look(range, offset);
        }
        let pages = piece.pages() as u32;
        let more = if piece.sums { 2 * pages as usize } else { 0 };
        let results = batch.results(piece.results, more);
        for (entry, told) in &piece.entries {
            let header = batch.header(header.told(*told), list, results);
            batch.dispatch(Shader::BuiltIn(*entry), header, [pages, 1, 1]);
        }
    }
}
