//! Jobs on address spaces: bound directly, by the page table, and by hand.

use super::subject::{CHUNK, Subject};
use super::{Row, Turn, measure, raw};
use gpumm_hw::{
    Backing, Check, Command, Launch, OutcomeValue, PatternKey, PteWrite, Segment, VmId, VmKernel,
};
use std::cell::RefCell;

/// What a job works on; less than a chunk.
const BYTES: u64 = 48 << 20;
const PAGE: u64 = 4096;
const VM: VmId = VmId(1);
/// Where the two ranges are mapped.
const A: u64 = 1 << 31;
const B: u64 = 1 << 32;

/// How memory lies behind the ranges, and whether it may be bound directly.
const WAYS: [(&str, bool, bool); 3] = [
    ("walked", false, false),
    ("direct", true, false),
    // No page behind the one before it.
    ("scattered", false, true),
];

fn kernels() -> Vec<VmKernel> {
    let key = PatternKey {
        buffer: 1,
        generation: 1,
    };
    let (a, b, bytes) = (A, B, BYTES);
    vec![
        VmKernel::Fill {
            dst: b,
            bytes,
            pattern: 7,
        },
        VmKernel::Copy {
            src: a,
            dst: b,
            bytes,
        },
        VmKernel::WritePattern { dst: a, bytes, key },
        VmKernel::CheckPattern { src: a, bytes, key },
        VmKernel::Rewrite {
            at: a,
            bytes,
            old: key,
            new: key,
            check: Check::Full,
        },
        VmKernel::Checksum {
            src: a,
            bytes,
            dst: b,
        },
        VmKernel::Saxpy {
            a: 0.0,
            x: a,
            y: b,
            count: bytes / 4,
        },
    ]
}

pub(crate) fn run(device: &str, only: &str) -> Vec<Row> {
    let kernels = kernels();
    let named = |kernel: &&VmKernel| format!("kernel/{}", kernel.name()).contains(only);
    let ways: Vec<_> = WAYS
        .iter()
        .map(|(name, direct, scattered)| (*name, RefCell::new(ready(device, *direct, *scattered))))
        .collect();
    let rows = kernels.iter().filter(named).map(|kernel| {
        let mut turns: Vec<Turn<'_>> = Vec::new();
        for (name, subject) in &ways {
            turns.push((*name, Box::new(move || launch(subject, kernel))));
        }
        if let Some((device, queue)) = ways[0].1.borrow().wgpu()
            && let Some(body) = by_hand(kernel)
        {
            turns.push(("raw/shader", plain(device, queue, body)));
        }
        measure(&format!("kernel/{}", kernel.name()), BYTES, turns)
    });
    rows.flatten().collect()
}

fn launch(subject: &RefCell<Subject>, kernel: &VmKernel) {
    let outcome = subject.borrow_mut().perform(&Command::Launch(Launch {
        vm: VM,
        job: 1,
        kernel: kernel.clone(),
    }));
    match outcome {
        OutcomeValue::Done | OutcomeValue::Checksum(_) => {}
        OutcomeValue::Checked(report) => assert!(report.is_clean(), "{report:?}"),
        other => panic!("{other:?}"),
    }
}

/// A device with both ranges mapped, the first with content words.
fn ready(device: &str, direct: bool, scattered: bool) -> Subject {
    let mut subject = Subject::with(device, 2 * CHUNK, PAGE, |config| {
        config.bind_direct = direct;
    });
    subject.create_vm(VM, 1 << 40);
    let pages = BYTES / PAGE;
    let list = |base: u64| -> Vec<Segment> {
        match scattered {
            false => vec![Segment::vram(base, BYTES)],
            true => (0..pages)
                .map(|page| Segment::vram(base + page * 7919 % pages * PAGE, PAGE))
                .collect(),
        }
    };
    let map = |address, base| PteWrite {
        address,
        bytes: BYTES,
        backing: Backing::Memory {
            segments: list(base).into(),
            offset: 0,
            write: true,
        },
    };
    let writes = [map(A, 0), map(B, CHUNK)].into();
    let written = subject.perform(&Command::WritePtes { vm: VM, writes });
    assert_eq!(written, OutcomeValue::Done);
    let subject = RefCell::new(subject);
    for kernel in kernels().iter().take(3) {
        launch(&subject, kernel);
    }
    subject.into_inner()
}

/// What a shader without any addresses does with a word.
fn by_hand(kernel: &VmKernel) -> Option<&'static str> {
    match kernel {
        VmKernel::Fill { .. } => Some("b[i] = 7u; if (i == 0xffffffffu) { a[0] = 1u; }"),
        VmKernel::Copy { .. } => Some("b[i] = a[i];"),
        VmKernel::Saxpy { .. } => {
            Some("b[i] = bitcast<u32>(bitcast<f32>(b[i]) + 0.5 * bitcast<f32>(a[i]));")
        }
        _ => None,
    }
}

/// A shader as it is written for buffers of one's own.
fn plain(device: wgpu::Device, queue: wgpu::Queue, body: &str) -> Box<dyn FnMut()> {
    use wgpu::BufferUsages as Usage;
    let words = BYTES / 4;
    let groups = 16_384;
    let text = format!(
        "@group(0) @binding(0) var<storage, read_write> a: array<u32>;
        @group(0) @binding(1) var<storage, read_write> b: array<u32>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
            for (var i = id.x; i < {words}u; i += {groups}u * 64u) {{ {body} }}
        }}"
    );
    let buffer = || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: BYTES,
            usage: Usage::STORAGE,
            mapped_at_creation: false,
        })
    };
    let (a, b) = (buffer(), buffer());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(text.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry {
                binding: 0,
                resource: a.as_entire_binding(),
            },
            wgpu::BindGroupEntry {
                binding: 1,
                resource: b.as_entire_binding(),
            },
        ],
    });
    Box::new(move || {
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(groups, 1, 1);
        drop(pass);
        raw::wait(&device, queue.submit([encoder.finish()]));
    })
}
