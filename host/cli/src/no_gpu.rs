//! What stands for GPUs in a program that was built without the feature `wgpu`.

use crate::device::Adapter;
use crate::devices::Listed;
use crate::exit::{Exit, Failure};
use crate::replay::ReplayOptions;
use gpumm_hw::sim::Sim;
use gpumm_hw::{DeviceError, SystemMemory, Timelines};
use std::sync::Arc;

/// Refuses every GPU.
pub(crate) fn check(_name: Option<&str>) -> Result<(), Failure> {
    let line = "--device wgpu: this gpumm was built without its feature 'wgpu'";
    Err(Failure::new(Exit::Usage, line))
}

/// Makes nothing.
pub(crate) fn open(
    _name: Option<&str>,
    _options: &ReplayOptions,
) -> impl FnOnce(Arc<Timelines>, Arc<SystemMemory>) -> Result<(Sim, Adapter), DeviceError> + use<> {
    let why = "gpumm was built without its feature 'wgpu'";
    move |_, _| Err(DeviceError::InvalidConfig(why))
}

/// No GPU.
pub(crate) fn listed() -> Vec<Listed> {
    Vec::new()
}
