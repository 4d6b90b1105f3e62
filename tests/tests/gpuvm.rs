//! The gpuvm component answers as its library does, call by call.
#![allow(clippy::unwrap_used)]

use gpumm_contract::vm::{
    AddressSpaces, Bind, Mapping, Op, PAGE, Span, VirtualMemory, VmConfig, VmId,
    packed::encode_binds,
};
use gpumm_contract::{BufferId, TableId};
use gpumm_gpuvm::GpuVm;
use gpumm_tests::vms::VmComponent;
use std::fmt::Debug;

/// Pages of an address space, some at its end beyond its range.
const PAGES: u64 = 600;

fn at(rng: &mut fastrand::Rng) -> Span {
    let odd = u64::from(rng.u32(0..40) == 0);
    Span {
        start: rng.u64(0..PAGES) * PAGE + odd,
        bytes: rng.u64(0..40) * PAGE,
    }
}

fn bind(rng: &mut fastrand::Rng) -> Bind {
    match rng.u32(0..4) {
        0 => Bind::Unmap(at(rng)),
        _ => Bind::Map(Mapping {
            at: at(rng),
            buffer: (rng.u32(0..8) > 0).then(|| BufferId(rng.u64(0..9))),
            offset: rng.u64(0..100) * PAGE,
            attributes: rng.u8(0..2),
        }),
    }
}

/// One random call; everything that it answers, as text.
fn call(vms: &mut dyn VirtualMemory, rng: &mut fastrand::Rng) -> String {
    let (vm, buffer) = (VmId(rng.u64(0..3)), BufferId(rng.u64(0..9)));
    let mut steps: Vec<Op> = Vec::new();
    fn say(answer: impl Debug, steps: &[Op]) -> String {
        format!("{answer:?} {steps:?}")
    }
    match rng.u32(0..24) {
        0 => {
            let config = VmConfig {
                range: Span {
                    start: 0,
                    bytes: (PAGES - 20) * PAGE,
                },
                kernel: Span {
                    start: 500 * PAGE,
                    bytes: rng.u64(0..3) * 4 * PAGE,
                },
                mappings: rng.u32(0..300),
                mappings_per_buffer: rng.u32(1..60),
            };
            say(vms.create(vm, config), &[])
        }
        1 if rng.u32(0..20) == 0 => {
            let closed = vms.close(vm, &mut steps);
            say(closed, &steps)
        }
        2 => say(vms.put(vm, buffer), &[]),
        3 if rng.u32(0..6) == 0 => {
            let done = vms.unmap_buffer(vm, buffer, &mut steps);
            say(done, &steps)
        }
        4 => say(vms.mappings_of(vm, buffer), &[]),
        5 => say(vms.find(vm, at(rng)), &[]),
        6 => say(vms.find_first(vm, at(rng)), &[]),
        7 => say(vms.find_previous(vm, rng.u64(0..PAGES) * PAGE), &[]),
        8 => say(vms.find_next(vm, rng.u64(0..PAGES) * PAGE), &[]),
        9 => say(vms.find_range(vm, at(rng), rng.usize(0..9)), &[]),
        10 => say(vms.prefetch(vm, at(rng)), &[]),
        11 => say(vms.evict(vm, buffer), &[]),
        12 => say(vms.show(vm, buffer, TableId(rng.u32(0..50))), &[]),
        13 => say(vms.validate(vm), &[]),
        14 => say(vms.vm_bos(vm), &[]),
        15 => say(vms.vms_of(buffer), &[]),
        16 => say(vms.obtain(vm, buffer, rng.bool()), &[]),
        17 => {
            let at = at(rng);
            let mapping = Mapping {
                at,
                buffer: Some(buffer),
                offset: 0,
                attributes: 0,
            };
            say(vms.adopt(vm, mapping), &[])
        }
        _ => {
            let binds: Vec<Bind> = (0..rng.u32(1..6)).map(|_| bind(rng)).collect();
            let bound = vms.bind_packed(vm, &encode_binds(&binds, Vec::new()), Vec::new());
            say(bound, &[])
        }
    }
}

#[test]
fn the_component_answers_as_its_library() {
    for seed in 0..6 {
        let (mut library, mut component) = (GpuVm::default(), VmComponent::built());
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut mapped = 0;
        for step in 0..6_000 {
            let mut twin = rng.clone();
            let expected = call(&mut library, &mut rng);
            assert_eq!(
                call(&mut component, &mut twin),
                expected,
                "seed {seed}, step {step}"
            );
            mapped = mapped.max(library.find_range(VmId(0), whole(), usize::MAX).len());
        }
        assert_eq!(library.validate_structure(), Ok(()));
        assert!(mapped > 10, "seed {seed} has mapped {mapped}");
    }
}

fn whole() -> Span {
    Span {
        start: 0,
        bytes: PAGES * PAGE,
    }
}
