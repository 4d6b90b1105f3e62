//! Cases G-21 to G-39 of the reference, but for the property test (G-38); addresses in pages.
//! G-1 to G-20 are in `split_and_merge.rs`.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use gpumm_contract::TableId;
use gpumm_contract::vm::{
    AddressSpaces, Bind, BindError, Ended, Mapping, Op, Remap, Unmap, VirtualMemory, VmConfig,
    VmError, VmId,
};
use gpumm_gpuvm::GpuVm;

#[test]
fn g_21_ranges_that_are_refused() {
    let mut vms = empty();
    let refused = |vms: &mut GpuVm, at, why| {
        let new = Mapping {
            at,
            ..mapping("0..1 a@0")
        };
        for bad in [Bind::Map(new), Bind::Unmap(at)] {
            assert_eq!(
                bind(vms, &[bad]),
                Err(BindError { request: 0, why }),
                "{at:?}"
            );
        }
        assert_eq!(vms.adopt(VM, new), Err(why));
        assert_eq!(vms.prefetch(VM, at), Err(why));
    };
    let bytes = |start, bytes| gpumm_contract::vm::Span { start, bytes };
    let last = 0u64.wrapping_sub(4096);
    for (at, why) in [
        (bytes(last, 8192), VmError::Range),
        (bytes(last, 4096), VmError::Range),
        (span(999, 1001), VmError::Range),
        (span(1000, 1001), VmError::Range),
        (span(899, 901), VmError::KernelArea),
        (span(949, 951), VmError::KernelArea),
        (span(800, 990), VmError::KernelArea),
        (span(5, 5), VmError::Empty),
        (bytes(4096, 100), VmError::Misaligned),
        (bytes(100, 4096), VmError::Misaligned),
    ] {
        refused(&mut vms, at, why);
    }
    let of = |offset| {
        [Bind::Map(Mapping {
            offset,
            ..mapping("0..2 a@0")
        })]
    };
    for (offset, why) in [(last, VmError::Range), (1, VmError::Misaligned)] {
        assert_eq!(
            bind(&mut vms, &of(offset)),
            Err(BindError { request: 0, why })
        );
    }
    let stranger = [Bind::Map(mapping("0..2 z@0"))];
    assert_eq!(
        bind(&mut vms, &stranger).map_err(|e| e.why),
        Err(VmError::UnknownBuffer)
    );

    vms.adopt(VM, mapping("10..20 a@0")).unwrap();
    for taken in ["10..20 a@0", "9..11 b@0", "19..21 a@0", "12..13 b@0"] {
        assert_eq!(vms.adopt(VM, mapping(taken)), Err(VmError::Overlap));
    }
    for beside in ["9..10 b@0", "20..21 b@0", "899..900 c@0", "950..1000 c@0"] {
        assert_eq!(vms.adopt(VM, mapping(beside)), Ok(()));
    }
    vms.validate_structure().unwrap();
}

#[test]
fn g_21_spaces_that_are_refused() {
    let mut vms = empty();
    assert_eq!(vms.create(VM, config()), Err(VmError::VmExists));
    let (other, good) = (VmId(8), config());
    for (config, why) in [
        (
            VmConfig {
                range: span(3, 3),
                ..good
            },
            VmError::Empty,
        ),
        (
            VmConfig {
                range: span(0, 920),
                ..good
            },
            VmError::Range,
        ),
        (
            VmConfig {
                range: span(910, 1000),
                ..good
            },
            VmError::Range,
        ),
        (
            VmConfig {
                mappings: 0,
                ..good
            },
            VmError::Limits,
        ),
        (
            VmConfig {
                mappings_per_buffer: u32::MAX,
                ..good
            },
            VmError::Limits,
        ),
    ] {
        assert_eq!(vms.create(other, config), Err(why));
    }
    assert_eq!(vms.len(), 1);
}

#[test]
fn g_22_the_kernel_area_is_no_mapping() {
    let mut vms = empty();
    assert_eq!(all(&vms), []);
    let over = [Bind::Unmap(span(900, 950))];
    assert_eq!(
        bind(&mut vms, &over).map_err(|e| e.why),
        Err(VmError::KernelArea)
    );
    assert_eq!(vms.find_first(VM, span(0, 1000)), None);
    let mut steps = Vec::new();
    assert_eq!(vms.close(VM, &mut steps), Ok(false));
    assert_eq!(steps, []);
}

#[test]
fn g_23_finding() {
    let mut vms = empty();
    let [low, middle, high] = ["10..20 a@0", "20..30 b@0", "40..50 c@0"].map(mapping);
    for m in [high, low, middle] {
        vms.adopt(VM, m).unwrap();
    }
    assert_eq!(vms.find(VM, span(20, 30)), Some(middle));
    assert_eq!(vms.find(VM, span(20, 29)), None);
    assert_eq!(vms.find(VM, span(10, 30)), None);
    assert_eq!(vms.find_first(VM, span(15, 45)), Some(low));
    assert_eq!(vms.find_first(VM, span(30, 41)), Some(high));
    assert_eq!(vms.find_first(VM, span(30, 40)), None);
    let at = |page: u64| page * 4096;
    assert_eq!(vms.find_previous(VM, at(20)), Some(low));
    assert_eq!(vms.find_next(VM, at(20)), Some(middle));
    for nothing in [35, 15, 0, 9, 31, 39] {
        assert_eq!(vms.find_previous(VM, at(nothing)), None, "{nothing}");
        assert_eq!(vms.find_next(VM, at(nothing)), None, "{nothing}");
    }
    assert_eq!(
        vms.find_previous(VM, at(10)),
        None,
        "one that begins there is none before"
    );
    assert_eq!(vms.find_next(VM, at(30)), None);
    assert_eq!(
        vms.find_next(VM, at(39)),
        None,
        "one that begins a page later is none behind"
    );
    assert_eq!(
        vms.find_range(VM, span(15, 45), usize::MAX),
        [low, middle, high]
    );
    assert_eq!(vms.find_range(VM, span(15, 45), 2), [low, middle]);
    assert_eq!(vms.find_range(VM, span(15, 45), 0), []);
    assert_eq!(vms.find(VmId(9), span(20, 30)), None);
}

/// Here no step can fail; a list with a request that is refused has none.
#[test]
fn g_24_a_refused_request_takes_the_list_back() {
    let mut vms = empty();
    for old in ["0..10 a@0", "12..14 b@0", "20..30 -@0", "40..50 a@40"] {
        vms.adopt(VM, mapping(old)).unwrap();
    }
    assert_eq!(vms.put(VM, buffer("b")).map(|e| e.vm_bo), Ok(false));
    let before = (all(&vms), vms.vm_bos(VM).unwrap());
    let list = "map 5..6 c@0, map 0..50 a@0, unmap 10..11, map 11..12 b@0, unmap 0..50, map 3..4 a@0, map 899..901 a@0";
    let refused = BindError {
        request: 6,
        why: VmError::KernelArea,
    };
    assert_eq!(bind(&mut vms, &binds(list)), Err(refused));
    assert_eq!((all(&vms), vms.vm_bos(VM).unwrap()), before);
    assert_eq!(
        vms.mappings_of(VM, buffer("a")).unwrap(),
        [before.0[0], before.0[3]]
    );
}

#[test]
fn g_26_one_vm_bo_for_a_buffer() {
    let mut vms = empty();
    let a = buffer("a");
    assert_eq!(vms.obtain(VM, a, false), Ok(2));
    assert_eq!(vms.vm_bos(VM).unwrap()[0].held, 2);
    let other = VmId(8);
    vms.create(other, config()).unwrap();
    assert_eq!(
        vms.obtain(other, a, false),
        Ok(1),
        "each address space has its own"
    );
    assert_eq!(vms.vms_of(a), [VM, other]);
    assert_eq!(
        vms.put(other, a),
        Ok(Ended {
            vm_bo: true,
            vm: false
        })
    );
    assert_eq!(vms.put(other, a), Err(VmError::UnknownBuffer));
    assert_eq!(vms.vms_of(a), [VM]);
    // Mappings keep it too, and it ends with the last one.
    bind(&mut vms, &binds("map 0..4 a@0")).unwrap();
    for _ in 0..2 {
        assert_eq!(
            vms.put(VM, a),
            Ok(Ended {
                vm_bo: false,
                vm: false
            })
        );
    }
    assert_eq!(vms.put(VM, a), Err(VmError::NotHeld));
    let steps = bind(&mut vms, &binds("map 1..2 b@0, map 0..4 a@0, unmap 0..4")).unwrap();
    assert_eq!(
        say_steps(&steps),
        "remap 0..4 a@0 to 0..1 a@0 and 2..4 a@2, map 1..2 b@0, \
         unmap 0..1 a@0 keep, unmap 1..2 b@0, unmap 2..4 a@2 keep, map 0..4 a@0, \
         unmap 0..4 a@0, ended a"
    );
    assert_eq!(vms.vms_of(a), []);
    assert_eq!(vms.mappings_of(VM, a), Err(VmError::UnknownBuffer));
}

#[test]
fn g_27_external_buffers() {
    let mut vms = empty();
    let (a, b) = (buffer("a"), buffer("b"));
    for _ in 0..2 {
        vms.obtain(VM, a, true).unwrap();
    }
    vms.obtain(VM, a, false).unwrap();
    let needs = vms.validate(VM).unwrap();
    assert_eq!(needs.external, [a], "once, and it stays so");
    assert_eq!(needs.private, ["b", "c", "d"].map(buffer));
    vms.evict(VM, a).unwrap();
    vms.evict(VM, b).unwrap();
    for _ in 0..4 {
        vms.put(VM, a).unwrap();
    }
    let needs = vms.validate(VM).unwrap();
    assert_eq!((needs.external, needs.evicted), (vec![], vec![b]));
    vms.validate_structure().unwrap();
}

#[test]
fn g_28_evicted_buffers_are_named_until_they_are_back() {
    let mut vms = empty();
    let (a, b) = (buffer("a"), buffer("b"));
    vms.show(VM, a, TableId(3)).unwrap();
    vms.show(VM, b, TableId(4)).unwrap();
    assert_eq!(vms.validate(VM).unwrap().tables, [TableId(3), TableId(4)]);
    for buffer in [b, a, a] {
        vms.evict(VM, buffer).unwrap();
    }
    let needs = vms.validate(VM).unwrap();
    assert_eq!((needs.evicted, needs.tables), (vec![a, b], vec![]));
    assert_eq!(
        vms.validate(VM).unwrap().evicted,
        [a, b],
        "asking brings nothing back"
    );
    vms.show(VM, a, TableId(5)).unwrap();
    let needs = vms.validate(VM).unwrap();
    assert_eq!((needs.evicted, needs.tables), (vec![b], vec![TableId(5)]));
    assert_eq!(vms.evict(VM, buffer("z")), Err(VmError::UnknownBuffer));
    assert_eq!(vms.show(VmId(9), a, TableId(5)), Err(VmError::UnknownVm));
    vms.validate_structure().unwrap();
}

#[test]
fn g_32_prefetching_and_unmapping_a_buffer() {
    let mut vms = empty();
    for old in ["0..4 a@0", "4..6 -@0", "8..9 b@0", "10..20 a@10"] {
        vms.adopt(VM, mapping(old)).unwrap();
    }
    let prefetched = vms.prefetch(VM, span(3, 11)).unwrap();
    assert_eq!(
        say_all(&prefetched),
        "0..4 a@0, 4..6 -@0, 8..9 b@0, 10..20 a@10"
    );
    assert_eq!(vms.prefetch(VM, span(6, 8)), Ok(vec![]));
    let mut steps = Vec::new();
    vms.unmap_buffer(VM, buffer("a"), &mut steps).unwrap();
    assert_eq!(say_steps(&steps), "unmap 0..4 a@0, unmap 10..20 a@10");
    vms.put(VM, buffer("b")).unwrap();
    vms.unmap_buffer(VM, buffer("b"), &mut steps).unwrap();
    assert_eq!(say_steps(&steps[2..]), "unmap 8..9 b@0, ended b");
    assert_eq!(say_all(&all(&vms)), "4..6 -@0");
    assert_eq!(vms.vms_of(buffer("b")), []);
    vms.validate_structure().unwrap();
}

#[test]
fn g_33_a_buffer_without_mapping_keeps_the_address_space() {
    let mut vms = GpuVm::default();
    vms.create(VM, config()).unwrap();
    vms.obtain(VM, buffer("a"), false).unwrap();
    assert_eq!(vms.close(VM, &mut Vec::new()), Ok(false));
    assert_eq!(vms.create(VM, config()), Err(VmError::VmExists));
    assert_eq!(
        vms.put(VM, buffer("a")),
        Ok(Ended {
            vm_bo: true,
            vm: true
        })
    );
    assert!(vms.is_empty());
    vms.validate_structure().unwrap();
}

#[test]
fn g_34_closing_ends_all_mappings() {
    let mut vms = empty();
    for old in ["10..20 b@0", "0..4 a@0", "4..6 -@0", "50..51 b@7"] {
        vms.adopt(VM, mapping(old)).unwrap();
    }
    for letter in ["b", "c", "d"] {
        vms.put(VM, buffer(letter)).unwrap();
    }
    let mut steps = Vec::new();
    assert_eq!(vms.close(VM, &mut steps), Ok(false));
    assert_eq!(
        say_steps(&steps),
        "unmap 0..4 a@0, unmap 4..6 -@0, unmap 10..20 b@0, unmap 50..51 b@7, ended b"
    );
    vms.validate_structure().unwrap();
    let closed = BindError {
        request: 0,
        why: VmError::Closed,
    };
    assert_eq!(bind(&mut vms, &binds("map 0..1 a@0")), Err(closed));
    assert_eq!(vms.obtain(VM, buffer("a"), false), Err(VmError::Closed));
    assert_eq!(vms.close(VM, &mut steps), Err(VmError::Closed));
    assert_eq!(vms.validate(VM), Err(VmError::Closed));
    assert!(vms.put(VM, buffer("a")).unwrap().vm);
    assert!(vms.is_empty());
    assert_eq!(vms.put(VM, buffer("a")), Err(VmError::UnknownVm));
}

#[test]
fn g_35_limits() {
    let config = VmConfig {
        mappings: 4,
        mappings_per_buffer: 3,
        ..config()
    };
    let mut vms = GpuVm::default();
    vms.create(VM, config).unwrap();
    for letter in ["a", "b"] {
        vms.obtain(VM, buffer(letter), false).unwrap();
    }
    bind(
        &mut vms,
        &binds("map 0..1 a@0, map 2..3 a@0, map 10..20 a@0"),
    )
    .unwrap();
    let before = (all(&vms), vms.vm_bos(VM).unwrap());
    let refused = |vms: &mut GpuVm, list, request, why| {
        let old = (all(vms), vms.vm_bos(VM).unwrap());
        assert_eq!(
            bind(vms, &binds(list)),
            Err(BindError { request, why }),
            "{list}"
        );
        assert_eq!((all(vms), vms.vm_bos(VM).unwrap()), old);
    };
    refused(&mut vms, "map 4..5 a@0", 0, VmError::TooManyOfBuffer);
    refused(&mut vms, "unmap 12..13", 0, VmError::TooManyOfBuffer);
    refused(&mut vms, "map 12..13 b@0", 0, VmError::TooManyMappings);
    refused(
        &mut vms,
        "map 4..5 b@0, map 6..7 b@0",
        1,
        VmError::TooManyMappings,
    );
    refused(
        &mut vms,
        "unmap 0..1, map 5..6 a@0, map 12..13 -@0",
        2,
        VmError::TooManyMappings,
    );
    assert_eq!((all(&vms), vms.vm_bos(VM).unwrap()), before);
    // What is replaced does not count.
    bind(
        &mut vms,
        &binds("map 4..5 b@0, map 10..20 a@0, map 0..1 a@0"),
    )
    .unwrap();
    assert_eq!(vms.mappings(VM), 4);
    refused(&mut vms, "map 6..7 -@0", 0, VmError::TooManyMappings);
}

/// The common reservation is the host's; what keeps the address space until the last private
/// buffer has ended is that buffer's vm-bo.
#[test]
fn g_36_private_buffers_outlive_the_close() {
    let mut vms = empty();
    vms.adopt(VM, mapping("0..4 a@0")).unwrap();
    assert_eq!(vms.close(VM, &mut Vec::new()), Ok(false));
    for (nth, letter) in ["c", "a", "d", "b"].into_iter().enumerate() {
        let left: Vec<_> = vms.vm_bos(VM).unwrap();
        assert_eq!(left.len(), 4 - nth);
        let ended = vms.put(VM, buffer(letter)).unwrap();
        assert_eq!((ended.vm_bo, ended.vm), (true, nth == 3));
    }
    assert!(vms.is_empty());
}

#[test]
fn g_39_the_hole_of_a_remap() {
    for (request, prev, next, hole) in [
        ("unmap 0..4", None, Some("4..9 a@7"), span(2, 4)),
        ("unmap 5..99", Some("2..5 a@5"), None, span(5, 9)),
        (
            "unmap 3..8",
            Some("2..3 a@5"),
            Some("8..9 a@11"),
            span(3, 8),
        ),
    ] {
        let mut vms = empty();
        let old = mapping("2..9 a@5");
        vms.adopt(VM, old).unwrap();
        let steps = bind(&mut vms, &binds(request)).unwrap();
        let unmap = Unmap {
            mapping: old,
            keep: false,
        };
        let remap = Remap { unmap, hole };
        assert_eq!(steps, [Op::Remap(remap)]);
        assert_eq!(
            (remap.prev(), remap.next()),
            (prev.map(mapping), next.map(mapping))
        );
    }
}

#[test]
fn other_attributes_are_another_translation() {
    let mut vms = empty();
    let old = mapping("0..4 a@0");
    let new = Mapping {
        attributes: 3,
        ..old
    };
    vms.adopt(VM, old).unwrap();
    let steps = bind(&mut vms, &[Bind::Map(new)]).unwrap();
    assert_eq!(say_steps(&steps), "unmap 0..4 a@0, map 0..4 a@0");
    let part = binds("map 1..2 a@1");
    let steps = bind(&mut vms, &part).unwrap();
    assert_eq!(
        say_steps(&steps[..1]),
        "remap 0..4 a@0 to 0..1 a@0 and 2..4 a@2"
    );
    let left: Vec<u8> = all(&vms).iter().map(|m| m.attributes).collect();
    assert_eq!(left, [3, 0, 3], "what is left keeps them");
}
