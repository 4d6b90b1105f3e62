//! Shaders of users: kernels on virtual addresses that a device is given as text.

use std::fmt;

use crate::error::DeviceError;
use crate::vm::VmRange;

/// Names a shader of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShaderId(pub u64);

impl fmt::Display for ShaderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shader {}", self.0)
    }
}

/// How a job runs a shader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShaderCall {
    /// The shader; see [`Device::load_shader`](crate::Device::load_shader).
    pub shader: ShaderId,
    /// How many groups of threads, in each dimension.
    pub groups: [u32; 3],
    /// What `gmm_arg` answers; what is missing is 0.
    ///
    /// # Bounds
    /// At most [`ShaderCall::ARGUMENTS`].
    pub arguments: Vec<u32>,
    /// Every range that it may touch; another address is a fault.
    ///
    /// # Bounds
    /// At most [`ShaderCall::RANGES`], each below 4 GiB.
    pub ranges: Vec<VmRange>,
}

impl ShaderCall {
    /// How many arguments a call has at most.
    pub const ARGUMENTS: usize = 8;

    /// How many ranges a call has at most.
    pub const RANGES: usize = 6;
}

/// Why a device does not take a shader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShaderError {
    /// The device runs built-in kernels only.
    #[error("this device runs no shaders")]
    Unsupported,
    /// It does not compile. Lines and columns count from 1; 0 where the place is not known.
    #[error("the shader does not compile: {}{message}", place(*.line, *.column))]
    Invalid {
        /// Where in the text.
        line: u32,
        /// Where in the line.
        column: u32,
        /// What is wrong, on one line.
        message: String,
    },
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

fn place(line: u32, column: u32) -> String {
    match line {
        0 => String::new(),
        line => format!("line {line}, column {column}: "),
    }
}
