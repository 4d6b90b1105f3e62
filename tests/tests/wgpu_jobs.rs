//! Jobs on address spaces of a GPU: shaders of a client, buffers that come and go below them, and
//! captures of what faults.
#![allow(clippy::unwrap_used)]

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use gpumm::capture::{Capture, Operation};
use gpumm::hw::wgpu::{AdapterChoice, WgpuConfig, WgpuDevice};
use gpumm::hw::{Access, DeviceError, ShaderError, VmFaultReason, VmRange};
use gpumm::{BufferDesc, Error, Rights, Runtime, RuntimeBuilder, VmDesc, VmKernel};
use gpumm_hw::conformance::has_gpu;
use gpumm_tests::vm_client::*;

/// Adds an argument to each word.
const ADD: &str = "
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x * 4u < gmm_bytes(0u)) {
        let at = gmm_at(0u, id.x * 4u);
        gmm_store(at, gmm_load(at) + gmm_arg(0u));
    }
}
";

fn runtime(vram: u64, more: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> Runtime {
    let config = WgpuConfig::new("gpu", vram).rings(1).bind_engine();
    let builder = Runtime::builder()
        .device(move |timelines, system| {
            WgpuDevice::new(&AdapterChoice::Best, config, timelines, system)
        })
        .system_memory(64 * MIB);
    more(builder).build().unwrap()
}

fn written(address: u64, bytes: u64) -> VmRange {
    VmRange {
        address,
        bytes,
        write: true,
    }
}

#[test]
fn a_shader_runs_on_buffers_that_come_and_go() {
    if !has_gpu() {
        return;
    }
    // Half of what the buffers need.
    let runtime = runtime(4 * MIB, |builder| builder);
    let client = runtime.client();
    let (vm, queue) = (space(&client), queue(&client));
    let shader = client.load_shader(ADD).unwrap();
    let buffers: Vec<_> = (0..8)
        .map(|n| {
            let buffer = client.create(BufferDesc::new(MIB)).unwrap();
            let at = AT + n * 2 * MIB;
            vm.map(at, &buffer, 0, MIB, Rights::ReadWrite).unwrap();
            buffer.fill(n | n << 32).unwrap();
            buffer
        })
        .collect();
    let mut sums = [0_u32; 8];
    for round in 1..=3 {
        for (n, sum) in (0..).zip(&mut sums) {
            let range = written(AT + n * 2 * MIB, MIB);
            let add = shader.call([4096, 1, 1], &[round * 10 + n as u32], &[range]);
            queue.submit(&vm, add, &[]).unwrap();
            *sum += round * 10 + n as u32;
        }
    }
    let report = || runtime.device(0).unwrap().report().unwrap();
    for (n, buffer) in buffers.iter().enumerate() {
        let word = (sums[n] + n as u32).to_le_bytes();
        let bytes = buffer.read(0, MIB).unwrap();
        assert!(bytes.chunks(4).all(|found| found == word), "{n}");
    }
    assert!(report().counts.evictions > 0);
}

#[test]
fn a_fault_of_a_shader_is_captured() {
    if !has_gpu() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
    let runtime = runtime(4 * MIB, |builder| builder.captures(dir, ""));
    let client = runtime.client();
    let vm = client.create_vm(VmDesc::default()).unwrap();
    let queue = queue(&client);
    let shader = client.load_shader(ADD).unwrap();
    let buffer = client.create(BufferDesc::new(PAGE)).unwrap();
    vm.map(AT, &buffer, 0, PAGE, Rights::ReadWrite).unwrap();
    // One group has its words on the page, the other behind it.
    let behind = shader.call([1, 1, 1], &[1], &[written(AT + PAGE, PAGE)]);
    let failed = queue.submit(&vm, behind, &[]).unwrap();
    match fault_of(&failed) {
        DeviceError::VmFault {
            address,
            access,
            why,
            ..
        } => {
            assert!(
                (AT + PAGE..AT + PAGE + 256).contains(&address),
                "{address:#x}"
            );
            assert_eq!((access, why), (Access::Read, VmFaultReason::Unmapped));
        }
        other => panic!("{other:?}"),
    }
    let device = runtime.device(0).unwrap();
    device.drain().unwrap();
    let files = device.report().unwrap().captures;
    assert_eq!(files.len(), 1);
    let text = std::fs::read(folder.path().join(&files[0])).unwrap();
    let failed = Capture::from_json(&text).unwrap().failed;
    assert_eq!(
        (failed.operation, &*failed.cause),
        (Operation::Job, "page-fault")
    );
    assert_eq!(failed.job, Some(format!("shader of vm {}", vm.id())));
    assert!(
        failed.error.contains(&format!("{:#x}", AT + PAGE)[..6]),
        "{}",
        failed.error
    );
    // The queue goes on.
    let add = shader.call([16, 1, 1], &[7], &[written(AT, PAGE)]);
    let fence = queue.submit(&vm, add, &[]).unwrap();
    fence.wait().unwrap();
    assert_eq!(buffer.read(0, 4).unwrap(), 7_u32.to_le_bytes());
}

#[test]
fn a_shader_that_does_not_compile_is_an_error_of_the_client() {
    if !has_gpu() {
        return;
    }
    let on_gpu = runtime(4 * MIB, |builder| builder);
    let error = on_gpu
        .client()
        .load_shader("fn main() {\n  let a = b;\n}")
        .unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, Error::Shader(ShaderError::Invalid { line: 2, .. })),
        "{text}"
    );
    assert!(
        text.starts_with("the shader does not compile: line 2, column 11: "),
        "{text}"
    );
    let (sim, _control) = gpumm_tests::vm_client::runtime(4 * MIB);
    let error = sim.client().load_shader(ADD).unwrap_err();
    assert_eq!(error.to_string(), "this device runs no shaders");
}

#[test]
fn a_job_of_a_shader_that_was_dropped_fails() {
    if !has_gpu() {
        return;
    }
    let runtime = runtime(4 * MIB, |builder| builder);
    let client = runtime.client();
    let (vm, queue) = (space(&client), queue(&client));
    let shader = client.load_shader(ADD).unwrap();
    let call: VmKernel = shader.call([1, 1, 1], &[], &[]);
    drop(shader);
    let fence = queue.submit(&vm, call, &[]).unwrap();
    assert!(matches!(fault_of(&fence), DeviceError::UnknownShader(_)));
}
