use super::*;
use crate::wgpu::context::tests::context;

const ENTRIES: [Entry; 8] = [
    Entry::Fill,
    Entry::WriteWords,
    Entry::CheckWords,
    Entry::SumWords,
    Entry::Copy,
    Entry::Saxpy,
    Entry::GatherCheck,
    Entry::Gather,
];

#[test]
fn every_kernel_compiles_in_every_mode() {
    let Some(context) = context() else { return };
    for mode in [Mode::Direct, Mode::List, Mode::Walk] {
        for slots in [0, 1, 3, MOST_SLOTS] {
            for entry in ENTRIES {
                let made = context.guarded(|| {
                    context.kernels.built_in(&context, mode, slots, entry);
                    Ok(())
                });
                let said = context.said().unwrap_or_default();
                assert_eq!(made, Ok(()), "{mode:?} {slots} {entry:?}: {said}");
            }
        }
    }
}
