//! A pool under test: numbers allocations itself, and checks what holds after every call.

use gpumm_contract::allocator::{Allocate, Allocator, Block, Failure, Geometry, Mode, Refusal};
use gpumm_contract::{AllocationId, Extent};
use std::collections::BTreeMap;

pub(crate) const K: u64 = 1 << 10;
pub(crate) const M: u64 = 1 << 20;
pub(crate) const G: u64 = 1 << 30;

/// A buddy strategy, and what can be seen of it besides its answers.
pub(crate) trait Subject: Allocator {
    /// Free bytes known to be zero.
    fn clear_bytes(&self) -> Option<u64>;

    /// The blocks of an allocation, each with whether it was known to be zero.
    fn blocks_of(&self, number: AllocationId) -> Option<Vec<(Extent, bool)>>;
}

/// A wish in the making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask(pub(crate) Allocate);

pub(crate) fn ask(bytes: u64) -> Ask {
    Ask(Allocate::plain(AllocationId(0), bytes))
}

impl Ask {
    /// Blocks of at least so many bytes; of a smaller power of two, a multiple of it as offset.
    pub(crate) fn min(mut self, bytes: u64) -> Self {
        self.0.alignment = bytes;
        self
    }

    pub(crate) fn within(mut self, start: u64, end: u64) -> Self {
        self.0.range = Some((start, end));
        self
    }

    pub(crate) fn top(mut self) -> Self {
        self.0.mode = Mode::High;
        self
    }

    pub(crate) fn contiguous(mut self) -> Self {
        self.0.contiguous = true;
        self
    }

    pub(crate) fn clear(mut self) -> Self {
        self.0.clear = true;
        self
    }

    pub(crate) fn keep(mut self) -> Self {
        self.0.keep_rounding = true;
        self
    }
}

/// An allocation.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) number: u32,
    /// Offset and length of each extent.
    pub(crate) extents: Vec<(u64, u64)>,
}

impl Got {
    /// The offset of an allocation of one extent.
    #[track_caller]
    pub(crate) fn offset(&self) -> u64 {
        assert_eq!(self.extents.len(), 1);
        self.extents[0].0
    }

    /// The extents in KiB.
    pub(crate) fn kib(&self) -> Vec<(u64, u64)> {
        let kib = |&(offset, bytes)| (offset / K, bytes / K);
        self.extents.iter().map(kib).collect()
    }
}

/// An arena of a subject.
pub(crate) struct Pool<'a> {
    pub(crate) subject: &'a mut dyn Subject,
    size: u64,
    granule: u64,
    next: u32,
    live: BTreeMap<u32, Vec<(u64, u64)>>,
    /// Taken extents by address, to find overlaps.
    taken: BTreeMap<u64, u64>,
    calls: u32,
}

impl<'a> Pool<'a> {
    /// An empty arena; the size is rounded down to whole granules.
    pub(crate) fn new(subject: &'a mut dyn Subject, size: u64, granule: u64) -> Self {
        let size = size & !(granule - 1);
        subject.init(Geometry { size, granule }).unwrap();
        Pool {
            subject,
            size,
            granule,
            next: 0,
            live: BTreeMap::new(),
            taken: BTreeMap::new(),
            calls: 0,
        }
    }

    /// Allocates, and checks sums, bounds, alignment and overlaps.
    #[track_caller]
    pub(crate) fn try_get(&mut self, ask: Ask) -> Result<Got, Failure> {
        let number = self.next;
        self.next += 1;
        let mut wish = ask.0;
        wish.number = AllocationId(number);
        let (before, clear) = (self.avail(), self.subject.clear_bytes());
        let mut list = Vec::new();
        let result = self.subject.allocate(&wish, &mut list);
        let bytes: u64 = list.iter().map(|extent: &Extent| extent.bytes).sum();
        assert_eq!(self.avail(), before - bytes);
        assert!(self.subject.clear_bytes() <= clear, "none gets clear");
        self.check();
        let extents: Vec<_> = list.iter().map(|e| (e.offset, e.bytes)).collect();
        if let Err(why) = result {
            assert!(extents.is_empty());
            return Err(why);
        }
        let exact = bytes == wish.bytes || wish.keep_rounding && bytes > wish.bytes;
        assert!(exact, "{bytes} for {wish:?}");
        let (start, end) = wish.range.unwrap_or((0, self.size));
        for &(offset, bytes) in &extents {
            assert!(offset.is_multiple_of(wish.alignment.max(self.granule)));
            assert!(offset >= start && offset + (bytes - 1) < end, "{wish:?}");
            self.enter(offset, bytes);
        }
        let gap = |pair: &[(u64, u64)]| pair[0].0 + pair[0].1 != pair[1].0;
        assert!(!(wish.contiguous && extents.windows(2).any(gap)));
        self.live.insert(number, extents.clone());
        Ok(Got { number, extents })
    }

    #[track_caller]
    fn enter(&mut self, offset: u64, bytes: u64) {
        let below = self.taken.range(..=offset).next_back();
        assert!(below.is_none_or(|(&at, &bytes)| at + bytes <= offset));
        let above = self.taken.range(offset..).next();
        assert!(above.is_none_or(|(&at, _)| offset + bytes <= at));
        self.taken.insert(offset, bytes);
    }

    #[track_caller]
    pub(crate) fn get(&mut self, ask: Ask) -> Got {
        self.try_get(ask)
            .unwrap_or_else(|why| panic!("{ask:?}: {why:?}"))
    }

    /// Takes exactly a range.
    #[track_caller]
    pub(crate) fn exact(&mut self, start: u64, end: u64) -> Got {
        let got = self.get(ask(end - start).within(start, end));
        assert_eq!(got.extents, [(start, end - start)]);
        got
    }

    /// A wish that must fail for want of space.
    #[track_caller]
    pub(crate) fn fails(&mut self, ask: Ask) {
        let result = self.try_get(ask);
        let no_space = matches!(result, Err(Failure::NoSpace { .. }));
        assert!(no_space, "{ask:?}: {result:?}");
    }

    /// A wish that must be refused.
    #[track_caller]
    pub(crate) fn refused(&mut self, ask: Ask, why: Refusal) {
        assert_eq!(self.try_get(ask).unwrap_err(), Failure::Refused(why));
    }

    #[track_caller]
    pub(crate) fn free(&mut self, number: u32) {
        self.free_as(number, false);
    }

    #[track_caller]
    pub(crate) fn free_as(&mut self, number: u32, cleared: bool) {
        let extents = self.live.remove(&number).expect("it is live");
        let bytes: u64 = extents.iter().map(|extent| extent.1).sum();
        extents.iter().for_each(|(offset, _)| {
            self.taken.remove(offset);
        });
        let (before, clear) = (self.avail(), self.subject.clear_bytes());
        let freed = self.subject.free_as(AllocationId(number), cleared);
        assert_eq!(freed, Ok(()));
        assert_eq!(self.avail(), before + bytes);
        let clear = clear.map(|clear| clear + if cleared { bytes } else { 0 });
        assert_eq!(self.subject.clear_bytes(), clear);
        self.check();
    }

    /// Cuts an allocation down.
    pub(crate) fn trim(
        &mut self,
        number: u32,
        start: Option<u64>,
        bytes: u64,
    ) -> Result<Vec<(u64, u64)>, Refusal> {
        let before = self.avail();
        let mut list = Vec::new();
        let result = self
            .subject
            .trim(AllocationId(number), start, bytes, &mut list);
        self.check();
        let extents: Vec<_> = list.iter().map(|e| (e.offset, e.bytes)).collect();
        if let Err(why) = result {
            assert_eq!((self.avail(), &extents[..]), (before, &[][..]));
            return Err(why);
        }
        let old = self.live.insert(number, extents.clone()).unwrap();
        let length: u64 = old.iter().map(|extent| extent.1).sum();
        assert_eq!(self.avail(), before + length - bytes);
        for (offset, _) in &old {
            self.taken.remove(offset);
        }
        for &(offset, bytes) in &extents {
            let inside = |old: &(u64, u64)| offset >= old.0 && offset + bytes <= old.0 + old.1;
            assert!(old.iter().any(inside));
            self.enter(offset, bytes);
        }
        Ok(extents)
    }

    pub(crate) fn avail(&self) -> u64 {
        self.subject.statistics().free_bytes
    }

    /// Whether every block of an allocation was known to be zero, or none; where it can be seen.
    #[track_caller]
    pub(crate) fn assert_clear(&self, number: u32, clear: bool) {
        let blocks = self.subject.blocks_of(AllocationId(number));
        assert!(
            blocks.is_none_or(|blocks| blocks.iter().all(|block| block.1 == clear)),
            "{number} is not {clear}"
        );
    }

    /// Free bytes known to be zero are so many, where it can be seen.
    #[track_caller]
    pub(crate) fn assert_clear_bytes(&self, bytes: u64) {
        let seen = self.subject.clear_bytes();
        assert!(seen.is_none_or(|seen| seen == bytes), "{seen:?} {bytes}");
    }

    /// Blocks and holes in KiB: offset, length, owner.
    pub(crate) fn map(&self) -> Vec<(u64, u64, Option<u32>)> {
        let row = |block: Block| {
            let Extent { offset, bytes } = block.extent;
            (offset / K, bytes / K, block.owner.map(|owner| owner.0))
        };
        let blocks = self.subject.blocks(0, usize::MAX);
        blocks.into_iter().map(row).collect()
    }

    /// The invariants; of a crowded pool only now and then.
    #[track_caller]
    fn check(&mut self) {
        self.calls += 1;
        let every = match self.subject.statistics().holes + self.live.len() as u64 {
            ..200 => 1,
            200..10_000 => 512,
            _ => 32_768,
        };
        if self.calls.is_multiple_of(every) {
            assert_eq!(self.subject.validate(), Ok(()));
        }
    }

    /// Frees everything, makes it dirty, and checks that only the roots are left.
    #[track_caller]
    pub(crate) fn fini(mut self) {
        let live: Vec<_> = self.live.keys().copied().collect();
        live.into_iter().for_each(|number| self.free(number));
        assert_eq!(self.subject.reset_clear(false), Ok(()));
        assert_eq!(self.subject.validate(), Ok(()));
        let statistics = self.subject.statistics();
        assert_eq!(statistics.free_bytes, self.size);
        assert_eq!((statistics.used_bytes, statistics.allocations), (0, 0));
        let roots = (self.size / self.granule).count_ones();
        assert_eq!(statistics.holes, u64::from(roots));
    }
}
