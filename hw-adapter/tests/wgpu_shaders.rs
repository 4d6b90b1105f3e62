//! Shaders of users: what they reach, where they fault, and how they are refused.

#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used)]

mod common;
mod gpu;

use std::sync::Arc;

use common::{COPY, MEMORY, PAGE, VM, backed, bytes_of, map, perform, ptes, run, vm_fault};
use gpu::{Bench, has_gpu};
use gpumm_hw::sim::SimConfig;
use gpumm_hw::wgpu::WgpuConfig;
use gpumm_hw::{
    Access, Backing, Command, Device, DeviceError, OutcomeValue, Segment, ShaderCall, ShaderError,
    ShaderId, VmFaultReason, VmKernel, VmRange,
};

/// Adds an argument to the words of range 0 and writes the sums, reversed, to range 1.
const ADD: &str = "
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let words = gmm_bytes(0u) / 4u;
    if (id.x < words) {
        let value = gmm_load(gmm_at(0u, id.x * 4u));
        gmm_store(gmm_at(1u, (words - 1u - id.x) * 4u), value + gmm_arg(0u));
    }
}
";

/// Loads or stores at an address that it is told.
const POKE: &str = "
@compute @workgroup_size(1)
fn main() {
    let at = vec2(gmm_arg(0u), gmm_arg(1u));
    if (gmm_arg(2u) == 0u) {
        gmm_store(gmm_at(0u, 0u), gmm_load(at) + 1u);
    } else {
        gmm_store(at, gmm_arg(2u));
    }
}
";

fn range(address: u64, bytes: u64, write: bool) -> VmRange {
    VmRange {
        address,
        bytes,
        write,
    }
}

fn call(shader: ShaderId, groups: u32, arguments: &[u32], ranges: &[VmRange]) -> VmKernel {
    VmKernel::Shader(Arc::new(ShaderCall {
        shader,
        groups: [groups, 1, 1],
        arguments: arguments.to_vec(),
        ranges: ranges.to_vec(),
    }))
}

fn bench() -> Option<Bench> {
    let config = WgpuConfig {
        chunk_bytes: Some(64 << 10),
        ..WgpuConfig::new("gpu", MEMORY)
    };
    has_gpu().then(|| Bench::new(config, MEMORY))
}

#[test]
fn a_shader_reaches_what_its_launch_names() {
    let Some(bench) = bench() else { return };
    let device = &bench.device;
    device.create_vm(VM, 0, 1 << 40).unwrap();
    // Behind both ranges lie pages of both memories and of many chunks.
    let pages = |odd: u64| -> Vec<Segment> {
        let place = |n: u64| (n * 37 % 16) * 16 * PAGE + odd * PAGE;
        (0..16)
            .map(|n| match n % 3 {
                0 => Segment::system(place(n), PAGE),
                _ => Segment::vram(place(n), PAGE),
            })
            .collect()
    };
    let (input, output) = (pages(0), pages(1));
    let (from, to) = ((1 << 33) - 8 * PAGE, 1 << 21);
    map(
        device,
        &[backed(from, &input, false), backed(to, &output, true)],
    );
    let bytes = 16 * PAGE - 24;
    let data: Vec<u8> = (0..16 * PAGE as u32 / 4)
        .flat_map(|n| (n * n).to_le_bytes())
        .collect();
    let write = Command::Write {
        dst: input.as_slice().into(),
        offset: 0,
        data: data.as_slice().into(),
    };
    assert_eq!(perform(device, COPY, write), OutcomeValue::Done);
    let shader = device.load_shader(ADD).unwrap();
    let ranges = [range(from + 12, bytes, false), range(to + 4, bytes, true)];
    let groups = (bytes / 4).div_ceil(64) as u32;
    let value = run(device, call(shader, groups, &[5], &ranges));
    assert_eq!(value, OutcomeValue::Done);
    let written = bytes_of(device, &output);
    let word =
        |bytes: &[u8], at: u64| u32::from_le_bytes(bytes[at as usize..][..4].try_into().unwrap());
    let words = bytes / 4;
    for n in 0..words {
        let expected = word(&data, 12 + 4 * n).wrapping_add(5);
        assert_eq!(word(&written, 4 + 4 * (words - 1 - n)), expected, "{n}");
    }
    // Not a byte beside it.
    assert_eq!(written[..4], [0; 4]);
    assert!(
        written[(bytes + 4) as usize..]
            .iter()
            .all(|byte| *byte == 0)
    );
}

#[test]
fn what_a_shader_must_not_touch_is_a_fault() {
    let Some(bench) = bench() else { return };
    let device = &bench.device;
    device.create_vm(VM, 0, 1 << 40).unwrap();
    let high = 5 << 33;
    map(
        device,
        &[
            backed(high, &[Segment::vram(0, PAGE)], true),
            backed(high + PAGE, &[Segment::system(0, PAGE)], false),
            ptes(high + 2 * PAGE, PAGE, Backing::Sparse),
            backed(high + 4 * PAGE, &[Segment::vram(8 * PAGE, PAGE)], true),
        ],
    );
    let shader = device.load_shader(POKE).unwrap();
    // All but the last page, which is mapped.
    let ranges = [range(high, 4 * PAGE, true)];
    let poke = |at: u64, value: u32| {
        let arguments = [at as u32, (at >> 32) as u32, value];
        run(device, call(shader, 1, &arguments, &ranges))
    };
    let word = || bytes_of(device, &[Segment::vram(0, 4)]);
    assert_eq!(poke(high, 41), OutcomeValue::Done);
    assert_eq!(poke(high, 0), OutcomeValue::Done);
    assert_eq!(word(), 42_u32.to_le_bytes());
    // What is sparse drops what is written, and reads as 0.
    assert_eq!(poke(high + 2 * PAGE + 8, 7), OutcomeValue::Done);
    assert_eq!(poke(high + 2 * PAGE + 8, 0), OutcomeValue::Done);
    assert_eq!(word(), 1_u32.to_le_bytes());
    // A page that may be read only.
    assert_eq!(poke(high + PAGE, 0), OutcomeValue::Done);
    for (at, access, why) in [
        (high + PAGE + 4, Access::Write, VmFaultReason::ReadOnly),
        (high + 3 * PAGE, Access::Write, VmFaultReason::Unmapped),
        (high + 3 * PAGE + 16, Access::Read, VmFaultReason::Unmapped),
        (high + 4 * PAGE, Access::Read, VmFaultReason::Range),
        (high + 4 * PAGE, Access::Write, VmFaultReason::Range),
        (high - 4, Access::Read, VmFaultReason::Range),
        (high + 2, Access::Write, VmFaultReason::Range),
        (8, Access::Write, VmFaultReason::Range),
    ] {
        let value = poke(at, if access == Access::Write { 9 } else { 0 });
        assert_eq!(value, vm_fault(at, access, why), "{at:#x}");
    }
    assert_eq!(
        bytes_of(device, &[Segment::vram(8 * PAGE, PAGE)]),
        [0; PAGE as usize]
    );
    assert_eq!(
        bytes_of(device, &[Segment::system(0, PAGE)]),
        [0; PAGE as usize]
    );
}

#[test]
fn a_shader_that_does_not_compile_is_refused_with_its_place() {
    let Some(bench) = bench() else { return };
    let device = &bench.device;
    let place = |source: &str| match device.load_shader(source) {
        Err(ShaderError::Invalid {
            line,
            column,
            message,
        }) => {
            assert!(!message.is_empty() && !message.contains('\n'), "{message}");
            (line, column)
        }
        other => panic!("{source}: {other:?}"),
    };
    assert_eq!(place("\nfn main() { let a = b; }"), (2, 21));
    assert_eq!(
        place("@compute @workgroup_size(1)\nfn main() {\n  gmm_put(1u);\n}"),
        (3, 3)
    );
    let binding = "@group(0) @binding(1) var<storage, read_write> a: array<u32>;\n\
        @compute @workgroup_size(1) fn main() { a[0] = 1u; }";
    assert_eq!(place(binding), (1, 12));
    assert_eq!(place("/* a /* b */\n c */ gmm_out"), (2, 7));
    // No entry, an entry of another kind, nothing, and words.
    for source in [
        "fn helper() {}",
        "@compute @workgroup_size(1) fn other() {}",
        "",
        "this is no shader",
        "@compute @workgroup_size(1) fn main() { gmm_memory_0[0] = 1u; }",
        "@compute @workgroup_size(1) fn main() { let x = gmm.base; }",
    ] {
        place(source);
    }
    // The device goes on.
    let talk = format!("// gmm_put, @binding\n/* gmm_out */ {ADD}");
    assert!(device.load_shader(&talk).is_ok());
    let (sim, _) = common::Machine::new().sim_with(SimConfig::new("sim", MEMORY));
    assert_eq!(sim.load_shader(ADD), Err(ShaderError::Unsupported));
}

#[test]
fn what_does_not_fit_is_refused_with_the_limit() {
    let Some(bench) = bench() else { return };
    let device = &bench.device;
    device.create_vm(VM, 0, 1 << 40).unwrap();
    // A page of each of 16 chunks, twice over the number that any GPU is asked to bind.
    let shader = device.load_shader(ADD).unwrap();
    let limit = |value| match value {
        OutcomeValue::Failed(DeviceError::LimitTooSmall { limit, has, needed }) => {
            assert!(has < needed);
            limit
        }
        other => panic!("{other:?}"),
    };
    let tiny = WgpuConfig {
        chunk_bytes: Some(8192),
        ..WgpuConfig::new("tiny", MEMORY)
    };
    let chunks = Bench::new(tiny, MEMORY);
    let many = &chunks.device;
    many.create_vm(VM, 0, 1 << 40).unwrap();
    map(many, &[backed(0, &[Segment::vram(0, MEMORY)], true)]);
    let on_many = many.load_shader(ADD).unwrap();
    let ranges = [
        range(0, MEMORY / 2, false),
        range(MEMORY / 2, MEMORY / 2, true),
    ];
    let value = run(many, call(on_many, 1, &[], &ranges));
    assert_eq!(limit(value), "max_storage_buffers_per_shader_stage");
    // A built-in kernel goes over them in parts.
    let fill = VmKernel::Fill {
        dst: 0,
        bytes: MEMORY,
        pattern: 7,
    };
    assert_eq!(run(many, fill), OutcomeValue::Done);
    let value = run(device, call(shader, 1 << 20, &[], &[]));
    assert_eq!(limit(value), "max_compute_workgroups_per_dimension");
    let value = run(device, call(shader, 1, &[0; 9], &[]));
    assert_eq!(limit(value), "arguments of a shader");
    let value = run(device, call(shader, 1, &[], &[range(0, 4, false); 7]));
    assert_eq!(limit(value), "ranges of a shader");
    let value = run(device, call(shader, 1, &[], &[range(0, 1 << 32, false)]));
    assert_eq!(limit(value), "bytes of a shader's range");
}

#[test]
fn a_shader_can_be_forgotten() {
    let Some(bench) = bench() else { return };
    let device = &bench.device;
    device.create_vm(VM, 0, 1 << 40).unwrap();
    let (one, two) = (
        device.load_shader(ADD).unwrap(),
        device.load_shader(POKE).unwrap(),
    );
    assert_ne!(one, two);
    assert_eq!(device.unload_shader(one), Ok(()));
    let unknown = DeviceError::UnknownShader(one);
    assert_eq!(device.unload_shader(one), Err(unknown));
    let value = run(device, call(one, 1, &[], &[]));
    assert_eq!(value, OutcomeValue::Failed(unknown));
    // After a reset the other one is still known.
    device.reset().unwrap();
    map(device, &[backed(0, &[Segment::vram(0, PAGE)], true)]);
    let value = run(device, call(two, 1, &[0, 0, 3], &[range(0, PAGE, true)]));
    assert_eq!(value, OutcomeValue::Done);
    let (sim, _) = common::Machine::new().sim_with(SimConfig::new("sim", MEMORY));
    sim.create_vm(VM, 0, 1 << 40).unwrap();
    let value = run(&sim, call(two, 1, &[], &[]));
    assert_eq!(value, OutcomeValue::Failed(DeviceError::UnknownShader(two)));
}
