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

impl AdapterEntry {
    pub(super) fn of(adapter: &wgpu::Adapter) -> AdapterEntry {
        let info = adapter.get_info();
        AdapterEntry {
            name: info.name,
            backend: info.backend.to_string(),
            kind: info.device_type,
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .to_owned(),
            limits: adapter.limits(),
            features: adapter.features(),
        }
    }

    /// The kind in a word: `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "cpu",
            wgpu::DeviceType::Other => "other",
        }
    }

    /// The features by name, sorted.
    pub fn feature_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.features.iter_names().map(|(name, _)| name).collect();
        names.sort_unstable();
        names
    }

    /// Better ones have less.
    fn rank(&self) -> u8 {
        match self.kind {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        }
    }
}

impl AdapterChoice {
    /// The place of the GPU that is meant in a list of them.
    pub fn find(&self, list: &[AdapterEntry]) -> Option<usize> {
        match self {
            AdapterChoice::Best => {
                let ranks = list.iter().enumerate();
                let best = ranks.min_by_key(|(_, entry)| entry.rank());
                best.map(|(index, _)| index)
            }
            AdapterChoice::Named(part) => {
                let part = part.to_lowercase();
                let has = |text: &str| text.to_lowercase().contains(&part);
                list.iter()
                    .position(|entry| has(&entry.name) || has(&entry.backend))
            }
            AdapterChoice::Index(index) => Some(*index).filter(|index| *index < list.len()),
        }
    }
}

/// The GPUs of this machine, in the order of [`AdapterChoice::Index`]; none without drivers.
///
/// # Complexity
/// It loads the drivers each time: tens of milliseconds.
pub fn list() -> Vec<AdapterEntry> {
    adapters().iter().map(AdapterEntry::of).collect()
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
    let list: Vec<AdapterEntry> = adapters.iter().map(AdapterEntry::of).collect();
    choice
        .find(&list)
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
