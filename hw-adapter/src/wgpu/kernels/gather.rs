//! Gathering: the elements that cannot be gathered are found before any is.

use crate::command::MemorySpace;
use crate::error::DeviceError;
use crate::mmu::PAGE;
use crate::vm::{Access, VmFaultReason, VmKernel};

use super::super::host::{End, Host};
use super::super::transfer::Transfer;
use super::Entry;
use super::job::Job;
use super::piece::{Piece, Range};

/// Bytes of an element.
const ELEMENT: u64 = 4;
/// Elements at once.
const PIECE: u64 = 1 << 20;

impl Job<'_> {
    /// See [`VmKernel::Gather`].
    pub(super) fn gather(&self) -> Result<(), DeviceError> {
        let VmKernel::Gather {
            src,
            src_count,
            indices,
            dst,
            count,
        } = self.launch.kernel
        else {
            return Err(DeviceError::Bug("another kernel was to gather"));
        };
        let array = src_count.saturating_mul(ELEMENT);
        let aligned = [src, indices, dst].iter().all(|at| at % ELEMENT == 0);
        // Shaders count the bytes of a range in 32 bits.
        let small = (array + src % PAGE) < u64::from(u32::MAX);
        if !aligned || !small {
            return self.by_cpu(self.launch.kernel.clone());
        }
        let mut done = 0;
        while done < count {
            (self.go)()?;
            let now = PIECE.min(count - done);
            let at = |base: u64| base.saturating_add(done * ELEMENT);
            let part = VmKernel::Gather {
                src,
                src_count,
                indices: at(indices),
                dst: at(dst),
                count: now,
            };
            match self.gather_piece((src, src_count), (at(indices), at(dst)), now) {
                Ok(true) => {}
                Ok(false) | Err(DeviceError::LimitTooSmall { .. }) => self.by_cpu(part)?,
                Err(error) => return Err(error),
            }
            done += now;
        }
        Ok(())
    }

    /// Gathers some elements; `false` if the CPU is to do it, and nothing is done.
    fn gather_piece(
        &self,
        (src, src_count): (u64, u64),
        (indices, dst): (u64, u64),
        count: u64,
    ) -> Result<bool, DeviceError> {
        let _entered = self.space.enter()?;
        let bytes = count * ELEMENT;
        let mut wanted = self.translate(indices, bytes, Access::Read);
        let mut target = self.translate(dst, bytes, Access::Write);
        // Pages are whole elements, as all is aligned. Of two faults at one place that of the
        // indices counts.
        let most = wanted.bytes.min(target.bytes);
        let look = match (wanted.fault, target.fault) {
            (_, Some(_)) if target.bytes < wanted.bytes => Some((2, most)),
            (Some(_), _) => Some((0, most)),
            (None, Some(_)) => Some((2, most)),
            (None, None) => None,
        };
        let all_wanted = wanted.bytes;
        wanted.cut(most);
        target.cut(most);
        let array = self
            .space
            .present(src, src_count * ELEMENT, &self.shared.mmu.counters);
        let ranges = vec![
            Range::new(indices, &wanted, Access::Read),
            Range {
                holes: Some(src_count * ELEMENT),
                ..Range::new(src, &array, Access::Read)
            },
            Range::new(dst, &target, Access::Write),
        ];
        let mut piece = Piece::new(ranges, most, 2);
        piece.results[1] = u32::MAX;
        piece.tells = true;
        piece.look = look;
        let told = [src_count as u32, 0, 0, 0, 0, 0, 0, 0];
        piece.entries = vec![(Entry::GatherCheck, told), (Entry::Gather, told)];
        if piece.footprint().1 {
            return Ok(false);
        }
        let told = self.perform(&piece)?;
        let gathered = told.words.get(1).map_or(most, |first| {
            u64::from(*first).saturating_mul(ELEMENT).min(most)
        });
        self.count(gathered);
        // An element that cannot be gathered comes before its place, which cannot be written.
        let next = match told.fault {
            _ if gathered < most => Some(gathered),
            Some((2, offset, _)) if all_wanted > offset => Some(offset),
            _ => None,
        };
        if let Some(next) = next
            && let Some(fault) = self.element_fault((src, src_count), indices + next)?
        {
            return Err(fault);
        }
        told.good()?;
        // The host saw a fault that the GPU did not: somebody changes the table. Once more, from
        // there, in order.
        if most < bytes {
            return Ok(false);
        }
        Ok(true)
    }

    /// Why the element whose index is at an address cannot be gathered, if so.
    fn element_fault(
        &self,
        (src, src_count): (u64, u64),
        index: u64,
    ) -> Result<Option<DeviceError>, DeviceError> {
        let index = u64::from(u32::from_le_bytes(self.word_at(index)?));
        let address = src.saturating_add(index * ELEMENT);
        let why = match index < src_count {
            true => self.translate(address, ELEMENT, Access::Read).fault,
            false => Some(VmFaultReason::Range),
        };
        Ok(why.map(|why| self.fault_at(address, Access::Read, why)))
    }

    /// The four bytes at an address that can be read.
    fn word_at(&self, address: u64) -> Result<[u8; ELEMENT as usize], DeviceError> {
        let window = self.translate(address, ELEMENT, Access::Read);
        let piece = Piece::new(vec![Range::new(address, &window, Access::Read)], 0, 0);
        let mut access = self.shared.access(&piece.footprint().0)?;
        let mut word = [0; ELEMENT as usize];
        if let [run] = window.pieces.as_slice()
            && let Some((memory, offset)) = run.place
        {
            let end = match memory {
                MemorySpace::Vram => End::Vram(offset),
                MemorySpace::System => End::System(offset),
            };
            let host = Host {
                system: access.system.as_mut(),
                output: &mut word,
                ..Host::default()
            };
            let mut transfer = Transfer::new(&self.context, host);
            transfer.add(end, End::Bytes(0), ELEMENT)?;
            transfer.finish()?;
        }
        Ok(word)
    }
}
