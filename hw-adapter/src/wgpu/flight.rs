//! A window on its way: what is read is submitted first, what is written when the CPU has moved
//! its bytes. In between and afterwards other windows may go ahead.

use std::collections::VecDeque;

use crate::error::DeviceError;

use super::context::{Context, Submitted};
use super::host::Host;
use super::staging::{MAP_PATIENCE, Mapping, NOT_MAPPED, Pool, Use};
use super::window::{Move, Window};

/// A window that was begun. Left alone, its submits go on without it.
pub(super) struct Flight {
    window: Window,
    state: State,
}

enum State {
    /// The CPU has not moved anything.
    Reading(Option<Readback>),
    /// The GPU has all that it needs.
    Writing(Option<Writing>),
}

/// What the GPU writes and the CPU will read.
struct Readback {
    submitted: Submitted,
    buffer: wgpu::Buffer,
    mapping: Mapping,
}

/// What the GPU uses until a submit is done.
struct Writing {
    submitted: Submitted,
    /// That is kept.
    upload: Option<(wgpu::Buffer, Mapping)>,
    bounce: Option<wgpu::Buffer>,
}

impl Flight {
    /// Submits what is read.
    ///
    /// # Errors
    /// Those of [`Context::touch`] and [`Context::guarded`].
    pub(super) fn begin(mut window: Window, context: &Context) -> Result<Flight, DeviceError> {
        window.settle();
        context.touch(&context.absent(&window.chunks()))?;
        let readback = match window.downloads.is_empty() {
            true => None,
            false => Some(context.guarded(|| read(&window, context))?),
        };
        Ok(Flight {
            window,
            state: State::Reading(readback),
        })
    }

    /// Whether the CPU can move its bytes without waiting for the GPU.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Reading(None))
    }

    /// Waits for what is read, lets the CPU move bytes, and submits what is written; once.
    ///
    /// # Errors
    /// Those of [`Context::guarded`]; part of it may be done.
    pub(super) fn go_on(
        &mut self,
        context: &Context,
        host: &mut Host<'_, '_>,
    ) -> Result<(), DeviceError> {
        let State::Reading(readback) = &mut self.state else {
            return Ok(());
        };
        let readback = readback.take();
        self.state = State::Writing(match self.window.uses_gpu() {
            true => context.guarded(|| turn(&self.window, readback, context, host))?,
            false => {
                moves(&self.window.moves, host, &[], None)?;
                None
            }
        });
        Ok(())
    }

    /// Does what is left of it, and waits for the GPU.
    ///
    /// # Errors
    /// Those of [`Context::guarded`]; part of it may be done.
    pub(super) fn end(
        mut self,
        context: &Context,
        host: &mut Host<'_, '_>,
    ) -> Result<(), DeviceError> {
        self.go_on(context, host)?;
        let State::Writing(Some(writing)) = self.state else {
            return Ok(());
        };
        context.guarded(|| {
            context.wait(&writing.submitted)?;
            if let Some((buffer, mapping)) = writing.upload {
                context.pool.give_mapped(buffer, mapping);
            }
            if let Some(buffer) = writing.bounce {
                context.pool.give(Use::Bounce, buffer);
            }
            Ok(())
        })
    }

    /// Its last submit.
    pub(super) fn submitted(&self) -> Option<&Submitted> {
        match &self.state {
            State::Reading(readback) => readback.as_ref().map(|readback| &readback.submitted),
            State::Writing(writing) => writing.as_ref().map(|writing| &writing.submitted),
        }
    }
}

/// Waits for the GPU after a failure: it may still be at work on bytes that are claimed until now.
pub(super) fn abandon(flights: &VecDeque<Flight>, context: &Context) {
    if let Some(submitted) = flights.iter().rev().find_map(Flight::submitted) {
        let _ = context.guarded(|| context.wait(submitted));
    }
}

/// The buffers of a window's chunks: looking for them costs as much as a command.
struct Chunks(Vec<(u64, wgpu::Buffer)>);

impl Chunks {
    fn of(window: &Window, context: &Context) -> Chunks {
        let chunks = window.chunks().into_iter();
        Chunks(chunks.map(|index| (index, context.chunk(index))).collect())
    }

    /// One of [`Window::chunks`].
    fn at(&self, index: u64) -> Result<&wgpu::Buffer, DeviceError> {
        let place = self.0.binary_search_by_key(&index, |(index, _)| *index);
        place.map(|place| &self.0[place].1).map_err(|_| NO_CHUNK)
    }
}

const NO_CHUNK: DeviceError = DeviceError::Bug("a window does not know one of its chunks");

/// Submits what fills the buffer that is read back.
fn read(window: &Window, context: &Context) -> Result<Readback, DeviceError> {
    let chunks = Chunks::of(window, context);
    let bytes = window.readback_bytes;
    let buffer = context.pool.take(context, Use::Readback, bytes);
    let mut encoder = context.device.create_command_encoder(&Default::default());
    for staged in &window.downloads {
        let chunk = chunks.at(staged.chunk)?;
        let (offset, at, bytes) = (staged.offset, staged.at, staged.bytes);
        encoder.copy_buffer_to_buffer(chunk, offset, &buffer, at, bytes);
    }
    let submitted = context.submit(encoder);
    let mapping = Mapping::of(&buffer, wgpu::MapMode::Read, bytes);
    Ok(Readback {
        submitted,
        buffer,
        mapping,
    })
}

/// Lets the CPU move what was read and what is written, and submits the latter.
fn turn(
    window: &Window,
    readback: Option<Readback>,
    context: &Context,
    host: &mut Host<'_, '_>,
) -> Result<Option<Writing>, DeviceError> {
    let bytes = window.upload_bytes;
    let upload = match bytes {
        0 => None,
        bytes => Some(context.upload(bytes)?),
    };
    let view = upload.as_ref().map(|buffer| {
        let view = buffer.get_mapped_range_mut(..bytes);
        view.map_err(|_| NOT_MAPPED)
    });
    let mut view = view.transpose()?;
    match readback {
        None => moves(&window.moves, host, &[], view.as_mut())?,
        Some(Readback {
            submitted,
            buffer,
            mapping,
        }) => {
            context.wait(&submitted)?;
            mapping.wait(MAP_PATIENCE)?;
            let range = buffer.get_mapped_range(..window.readback_bytes);
            let read = range.map_err(|_| NOT_MAPPED)?;
            moves(&window.moves, host, &read, view.as_mut())?;
            drop(read);
            buffer.unmap();
            context.pool.give(Use::Readback, buffer);
        }
    }
    drop(view);
    if let Some(buffer) = &upload {
        buffer.unmap();
    }
    let bounce = (window.bounce_bytes > 0)
        .then(|| context.pool.take(context, Use::Bounce, window.bounce_bytes));
    let Some(encoder) = encode(window, context, upload.as_ref(), bounce.as_ref())? else {
        return Ok(None);
    };
    let submitted = context.submit(encoder);
    // It is mapped again by whoever polls when the GPU is done with it.
    let upload = upload.filter(Pool::keeps).map(|buffer| {
        let mapping = Mapping::of_all(&buffer);
        (buffer, mapping)
    });
    Ok(Some(Writing {
        submitted,
        upload,
        bounce,
    }))
}

/// What the second submit does, if anything.
fn encode(
    window: &Window,
    context: &Context,
    upload: Option<&wgpu::Buffer>,
    bounce: Option<&wgpu::Buffer>,
) -> Result<Option<wgpu::CommandEncoder>, DeviceError> {
    let direct = window.bounces.len() + window.copies.len() + window.clears.len();
    if upload.is_none() && direct == 0 {
        return Ok(None);
    }
    let chunks = Chunks::of(window, context);
    let mut encoder = context.device.create_command_encoder(&Default::default());
    // All that is read by way of the bounce buffer comes before all that is written: nothing
    // of a command reads what it writes, and the GPU waits less often.
    if let Some(bounce) = bounce {
        let mut at = 0;
        for copy in &window.bounces {
            let chunk = chunks.at(copy.from.0)?;
            encoder.copy_buffer_to_buffer(chunk, copy.from.1, bounce, at, copy.bytes);
            at += copy.bytes;
        }
        at = 0;
        for copy in &window.bounces {
            let chunk = chunks.at(copy.to.0)?;
            encoder.copy_buffer_to_buffer(bounce, at, chunk, copy.to.1, copy.bytes);
            at += copy.bytes;
        }
    }
    for copy in &window.copies {
        let (from, to) = (chunks.at(copy.from.0)?, chunks.at(copy.to.0)?);
        encoder.copy_buffer_to_buffer(from, copy.from.1, to, copy.to.1, copy.bytes);
    }
    for (chunk, offset, bytes) in &window.clears {
        encoder.clear_buffer(chunks.at(*chunk)?, *offset, Some(*bytes));
    }
    if let Some(upload) = upload {
        for staged in &window.uploads {
            let chunk = chunks.at(staged.chunk)?;
            let (offset, at, bytes) = (staged.offset, staged.at, staged.bytes);
            encoder.copy_buffer_to_buffer(upload, at, chunk, offset, bytes);
        }
    }
    Ok(Some(encoder))
}

/// What the CPU moves.
fn moves(
    moves: &[Move],
    host: &mut Host<'_, '_>,
    readback: &[u8],
    mut upload: Option<&mut wgpu::BufferViewMut>,
) -> Result<(), DeviceError> {
    for Move { from, to, bytes } in moves {
        host.transfer(*from, *to, *bytes, readback, upload.as_deref_mut())?;
    }
    Ok(())
}
