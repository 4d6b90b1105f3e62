//! Random lives of address spaces and vm-bos against a model that keeps plain facts.
#![allow(clippy::unwrap_used)]

mod common;

use common::{config, span};
use fastrand::Rng;
use gpumm_contract::vm::{
    AddressSpaces, Bind, Ended, Mapping, Needs, Op, VirtualMemory, VmBo, VmError, VmId,
};
use gpumm_contract::{BufferId, TableId};
use gpumm_gpuvm::GpuVm;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a vm-bo but for its buffer; its mappings by number: page n at address n.
#[derive(Clone, Default)]
struct Fact {
    held: u32,
    external: bool,
    evicted: bool,
    table: Option<TableId>,
    pages: BTreeSet<u64>,
}

#[derive(Clone, Default)]
struct Space {
    closed: bool,
    facts: BTreeMap<BufferId, Fact>,
}

type Model = BTreeMap<VmId, Space>;

impl Space {
    /// Ends what nothing keeps; who has ended.
    fn sweep(&mut self) -> Vec<BufferId> {
        let idle = |f: &Fact| f.held == 0 && f.pages.is_empty();
        let ended: Vec<BufferId> = self
            .facts
            .iter()
            .filter(|(_, f)| idle(f))
            .map(|(&b, _)| b)
            .collect();
        self.facts.retain(|_, f| !idle(f));
        ended
    }

    fn needs(&self) -> Needs {
        let which = |good: fn(&Fact) -> bool| {
            self.facts
                .iter()
                .filter(|(_, f)| good(f))
                .map(|(&b, _)| b)
                .collect()
        };
        Needs {
            evicted: which(|f| f.evicted),
            external: which(|f| f.external),
            private: which(|f| !f.external),
            tables: self.facts.values().filter_map(|f| f.table).collect(),
        }
    }
}

fn compare(vms: &GpuVm, model: &Model) {
    vms.validate_structure().unwrap();
    assert_eq!(vms.len(), model.len());
    for (&vm, space) in model {
        let bo = |(&buffer, f): (&BufferId, &Fact)| VmBo {
            buffer,
            external: f.external,
            evicted: f.evicted,
            table: f.table,
            held: f.held,
            mappings: f.pages.len() as u32,
        };
        let all: Vec<VmBo> = space.facts.iter().map(bo).collect();
        assert_eq!(vms.vm_bos(vm), Ok(all));
        let needs = match space.closed {
            true => Err(VmError::Closed),
            false => Ok(space.needs()),
        };
        assert_eq!(vms.validate(vm), needs);
        for (&buffer, fact) in &space.facts {
            let own = vms.mappings_of(vm, buffer).unwrap();
            let pages = own.iter().map(|m| m.at.start / 4096);
            assert!(pages.eq(fact.pages.iter().copied()));
        }
    }
    for buffer in (0..6).map(BufferId) {
        let with = model.iter().filter(|(_, s)| s.facts.contains_key(&buffer));
        let with: Vec<VmId> = with.map(|(&vm, _)| vm).collect();
        assert_eq!(vms.vms_of(buffer), with);
    }
}

/// Who ended, of steps.
fn ended(steps: &[Op]) -> Vec<BufferId> {
    let one = |op: &Op| match op {
        Op::Ended(buffer) => Some(*buffer),
        _ => None,
    };
    steps.iter().filter_map(one).collect()
}

#[test]
fn lives_are_as_the_facts_say() {
    let mut rng = Rng::with_seed(1);
    let (mut vms, mut model) = (GpuVm::default(), Model::new());
    let mut counts = [0; 9];
    for _ in 0..if cfg!(debug_assertions) {
        20_000
    } else {
        200_000
    } {
        let (vm, buffer) = (VmId(rng.u64(0..3)), BufferId(rng.u64(0..6)));
        let known = model.contains_key(&vm);
        let open = model.get(&vm).is_some_and(|s| !s.closed);
        let gone = if known {
            VmError::Closed
        } else {
            VmError::UnknownVm
        };
        let fact = model.get_mut(&vm).and_then(|s| s.facts.get_mut(&buffer));
        let missing = if known {
            VmError::UnknownBuffer
        } else {
            VmError::UnknownVm
        };
        // Closing is rare, or nothing ever lives.
        let act = if rng.u8(0..64) == 0 {
            8
        } else {
            rng.usize(0..8)
        };
        counts[act] += 1;
        match act {
            0 => {
                let made = vms.create(vm, config());
                assert_eq!(made.is_ok(), !known);
                model.entry(vm).or_default();
            }
            1 => {
                let external = rng.u8(0..4) == 0;
                let held = vms.obtain(vm, buffer, external);
                if !open {
                    assert_eq!(held, Err(gone));
                    continue;
                }
                let facts = &mut model.get_mut(&vm).unwrap().facts;
                let fact = facts.entry(buffer).or_default();
                fact.held += 1;
                fact.external |= external;
                assert_eq!(held, Ok(fact.held));
            }
            2 | 3 => {
                let put = vms.put(vm, buffer);
                match fact {
                    None => assert_eq!(put, Err(missing)),
                    Some(fact) if fact.held == 0 => assert_eq!(put, Err(VmError::NotHeld)),
                    Some(fact) => {
                        fact.held -= 1;
                        let space = model.get_mut(&vm).unwrap();
                        let vm_bo = space.sweep() == [buffer];
                        let over = space.closed && space.facts.is_empty();
                        assert_eq!(put, Ok(Ended { vm_bo, vm: over }));
                        if over {
                            model.remove(&vm);
                        }
                    }
                }
            }
            4 | 5 => {
                let page = rng.u64(0..40);
                let at = span(page, page + 1);
                let map = act == 4 && fact.is_some();
                let bind = match map {
                    true => Bind::Map(Mapping {
                        at,
                        buffer: Some(buffer),
                        offset: 0,
                        attributes: 0,
                    }),
                    false => Bind::Unmap(at),
                };
                let mut steps = Vec::new();
                let done = vms.bind(vm, &[bind], &mut steps).map_err(|e| e.why);
                if !open {
                    assert_eq!(done, Err(gone));
                    continue;
                }
                assert_eq!(done, Ok(()));
                let space = model.get_mut(&vm).unwrap();
                for fact in space.facts.values_mut() {
                    fact.pages.remove(&page);
                }
                if map {
                    space.facts.get_mut(&buffer).unwrap().pages.insert(page);
                }
                assert_eq!(ended(&steps), space.sweep());
            }
            6 => {
                let (evict, table) = (rng.bool(), TableId(rng.u32(..)));
                let done = match evict {
                    true => vms.evict(vm, buffer),
                    false => vms.show(vm, buffer, table),
                };
                let Some(fact) = fact else {
                    assert_eq!(done, Err(missing));
                    continue;
                };
                assert_eq!(done, Ok(()));
                fact.evicted = evict;
                fact.table = (!evict).then_some(table);
            }
            7 => {
                let mut steps = Vec::new();
                let done = vms.unmap_buffer(vm, buffer, &mut steps);
                let Some(fact) = fact else {
                    assert_eq!(done, Err(missing));
                    continue;
                };
                let count = std::mem::take(&mut fact.pages).len();
                let over = model.get_mut(&vm).unwrap().sweep();
                assert_eq!(steps.len(), count + over.len());
                assert_eq!(ended(&steps), over);
            }
            _ => {
                let mut steps = Vec::new();
                let done = vms.close(vm, &mut steps);
                if !open {
                    assert_eq!(done, Err(gone));
                    continue;
                }
                let space = model.get_mut(&vm).unwrap();
                space.closed = true;
                space.facts.values_mut().for_each(|f| f.pages.clear());
                assert_eq!(ended(&steps), space.sweep());
                assert_eq!(done, Ok(space.facts.is_empty()));
                if space.facts.is_empty() {
                    model.remove(&vm);
                }
            }
        }
        compare(&vms, &model);
    }
    assert!(counts.iter().all(|&n| n > 100), "{counts:?}");
}
