//! Names of rings, entities and jobs.

/// A ring of the device, by its index among those the scheduler was made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RingId(pub u8);

/// Rings that an entity may use.
///
/// Bounds: rings 0 to 63; others are not taken up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RingSet(u64);

impl RingSet {
    /// No ring: nothing can be pushed.
    pub const EMPTY: RingSet = RingSet(0);

    /// Whether a ring is in the set.
    pub const fn contains(self, ring: RingId) -> bool {
        ring.0 < 64 && self.0 >> ring.0 & 1 == 1
    }

    /// Whether there is no ring in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The rings, ascending.
    pub fn iter(self) -> impl Iterator<Item = RingId> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let ring = left.checked_ilog2().map(|_| left.trailing_zeros())?;
            left &= left - 1;
            // 0 to 63.
            Some(RingId(ring as u8))
        })
    }

    /// The one ring of a set that has one.
    pub(crate) fn single(self) -> Option<RingId> {
        let one = self.0.is_power_of_two();
        one.then_some(RingId(self.0.trailing_zeros() as u8))
    }

    /// Whether every ring of the set is one of the first `rings`.
    pub(crate) fn within(self, rings: usize) -> bool {
        rings >= 64 || self.0 >> rings == 0
    }
}

impl From<RingId> for RingSet {
    fn from(ring: RingId) -> Self {
        RingSet(1u64.checked_shl(ring.0.into()).unwrap_or(0))
    }
}

impl FromIterator<RingId> for RingSet {
    fn from_iter<T: IntoIterator<Item = RingId>>(rings: T) -> Self {
        let all = rings.into_iter().map(|ring| RingSet::from(ring).0);
        RingSet(all.fold(0, |set, one| set | one))
    }
}

/// An entity: the queue of one client.
///
/// Invariants: never names another entity, also after this one is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A job, from its push until it is finished.
///
/// Invariants: never names another job, also after this one is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl JobKey {
    /// Its place among the jobs that are not finished: small, and used again.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// The key as a number; never 0.
    pub const fn to_bits(self) -> u64 {
        (self.index as u64) << 32 | self.generation as u64
    }

    /// The key whose number this is; of other numbers, one that names nothing.
    pub const fn from_bits(bits: u64) -> JobKey {
        JobKey {
            index: (bits >> 32) as u32,
            generation: bits as u32,
        }
    }
}

/// How urgent an entity's jobs are: a ring's time is shared out in the ratio 64 : 32 : 8 : 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// The system's own work, which is never found guilty.
    Kernel,
    /// Before others.
    High,
    /// As most.
    #[default]
    Normal,
    /// When others leave room.
    Low,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Priority; 4] = [
        Priority::Kernel,
        Priority::High,
        Priority::Normal,
        Priority::Low,
    ];

    /// How far a microsecond of ring time is shifted to get virtual time.
    pub(crate) const fn shift(self) -> u32 {
        match self {
            Priority::Kernel => 1,
            Priority::High => 2,
            Priority::Normal => 4,
            Priority::Low => 7,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lists_its_rings() {
        let set: RingSet = [RingId(63), RingId(0), RingId(64)].into_iter().collect();
        assert!(set.iter().eq([RingId(0), RingId(63)]));
        assert!(set.contains(RingId(63)) && !set.contains(RingId(64)));
        assert!(set.within(64) && !set.within(63));
        assert_eq!((set.single(), RingSet::EMPTY.single()), (None, None));
        assert_eq!(RingSet::from(RingId(5)).single(), Some(RingId(5)));
    }

    #[test]
    fn a_key_comes_back_from_its_number() {
        let key = JobKey {
            index: 7,
            generation: u32::MAX,
        };
        assert_eq!(JobKey::from_bits(key.to_bits()), key);
        assert_eq!(key.index(), 7);
    }
}
