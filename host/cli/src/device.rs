//! The devices that a replay can run on, by the names that people give them.

use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// Which device a replay runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// The simulated one.
    #[default]
    Sim,
    /// A GPU by way of wgpu: the best one, or the first with this in its name or its backend, or
    /// the one at this place of the list.
    Wgpu(Option<String>),
}

impl DeviceKind {
    /// Without the GPU's name.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            DeviceKind::Sim => "sim",
            DeviceKind::Wgpu(_) => "wgpu",
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            DeviceKind::Wgpu(Some(name)) => write!(f, ":{name}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "sim" => Ok(DeviceKind::Sim),
            None if text == "wgpu" => Ok(DeviceKind::Wgpu(None)),
            Some(("wgpu", name)) if !name.trim().is_empty() => {
                Ok(DeviceKind::Wgpu(Some(name.trim().into())))
            }
            _ => Err("expected sim, wgpu or wgpu:NAME; 'gpumm devices' lists them".into()),
        }
    }
}

/// A GPU, as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Adapter {
    /// Its name.
    pub name: String,
    /// How it is reached: `vulkan`, `metal`, `dx12`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub kind: String,
    /// The driver with its version.
    pub driver: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        let named = |name: &str| Ok(DeviceKind::Wgpu(Some(name.into())));
        let read = |text: &str| text.parse::<DeviceKind>();
        assert_eq!(read("sim"), Ok(DeviceKind::Sim));
        assert_eq!(read("wgpu"), Ok(DeviceKind::Wgpu(None)));
        assert_eq!(read("wgpu:1"), named("1"));
        assert_eq!(read("wgpu:GeForce RTX: 2"), named("GeForce RTX: 2"));
        for wrong in ["", "wgpu:", "wgpu: ", "sim:1", "Wgpu", "cuda", ":", "wgpu1"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        for text in ["sim", "wgpu", "wgpu:llvm pipe"] {
            assert_eq!(read(text).map(|kind| kind.to_string()), Ok(text.into()));
        }
    }
}
