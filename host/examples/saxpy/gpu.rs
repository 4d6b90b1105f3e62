//! What both programs have: a GPU, and a kernel that adds a multiple of one vector to another.

use std::error::Error;

/// The answer of whatever may fail.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many vectors there are.
pub(crate) const VECTORS: usize = 24;
/// The size of each, in bytes.
pub(crate) const BYTES: u64 = 1 << 20;
/// How often each vector takes in another one.
pub(crate) const PASSES: usize = 4;

const KERNEL: &str = "
@group(0) @binding(0) var<storage, ACCESS> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn saxpy(@builtin(global_invocation_id) id: vec3<u32>) {
    y[id.x] = 0.5 * x[id.x] + y[id.x];
}
";

/// A wgpu device with the kernel.
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    saxpy: wgpu::ComputePipeline,
}

impl Gpu {
    /// Opens the first GPU. `access` is what the kernel declares for what it only reads.
    pub(crate) fn new(access: &str) -> Result<Gpu> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::PRIMARY;
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
        let adapter = adapters.into_iter().next().ok_or("there is no GPU")?;
        let opened = adapter.request_device(&wgpu::DeviceDescriptor::default());
        let (device, queue) = pollster::block_on(opened)?;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("saxpy"),
            source: wgpu::ShaderSource::Wgsl(KERNEL.replace("ACCESS", access).into()),
        });
        let saxpy = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("saxpy"),
            layout: None,
            module: &module,
            entry_point: Some("saxpy"),
            compilation_options: Default::default(),
            cache: None,
        });
        Ok(Gpu {
            device,
            queue,
            saxpy,
        })
    }

    /// Submits `y = x / 2 + y`.
    pub(crate) fn saxpy(&self, x: wgpu::BindingResource<'_>, y: wgpu::BindingResource<'_>) {
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.saxpy.get_bind_group_layout(0),
            entries: &[entry(0, x), entry(1, y)],
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.saxpy);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups((BYTES / 4 / 256) as u32, 1, 1);
        drop(pass);
        self.queue.submit([encoder.finish()]);
    }

    /// Reads a buffer back.
    #[allow(dead_code, reason = "one of the programs has another way")]
    pub(crate) fn read(&self, buffer: &wgpu::Buffer) -> Result<Vec<u8>> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        let (sender, mapped) = std::sync::mpsc::channel();
        let tell = move |result| _ = sender.send(result);
        staging.map_async(wgpu::MapMode::Read, .., tell);
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        mapped.recv()??;
        let view = staging.get_mapped_range(..)?;
        Ok(view.to_vec())
    }
}

/// What a vector begins as.
pub(crate) fn first(vector: usize) -> Vec<u8> {
    let value = |n: u64| (n % 1000) as f32 / 7.0 + vector as f32;
    (0..BYTES / 4)
        .flat_map(|n| value(n).to_le_bytes())
        .collect()
}

/// The sum of a vector's elements.
pub(crate) fn sum(vector: &[u8]) -> f64 {
    let elements = vector.chunks_exact(4);
    let element = |b: &[u8]| b.try_into().map_or(0.0, f32::from_le_bytes);
    elements.map(|bytes| f64::from(element(bytes))).sum()
}
