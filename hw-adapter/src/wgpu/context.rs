//! A wgpu device with the buffers that vram is made of. Whatever wgpu reports becomes an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use pollster::block_on;

use crate::error::DeviceError;
use crate::sync::lock;

use super::Shared;
use super::kernels::{Images, Kernels};
use super::staging::Pool;

/// Tells that a wgpu device is lost.
#[derive(Debug, Default)]
pub(super) struct Signal {
    lost: AtomicBool,
    /// Who wants to know at once.
    told: OnceLock<Weak<Shared>>,
}

impl Signal {
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// From now on a loss is told at once; one that was before is told now.
    pub(super) fn tell(self: &Arc<Self>, shared: Weak<Shared>) {
        // It is told to one, and once.
        let _ = self.told.set(shared);
        if self.is_lost() {
            self.raise();
        }
    }

    /// The wgpu device is lost.
    pub(super) fn raise(self: &Arc<Self>) {
        self.lost.store(true, Ordering::Release);
        if let Some(shared) = self.told.get().and_then(Weak::upgrade) {
            shared.context_lost(self);
        }
    }
}

/// What the GPU was given to do.
pub(super) struct Submitted {
    index: wgpu::SubmissionIndex,
    done: Arc<AtomicBool>,
}

impl Submitted {
    /// Whether wgpu has called back: it does when somebody polls or waits after the end.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
}

/// A wgpu device, as long as it is not lost.
pub(super) struct Context {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) signal: Arc<Signal>,
    pub(super) chunk_bytes: u64,
    vram_bytes: u64,
    /// Made on first touch.
    chunks: Mutex<Vec<Option<wgpu::Buffer>>>,
    /// Held by whoever reads words, to write them back with other bytes changed: commands on
    /// different bytes of one word may run at once.
    pub(super) words: Mutex<()>,
    patience: Duration,
    pub(super) pool: Pool,
    pub(super) kernels: Kernels,
    /// Whether the CPU runs kernels on lists.
    pub(super) lists_by_cpu: bool,
    /// The page tables as the GPU has them.
    pub(super) images: Images,
    /// What wgpu said last.
    said: Mutex<Option<String>>,
}

/// What chunks are used for; kernels bind them.
const CHUNK_USAGE: wgpu::BufferUsages = wgpu::BufferUsages::COPY_SRC
    .union(wgpu::BufferUsages::COPY_DST)
    .union(wgpu::BufferUsages::STORAGE);

impl Context {
    pub(super) fn new(
        (device, queue): (wgpu::Device, wgpu::Queue),
        vram_bytes: u64,
        chunk_bytes: u64,
        patience: Duration,
    ) -> Context {
        let signal = Arc::new(Signal::default());
        let raised = Arc::clone(&signal);
        device.set_device_lost_callback(move |_, _| raised.raise());
        Context {
            device,
            queue,
            signal,
            chunk_bytes,
            vram_bytes,
            chunks: Mutex::default(),
            words: Mutex::new(()),
            patience,
            pool: Pool::default(),
            kernels: Kernels::default(),
            lists_by_cpu: false,
            images: Images::default(),
            said: Mutex::default(),
        }
    }

    /// What wgpu last said about work that it refused.
    pub(super) fn said(&self) -> Option<String> {
        lock(&self.said).clone()
    }

    /// How many bytes of GPU memory the chunks have.
    pub(super) fn chunk_memory(&self) -> u64 {
        lock(&self.chunks)
            .iter()
            .flatten()
            .map(wgpu::Buffer::size)
            .sum()
    }

    /// Gives all chunks back; content is zero again. Nobody uses them.
    pub(super) fn clear(&self) {
        for chunk in std::mem::take(&mut *lock(&self.chunks))
            .into_iter()
            .flatten()
        {
            chunk.destroy();
        }
    }

    /// How many chunks there can be.
    pub(super) fn chunk_count(&self) -> usize {
        self.vram_bytes.div_ceil(self.chunk_bytes) as usize
    }

    /// A chunk, all zero when it is new. Only inside [`Context::guarded`].
    pub(super) fn chunk(&self, index: u64) -> wgpu::Buffer {
        let mut chunks = lock(&self.chunks);
        let place = index as usize;
        if chunks.len() <= place {
            chunks.resize(place + 1, None);
        }
        if let Some(chunk) = &chunks[place] {
            return chunk.clone();
        }
        let start = index.saturating_mul(self.chunk_bytes);
        let left = self.vram_bytes.saturating_sub(start);
        let bytes = left.next_multiple_of(4).min(self.chunk_bytes);
        let chunk = self.buffer("vram", bytes, CHUNK_USAGE);
        chunks[place] = Some(chunk.clone());
        chunk
    }

    /// Those of some chunks that are not there yet.
    pub(super) fn absent(&self, indices: &[u64]) -> Vec<u64> {
        let chunks = lock(&self.chunks);
        let there = |index: &&u64| matches!(chunks.get(**index as usize), Some(Some(_)));
        let absent = indices.iter().filter(|index| !there(index));
        absent.copied().collect()
    }

    /// Makes chunks that are not there, so that what comes does not fail for memory.
    ///
    /// # Errors
    /// [`DeviceError::GpuMemory`], and those of [`Context::guarded`]; chunks made by then stay.
    pub(super) fn touch(&self, indices: &[u64]) -> Result<(), DeviceError> {
        indices
            .iter()
            .try_for_each(|index| self.make(*index).map(drop))
    }

    /// Makes a chunk; `false` when it is there.
    ///
    /// # Errors
    /// [`DeviceError::GpuMemory`], and those of [`Context::guarded`].
    pub(super) fn make(&self, index: u64) -> Result<bool, DeviceError> {
        let there = |chunks: &Vec<Option<wgpu::Buffer>>| {
            chunks.get(index as usize).is_some_and(Option::is_some)
        };
        let old = there(&lock(&self.chunks));
        let made = self.guarded(|| {
            self.chunk(index);
            Ok(!old)
        });
        // What came of it is no buffer.
        if made.is_err() && !old {
            self.forget(&[index]);
        }
        made
    }

    /// Has wgpu tell of a loss: it is silent about buffers of a lost device.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], [`DeviceError::Driver`].
    pub(super) fn alive(&self) -> Result<(), DeviceError> {
        self.guarded(|| {
            let _ = self.device.poll(wgpu::PollType::Poll);
            match self.signal.is_lost() {
                true => Err(DeviceError::Lost),
                false => Ok(()),
            }
        })
    }

    /// Gives chunks back. Nobody uses them.
    pub(super) fn forget(&self, indices: &[u64]) {
        let mut chunks = lock(&self.chunks);
        for index in indices {
            if let Some(chunk) = chunks.get_mut(*index as usize).and_then(Option::take) {
                chunk.destroy();
            }
        }
    }

    /// Makes a buffer. Only inside [`Context::guarded`].
    pub(super) fn buffer(
        &self,
        label: &'static str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> wgpu::Buffer {
        self.create(label, bytes, usage, false)
    }

    /// Makes a buffer that is mapped. Only inside [`Context::guarded`].
    pub(super) fn mapped(
        &self,
        label: &'static str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> wgpu::Buffer {
        self.create(label, bytes, usage, true)
    }

    fn create(
        &self,
        label: &'static str,
        bytes: u64,
        usage: wgpu::BufferUsages,
        mapped: bool,
    ) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage,
            mapped_at_creation: mapped,
        })
    }

    /// Does work with wgpu.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], [`DeviceError::GpuMemory`], [`DeviceError::Driver`]: what wgpu
    /// reports, or panics with. Those of the work itself, if wgpu has nothing to say.
    pub(super) fn guarded<T>(
        &self,
        work: impl FnOnce() -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        if self.signal.is_lost() {
            return Err(DeviceError::Lost);
        }
        // wgpu panics on what it has no error for, as a lost device in the midst of a wait.
        let result = catch_unwind(AssertUnwindSafe(|| self.scoped(work)))
            .unwrap_or(Err(DeviceError::Driver("wgpu panicked")));
        match result {
            Ok(_) | Err(DeviceError::TimedOut) => return result,
            // It may be the first that is seen of a loss, of which wgpu tells when all work is over.
            Err(DeviceError::Driver(_)) => self.poll(wgpu::PollType::Wait {
                submission_index: None,
                timeout: Some(self.patience),
            }),
            Err(_) => self.look(),
        }
        match self.signal.is_lost() {
            true => Err(DeviceError::Lost),
            false => result,
        }
    }

    fn scoped<T>(&self, work: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let memory = self.device.push_error_scope(OutOfMemory);
        let validation = self.device.push_error_scope(Validation);
        let internal = self.device.push_error_scope(Internal);
        let result = work();
        let internal = block_on(internal.pop());
        let validation = block_on(validation.pop());
        let memory = block_on(memory.pop());
        // What failed for memory is invalid afterwards, so that comes first.
        let Some(error) = memory.or(internal).or(validation) else {
            return result;
        };
        *lock(&self.said) = Some(error.to_string());
        Err(named(&error))
    }

    /// Gives the GPU work. Only inside [`Context::guarded`].
    pub(super) fn submit(&self, encoder: wgpu::CommandEncoder) -> Submitted {
        let done = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&done);
        encoder.on_submitted_work_done(move || told.store(true, Ordering::Release));
        let index = self.queue.submit([encoder.finish()]);
        Submitted { index, done }
    }

    /// Lets wgpu call back for what is done by now.
    pub(super) fn look(&self) {
        self.poll(wgpu::PollType::Poll);
    }

    fn poll(&self, how: wgpu::PollType) {
        // If it panics, so does the wait for what is looked for.
        let _ = catch_unwind(AssertUnwindSafe(|| self.device.poll(how)));
    }

    /// Waits until the GPU is done.
    ///
    /// # Errors
    /// [`DeviceError::TimedOut`], and then the device is lost; [`DeviceError::Driver`].
    pub(super) fn wait(&self, submitted: &Submitted) -> Result<(), DeviceError> {
        let waited = self.device.poll(match submitted.is_done() {
            // Somebody else's poll told so: maps that were asked for since then are told by this.
            true => wgpu::PollType::Poll,
            false => wgpu::PollType::Wait {
                submission_index: Some(submitted.index.clone()),
                timeout: Some(self.patience),
            },
        });
        match waited {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => {
                // The GPU may still use the bytes: nobody else may have them.
                self.signal.raise();
                self.device.destroy();
                Err(DeviceError::TimedOut)
            }
            Err(wgpu::PollError::WrongSubmissionIndex(..)) => {
                Err(DeviceError::Driver("it takes no work"))
            }
        }
    }

    /// A buffer to upload from, mapped. Only inside [`Context::guarded`].
    pub(super) fn upload(&self, bytes: u64) -> Result<wgpu::Buffer, DeviceError> {
        self.pool.take_mapped(self, bytes)
    }
}

/// The error as one that can be compared.
fn named(error: &wgpu::Error) -> DeviceError {
    match error {
        wgpu::Error::OutOfMemory { .. } => DeviceError::GpuMemory,
        wgpu::Error::Validation { .. } => DeviceError::Driver("it is not valid"),
        wgpu::Error::Internal { .. } => DeviceError::Driver("an internal error"),
    }
}

#[cfg(test)]
#[path = "context_tests.rs"]
pub(super) mod tests;
