//! GPUs by way of wgpu: finding one, listing all, making a device of one.

use crate::device::Adapter;
use crate::devices::Listed;
use crate::exit::{Exit, Failure};
use crate::replay::ReplayOptions;
use gpumm_hw::wgpu::{AdapterChoice, AdapterEntry, WgpuConfig, WgpuDevice, list};
use gpumm_hw::{DeviceError, SystemMemory, Timelines};
use std::sync::Arc;

/// How many GPUs a line names.
const NAMED: usize = 8;

impl From<AdapterEntry> for Adapter {
    fn from(entry: AdapterEntry) -> Self {
        Adapter {
            kind: entry.kind_name().into(),
            name: entry.name,
            backend: entry.backend,
            driver: entry.driver,
        }
    }
}

fn choice(name: Option<&str>) -> AdapterChoice {
    match (name, name.map(str::parse)) {
        (None, _) => AdapterChoice::Best,
        (_, Some(Ok(index))) => AdapterChoice::Index(index),
        (Some(name), _) => AdapterChoice::Named(name.into()),
    }
}

/// Refuses a GPU that is not there.
///
/// Errors: there is none of that name, or none at all.
pub(crate) fn check(name: Option<&str>) -> Result<(), Failure> {
    let list = list();
    if choice(name).find(&list).is_some() {
        return Ok(());
    }
    let line = match name.filter(|_| !list.is_empty()) {
        Some(name) => format!(
            "--device wgpu:{name}: no GPU has this {}",
            known(name, &list)
        ),
        None => format!("--device wgpu: {}", DeviceError::NoAdapter),
    };
    Err(Failure::new(Exit::Usage, line))
}

/// What to say instead of a name that nobody has.
fn known(name: &str, list: &[AdapterEntry]) -> String {
    let what = match name.parse::<usize>() {
        Ok(_) => "number",
        Err(_) => "name or backend",
    };
    let mut names: Vec<String> = list
        .iter()
        .enumerate()
        .take(NAMED)
        .map(|(index, entry)| format!("{index} = {} ({})", entry.name, entry.backend))
        .collect();
    if list.len() > NAMED {
        names.push(format!("and {} more", list.len() - NAMED));
    }
    format!("{what}; there is: {}", names.join(", "))
}

/// Makes the device of a replay.
///
/// Errors: no GPU, or it can do too little; no thread.
pub(crate) fn open(
    name: Option<&str>,
    options: &ReplayOptions,
) -> impl FnOnce(Arc<Timelines>, Arc<SystemMemory>) -> Result<(WgpuDevice, Adapter), DeviceError> + use<>
{
    let mut config = WgpuConfig::new("wgpu", options.vram_bytes);
    if options.copy_engines != 1 {
        config = config.copy_engines(options.copy_engines);
    }
    if options.vm {
        config = config.rings(1).bind_engine();
    }
    if let Some(patience) = options.patience {
        config.timeout = patience;
    }
    let choice = choice(name);
    move |timelines, system| {
        let device = WgpuDevice::new(&choice, config, timelines, system)?;
        let adapter = device.adapter().ok_or(DeviceError::NoAdapter)?;
        Ok((device, adapter.into()))
    }
}

/// All GPUs of this machine.
pub(crate) fn listed() -> Vec<Listed> {
    list().into_iter().map(listing).collect()
}

fn listing(entry: AdapterEntry) -> Listed {
    let all = &entry.limits;
    let limits = vec![
        ("max_buffer_size", all.max_buffer_size),
        (
            "max_storage_buffer_binding_size",
            all.max_storage_buffer_binding_size,
        ),
        (
            "max_storage_buffers_per_shader_stage",
            all.max_storage_buffers_per_shader_stage.into(),
        ),
        (
            "min_storage_buffer_offset_alignment",
            all.min_storage_buffer_offset_alignment.into(),
        ),
        (
            "max_compute_workgroups_per_dimension",
            all.max_compute_workgroups_per_dimension.into(),
        ),
        (
            "max_compute_invocations_per_workgroup",
            all.max_compute_invocations_per_workgroup.into(),
        ),
        (
            "max_compute_workgroup_storage_size",
            all.max_compute_workgroup_storage_size.into(),
        ),
    ];
    Listed {
        limits,
        features: entry.feature_names(),
        adapter: entry.into(),
    }
}
