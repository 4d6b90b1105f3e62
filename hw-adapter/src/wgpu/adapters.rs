//! The GPUs that there are.

use pollster::block_on;

use crate::error::DeviceError;

/// Which GPU to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The best one: discrete before integrated before virtual ones, and the CPU last.
    #[default]
    Best,
    /// The first one whose name or backend contains this, in any case of letters.
    Named(String),
    /// The one at this place of [`list`].
    Index(usize),
}

/// A GPU, as its driver describes it.
#[derive(Clone, Debug)]
pub struct AdapterEntry {
    /// Its name, for people.
    pub name: String,
    /// How it is reached: `vulkan`, `metal`, `dx12`.
    pub backend: String,
    /// Discrete, integrated, virtual, or the CPU.
    pub kind: wgpu::DeviceType,
    /// The driver with its version, for people.
    pub driver: String,
    /// What it can do at most.
    pub limits: wgpu::Limits,
    /// What it can do beyond what all can.
    pub features: wgpu::Features,
}

/// The GPUs of this machine, in the order of [`AdapterChoice::Index`]; none without drivers.
///
/// # Complexity
/// It loads the drivers each time: tens of milliseconds.
pub fn list() -> Vec<AdapterEntry> {
    adapters()
        .iter()
        .map(|adapter| {
            let info = adapter.get_info();
            AdapterEntry {
                name: info.name,
                backend: info.backend.to_string(),
                kind: info.device_type,
                driver: format!("{} {}", info.driver, info.driver_info),
                limits: adapter.limits(),
                features: adapter.features(),
            }
        })
        .collect()
}

fn adapters() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::PRIMARY;
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // Layers for debugging, which debug builds would ask for, are not for users of the device.
    descriptor.flags = wgpu::InstanceFlags::empty();
    block_on(wgpu::Instance::new(descriptor).enumerate_adapters(backends))
}

/// The GPU that is meant.
///
/// # Errors
/// [`DeviceError::NoAdapter`].
pub(super) fn choose(choice: &AdapterChoice) -> Result<wgpu::Adapter, DeviceError> {
    let mut adapters = adapters();
    let index = match choice {
        AdapterChoice::Best => {
            (0..adapters.len()).min_by_key(|index| match adapters[*index].get_info().device_type {
                wgpu::DeviceType::DiscreteGpu => 0,
                wgpu::DeviceType::IntegratedGpu => 1,
                wgpu::DeviceType::VirtualGpu => 2,
                wgpu::DeviceType::Other => 3,
                wgpu::DeviceType::Cpu => 4,
            })
        }
        AdapterChoice::Named(part) => {
            let part = part.to_lowercase();
            adapters.iter().position(|adapter| {
                let info = adapter.get_info();
                info.name.to_lowercase().contains(&part)
                    || info.backend.to_string().to_lowercase().contains(&part)
            })
        }
        AdapterChoice::Index(index) => Some(*index).filter(|index| *index < adapters.len()),
    };
    index
        .map(|index| adapters.swap_remove(index))
        .ok_or(DeviceError::NoAdapter)
}

/// Makes a wgpu device of a GPU, with all that the GPU can do at most.
///
/// # Errors
/// [`DeviceError::Driver`].
pub(super) fn open(adapter: &wgpu::Adapter) -> Result<(wgpu::Device, wgpu::Queue), DeviceError> {
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("gpumm"),
        required_limits: adapter.limits(),
        ..wgpu::DeviceDescriptor::default()
    };
    block_on(adapter.request_device(&descriptor))
        .map_err(|_| DeviceError::Driver("it makes no device"))
}
