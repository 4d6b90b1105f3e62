//! Recorded traces as operations.

use gpumm_tests::workloads::{Kind, Op};
use gpumm_trace::{EventKind, Trace};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The arena that marks are measured in: a granule of 256 bytes, far more room than needed.
pub const ARENA: gpumm_contract::Geometry = gpumm_contract::Geometry {
    size: 64 << 30,
    granule: 256,
};

/// What the recordings' own documentation says of first fit and best fit, in bytes.
pub const REFERENCE: [(&str, u64, u64); 9] = [
    ("torch_cpu_resnet18_train", 956_678_912, 871_947_008),
    ("torch_cpu_transformer_train", 1_111_905_024, 1_114_594_048),
    ("torch_cpu_gpt2_decode", 621_242_624, 625_012_480),
    ("torch_cpu_gpt2_decode_paged", 625_916_416, 629_449_216),
    ("torch_cpu_two_tenants", 1_697_990_400, 1_691_576_064),
    ("decomfl_llm_finetune", 1_787_546_368, 1_792_966_656),
    ("cs336_forward_bf16_ctx128", 806_479_872, 808_839_168),
    ("cs336_forward_fp32_ctx128", 564_680_704, 564_680_704),
    ("cs336_weighted_sum", 3_772_907_520, 3_772_907_520),
];

/// The traces of [`REFERENCE`] in a folder and the folders in it, in that order.
///
/// # Errors
/// A trace that cannot be read, in one line.
pub fn traces(folder: &Path) -> Result<Vec<(&'static str, Vec<Op>)>, String> {
    let files = files(folder);
    let mut found = Vec::new();
    for (name, ..) in REFERENCE {
        let file = format!("{name}.csv.gz");
        let Some(path) = files.iter().find(|path| path.ends_with(&file)) else {
            continue;
        };
        let reader = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let trace = gpumm_trace::import(reader, name, Default::default());
        found.push((name, operations(&trace.map_err(|e| e.to_string())?)));
    }
    Ok(found)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Sizes rounded up to the granule; empty allocations are left out.
fn operations(trace: &Trace) -> Vec<Op> {
    let events = trace.events.iter().filter(|event| event.bytes != 0);
    let ops = events.filter_map(|event| {
        let (kind, bytes, align_log2) = match event.kind {
            EventKind::Alloc => {
                let bytes = event.bytes.next_multiple_of(ARENA.granule);
                (Kind::Allocate, bytes, 8)
            }
            EventKind::Free => (Kind::Free, 0, 0),
            EventKind::Other(_) => return None,
        };
        Some(Op {
            bytes,
            id: u32::try_from(event.id).ok()?,
            kind,
            align_log2,
        })
    });
    ops.collect()
}
