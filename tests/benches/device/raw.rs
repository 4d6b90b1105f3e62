//! Loops written by hand with wgpu.

use super::copies::{Case, Way};
use super::subject::CHUNK;
use memmap2::{Advice, MmapMut};
use std::sync::mpsc;
use std::thread;

/// The loop that submits page by page.
pub(crate) const PER_PAGE: &str = "raw/submit-per-page";
const WHOLE: &str = "raw/whole";
/// The loop of another thread.
pub(crate) const THREAD: &str = "raw/thread";
const WINDOWS: &str = "raw/windows";
const ONE_SUBMIT: &str = "raw/one-submit";
/// As many submits as commands, and one wait.
const SUBMITS: &str = "raw/submits";

/// What passes through a staging buffer of [`WINDOWS`] at once, and how many take turns.
const WINDOW: u64 = 2 << 20;
const TURNS: usize = 4;

/// The loops that do what a case says.
pub(crate) fn loops(case: &Case) -> &'static [&'static str] {
    match case.way {
        Way::Up | Way::Down if case.commands > 1 => &[WINDOWS],
        _ if case.commands > 1 => &[SUBMITS],
        _ if !case.contiguous() => &[ONE_SUBMIT, PER_PAGE],
        Way::Up | Way::Down if case.bytes > WINDOW => &[WHOLE, WINDOWS],
        _ => &[WHOLE, THREAD],
    }
}

/// What does a round of a loop.
pub(crate) fn rounds(mut raw: Raw, name: &str) -> Box<dyn FnMut()> {
    if name != THREAD {
        return Box::new(move || raw.round());
    }
    let (ask, asked) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    // It ends when nobody can ask any more.
    thread::spawn(move || {
        while asked.recv().is_ok() {
            raw.round();
            let _ = tell.send(());
        }
    });
    Box::new(move || {
        ask.send(()).unwrap();
        told.recv().unwrap();
    })
}

/// One loop with its memory.
pub(crate) struct Raw {
    device: wgpu::Device,
    queue: wgpu::Queue,
    way: Way,
    bytes: u64,
    piece: u64,
    per_page: bool,
    from: Vec<u64>,
    to: Vec<u64>,
    system: MmapMut,
    /// Of source and destination; one list when one side is elsewhere, or the copy inside a buffer.
    vram: [Vec<wgpu::Buffer>; 2],
    staging: Vec<wgpu::Buffer>,
}

impl Raw {
    pub(crate) fn new(
        (device, queue): &(wgpu::Device, wgpu::Queue),
        case: &Case,
        (from, to): (&[u64], &[u64]),
        name: &str,
    ) -> Raw {
        use wgpu::BufferUsages as Usage;
        let buffer = |size, usage, mapped_at_creation| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation,
            })
        };
        let of_gpu = Usage::COPY_SRC | Usage::COPY_DST | Usage::STORAGE;
        // Buffers no larger than the device's: larger ones cannot be bound everywhere.
        let chunks = |bytes: u64| -> Vec<_> {
            let sizes = (0..bytes).step_by(CHUNK as usize);
            sizes
                .map(|at| buffer(CHUNK.min(bytes - at), of_gpu, false))
                .collect()
        };
        let vram = match case.way {
            Way::Up | Way::Down => [chunks(case.span()), Vec::new()],
            Way::Across => [chunks(case.span()), chunks(case.span())],
            Way::Within => [vec![buffer(2 * case.span(), of_gpu, false)], Vec::new()],
        };
        let windows = name == WINDOWS;
        let window = match case.commands {
            1 => WINDOW,
            commands => case.bytes / commands,
        };
        let (size, count) = if windows {
            (window, TURNS)
        } else {
            (case.bytes, 1)
        };
        let staging = (0..count)
            .map(|_| match case.way {
                Way::Up => buffer(size, Usage::MAP_WRITE | Usage::COPY_SRC, true),
                Way::Down => buffer(size, Usage::MAP_READ | Usage::COPY_DST, false),
                Way::Across | Way::Within => buffer(size, of_gpu, false),
            })
            .collect();
        let mut system = MmapMut::map_anon(case.span() as usize).unwrap();
        // Refused where there are none.
        let _ = system.advise(Advice::HugePage);
        system.fill(1);
        // Memory that nobody wrote may be no memory.
        for vram in vram.iter().flatten() {
            for at in (0..vram.size()).step_by(system.len().min(16 << 20)) {
                let now = (vram.size() - at).min(system.len() as u64).min(16 << 20);
                queue.write_buffer(vram, at, &system[..now as usize]);
            }
            wait(device, queue.submit([]));
        }
        // In windows, a contiguous transfer goes in pieces; otherwise in as many as it has chunks.
        let piece = match case.contiguous() {
            true if windows || case.commands > 1 => window,
            true => case.piece.min(CHUNK),
            false => case.piece,
        };
        let cut = |places: &[u64]| match case.contiguous() {
            true => (0..case.bytes).step_by(piece as usize).collect(),
            false => places.to_vec(),
        };
        Raw {
            device: device.clone(),
            queue: queue.clone(),
            way: case.way,
            bytes: case.bytes,
            piece,
            per_page: name == PER_PAGE || name == SUBMITS,
            from: cut(from),
            to: cut(to),
            system,
            vram,
            staging,
        }
    }

    /// The whole transfer.
    pub(crate) fn round(&mut self) {
        match self.way {
            Way::Up if self.staging.len() > 1 => self.up_in_windows(),
            Way::Up => self.up(),
            Way::Down if self.staging.len() > 1 => self.down_in_windows(),
            Way::Down => self.down(),
            Way::Across | Way::Within => {
                let index = self.submit(0..self.from.len());
                self.wait(index);
            }
        }
    }

    fn up(&mut self) {
        let staging = &self.staging[0];
        let mut view = staging.get_mapped_range_mut(..self.bytes).unwrap();
        let piece = self.piece as usize;
        for (index, from) in self.from.iter().enumerate() {
            let mut place = view.slice(index * piece..(index + 1) * piece);
            place.copy_from_slice(&self.system[*from as usize..][..piece]);
        }
        drop(view);
        staging.unmap();
        let index = self.submit(0..self.from.len());
        staging.map_async(wgpu::MapMode::Write, .., |mapped| mapped.unwrap());
        self.wait(index);
    }

    fn down(&mut self) {
        let staging = &self.staging[0];
        let index = self.submit(0..self.from.len());
        staging.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
        self.wait(index);
        let view = staging.get_mapped_range(..self.bytes).unwrap();
        let piece = self.piece as usize;
        for (index, to) in self.to.iter().enumerate() {
            let bytes = &view[index * piece..][..piece];
            self.system[*to as usize..][..piece].copy_from_slice(bytes);
        }
        drop(view);
        staging.unmap();
    }

    fn up_in_windows(&mut self) {
        let mut flying: Vec<Option<wgpu::SubmissionIndex>> = vec![None; self.staging.len()];
        for (index, from) in self.from.iter().enumerate() {
            let turn = index % self.staging.len();
            if let Some(index) = flying[turn].take() {
                self.wait(index);
            }
            let staging = &self.staging[turn];
            let mut view = staging.get_mapped_range_mut(..self.piece).unwrap();
            view.slice(..)
                .copy_from_slice(&self.system[*from as usize..][..self.piece as usize]);
            drop(view);
            staging.unmap();
            flying[turn] = Some(self.submit(index..index + 1));
            staging.map_async(wgpu::MapMode::Write, .., |mapped| mapped.unwrap());
        }
        for index in flying.into_iter().flatten() {
            self.wait(index);
        }
    }

    fn down_in_windows(&mut self) {
        let ahead = self.staging.len();
        let mut flying = std::collections::VecDeque::new();
        for index in 0..self.from.len() + ahead {
            if index >= ahead {
                let done = index - ahead;
                let submitted = flying.pop_front().unwrap();
                self.wait(submitted);
                let staging = &self.staging[done % ahead];
                let view = staging.get_mapped_range(..self.piece).unwrap();
                self.system[self.to[done] as usize..][..self.piece as usize].copy_from_slice(&view);
                drop(view);
                staging.unmap();
            }
            if index < self.from.len() {
                flying.push_back(self.submit(index..index + 1));
                let staging = &self.staging[index % ahead];
                staging.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
            }
        }
    }

    /// Submits pieces; the answer is the last submit.
    fn submit(&self, pieces: std::ops::Range<usize>) -> wgpu::SubmissionIndex {
        let pieces: Vec<_> = pieces.collect();
        let together = if self.per_page { 1 } else { pieces.len() };
        let submits = pieces.chunks(together).map(|pieces| {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            for index in pieces {
                self.encode(*index, &mut encoder);
            }
            self.queue.submit([encoder.finish()])
        });
        // Every one of them is submitted.
        submits.fold(None, |_, index| Some(index)).unwrap()
    }

    fn encode(&self, index: usize, encoder: &mut wgpu::CommandEncoder) {
        let (from, to, piece) = (self.from[index], self.to[index], self.piece);
        let (turn, at) = match self.staging.len() {
            1 => (0, index as u64 * piece),
            turns => (index % turns, 0),
        };
        let staging = &self.staging[turn];
        let place = |side: usize, at: u64| (&self.vram[side][(at / CHUNK) as usize], at % CHUNK);
        match self.way {
            Way::Up => {
                let (vram, to) = place(0, to);
                encoder.copy_buffer_to_buffer(staging, at, vram, to, piece);
            }
            Way::Down => {
                let (vram, from) = place(0, from);
                encoder.copy_buffer_to_buffer(vram, from, staging, at, piece);
            }
            Way::Across => {
                let ((source, from), (target, to)) = (place(0, from), place(1, to));
                encoder.copy_buffer_to_buffer(source, from, target, to, piece);
            }
            Way::Within => {
                let vram = &self.vram[0][0];
                let to = vram.size() / 2 + to;
                encoder.copy_buffer_to_buffer(vram, from, staging, at, piece);
                encoder.copy_buffer_to_buffer(staging, at, vram, to, piece);
            }
        }
    }

    fn wait(&self, index: wgpu::SubmissionIndex) {
        wait(&self.device, index);
    }
}

/// Waits for a submit.
pub(crate) fn wait(device: &wgpu::Device, index: wgpu::SubmissionIndex) {
    let waited = device.poll(wgpu::PollType::Wait {
        submission_index: Some(index),
        timeout: None,
    });
    waited.unwrap();
}
