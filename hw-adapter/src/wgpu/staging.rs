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

/// What a buffer that is kept holds, in bytes: more than any window needs.
pub(super) const KEPT: u64 = 32 << 20;

/// Below this many bytes a new buffer costs less than a lock and a map.
const SMALL: u64 = 64 << 10;

/// How many are kept of each use.
const MOST: usize = 4;

/// Buffers that nobody uses.
#[derive(Default)]
pub(super) struct Pool {
    idle: [Mutex<Vec<wgpu::Buffer>>; 3],
}

impl Pool {
    /// A buffer of at least so many bytes. Only inside [`Context::guarded`].
    pub(super) fn take(&self, context: &Context, kind: Use, bytes: u64) -> wgpu::Buffer {
        if !kept(bytes) {
            return context.buffer(kind.label(), bytes, kind.usage());
        }
        let idle = lock(&self.idle[kind as usize]).pop();
        idle.unwrap_or_else(|| context.buffer(kind.label(), KEPT, kind.usage()))
    }

    /// Keeps a buffer for later: the GPU is done with it, and it is not mapped.
    pub(super) fn give(&self, kind: Use, buffer: wgpu::Buffer) {
        let mut idle = lock(&self.idle[kind as usize]);
        if buffer.size() == KEPT && idle.len() < MOST {
            idle.push(buffer);
        }
    }
}

fn kept(bytes: u64) -> bool {
    (SMALL..=KEPT).contains(&bytes)
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
