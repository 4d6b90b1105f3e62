//! The plan timing model: plans are accepted long before the device has done them.
#![allow(clippy::unwrap_used)]

use gpumm::job::PatternKey;
use gpumm::{BufferDesc, Error, Job, Pacing, Runtime};
use gpumm_hw::OutcomeValue;
use gpumm_tests::fixture;
use std::time::Duration;

#[test]
fn handles_go_from_thread_to_thread() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    shared::<Runtime>();
    shared::<gpumm::Client>();
    shared::<gpumm::Buffer>();
    shared::<gpumm::Fence>();
    shared::<gpumm::DeviceHandle>();
    sent::<gpumm::Batch>();
}

#[test]
fn with_the_engines_held_a_hundred_plans_are_accepted_and_none_is_done() {
    let (runtime, sim) = fixture::runtime(1 << 20, 64 << 20, None, Pacing::Eager, |b| b);
    let client = runtime.client();
    let buffers: Vec<_> = (0..20)
        .map(|_| client.create(BufferDesc::new(200_000)).unwrap())
        .collect();
    sim.hold_all();
    // Five buffers fit at a time: most of these accesses evict and bring back.
    let fences: Vec<_> = (0..100u64)
        .map(|n| {
            let buffer = &buffers[(n % 20) as usize];
            let key = |generation| PatternKey {
                buffer: n % 20,
                generation,
            };
            let job = match n / 20 {
                0 => Job::WritePattern(key(1)),
                g => Job::Rewrite {
                    old: key(g),
                    new: key(g + 1),
                    check: gpumm::job::Check::Full,
                },
            };
            client.run(job, &[buffer]).unwrap()
        })
        .collect();
    std::thread::sleep(Duration::from_millis(50));
    assert!(fences.iter().all(|f| !f.is_reached()));
    let report = runtime.device(0).unwrap().report().unwrap();
    assert!(
        report.counts.evictions > 60 && report.counts.swap_ins > 60,
        "{report:?}"
    );
    sim.release_all();
    for pair in fences.windows(2) {
        assert!(
            pair[0].point() < pair[1].point(),
            "points of one timeline in order"
        );
    }
    // In order: when a later point is reached, every earlier one is.
    for (n, fence) in fences.iter().enumerate().rev().step_by(9) {
        fence.wait().unwrap();
        assert!(fences[..=n].iter().all(|f| f.is_reached()));
    }
    for fence in &fences {
        if let OutcomeValue::Checked(checked) = fence.outcome().unwrap() {
            assert_eq!(
                (checked.corrupt_bytes, checked.bytes_verified),
                (0, 200_000)
            );
        }
    }
}

#[test]
fn another_clients_buffers_are_out_of_reach() {
    let runtime = Runtime::builder().sim(1 << 20).build().unwrap();
    let (one, two) = (runtime.client(), runtime.client());
    let buffer = one.create(BufferDesc::new(4096)).unwrap();
    buffer.fill(0x5ec7e7).unwrap().wait().unwrap();
    let error = two
        .run(
            Job::Read {
                offset: 0,
                bytes: 8,
            },
            &[&buffer],
        )
        .unwrap_err();
    assert!(matches!(error, Error::Argument(_)), "{error}");
    drop(buffer);
    // The same bytes, now somebody else's: cleared before they can be seen.
    let other = two.create(BufferDesc::new(1 << 20)).unwrap();
    assert!(other.read(0, 1 << 20).unwrap().iter().all(|&b| b == 0));
    assert_eq!(
        runtime
            .device(0)
            .unwrap()
            .report()
            .unwrap()
            .counts
            .bytes_cleared,
        1 << 20
    );
    // One's own old bytes need no clearing.
    drop(other);
    let again = two.create(BufferDesc::new(1 << 20)).unwrap();
    again.fill(1).unwrap().wait().unwrap();
    assert_eq!(
        runtime
            .device(0)
            .unwrap()
            .report()
            .unwrap()
            .counts
            .bytes_cleared,
        1 << 20
    );
}

#[test]
fn refusals_name_the_next_step() {
    let runtime = Runtime::builder()
        .sim(1 << 20)
        .system_memory(1 << 20)
        .build()
        .unwrap();
    let client = runtime.client();
    let text = |e: Error| e.to_string();
    assert!(text(client.create(BufferDesc::new(0)).unwrap_err()).contains("size is 0"));
    let error = client.create(BufferDesc::new((1 << 20) + 1)).unwrap_err();
    assert!(error.is_out_of_memory() && text(error).contains("largest acceptable memory type"));
    assert!(text(client.create(BufferDesc::new(u64::MAX)).unwrap_err()).contains("64 bits"));
    let kept: Vec<_> = (0..2)
        .map(|_| client.create(BufferDesc::new(1 << 20)).unwrap())
        .collect();
    let error = client.create(BufferDesc::new(1 << 20)).unwrap_err();
    assert!(error.is_out_of_memory() && text(error).contains("nowhere to go"));
    let error = kept[0].read(1 << 20, 1).unwrap_err();
    assert!(text(error).contains("leave a buffer"));
    assert!(kept[0].read(u64::MAX, 2).is_err() && kept[0].read(0, 0).is_err());
    assert!(
        client
            .run(
                Job::Copy {
                    from: 0,
                    to: 0,
                    bytes: 8
                },
                &[&kept[0]]
            )
            .is_err()
    );
    assert!(
        client
            .run(
                Job::Copy {
                    from: 0,
                    to: 0,
                    bytes: 8
                },
                &[&kept[0], &kept[0]]
            )
            .is_err()
    );
}

#[test]
fn many_threads_share_a_client() {
    let runtime = Runtime::builder()
        .sim(1 << 20)
        .system_memory(64 << 20)
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let client = runtime.client();
            scope.spawn(move || {
                for n in 0..50u64 {
                    let buffer = client.create(BufferDesc::new(100_000)).unwrap();
                    buffer.fill(thread << 32 | n).unwrap();
                    assert_eq!(
                        buffer.read(99_992, 8).unwrap(),
                        (thread << 32 | n).to_le_bytes()
                    );
                }
            });
        }
    });
    let device = runtime.device(0).unwrap();
    device.drain().unwrap();
    let report = device.report().unwrap();
    assert_eq!((report.live_buffers, report.live_bytes), (0, 0));
    assert!(report.crossings > 0 && device.hardware().take_faults().is_empty());
}

#[test]
fn two_devices_share_system_memory() {
    let runtime = Runtime::builder()
        .sim(1 << 20)
        .sim(1 << 20)
        .system_memory(32 << 20)
        .build()
        .unwrap();
    let clients: Vec<_> = (0..2)
        .map(|d| runtime.device(d).unwrap().client())
        .collect();
    std::thread::scope(|scope| {
        for (d, client) in clients.iter().enumerate() {
            scope.spawn(move || {
                let buffers: Vec<_> = (0..20)
                    .map(|n| {
                        let buffer = client.create(BufferDesc::new(300_000)).unwrap();
                        buffer.fill((d as u64) << 32 | n).unwrap();
                        buffer
                    })
                    .collect();
                for (n, buffer) in buffers.iter().enumerate() {
                    let want = ((d as u64) << 32 | n as u64).to_le_bytes();
                    assert_eq!(buffer.read(299_992, 8).unwrap(), want);
                }
            });
        }
    });
    for d in 0..2 {
        let device = runtime.device(d).unwrap();
        device.drain().unwrap();
        assert!(device.hardware().take_faults().is_empty());
        assert!(device.report().unwrap().counts.evictions > 10);
    }
    assert_eq!(runtime.system().used(), 0, "everything came back");
}

#[test]
fn tight_system_memory_is_waited_for() {
    // Two of four buffers fit into device memory; beside the other two there is room for one.
    let runtime = Runtime::builder().sim(1 << 20).system_memory(5 << 18);
    let runtime = runtime.pacing(Pacing::Window(8)).build().unwrap();
    let client = runtime.client();
    let buffers: Vec<_> = (0..4u64)
        .map(|n| {
            let buffer = client.create(BufferDesc::new(400_000)).unwrap();
            buffer.fill(n).unwrap();
            buffer
        })
        .collect();
    for turn in 0..40 {
        let n = turn % 4;
        let bytes = buffers[n].read(399_992, 8).unwrap();
        assert_eq!(bytes, (n as u64).to_le_bytes());
    }
    let report = runtime.device(0).unwrap().report().unwrap();
    assert!(report.counts.swap_ins > 30, "{report:?}");
}
