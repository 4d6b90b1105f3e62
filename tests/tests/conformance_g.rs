//! Part G on the component: the cases of the library's tests, with the component in its place.
#![allow(clippy::unwrap_used)]
#![allow(clippy::duplicate_mod, reason = "both files share what they speak in")]

// The cases say `gpumm_gpuvm::GpuVm`; here that is the component.
extern crate self as gpumm_gpuvm;

use gpumm_tests::vm_cases::GpuVm;

#[path = "../../components/gpuvm/tests/cases.rs"]
mod cases;
#[path = "../../components/gpuvm/tests/split_and_merge.rs"]
mod split_and_merge;
