//! Staging buffers, which are kept: new memory costs more than what passes through it.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use crate::error::DeviceError;
use crate::sync::lock;

use super::context::Context;

/// What a staging buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The CPU writes it.
    Upload,
    /// The CPU reads it.
    Readback,
    /// The CPU does not see it.
    Bounce,
}

impl Use {
    fn usage(self) -> wgpu::BufferUsages {
        use wgpu::BufferUsages as Usage;
        match self {
            Use::Upload => Usage::COPY_SRC | Usage::MAP_WRITE,
            Use::Readback => Usage::COPY_DST | Usage::MAP_READ,
            // Shaders use it too, for system memory.
            Use::Bounce => Usage::COPY_SRC | Usage::COPY_DST | Usage::STORAGE,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Use::Upload => "upload",
            Use::Readback => "readback",
            Use::Bounce => "bounce",
        }
    }
}

/// What the largest buffer that is kept holds, in bytes.
pub(super) const KEPT: u64 = 32 << 20;

/// The sizes of buffers that are kept: a window of a transfer fits into the second one.
const SIZES: [u64; 3] = [1 << 20, 4 << 20, KEPT];

/// Below this many bytes a new buffer costs less than a lock and a map.
const SMALL: u64 = 64 << 10;

/// How many of each size are kept for a use: an engine's commands on their way have a buffer each.
const MOST: [usize; SIZES.len()] = [8, 8, 3];

/// Buffers that nobody uses.
#[derive(Default)]
pub(super) struct Pool {
    idle: [[Mutex<Vec<Idle>>; SIZES.len()]; 3],
}

/// A buffer with the map that was asked for, if one was.
type Idle = (wgpu::Buffer, Option<Mapping>);

impl Pool {
    /// A buffer of at least so many bytes, not mapped. Only inside [`Context::guarded`].
    pub(super) fn take(&self, context: &Context, kind: Use, bytes: u64) -> wgpu::Buffer {
        let size = size(bytes).map_or(bytes, |size| SIZES[size]);
        let idle = self.pop(kind, bytes);
        let (buffer, mapping) = idle.unwrap_or_else(|| {
            let buffer = context.buffer(kind.label(), size, kind.usage());
            (buffer, None)
        });
        if mapping.is_some() {
            // Also ends a map that was only asked for.
            buffer.unmap();
        }
        buffer
    }

    /// A buffer of at least so many bytes for uploads, mapped. Only inside
    /// [`Context::guarded`].
    ///
    /// # Errors
    /// [`DeviceError::Driver`].
    pub(super) fn take_mapped(
        &self,
        context: &Context,
        bytes: u64,
    ) -> Result<wgpu::Buffer, DeviceError> {
        let kind = Use::Upload;
        let Some((buffer, mapping)) = self.pop(kind, bytes) else {
            let size = size(bytes).map_or(bytes, |size| SIZES[size]);
            return Ok(context.mapped(kind.label(), size, kind.usage()));
        };
        let mapping = mapping.unwrap_or_else(|| Mapping::of_all(&buffer));
        mapping.poll(&context.device)?;
        Ok(buffer)
    }

    /// Keeps a buffer for later: the GPU is done with it, and it is not mapped.
    pub(super) fn give(&self, kind: Use, buffer: wgpu::Buffer) {
        self.push(kind, (buffer, None));
    }

    /// Keeps a buffer for uploads: the GPU may still use it, it was asked to be mapped by
    /// [`Mapping::of_all`], and there was a poll when the GPU was done with it.
    pub(super) fn give_mapped(&self, buffer: wgpu::Buffer, mapping: Mapping) {
        self.push(Use::Upload, (buffer, Some(mapping)));
    }

    /// Whether a buffer is of a size that is kept.
    pub(super) fn keeps(buffer: &wgpu::Buffer) -> bool {
        SIZES.contains(&buffer.size())
    }

    fn pop(&self, kind: Use, bytes: u64) -> Option<Idle> {
        lock(&self.idle[kind as usize][size(bytes)?]).pop()
    }

    fn push(&self, kind: Use, idle: Idle) {
        let size = SIZES.iter().position(|size| *size == idle.0.size());
        if let Some(size) = size {
            let mut all = lock(&self.idle[kind as usize][size]);
            if all.len() < MOST[size] {
                all.push(idle);
            }
        }
    }
}

/// Which of [`SIZES`] so many bytes get, unless they are too few or too many.
fn size(bytes: u64) -> Option<usize> {
    match bytes >= SMALL {
        true => SIZES.iter().position(|size| *size >= bytes),
        false => None,
    }
}

/// How long a thread that was told of a map may take to tell whose it is.
pub(super) const MAP_PATIENCE: Duration = Duration::from_secs(10);

/// A map that was asked for.
pub(super) struct Mapping(mpsc::Receiver<bool>);

impl Mapping {
    /// Asks for the first bytes of a buffer.
    pub(super) fn of(buffer: &wgpu::Buffer, mode: wgpu::MapMode, bytes: u64) -> Mapping {
        let (mapped, told) = mpsc::channel();
        buffer.map_async(mode, ..bytes, move |result| {
            // Nobody listens any more after a failure.
            let _ = mapped.send(result.is_ok());
        });
        Mapping(told)
    }

    /// Asks for all bytes of a buffer, to write.
    pub(super) fn of_all(buffer: &wgpu::Buffer) -> Mapping {
        Mapping::of(buffer, wgpu::MapMode::Write, buffer.size())
    }

    /// Waits for it; nobody uses the buffer any more.
    ///
    /// # Errors
    /// [`DeviceError::Driver`].
    fn poll(self, device: &wgpu::Device) -> Result<(), DeviceError> {
        if self.0.try_recv() == Ok(true) {
            return Ok(());
        }
        let _ = device.poll(wgpu::PollType::Poll);
        self.wait(MAP_PATIENCE)
    }

    /// Waits for it; the caller has polled, after the GPU was done with the buffer.
    ///
    /// # Errors
    /// [`DeviceError::Driver`].
    pub(super) fn wait(self, patience: Duration) -> Result<(), DeviceError> {
        // Another engine's thread may be the one that tells, a little later than this one polls.
        match self.0.recv_timeout(patience) {
            Ok(true) => Ok(()),
            _ => Err(NOT_MAPPED),
        }
    }
}

/// Memory of a buffer cannot be had.
pub(super) const NOT_MAPPED: DeviceError = DeviceError::Driver("it maps no memory");
