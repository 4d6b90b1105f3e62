//! Address spaces in words: `0..2 a@5` shows page 5 and 6 of buffer `a` at the pages 0 and 1, and
//! `0..2 -@0` nothing at all.
#![allow(dead_code, reason = "not every test speaks every word")]

use gpumm_contract::BufferId;
use gpumm_contract::vm::packed::{decode_steps, encode_binds};
use gpumm_contract::vm::{
    AddressSpaces, Bind, BindError, Mapping, Op, PAGE, Span, Unmap, VirtualMemory, VmConfig, VmId,
};
use gpumm_gpuvm::GpuVm;

pub(crate) const VM: VmId = VmId(7);

/// Pages from one to another.
pub(crate) fn span(start: u64, end: u64) -> Span {
    Span {
        start: start * PAGE,
        bytes: (end - start) * PAGE,
    }
}

/// The buffer with a letter.
pub(crate) fn buffer(letter: &str) -> BufferId {
    BufferId(letter.as_bytes()[0].into())
}

/// 1,000 pages, of which 900 to 950 are the kernel's.
pub(crate) fn config() -> VmConfig {
    VmConfig {
        range: span(0, 1000),
        kernel: span(900, 950),
        mappings: 1 << 20,
        mappings_per_buffer: 1 << 20,
    }
}

/// An address space to which the buffers a to d belong.
pub(crate) fn empty() -> GpuVm {
    let mut vms = GpuVm::default();
    vms.create(VM, config()).unwrap();
    for letter in ["a", "b", "c", "d"] {
        assert_eq!(vms.obtain(VM, buffer(letter), false), Ok(1));
    }
    vms
}

fn read_span(text: &str) -> Span {
    let (start, end) = text.split_once("..").unwrap();
    span(start.parse().unwrap(), end.parse().unwrap())
}

/// A mapping from words.
pub(crate) fn mapping(text: &str) -> Mapping {
    let (at, shown) = text.split_once(' ').unwrap();
    let (letter, offset) = shown.split_once('@').unwrap();
    Mapping {
        at: read_span(at),
        buffer: (letter != "-").then(|| buffer(letter)),
        offset: offset.parse::<u64>().unwrap() * PAGE,
        attributes: 0,
    }
}

/// Requests from words: `map 0..2 a@5, unmap 1..2`.
pub(crate) fn binds(text: &str) -> Vec<Bind> {
    let bind = |text: &str| match text.split_once(' ').unwrap() {
        ("map", text) => Bind::Map(mapping(text)),
        ("unmap", text) => Bind::Unmap(read_span(text)),
        _ => panic!("{text}"),
    };
    let all = text.split(", ").filter(|text| !text.is_empty());
    all.map(bind).collect()
}

fn name(buffer: Option<BufferId>) -> String {
    buffer.map_or("-".into(), |b| char::from(b.0 as u8).into())
}

/// A mapping in words.
pub(crate) fn say(m: &Mapping) -> String {
    let (start, end) = (m.at.start / PAGE, m.at.end().unwrap() / PAGE);
    format!("{start}..{end} {}@{}", name(m.buffer), m.offset / PAGE)
}

pub(crate) fn say_all(all: &[Mapping]) -> String {
    all.iter().map(say).collect::<Vec<_>>().join(", ")
}

/// Steps in words, as `unmap 0..2 a@5 keep`, `remap 0..2 a@5 to 0..1 a@5`, `map 0..2 b@0`.
pub(crate) fn say_steps(steps: &[Op]) -> String {
    let old = |unmap: &Unmap| {
        let keep = if unmap.keep { " keep" } else { "" };
        say(&unmap.mapping) + keep
    };
    let one = |op: &Op| match op {
        Op::Unmap(unmap) => format!("unmap {}", old(unmap)),
        Op::Remap(remap) => {
            let left: Vec<String> = [remap.prev(), remap.next()]
                .iter()
                .flatten()
                .map(say)
                .collect();
            format!("remap {} to {}", old(&remap.unmap), left.join(" and "))
        }
        Op::Map(new) => format!("map {}", say(new)),
        Op::Ended(buffer) => format!("ended {}", name(Some(*buffer))),
    };
    steps.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Binds through both doors and compares them.
pub(crate) fn bind(vms: &mut GpuVm, binds: &[Bind]) -> Result<Vec<Op>, BindError> {
    let mut other = vms.clone();
    let mut steps = Vec::new();
    let typed = vms.bind(VM, binds, &mut steps);
    let packed = other.bind_packed(VM, &encode_binds(binds, Vec::new()), vec![1, 2, 3]);
    match &packed {
        Ok(words) => assert_eq!(decode_steps(words).unwrap(), steps),
        Err(_) => assert!(steps.is_empty()),
    }
    assert_eq!(typed, packed.map(|_| ()));
    vms.validate_structure().unwrap();
    assert_eq!(all(vms), all(&other));
    typed.map(|()| steps)
}

/// Every mapping.
pub(crate) fn all(vms: &GpuVm) -> Vec<Mapping> {
    vms.find_range(VM, span(0, 1 << 51), usize::MAX)
}

/// What requests in words make of mappings in words: the steps, and what is mapped then.
pub(crate) fn outcome(old: &str, requests: &str) -> (String, String) {
    let mut vms = empty();
    for old in old.split(", ").filter(|text| !text.is_empty()) {
        vms.adopt(VM, mapping(old)).unwrap();
    }
    let steps = bind(&mut vms, &binds(requests)).unwrap();
    (say_steps(&steps), say_all(&all(&vms)))
}
