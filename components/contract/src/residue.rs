//! Whose bytes free memory still shows.

use crate::extent::Extent;
use crate::facts::Content;
use crate::id::TenantId;
use crate::ranges::RangeMap;

/// What a buffer's memory shows when the buffer has left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Whatever it showed before.
    AsBefore,
    /// Zeros.
    Nothing,
    /// Bytes of a tenant; of [`TenantId::NOBODY`] where nobody knows whose.
    Of(TenantId),
}

impl Shows {
    /// What the memory of a tenant's buffer with such a content shows.
    pub fn after(content: Content, tenant: TenantId) -> Self {
        match content {
            Content::Never => Shows::AsBefore,
            Content::Clean => Shows::Nothing,
            Content::Valid => Shows::Of(tenant),
            // Nobody knows how much of it was overwritten.
            Content::Poisoned => Shows::Of(TenantId::NOBODY),
        }
    }

    /// Takes into the books that a buffer of so many bytes has left its extents.
    ///
    /// The last granule may be the buffer's in part only: the rest of it shows what it showed
    /// before, so with an earlier tenant's bytes beside them it is nobody's.
    /// Bounds: `granule` is a power of two that the extents lie on.
    pub fn note(
        self,
        residue: &mut RangeMap<TenantId>,
        extents: &[Extent],
        bytes: u64,
        granule: u64,
    ) {
        let mut whole = bytes & !(granule - 1);
        for &Extent {
            offset,
            bytes: mine,
        } in extents
        {
            let full = Extent {
                offset,
                bytes: mine.min(whole),
            };
            whole -= full.bytes;
            let rest = Extent {
                offset: offset.saturating_add(full.bytes),
                bytes: mine - full.bytes,
            };
            match self {
                Shows::AsBefore => {}
                Shows::Nothing => residue.clear(full),
                Shows::Of(tenant) => {
                    residue.set(full, tenant);
                    let mixed = residue.overlapping(rest).any(|&t| t != tenant);
                    let of = if mixed { TenantId::NOBODY } else { tenant };
                    residue.set(rest, of);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, bytes: u64) -> Extent {
        Extent { offset, bytes }
    }

    fn of(residue: &RangeMap<TenantId>) -> alloc::vec::Vec<(u64, u64, u32)> {
        let one = |(e, t): (Extent, &TenantId)| (e.offset, e.bytes, t.0);
        residue.iter().map(one).collect()
    }

    #[test]
    fn a_granule_that_is_shared_with_an_earlier_tenant_is_nobodys() {
        let (first, second) = (TenantId(1), TenantId(2));
        let mut residue = RangeMap::default();
        let both = [extent(0, 8192), extent(16384, 4096)];
        Shows::Of(first).note(&mut residue, &both, 12288, 4096);
        assert_eq!(of(&residue), [(0, 8192, 1), (16384, 4096, 1)]);
        Shows::Of(second).note(&mut residue, &both, 8200, 4096);
        let nobody = TenantId::NOBODY.0;
        assert_eq!(of(&residue), [(0, 8192, 2), (16384, 4096, nobody)]);
        Shows::Nothing.note(&mut residue, &both, 8200, 4096);
        assert_eq!(of(&residue), [(16384, 4096, nobody)]);
        Shows::AsBefore.note(&mut residue, &both, 12288, 4096);
        assert_eq!(of(&residue), [(16384, 4096, nobody)]);
        Shows::Nothing.note(&mut residue, &both, 12288, 4096);
        assert_eq!(of(&residue), []);
        Shows::Of(second).note(&mut residue, &both, 8200, 4096);
        assert_eq!(of(&residue), [(0, 8192, 2), (16384, 4096, 2)]);
    }
}
