//! Kernels that compute with elements.

use std::collections::hash_map::Entry;

use crate::error::DeviceError;
use crate::vm::{Access, VmFaultReason};

use super::Window;
use super::launch::{Job, load, store};
use super::table::PAGE;
use super::tlb::PageMap;
use crate::statistics::add;

/// Bytes of an element.
const ELEMENT: u64 = 4;
/// Elements at once: what they need stays in the nearer caches.
const SAXPY: u64 = 1 << 16;
const GATHER: u64 = 1 << 14;

/// Adds up the words that a piece, which begins at `offset`, has parts of.
pub(super) fn sum(bytes: &[u8], offset: u64) -> u64 {
    let part = |bytes: &[u8], into: usize| {
        let mut word = [0; 8];
        word[into..into + bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let into = (offset % 8) as usize;
    let (head, rest) = bytes.split_at(((8 - into) % 8).min(bytes.len()));
    // The parts of a word have no bits in common.
    let mut sum = part(head, into % 8);
    let mut words = rest.chunks_exact(8);
    for word in &mut words {
        sum = sum.wrapping_add(part(word, 0));
    }
    sum.wrapping_add(part(words.remainder(), 0))
}

/// The elements of some bytes.
fn elements(bytes: &[u8]) -> impl Iterator<Item = [u8; ELEMENT as usize]> {
    let (elements, _) = bytes.as_chunks();
    elements.iter().copied()
}

/// See [`VmKernel::Saxpy`](crate::VmKernel::Saxpy).
pub(super) fn saxpy(job: &Job<'_>, a: f32, x: u64, y: u64, count: u64) -> Result<(), DeviceError> {
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    let mut done = 0;
    while done < count {
        (job.go)()?;
        let _entered = job.space.enter()?;
        let bytes = SAXPY.min(count - done) * ELEMENT;
        let (x, y) = (place(x, done), place(y, done));
        let mut from = job.translate(x, bytes, Access::Read);
        // The other's fault comes first, or there is none.
        let read = job.fault(x, &from, Access::Read);
        let mut to = job.translate(y, from.bytes, Access::Write);
        let written = job.fault(y, &to, Access::Write);
        let whole = to.bytes - to.bytes % ELEMENT;
        from.cut(whole);
        to.cut(whole);
        let (mut claimed, _) = job.claim(&[(&from, Access::Read), (&to, Access::Write)])?;
        load(&claimed, &from, &mut xs)?;
        load(&claimed, &to, &mut ys)?;
        let (places, _) = ys.as_chunks_mut();
        for (place, x) in places.iter_mut().zip(elements(&xs)) {
            *place = (f32::from_le_bytes(*place) + a * f32::from_le_bytes(x)).to_le_bytes();
        }
        store(&mut claimed, &to, &ys)?;
        job.host.release(claimed)?;
        add(&job.counters.run, whole);
        written?;
        read?;
        done += whole / ELEMENT;
    }
    Ok(())
}

/// The address of an element.
fn place(array: u64, index: u64) -> u64 {
    array.saturating_add(index.saturating_mul(ELEMENT))
}

/// The part of a page that lies in the array that is gathered from.
struct Part {
    address: u64,
    window: Window,
}

/// See [`VmKernel::Gather`](crate::VmKernel::Gather). The array comes with its length.
pub(super) fn gather(
    job: &Job<'_>,
    array: (u64, u64),
    indices: u64,
    dst: u64,
    count: u64,
) -> Result<(), DeviceError> {
    let (mut wanted, mut gathered) = (Vec::new(), Vec::new());
    let mut done = 0;
    while done < count {
        (job.go)()?;
        let _entered = job.space.enter()?;
        let bytes = GATHER.min(count - done) * ELEMENT;
        let (indices, dst) = (place(indices, done), place(dst, done));
        let mut from = job.translate(indices, bytes, Access::Read);
        let mut result = job.fault(indices, &from, Access::Read);
        from.cut(from.bytes - from.bytes % ELEMENT);
        let (claimed, _) = job.claim(&[(&from, Access::Read)])?;
        load(&claimed, &from, &mut wanted)?;
        job.host.release(claimed)?;
        let mut parts = Parts::default();
        let mut whole = 0;
        for index in elements(&wanted) {
            let index = u64::from(u32::from_le_bytes(index));
            if let Err(error) = parts.need(job, array, index) {
                result = Err(error);
                break;
            }
            whole += ELEMENT;
        }
        let mut to = job.translate(dst, whole, Access::Write);
        // It comes before what ended the elements.
        result = job.fault(dst, &to, Access::Write).and(result);
        to.cut(to.bytes - to.bytes % ELEMENT);
        wanted.truncate(to.bytes as usize);
        parts.gather(job, array.0, &wanted, &mut gathered)?;
        let (mut claimed, _) = job.claim(&[(&to, Access::Write)])?;
        store(&mut claimed, &to, &gathered)?;
        job.host.release(claimed)?;
        add(&job.counters.run, to.bytes);
        result?;
        done += to.bytes / ELEMENT;
    }
    Ok(())
}

/// The parts that a piece of a job needs.
#[derive(Default)]
struct Parts {
    /// Where in the list the part of a page is.
    pages: PageMap<usize>,
    list: Vec<Part>,
    /// The page needed last.
    last: Option<u64>,
}

impl Parts {
    /// Translates what an element needs.
    fn need(
        &mut self,
        job: &Job<'_>,
        (array, length): (u64, u64),
        index: u64,
    ) -> Result<(), DeviceError> {
        let address = place(array, index);
        let fault = |address, why| DeviceError::VmFault {
            vm: job.launch.vm,
            job: job.launch.job,
            address,
            access: Access::Read,
            why,
        };
        if index >= length {
            return Err(fault(address, VmFaultReason::Range));
        }
        let last = address.saturating_add(ELEMENT - 1) / PAGE;
        for page in address / PAGE..=last {
            if self.last == Some(page) {
                continue;
            }
            if let Entry::Vacant(vacant) = self.pages.entry(page) {
                let from = array.max(page * PAGE);
                let to = place(array, length).min((page * PAGE).saturating_add(PAGE));
                let window = job.translate(from, to.saturating_sub(from), Access::Read);
                if let Some(why) = window.fault {
                    // Within a page, all of it or nothing is there; but the page may be the one
                    // that the address space ends in.
                    return Err(fault(address.max(page * PAGE), why));
                }
                vacant.insert(self.list.len());
                self.list.push(Part {
                    address: from,
                    window,
                });
            }
            self.last = Some(page);
        }
        Ok(())
    }

    /// Reads the elements that are wanted: their indices are replaced by what they mean.
    fn gather(
        &self,
        job: &Job<'_>,
        array: u64,
        wanted: &[u8],
        gathered: &mut Vec<u8>,
    ) -> Result<(), DeviceError> {
        let windows: Vec<_> = self
            .list
            .iter()
            .map(|part| (&part.window, Access::Read))
            .collect();
        let (claimed, _) = job.claim(&windows)?;
        let mut slices = Vec::with_capacity(self.list.len());
        for part in &self.list {
            let piece = part.window.pieces.first();
            let run = piece.and_then(|piece| piece.run().ok());
            let slice = run.map(|run| claimed.read(run)).transpose()?;
            slices.push((part.address, slice));
        }
        gathered.clear();
        let mut last = (None, None);
        for index in elements(wanted) {
            let address = place(array, u64::from(u32::from_le_bytes(index)));
            let mut element = [0; ELEMENT as usize];
            for (byte, at) in element.iter_mut().zip(address..) {
                let page = at / PAGE;
                if last.0 != Some(page) {
                    let part = self.pages.get(&page).and_then(|part| slices.get(*part));
                    last = (Some(page), part.copied());
                }
                if let Some((start, Some(bytes))) = last.1 {
                    *byte = bytes.get((at - start) as usize).copied().unwrap_or(0);
                }
            }
            gathered.extend_from_slice(&element);
        }
        Ok(())
    }
}
