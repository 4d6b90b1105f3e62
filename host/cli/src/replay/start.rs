//! Starting the device of a replay.

use super::{Hooks, ReplayOptions};
use crate::device::{Adapter, DeviceKind};
use crate::gpu;
use gpumm::{Error, Pacing, Runtime};
use gpumm_hw::sim::{Sim, SimConfig, SimControl};
use std::sync::mpsc::channel;

/// The device that was made.
enum Made {
    /// A simulated one, by its handle.
    Sim(SimControl),
    /// One on this GPU.
    Gpu(Adapter),
}

/// A Runtime with one device for so many tenants, and the GPU, where the device is one.
///
/// Errors: the device, a component or a thread does not start.
pub(super) fn start(
    options: &ReplayOptions,
    hooks: Hooks<'_>,
    tenants: usize,
) -> Result<(Runtime, Option<Adapter>), Error> {
    let (sender, made) = channel();
    let builder = match &options.device {
        DeviceKind::Sim => {
            let config = config(options);
            Runtime::builder().device(move |timelines, system| {
                let sim = Sim::new(config, timelines, system)?;
                let _ = sender.send(Made::Sim(sim.control()));
                Ok(sim)
            })
        }
        DeviceKind::Wgpu(name) => {
            let open = gpu::open(name.as_deref(), options);
            Runtime::builder().device(move |timelines, system| {
                let (gpu, adapter) = open(timelines, system)?;
                let _ = sender.send(Made::Gpu(adapter));
                Ok(gpu)
            })
        }
    };
    let mut builder = builder
        .system_memory(options.system_bytes)
        .strategy(&options.strategy)
        .pacing(Pacing::Window(options.window_batches.max(1) as usize));
    if let Some(bytes) = options.gtt_bytes {
        builder = builder.gtt(bytes);
    }
    if let Some(parts) = &options.parts {
        builder = builder.parts(parts.clone());
    }
    if let Some(log) = hooks.log {
        builder = builder.log(log);
    }
    if let Some(patience) = options.patience {
        builder = builder.job_timeout(patience);
    }
    // Every tenant has a queue; one that hangs is to go on, as the trace does.
    builder = builder.contexts(tenants).hang_limit(u32::MAX);
    if let Some((folder, name)) = hooks.captures {
        builder = builder.captures(folder, &name);
    }
    let runtime = builder.build()?;
    let gone = |_| Error::System("the device has not been made".into());
    let adapter = match (made.recv().map_err(gone)?, hooks.device) {
        (Made::Sim(control), Some(on_device)) => {
            on_device(control);
            None
        }
        (Made::Sim(_), None) => None,
        (Made::Gpu(adapter), _) => Some(adapter),
    };
    Ok((runtime, adapter))
}

fn config(options: &ReplayOptions) -> SimConfig {
    let mut config = SimConfig::new("sim", options.vram_bytes);
    if options.copy_engines != 1 {
        config = config.copy_engines(options.copy_engines);
    }
    if options.vm {
        config = config.rings(1).bind_engine();
    }
    config.faults = options.faults.clone();
    config.fault_seed = options.fault_seed;
    if let Some(patience) = options.patience {
        config.timeout = patience;
    }
    config
}
