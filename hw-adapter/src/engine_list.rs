//! The engines that a device is made with: their names and kinds.

use crate::device::EngineKind;

/// Name and kind of each engine, in the order of their numbers.
pub(crate) type EngineList = Vec<(String, EngineKind)>;

/// A copy engine and a compute engine.
pub(crate) fn usual() -> EngineList {
    vec![
        ("copy".to_owned(), EngineKind::Copy),
        ("compute".to_owned(), EngineKind::Compute),
    ]
}

/// So many copy engines, `copy0` and so on, and behind them one compute engine.
pub(crate) fn copies(count: u32) -> EngineList {
    (0..count)
        .map(|index| (format!("copy{index}"), EngineKind::Copy))
        .chain([("compute".to_owned(), EngineKind::Compute)])
        .collect()
}

/// Adds so many compute engines, `ring0` and so on.
pub(crate) fn add_rings(engines: &mut EngineList, count: u32) {
    engines.extend((0..count).map(|index| (format!("ring{index}"), EngineKind::Compute)));
}

/// Adds an engine for page tables, `bind`.
pub(crate) fn add_bind(engines: &mut EngineList) {
    engines.push(("bind".to_owned(), EngineKind::Bind));
}
