//! Rebuilding the state from the ledger's facts.

use crate::state::{Buffer, Home, Leaving, State};
use crate::vm::Space;
use crate::{Manager, Slots};
use core::fmt;
use gpumm_contract::extent::total;
use gpumm_contract::facts::{self, BufferFact, Fact, MappingFact, Role, VmBoFact};
use gpumm_contract::table::Tables;
use gpumm_contract::vm::AddressSpaces;
use gpumm_contract::{BufferId, Segment, TableId};

/// Why a restore fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// The words could not be read.
    Malformed,
    /// A fact names a memory type that no earlier fact brought, or there is no memory type or no
    /// timeline at all.
    UnknownReference,
    /// Two facts claim the same thing.
    Contradiction,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RestoreError::Malformed => "the facts could not be read",
            RestoreError::UnknownReference => "a fact names something unknown",
            RestoreError::Contradiction => "two facts contradict each other",
        })
    }
}

impl core::error::Error for RestoreError {}

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Begins a restore: forgets everything.
    pub fn restore_begin(&mut self) {
        self.state = State::default();
        self.tables.clear();
        self.vms.clear();
    }

    /// Takes packed facts over.
    ///
    /// Errors: the restore has failed; begin again.
    pub fn restore_part(&mut self, words: &[u64]) -> Result<(), RestoreError> {
        for fact in facts::decode(words).map_err(|_| RestoreError::Malformed)? {
            self.restore_fact(fact)?;
        }
        Ok(())
    }

    /// Ends a restore; afterwards the manager serves.
    ///
    /// Errors: there is no memory type or no timeline.
    pub fn restore_end(&mut self) -> Result<(), RestoreError> {
        if self.state.memory.is_empty() || self.state.completed.is_empty() {
            return Err(RestoreError::UnknownReference);
        }
        for (vm, buffer) in core::mem::take(&mut self.state.restored) {
            let put = self.vms.put(vm, buffer);
            put.map_err(|_| RestoreError::Contradiction)?;
        }
        Ok(())
    }

    fn restore_fact(&mut self, fact: Fact) -> Result<(), RestoreError> {
        match fact {
            Fact::Memory(kind) => {
                if !kind.granule.is_power_of_two() || kind.max_segment < kind.granule {
                    return Err(RestoreError::Malformed);
                }
                unique(self.state.memory.add(kind))
            }
            Fact::Timeline { completed, role } => {
                if role == Role::Copy {
                    self.state.copy_timelines.push(completed.timeline);
                }
                if let Role::Cpu | Role::RevocableCpu = role {
                    let pins = role == Role::Cpu;
                    self.state.cpu_timelines.insert(completed.timeline, pins);
                }
                match role {
                    Role::Bind => self.state.bind_timeline = Some(completed.timeline),
                    Role::Job => {
                        self.state.job_timelines.insert(completed.timeline);
                    }
                    _ => {}
                }
                if let Role::Gate(device) = role {
                    let old = self.state.gates.insert(device, completed.timeline);
                    unique(old.is_none())?;
                }
                let old = self
                    .state
                    .completed
                    .insert(completed.timeline.0.into(), completed.value);
                unique(old.is_none())
            }
            Fact::Table {
                table,
                layout,
                mapped,
                holds,
                segments,
            } => {
                if mapped {
                    self.restore_mapping(table, &segments)?;
                }
                self.tables
                    .adopt(table, &segments, layout, &holds)
                    .map_err(|_| RestoreError::Contradiction)
            }
            Fact::Buffer(fact) => self.restore_buffer(fact),
            Fact::Residue {
                memory,
                extent,
                tenant,
            } => {
                let memory = self
                    .state
                    .memory
                    .get_mut(memory)
                    .ok_or(RestoreError::UnknownReference)?;
                memory.residue.set(extent, tenant);
                Ok(())
            }
            Fact::Pending {
                memory,
                extent,
                after,
            } => {
                let memory = self
                    .state
                    .memory
                    .get_mut(memory)
                    .ok_or(RestoreError::UnknownReference)?;
                memory.pending.set(extent, after);
                Ok(())
            }
            Fact::Leaving {
                table,
                buffer,
                arrives,
                left,
                after,
            } => {
                let leaving = Leaving {
                    arrives,
                    left,
                    after,
                };
                let old = self.state.leaving.insert((buffer, table), leaving);
                unique(old.is_none())
            }
            Fact::Attachment {
                attachment,
                buffer,
                device,
            } => unique(self.adopt_import((buffer, attachment), device)),
            Fact::Vm(fact) => {
                let mut space = Space::new(fact.config.range);
                (space.written, space.busy) = (fact.written, fact.busy);
                unique(self.state.vms.insert(fact.vm, space).is_none())?;
                let made = self.vms.create(fact.vm, fact.config);
                made.map_err(|_| RestoreError::Malformed)
            }
            Fact::VmBo(fact) => self.restore_vm_bo(fact),
            Fact::Mapping(MappingFact { vm, mapping }) => {
                let filed = self.vms.adopt(vm, mapping);
                filed.map_err(|_| RestoreError::Contradiction)
            }
        }
    }

    /// A vm-bo is held until its mappings are there.
    fn restore_vm_bo(&mut self, fact: VmBoFact) -> Result<(), RestoreError> {
        let VmBoFact { vm, buffer, .. } = fact;
        let space = self.state.vms.get_mut(&vm);
        let space = space.ok_or(RestoreError::UnknownReference)?;
        let obtained = self.vms.obtain(vm, buffer, fact.external);
        unique(obtained == Ok(1))?;
        self.state.restored.push((vm, buffer));
        let marked = match fact.table {
            Some(table) => {
                space.shown.insert(buffer, table);
                self.vms.show(vm, buffer, table)
            }
            None if fact.evicted => self.vms.evict(vm, buffer),
            None => Ok(()),
        };
        marked.map_err(|_| RestoreError::Contradiction)
    }

    /// Only host memory is mapped, and all of it into one aperture.
    fn restore_mapping(
        &mut self,
        table: TableId,
        segments: &[Segment],
    ) -> Result<(), RestoreError> {
        let aperture = self.state.memory.iter().find_map(|m| m.kind.aperture);
        let of = aperture.and_then(|id| Some((id, self.state.memory.get_mut(id)?)));
        let (aperture, of) = of.ok_or(RestoreError::UnknownReference)?;
        let bytes = segments.iter().fold(0u64, |n, s| n.saturating_add(s.bytes));
        of.used = of.used.saturating_add(bytes);
        self.state.mapped.insert(table.0.into(), (aperture, bytes));
        Ok(())
    }

    fn restore_buffer(&mut self, f: BufferFact) -> Result<(), RestoreError> {
        let memory = self.state.memory.get_mut(f.memory);
        let memory = memory.ok_or(RestoreError::UnknownReference)?;
        let bytes = total(&f.extents).ok_or(RestoreError::Malformed)?;
        memory.used = memory.used.saturating_add(bytes);
        let id: BufferId = f.buffer;
        let home = Home {
            memory: f.memory,
            allocation: f.allocation,
            table: f.table,
            arrives: f.arrives,
            extents: f.extents.into(),
            readers: f.readers,
            writers: f.writers,
            inherited: f.inherited,
        };
        let buffer = Buffer {
            tenant: f.tenant,
            bytes: f.bytes,
            placement: f.placement,
            priority: f.priority,
            stamp: f.stamp,
            content: f.content,
            home,
        };
        unique(self.state.buffers.insert(id.0, buffer).is_none())?;
        self.state.file_in_lru(id, true);
        Ok(())
    }
}

fn unique(first: bool) -> Result<(), RestoreError> {
    if first {
        Ok(())
    } else {
        Err(RestoreError::Contradiction)
    }
}
