//! Tests on a GPU, which not every machine has.

use gpumm_hw::DeviceError;
use gpumm_hw::wgpu::list;

/// Whether there is a GPU to test on, if only Mesa's lavapipe. Without one a test says so and passes,
/// except under `CI`, where it fails: there the packages are to be installed.
pub fn has_gpu() -> bool {
    let there = !list().is_empty();
    let why = DeviceError::NoAdapter;
    assert!(there || std::env::var_os("CI").is_none(), "{why}");
    if !there {
        eprintln!("skipped: {why}");
    }
    there
}
