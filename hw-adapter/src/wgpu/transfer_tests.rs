#![allow(clippy::unwrap_used)]

use super::*;
use crate::wgpu::context::tests::context_of;

const MIB: u64 = 1 << 20;

#[test]
fn what_failed_leaves_nothing_on_its_way() {
    let Some(context) = context_of(64 * MIB, 16 * MIB) else {
        return;
    };
    let idle = || context.device.poll(wgpu::PollType::Poll).unwrap();
    // Memory is touched: what takes long is the fill.
    for _ in 0..2 {
        let mut transfer = Transfer::new(&context, Host::default());
        transfer
            .add(End::Pattern(7), End::Vram(0), 32 * MIB)
            .unwrap();
        // There is no system memory here.
        let failed = transfer.add(End::System(0), End::Vram(32 * MIB), 4 * MIB);
        assert!(matches!(failed, Err(DeviceError::Bug(_))), "{failed:?}");
        drop(transfer);
        assert!(idle().is_queue_empty());
    }
}

#[test]
fn windows_are_bounded_and_a_few_of_them_are_on_their_way() {
    let Some(context) = context_of(64 * MIB, 16 * MIB) else {
        return;
    };
    let data = vec![5; 16 * MIB as usize];
    let host = Host {
        input: &data,
        ..Host::default()
    };
    let mut transfer = Transfer::new(&context, host);
    let mut most = 0;
    for at in (0..16 * MIB).step_by(MIB as usize) {
        transfer.add(End::Bytes(at), End::Vram(at), MIB).unwrap();
        assert!(transfer.window.staged() < WINDOW);
        most = most.max(transfer.flights.len());
    }
    assert_eq!(most, AHEAD);
    transfer.finish().unwrap();
    let mut answer = vec![0; data.len()];
    let host = Host {
        output: &mut answer,
        ..Host::default()
    };
    let mut transfer = Transfer::new(&context, host);
    transfer.add(End::Vram(0), End::Bytes(0), 16 * MIB).unwrap();
    assert_eq!(transfer.flights.len(), AHEAD);
    transfer.finish().unwrap();
    assert!(answer == data);
}
