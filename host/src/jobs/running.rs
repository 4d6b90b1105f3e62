//! The jobs that a device has.

use super::launch::Launched;
use gpumm_scheduler::JobKey;
use std::sync::Arc;

/// Jobs by key.
///
/// Complexity: everything O(1): a key's index is small, and no two live keys have the same.
#[derive(Debug, Default)]
pub(super) struct Running(Vec<Option<(JobKey, Arc<Launched>)>>);

impl Running {
    pub(super) fn insert(&mut self, key: JobKey, job: Arc<Launched>) {
        if self.0.len() <= key.index() {
            self.0.resize(key.index() + 1, None);
        }
        self.0[key.index()] = Some((key, job));
    }

    pub(super) fn get(&self, key: JobKey) -> Option<&Arc<Launched>> {
        let (of, job) = self.0.get(key.index())?.as_ref()?;
        (*of == key).then_some(job)
    }

    pub(super) fn remove(&mut self, key: JobKey) -> Option<Arc<Launched>> {
        let place = self.0.get_mut(key.index())?;
        place.take_if(|(of, _)| *of == key).map(|(_, job)| job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Waiting;
    use gpumm_contract::vm::VmId;
    use gpumm_contract::{Point, PointSet, TimelineId};
    use gpumm_hw::VmKernel;
    use std::sync::Weak;

    fn job(value: u64) -> Arc<Launched> {
        let at = Point {
            timeline: TimelineId(1),
            value,
        };
        let kernel = VmKernel::Fill {
            dst: 0,
            bytes: 8,
            pattern: 0,
        };
        let waiting = Waiting::new(VmId(1), kernel, PointSet::new());
        Arc::new(Launched::new((value, at), Weak::new(), waiting, None))
    }

    /// The index in the upper half, the generation in the lower one.
    fn key(index: u64, generation: u64) -> JobKey {
        JobKey::from_bits(index << 32 | generation)
    }

    #[test]
    fn an_older_key_of_the_same_place_names_nothing() {
        let mut running = Running::default();
        assert!(running.get(key(3, 1)).is_none());
        running.insert(key(3, 1), job(1));
        assert_eq!(running.remove(key(3, 1)).map(|job| job.at.value), Some(1));
        running.insert(key(3, 3), job(2));
        assert!(running.get(key(3, 1)).is_none());
        assert!(running.remove(key(3, 1)).is_none());
        assert!(running.get(key(2, 3)).is_none());
        assert_eq!(running.get(key(3, 3)).map(|job| job.at.value), Some(2));
    }
}
