//! Bytes of vram as wgpu knows them, for programs that use the GPU as well.

use crate::command::{MemorySpace, Segment};
use crate::error::DeviceError;

use super::WgpuDevice;

/// Bytes of vram: where they are in a wgpu buffer.
///
/// Many memories of the device share one wgpu buffer, and wgpu looks at buffers as wholes: what
/// one dispatch binds must be declared alike, as `read_write`, though a shader only reads it; and
/// nothing is copied between slices of one buffer by `copy_buffer_to_buffer`.
///
/// # Units
/// Bytes.
///
/// # Invariants
/// The offset is a multiple of the device's granule, if the memory asked for is; with one of 256
/// or more it can be bound on every GPU. The buffer can be used as `STORAGE`, `COPY_SRC` and
/// `COPY_DST`.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferSlice {
    /// The wgpu buffer.
    pub buffer: wgpu::Buffer,
    /// Where the bytes begin in it.
    pub offset: u64,
    /// How many bytes.
    pub size: u64,
}

impl BufferSlice {
    /// The bytes for a bind group, and behind them what makes a whole word of 4 bytes: wgpu binds
    /// nothing else.
    pub fn binding(&self) -> wgpu::BindingResource<'_> {
        let size = self.size.next_multiple_of(4);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: std::num::NonZeroU64::new(size),
        })
    }
}

impl WgpuDevice {
    /// Where bytes of vram are: in as few slices as that takes, in order. Bytes that lie behind
    /// each other are one slice, but none crosses the end of a chunk
    /// ([`WgpuDevice::chunk_bytes`]).
    ///
    /// Until the next reset the slices stay what they are. Whose the bytes are, and what else is
    /// done with them, is the caller's to know. This device's commands go to the queue of
    /// [`WgpuDevice::wgpu`] when they begin, so work that is submitted to the same queue after
    /// what it needs is done, comes before all that waits for its submission.
    ///
    /// # Errors
    /// [`DeviceError::NotInVram`], [`DeviceError::OutOfBounds`], [`DeviceError::GpuMemory`],
    /// [`DeviceError::Driver`], [`DeviceError::Lost`].
    pub fn slices(&self, segments: &[Segment]) -> Result<Vec<BufferSlice>, DeviceError> {
        let context = self.shared.context();
        context.alive()?;
        let mut slices: Vec<(u64, BufferSlice)> = Vec::new();
        for (at, bytes) in self.runs(segments)? {
            let index = at / context.chunk_bytes;
            let offset = at % context.chunk_bytes;
            if let Some((last, slice)) = slices.last_mut()
                && *last == index
                && slice.offset + slice.size == offset
            {
                slice.size += bytes;
                continue;
            }
            context.touch(&[index])?;
            let buffer = context.guarded(|| Ok(context.chunk(index)))?;
            let size = bytes;
            let slice = BufferSlice {
                buffer,
                offset,
                size,
            };
            slices.push((index, slice));
        }
        Ok(slices.into_iter().map(|(_, slice)| slice).collect())
    }

    /// Segments, cut where chunks end.
    fn runs(&self, segments: &[Segment]) -> Result<Vec<(u64, u64)>, DeviceError> {
        let (chunk, size) = (self.shared.chunk_bytes, self.shared.vram.size());
        let mut runs = Vec::new();
        for segment in segments {
            let end = segment.offset.checked_add(segment.bytes);
            if segment.memory != MemorySpace::Vram {
                return Err(DeviceError::NotInVram(*segment));
            }
            let outside = DeviceError::OutOfBounds {
                memory: segment.memory,
                offset: segment.offset,
                bytes: segment.bytes,
                size,
            };
            let end = end.filter(|end| *end <= size).ok_or(outside)?;
            let mut at = segment.offset;
            while at < end {
                let bytes = (end - at).min(chunk - at % chunk);
                runs.push((at, bytes));
                at += bytes;
            }
        }
        Ok(runs)
    }
}
