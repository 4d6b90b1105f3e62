//! Dispatches that go to the GPU in one submit.

use std::sync::Arc;

use crate::error::DeviceError;
use crate::exec::Access;
use crate::mmu::PAGE;
use crate::sync::lock;

use super::super::context::Context;
use super::super::staging::{MAP_PATIENCE, Mapping, NOT_MAPPED, Use};
use super::pipelines::{Pipeline, check_slots};
use super::stage::Stage;
use super::{Entry, Header, Mode, NONE, within};

/// What dispatches use besides memory, kept for the next ones.
pub(super) struct Small {
    headers: wgpu::Buffer,
    out: wgpu::Buffer,
    lists: wgpu::Buffer,
    results: wgpu::Buffer,
    /// Bound where there is nothing.
    nothing: wgpu::Buffer,
}

/// Sizes of what is kept, in bytes.
const HEADERS: u64 = 64 << 10;
const OUT: u64 = 64 << 10;
const LISTS: u64 = 256 << 10;

/// Which shader a dispatch runs.
#[derive(Clone)]
pub(super) enum Shader {
    BuiltIn(Entry),
    /// Of a user, for as many slots as the batch has.
    Made(Arc<Pipeline>),
}

struct Dispatch {
    shader: Shader,
    header: usize,
    groups: [u32; 3],
}

/// Dispatches that go to the GPU in one submit.
pub(in super::super) struct Batch {
    mode: Mode,
    pub(super) chunks: Vec<u64>,
    headers: Vec<Header>,
    dispatches: Vec<Dispatch>,
    /// What `gmm_out` holds at first.
    out: Vec<u32>,
    /// What comes behind the slots of the chunks in `gmm_lists`.
    lists: Vec<u32>,
    bounds: (u64, u64),
    table: Option<wgpu::Buffer>,
    pub(super) stage: Stage,
    /// Whether somebody looks at `gmm_out`.
    results: bool,
}

impl Batch {
    pub(super) fn new(mode: Mode) -> Batch {
        Batch {
            mode,
            chunks: Vec::new(),
            headers: Vec::new(),
            dispatches: Vec::new(),
            out: Vec::new(),
            lists: Vec::new(),
            bounds: (0, 0),
            table: None,
            stage: Stage::default(),
            results: false,
        }
    }

    /// One whose shaders walk a page table.
    pub(super) fn walking(table: wgpu::Buffer, bounds: (u64, u64), stage: Stage) -> Batch {
        Batch {
            table: Some(table),
            bounds,
            stage,
            results: true,
            ..Batch::new(Mode::Walk)
        }
    }

    /// The slot of a chunk.
    pub(super) fn slot(&mut self, chunk: u64) -> u32 {
        let place = self.chunks.iter().position(|known| *known == chunk);
        let place = place.unwrap_or_else(|| {
            self.chunks.push(chunk);
            self.chunks.len() - 1
        });
        place as u32
    }

    /// Adds a list; the answer is what [`Batch::header`] needs of it.
    pub(super) fn list(&mut self, words: impl Iterator<Item = u32>) -> usize {
        let begin = self.lists.len();
        self.lists.extend(words);
        begin
    }

    /// Adds results, the first of them as given and the others 0; the answer is where they begin.
    pub(super) fn results(&mut self, first: [u32; 4], more: usize) -> usize {
        let begin = self.out.len();
        self.out.extend(first);
        self.out.resize(begin + first.len() + more, 0);
        begin
    }

    /// Adds a header; its list and its results are the batch's.
    pub(super) fn header(
        &mut self,
        mut header: Header,
        list: (usize, usize),
        results: usize,
    ) -> usize {
        header.0[1] = list.0 as u32;
        header.0[2] = list.1 as u32;
        header.0[3] = results as u32;
        self.headers.push(header);
        self.headers.len() - 1
    }

    pub(super) fn dispatch(&mut self, shader: Shader, header: usize, groups: [u32; 3]) {
        self.dispatches.push(Dispatch {
            shader,
            header,
            groups,
        });
    }

    /// Has the results read.
    pub(super) fn read_results(&mut self) {
        self.results = true;
    }

    /// Does it all and waits for the GPU; what it uses is claimed in `access`. The answer is what
    /// the shaders told.
    pub(super) fn run(
        mut self,
        context: &Context,
        access: &mut Access<'_>,
    ) -> Result<Vec<u32>, DeviceError> {
        let limits = context.device.limits();
        check_slots(self.mode, self.chunks.len(), &limits)?;
        let binding = limits.max_storage_buffer_binding_size;
        let limit = "max_storage_buffer_binding_size";
        within(limit, binding, self.stage.bytes())?;
        let table = self.table.as_ref().map_or(0, wgpu::Buffer::size);
        within(limit, binding, table)?;
        context.touch(&self.chunks)?;
        self.place(context);
        context.guarded(|| {
            self.perform(
                context,
                access,
                u64::from(limits.min_uniform_buffer_offset_alignment),
            )
        })
    }

    /// Puts the slots of the chunks before the lists.
    fn place(&mut self, context: &Context) {
        if self.mode == Mode::Direct {
            return;
        }
        let chunks = context.chunk_count();
        let mut lists = Vec::with_capacity(4 + chunks + self.lists.len());
        lists.extend(super::halves(self.bounds.0));
        lists.extend(super::halves(self.bounds.1));
        lists.resize(4 + chunks, NONE);
        for (slot, chunk) in (0..).zip(&self.chunks) {
            lists[4 + *chunk as usize] = slot;
        }
        lists.append(&mut self.lists);
        self.lists = lists;
        for header in &mut self.headers {
            header.0[0] = (context.chunk_bytes / PAGE) as u32;
            header.0[1] += 4 + chunks as u32;
        }
    }

    fn perform(
        &self,
        context: &Context,
        access: &mut Access<'_>,
        alignment: u64,
    ) -> Result<Vec<u32>, DeviceError> {
        let stride = Header::BYTES.next_multiple_of(alignment.max(1));
        let small = self.small(context, stride);
        let mut headers = vec![0; self.headers.len() * stride as usize];
        for (header, place) in self.headers.iter().zip(headers.chunks_mut(stride as usize)) {
            fill_words(place, &header.0);
        }
        context.queue.write_buffer(&small.headers, 0, &headers);
        if self.mode != Mode::Direct {
            let mut lists = vec![0; self.lists.len() * 4];
            fill_words(&mut lists, &self.lists);
            context.queue.write_buffer(&small.lists, 0, &lists);
        }
        let out_bytes = self.out.len() as u64 * 4;
        let mut out = vec![0; out_bytes as usize];
        fill_words(&mut out, &self.out);
        context.queue.write_buffer(&small.out, 0, &out);

        let staged = self.stage.bytes();
        let stage = (staged > 0).then(|| context.pool.take(context, Use::Bounce, staged));
        let mut encoder = context.device.create_command_encoder(&Default::default());
        let upload = match &stage {
            Some(stage) if self.stage.is_read() => {
                let upload = context.upload(staged)?;
                let view = upload.get_mapped_range_mut(..staged);
                self.stage
                    .bring(access, &mut view.map_err(|_| NOT_MAPPED)?)?;
                upload.unmap();
                encoder.copy_buffer_to_buffer(&upload, 0, stage, 0, staged);
                Some(upload)
            }
            _ => None,
        };
        self.encode(context, &mut encoder, &small, stage.as_ref(), stride);
        let back = match &stage {
            Some(stage) if self.stage.is_written() => {
                let back = context.pool.take(context, Use::Readback, staged);
                encoder.copy_buffer_to_buffer(stage, 0, &back, 0, staged);
                Some(back)
            }
            _ => None,
        };
        if self.results {
            encoder.copy_buffer_to_buffer(&small.out, 0, &small.results, 0, out_bytes);
        }
        // Words are changed in part: whoever changes other bytes of them by the CPU has ended.
        let words = lock(&context.words);
        let submitted = context.submit(encoder);
        drop(words);
        let map = |buffer: &wgpu::Buffer, bytes| Mapping::of(buffer, wgpu::MapMode::Read, bytes);
        let results = self.results.then(|| map(&small.results, out_bytes));
        let written = back.as_ref().map(|back| map(back, staged));
        context.wait(&submitted)?;
        let mut answer = Vec::new();
        if let Some(mapping) = results {
            mapping.wait(MAP_PATIENCE)?;
            let view = small.results.get_mapped_range(..out_bytes);
            let view = view.map_err(|_| NOT_MAPPED)?;
            let (words, _) = view.as_chunks();
            answer.extend(words.iter().copied().map(u32::from_le_bytes));
            drop(view);
            small.results.unmap();
        }
        if let (Some(mapping), Some(back)) = (written, back) {
            mapping.wait(MAP_PATIENCE)?;
            let view = back.get_mapped_range(..staged).map_err(|_| NOT_MAPPED)?;
            let fault = answer.first().filter(|note| **note != NONE);
            let fault = fault.map(|note| u64::from(note >> 4));
            let brought = match self.stage.can_come_back(fault) {
                true => self.stage.bring_back(access, &view),
                false => Ok(()),
            };
            drop(view);
            back.unmap();
            context.pool.give(Use::Readback, back);
            brought?;
        }
        for (kind, buffer) in [(Use::Upload, upload), (Use::Bounce, stage)] {
            if let Some(buffer) = buffer {
                context.pool.give(kind, buffer);
            }
        }
        self.keep(context, small);
        Ok(answer)
    }

    fn encode(
        &self,
        context: &Context,
        encoder: &mut wgpu::CommandEncoder,
        small: &Small,
        stage: Option<&wgpu::Buffer>,
        stride: u64,
    ) {
        let chunks: Vec<_> = self.chunks.iter().map(|c| context.chunk(*c)).collect();
        let mut bound: Vec<&wgpu::Buffer> = vec![&small.out];
        if self.mode != Mode::Direct {
            bound.push(&small.lists);
        }
        if self.mode == Mode::Walk {
            bound.push(self.table.as_ref().unwrap_or(&small.nothing));
            bound.push(stage.unwrap_or(&small.nothing));
        }
        bound.extend(&chunks);
        let header = wgpu::BufferBinding {
            buffer: &small.headers,
            offset: 0,
            size: wgpu::BufferSize::new(Header::BYTES),
        };
        let mut entries = vec![wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(header),
        }];
        entries.extend(
            (1..)
                .zip(bound)
                .map(|(binding, buffer)| wgpu::BindGroupEntry {
                    binding,
                    resource: buffer.as_entire_binding(),
                }),
        );
        let shaders: Vec<_> = self
            .dispatches
            .iter()
            .map(|dispatch| match &dispatch.shader {
                Shader::BuiltIn(entry) => {
                    let slots = self.chunks.len();
                    context.kernels.built_in(context, self.mode, slots, *entry)
                }
                Shader::Made(pipeline) => Arc::clone(pipeline),
            })
            .collect();
        let Some(first) = shaders.first() else { return };
        let group = context
            .device
            .create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("gpumm kernel"),
                layout: &first.layout,
                entries: &entries,
            });
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for (dispatch, shader) in self.dispatches.iter().zip(&shaders) {
            pass.set_pipeline(&shader.pipeline);
            let offset = (dispatch.header as u64 * stride) as u32;
            pass.set_bind_group(0, &group, &[offset]);
            let [x, y, z] = dispatch.groups;
            pass.dispatch_workgroups(x, y, z);
        }
    }

    /// What dispatches use: kept from before, or new.
    fn small(&self, context: &Context, stride: u64) -> Small {
        let sizes = self.sizes(stride);
        let usual = sizes == [HEADERS, OUT, LISTS];
        let kept = lock(&context.kernels.small).pop_if(|_| usual);
        kept.unwrap_or_else(|| {
            use wgpu::BufferUsages as Usage;
            let [headers, out, lists] = sizes;
            let inputs = Usage::STORAGE | Usage::COPY_DST;
            Small {
                headers: context.buffer("headers", headers, Usage::UNIFORM | Usage::COPY_DST),
                out: context.buffer("results", out, inputs | Usage::COPY_SRC),
                lists: context.buffer("lists", lists, inputs),
                results: context.buffer("results", out, Usage::MAP_READ | Usage::COPY_DST),
                nothing: context.buffer("nothing", 256, inputs),
            }
        })
    }

    /// Bytes of headers, results and lists: what is kept has, or more.
    fn sizes(&self, stride: u64) -> [u64; 3] {
        let headers = self.headers.len() as u64 * stride;
        [
            headers.max(HEADERS),
            (self.out.len() as u64 * 4).max(OUT),
            (self.lists.len() as u64 * 4).max(LISTS),
        ]
    }

    /// Keeps what was used for the next dispatches, if it has the usual sizes.
    fn keep(&self, context: &Context, small: Small) {
        let sizes = [&small.headers, &small.out, &small.lists].map(wgpu::Buffer::size);
        let mut kept = lock(&context.kernels.small);
        if sizes == [HEADERS, OUT, LISTS] && kept.len() < 8 {
            kept.push(small);
        }
    }
}

/// Writes numbers as the GPU reads them.
fn fill_words(bytes: &mut [u8], words: &[u32]) {
    let (places, _) = bytes.as_chunks_mut();
    for (place, word) in places.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
}
