//! More chunks for vram, made before they are needed.

use crate::error::DeviceError;
use crate::sync::lock;

use super::Shared;

/// How much of vram so many chunks are: granules that lie in them wholly.
fn held(chunks: u64, granule: u64, chunk: u64, size: u64) -> u64 {
    let bytes = chunks.saturating_mul(chunk);
    // The last chunk may be longer than what is left of vram.
    if bytes >= size {
        return size;
    }
    bytes - bytes % granule
}

/// How much vram has from the start, in bytes: a chunk, or what holds a granule.
pub(super) fn initial(granule: u64, chunk: u64, size: u64) -> u64 {
    held(granule.div_ceil(chunk), granule, chunk, size)
}

/// See [`MemoryTypeProperties::chunk`](crate::MemoryTypeProperties::chunk). Chunks that are no
/// multiple of a granule are nothing that allocations can heed.
pub(super) fn border(granule: u64, chunk: u64, size: u64) -> u64 {
    match chunk.is_multiple_of(granule) {
        true => chunk.min(size),
        false => size,
    }
}

impl Shared {
    /// See [`Device::grow`](crate::Device::grow). It at least doubles what there is, so that
    /// there are few steps, and makes do with what was asked for where the GPU has no more.
    pub(super) fn grow(&self, bytes: u64) -> Result<u64, DeviceError> {
        let mut grown = lock(&self.grown);
        let now = self.bytes_of(*grown);
        let needed = now.saturating_add(bytes).min(self.vram.size());
        if needed == now {
            return Ok(now);
        }
        let wanted = needed.max(now.saturating_mul(2)).min(self.vram.size());
        let context = self.context();
        let (mut made, mut chunks) = (Vec::new(), *grown);
        while self.bytes_of(chunks) < wanted {
            match context.make(chunks) {
                Ok(new) => made.extend(new.then_some(chunks)),
                Err(DeviceError::GpuMemory) if self.bytes_of(chunks) >= needed => break,
                Err(error) => {
                    context.forget(&made);
                    return Err(error);
                }
            }
            chunks += 1;
        }
        context.alive()?;
        *grown = chunks;
        Ok(self.bytes_of(chunks))
    }

    /// Makes the chunks of what vram has from the start.
    ///
    /// # Errors
    /// Those of [`Shared::grow`].
    pub(super) fn begin(&self) -> Result<(), DeviceError> {
        let vram = self.properties.memory_types[0];
        self.grow(vram.initial).map(drop)
    }

    /// Makes the chunks that vram has again after a reset, as far as the GPU has memory for them;
    /// others are made when they are touched.
    pub(super) fn regrow(&self) {
        let context = self.context();
        let all = (0..*lock(&self.grown)).map(|chunk| context.make(chunk));
        // Without memory for one there is none for the others.
        let _ = all.collect::<Result<Vec<_>, _>>();
    }

    fn bytes_of(&self, chunks: u64) -> u64 {
        let granule = self.properties.memory_types[0].granule;
        held(chunks, granule, self.chunk_bytes, self.vram.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_chunks_hold_is_whole_granules() {
        assert_eq!(initial(4096, 64 << 20, 1 << 30), 64 << 20);
        assert_eq!(initial(4096, 8192, 8192), 8192);
        // A chunk may be longer than vram, or shorter than a granule.
        assert_eq!(initial(4, 4096, 1000), 1000);
        assert_eq!(initial(65_536, 12_288, 1 << 20), 65_536);
        assert_eq!(held(11, 65_536, 12_288, 1 << 20), 2 * 65_536);
        assert_eq!(held(u64::MAX, 4096, 4096, 1 << 40), 1 << 40);
        assert_eq!(held(0, 4096, 4096, 1 << 40), 0);
    }
}
