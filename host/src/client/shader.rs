//! Shaders: kernels of a client's own.

use super::{Client, VmKernel};
use crate::error::Error;
use crate::runtime::DeviceShared;
use gpumm_hw as hw;
use std::sync::Arc;

/// A shader in WGSL that jobs run; dropping it forgets it, and a job that has not begun by then
/// fails.
pub struct Shader {
    device: Arc<DeviceShared>,
    id: hw::ShaderId,
}

impl std::fmt::Debug for Shader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shader").field("id", &self.id).finish()
    }
}

impl Client {
    /// Takes a shader; what it can name is said at
    /// [`Device::load_shader`](hw::Device::load_shader).
    ///
    /// Errors: [`Error::Shader`] when it does not compile, or the device runs none.
    pub fn load_shader(&self, source: &str) -> Result<Shader, Error> {
        let id = self.device.device.load_shader(source)?;
        let device = self.device.clone();
        Ok(Shader { device, id })
    }
}

impl Shader {
    /// A job that runs it in so many groups, with arguments, on ranges of an address space.
    ///
    /// Bounds: those of [`hw::ShaderCall`]; a job beyond them fails.
    pub fn call(&self, groups: [u32; 3], arguments: &[u32], ranges: &[hw::VmRange]) -> VmKernel {
        VmKernel::Shader(Arc::new(hw::ShaderCall {
            shader: self.id,
            groups,
            arguments: arguments.to_vec(),
            ranges: ranges.to_vec(),
        }))
    }
}

impl Drop for Shader {
    fn drop(&mut self) {
        // It was known until now.
        let _ = self.device.device.unload_shader(self.id);
    }
}
