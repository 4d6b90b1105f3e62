//! Shaders and their pipelines, made when they are first used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::error::DeviceError;
use crate::shader::ShaderId;
use crate::sync::lock;

use super::super::context::Context;
use super::batch::Small;
use super::{Entry, Header, Mode, within};

/// Chunks bound at once, at most: the look for one of more costs too much.
const MOST_SLOTS: usize = 28;

/// What a pipeline is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    mode: Mode,
    slots: usize,
    entry: Entry,
}

/// A pipeline with the layout of what it binds.
#[derive(Clone)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// The pipelines of a wgpu device, and what their dispatches use again and again.
#[derive(Default)]
pub(in super::super) struct Kernels {
    pipelines: Mutex<HashMap<Key, Arc<Pipeline>>>,
    modules: Mutex<HashMap<(Mode, usize), (wgpu::ShaderModule, wgpu::BindGroupLayout)>>,
    /// Of users, by the number of slots.
    pub(super) users: Mutex<HashMap<(ShaderId, usize), Arc<Pipeline>>>,
    pub(super) small: Mutex<Vec<Small>>,
}

/// Refuses more chunks than a shader of a mode can bind.
pub(super) fn check_slots(
    mode: Mode,
    chunks: usize,
    limits: &wgpu::Limits,
) -> Result<(), DeviceError> {
    let others = fixed(mode).len() as u64 - 1;
    let most = others + most_slots(mode, limits) as u64;
    let needed = others + chunks as u64;
    within("max_storage_buffers_per_shader_stage", most, needed)
}

/// How many chunks a shader of a mode can bind.
pub(super) fn most_slots(mode: Mode, limits: &wgpu::Limits) -> usize {
    let has = limits.max_storage_buffers_per_shader_stage as usize;
    has.saturating_sub(fixed(mode).len() - 1).min(MOST_SLOTS)
}

/// What is bound besides memory, in order: its name, and how it is bound.
fn fixed(mode: Mode) -> &'static [(&'static str, &'static str)] {
    const HEADER: (&str, &str) = ("gmm: GmmHeader", "uniform");
    const OUT: (&str, &str) = ("gmm_out: array<atomic<u32>>", "storage, read_write");
    const LISTS: (&str, &str) = ("gmm_lists: array<u32>", "storage, read");
    const TABLE: (&str, &str) = ("gmm_table: array<vec2<u32>>", "storage, read");
    const STAGE: (&str, &str) = ("gmm_stage: array<u32>", "storage, read_write");
    match mode {
        Mode::Direct => &[HEADER, OUT],
        Mode::List => &[HEADER, OUT, LISTS],
        Mode::Walk => &[HEADER, OUT, LISTS, TABLE, STAGE],
    }
}

/// The text that comes before kernels: what is bound, and how memory is reached.
pub(super) fn prelude(mode: Mode, slots: usize, group: u32) -> String {
    let mut text = String::new();
    let bindings = fixed(mode);
    for (binding, (name, class)) in bindings.iter().enumerate() {
        text += &format!("@group(0) @binding({binding}) var<{class}> {name};\n");
    }
    let (mut get, mut put) = (String::new(), String::new());
    let mut memory = |slot: usize, name: &str| {
        get += &format!("        case {slot}u: {{ return {name}[at]; }}\n");
        put += &format!("        case {slot}u: {{ {name}[at] = value; }}\n");
    };
    for slot in 0..slots {
        let binding = bindings.len() + slot;
        let name = format!("gmm_memory_{slot}");
        text += &format!(
            "@group(0) @binding({binding}) var<storage, read_write> {name}: array<u32>;\n"
        );
        memory(slot, &name);
    }
    if mode == Mode::Walk {
        memory(slots, "gmm_stage");
    }
    text += &format!("const GMM_STAGE = {slots}u;\nconst GROUP = {group}u;\n");
    text += include_str!("prelude.wgsl");
    text += &format!(
        "
// A word of a page; 0 where there is none.
fn gmm_get(place: GmmPlace, word: u32) -> u32 {{
    let at = place.word + word;
    switch place.slot {{
{get}        default: {{ return 0u; }}
    }}
}}

fn gmm_put(place: GmmPlace, word: u32, value: u32) {{
    let at = place.word + word;
    switch place.slot {{
{put}        default: {{}}
    }}
}}
"
    );
    text += match mode {
        Mode::Direct => include_str!("direct.wgsl"),
        Mode::List => concat!(include_str!("places.wgsl"), include_str!("list.wgsl")),
        Mode::Walk => concat!(include_str!("places.wgsl"), include_str!("walk.wgsl")),
    };
    text
}

/// How many threads work on a page: as many as a CPU's vectors are wide, or a GPU's are.
pub(super) fn group(context: &Context) -> u32 {
    match context.device.adapter_info().device_type {
        wgpu::DeviceType::Cpu => 8,
        _ => 64,
    }
}

/// Makes the layout of what is bound.
pub(super) fn layout(context: &Context, mode: Mode, slots: usize) -> wgpu::BindGroupLayout {
    let fixed = fixed(mode).iter().map(|(_, class)| *class);
    let memories = std::iter::repeat_n("storage, read_write", slots);
    let entries: Vec<_> = (0..)
        .zip(fixed.chain(memories))
        .map(|(binding, class)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match class {
                    "uniform" => wgpu::BufferBindingType::Uniform,
                    "storage, read" => wgpu::BufferBindingType::Storage { read_only: true },
                    _ => wgpu::BufferBindingType::Storage { read_only: false },
                },
                // A dispatch has its header among others.
                has_dynamic_offset: class == "uniform",
                min_binding_size: (class == "uniform")
                    .then(|| wgpu::BufferSize::new(Header::BYTES))
                    .flatten(),
            },
            count: None,
        })
        .collect();
    context
        .device
        .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("gpumm kernel"),
            entries: &entries,
        })
}

/// Makes a shader of text.
pub(super) fn module(context: &Context, label: &str, text: String) -> wgpu::ShaderModule {
    context
        .device
        .create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        })
}

/// Makes a pipeline of a shader; with `clean`, what its groups share is 0 at first.
pub(super) fn pipeline(
    context: &Context,
    layout: &wgpu::BindGroupLayout,
    module: &wgpu::ShaderModule,
    entry: &str,
    clean: bool,
) -> wgpu::ComputePipeline {
    let device = &context.device;
    let group = Some(layout);
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(entry),
        bind_group_layouts: &[group],
        immediate_size: 0,
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(entry),
        layout: Some(&layout),
        module,
        entry_point: Some(entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: clean,
            ..wgpu::PipelineCompilationOptions::default()
        },
        cache: None,
    })
}

impl Kernels {
    /// A pipeline of a built-in kernel. Only inside [`Context::guarded`].
    pub(super) fn built_in(
        &self,
        context: &Context,
        mode: Mode,
        slots: usize,
        entry: Entry,
    ) -> Arc<Pipeline> {
        let key = Key { mode, slots, entry };
        let mut pipelines = lock(&self.pipelines);
        if let Some(pipeline) = pipelines.get(&key) {
            return Arc::clone(pipeline);
        }
        let mut modules = lock(&self.modules);
        let (module, layout) = modules
            .entry((mode, slots))
            .or_insert_with(|| {
                let text = prelude(mode, slots, group(context))
                    + include_str!("bytes.wgsl")
                    + include_str!("elements.wgsl");
                let module = module(context, "gpumm kernels", text);
                (module, layout(context, mode, slots))
            })
            .clone();
        let made = Arc::new(Pipeline {
            pipeline: pipeline(context, &layout, &module, entry.name(), false),
            layout,
        });
        pipelines.insert(key, Arc::clone(&made));
        made
    }
}

#[cfg(test)]
#[path = "pipelines_tests.rs"]
mod tests;
