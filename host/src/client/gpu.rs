//! Buffers for a program that uses the same GPU.

use super::{Buffer, Client};
use crate::error::Error;
use crate::guard::Guard;
use crate::planner::Verb;
use gpumm_contract::BufferId;
use gpumm_contract::request::Intent;
use gpumm_hw as hw;
use hw::wgpu::BufferSlice;
use std::sync::Arc;

/// Buffers that stay where they are in GPU memory, for commands of the caller; dropping it lets
/// them move again.
///
/// It may be dropped as soon as the caller's commands are submitted to the queue of the device
/// ([`DeviceHandle::wgpu`](crate::DeviceHandle::wgpu)): whatever moves or uses the buffers later
/// goes through the same queue, behind them. Slices are not to be submitted after that.
///
/// Invariants: as long as it lives, the buffers' memory belongs to nobody else, and no job or move
/// changes what it reads. The thread that holds one must not wait for jobs that write the buffers,
/// or, for those that it writes, for jobs that use them.
#[derive(Debug)]
pub struct GpuGuard {
    guard: Arc<Guard>,
    slices: Vec<(BufferId, Vec<BufferSlice>)>,
}

impl Client {
    /// Brings buffers of this client into GPU memory together, and holds them there for commands
    /// of the caller, which may read all of them and write those named second. Returns when
    /// everything that was submitted before, and that the commands have to come after, is done.
    ///
    /// What the commands write counts as written, whether they do or not. A buffer may be named
    /// once. Buffers that are held by others as well do not make room: what is held at one time,
    /// all guards together, must fit into GPU memory.
    ///
    /// Errors: the device is not one on a GPU; there is no room; a content is lost; a buffer's
    /// placement allows another place and it is there; too many guards are open (4 are possible,
    /// accesses of the CPU among them).
    pub fn gpu_access(&self, reads: &[&Buffer], writes: &[&Buffer]) -> Result<GpuGuard, Error> {
        let gpu = self.device.device.as_wgpu();
        let gpu = gpu.ok_or_else(|| Error::Argument("the device is not one on a GPU".into()))?;
        let reads = reads.iter().map(|buffer| (buffer.id, Intent::Read));
        let writes = writes.iter().map(|buffer| (buffer.id, Intent::Write));
        let guard = Arc::new(Guard::new(false));
        self.guard(Verb::Guard {
            tenant: self.tenant,
            uses: reads.chain(writes).collect(),
            resident: true,
            revocable: false,
            guard: guard.clone(),
        })?;
        // Dropped on an error below, it ends the access.
        let mut held = GpuGuard {
            guard,
            slices: Vec::new(),
        };
        held.guard.wait()?;
        held.slices = held.guard.each(|memory, list| {
            let mut slices = gpu.slices(list)?;
            shorten(&mut slices, memory.bytes);
            Ok((memory.buffer, slices))
        })?;
        Ok(held)
    }
}

impl Buffer {
    /// As [`Client::gpu_access`], for this buffer alone, to be written or only read.
    ///
    /// Errors: as there.
    pub fn gpu_access(&self, write: bool) -> Result<GpuGuard, Error> {
        match write {
            true => self.client.gpu_access(&[], &[self]),
            false => self.client.gpu_access(&[self], &[]),
        }
    }
}

impl GpuGuard {
    /// Where a buffer is, in pieces: in the order of its bytes, and as few as there are.
    ///
    /// Errors: the guard is not for this buffer.
    pub fn slices(&self, buffer: &Buffer) -> Result<&[BufferSlice], Error> {
        let mine = self.slices.iter().find(|(id, _)| *id == buffer.id);
        let other = || Error::Argument(format!("buffer {} is not held by this guard", buffer.id));
        mine.map(|(_, slices)| &slices[..]).ok_or_else(other)
    }

    /// Where a buffer is that lies in one piece.
    ///
    /// A buffer does unless the strategy of device memory gives it several extents (`tlsf`, the
    /// usual one, never does) or it crosses the end of one of the GPU buffers that the device's
    /// memory is made of ([`hw::wgpu::WgpuConfig::chunk_bytes`]).
    ///
    /// Errors: [`Error::Cut`]; the guard is not for this buffer.
    pub fn slice(&self, buffer: &Buffer) -> Result<&BufferSlice, Error> {
        match self.slices(buffer)? {
            [slice] => Ok(slice),
            pieces => Err(Error::Cut {
                pieces: pieces.len(),
                first: pieces.first().map_or(0, |slice| slice.size),
            }),
        }
    }
}

impl Drop for GpuGuard {
    fn drop(&mut self) {
        self.guard.close();
    }
}

/// Cuts slices down to so many bytes: an allocation is rounded up, a buffer is not.
fn shorten(slices: &mut Vec<BufferSlice>, bytes: u64) {
    let mut left = bytes;
    slices.retain_mut(|slice| {
        slice.size = slice.size.min(left);
        left -= slice.size;
        slice.size > 0
    });
}
