//! The device on a GPU: the device suite, and what is its own. Without a GPU driver the tests run
//! on Mesa's lavapipe.

#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used)]

mod gpu;

use std::sync::Arc;
use std::time::Duration;

use gpu::{Bench, TIME, has_gpu};
use gpumm_hw::conformance::{self, Fixture, MEMORY};
use gpumm_hw::wgpu::{AdapterChoice, WgpuConfig, WgpuDevice};
use gpumm_hw::{
    Command, Device, DeviceError, EngineId, EngineKind, OutcomeValue, Point, Segment, Submission,
    SystemMemory, Timelines,
};

/// Cases of the suite that this device does not pass, and why. One that passes has to go.
const KNOWN_DIFFERENCES: &[(&str, &str)] = &[];

fn suite(config: &WgpuConfig) {
    let results = conformance::run(&|| {
        let timelines = Arc::new(Timelines::new());
        let system = Arc::new(SystemMemory::new(MEMORY).unwrap());
        let (choice, config) = (AdapterChoice::Best, config.clone());
        let device = WgpuDevice::new(&choice, config, Arc::clone(&timelines), system).unwrap();
        let device = Box::new(device);
        Fixture { device, timelines }
    });
    let mut wrong = Vec::new();
    for (name, verdict) in &results {
        let known = KNOWN_DIFFERENCES.iter().find(|(known, _)| known == name);
        match (verdict, known) {
            (Err(failure), None) => wrong.push(format!("{name}: {failure}")),
            (Ok(()), Some((_, why))) => wrong.push(format!("{name} passes now: {why}")),
            (Err(_), Some(_)) | (Ok(()), None) => {}
        }
    }
    for (known, _) in KNOWN_DIFFERENCES {
        if !results.iter().any(|(name, _)| name == known) {
            wrong.push(format!("there is no case {known}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(results.len(), conformance::cases().len());
}

#[test]
fn the_default_device_passes_the_suite() {
    if has_gpu() {
        for lists_by_cpu in [None, Some(false), Some(true)] {
            suite(&WgpuConfig {
                lists_by_cpu,
                ..WgpuConfig::new("gpu", MEMORY)
            });
        }
    }
}

#[test]
fn a_device_of_many_chunks_passes_the_suite() {
    if has_gpu() {
        let mut config = WgpuConfig::new("chunks", MEMORY);
        config.chunk_bytes = Some(12_288);
        config.engines = vec![("all".into(), EngineKind::Compute)];
        config.lists_by_cpu = Some(false);
        suite(&config);
    }
}

#[test]
fn a_device_that_reaches_everything_passes_the_suite() {
    if has_gpu() {
        let mut config = WgpuConfig::new("open", 2 * MEMORY);
        config.iommu = false;
        suite(&config);
    }
}

#[test]
fn a_limit_that_is_too_small_is_refused_by_name() {
    if !has_gpu() {
        return;
    }
    let mut config = WgpuConfig::new("gpu", 1 << 50);
    config.chunk_bytes = Some(1 << 49);
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(4096).unwrap());
    let choice = AdapterChoice::Best;
    let refused = WgpuDevice::new(&choice, config, timelines, system).unwrap_err();
    let named = matches!(
        refused,
        DeviceError::LimitTooSmall { limit: "max_buffer_size", has, needed }
            if needed == 1 << 49 && has < needed
    );
    assert!(named, "{refused}");
}

#[test]
fn an_adapter_that_is_not_there_is_refused() {
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(4096).unwrap());
    let choice = AdapterChoice::Named("a name that no GPU has".to_owned());
    let config = WgpuConfig::new("gpu", 4096);
    let refused = WgpuDevice::new(&choice, config, timelines, system).unwrap_err();
    assert_eq!(refused, DeviceError::NoAdapter);
    assert!(refused.to_string().contains("mesa-vulkan-drivers"));
}

#[test]
fn a_lost_device_ends_what_it_has_and_comes_back() {
    if !has_gpu() {
        return;
    }
    let bench = Bench::new(WgpuConfig::new("gpu", 1 << 20), 4096);
    let vram = [Segment::vram(0, 8)];
    bench.write(0, &vram, 0, &[7; 8]);
    assert!(!bench.device.is_lost());
    let gate = bench.timelines.create("gate");
    let open = Point {
        timeline: gate,
        value: 1,
    };
    let waits = bench.submit(1, Submission::default().after(open));
    bench.device.wgpu().0.destroy();
    let lost = OutcomeValue::Failed(DeviceError::Lost);
    let src = vram.into();
    let (offset, bytes) = (0, 8);
    assert_eq!(bench.perform(0, Command::Read { src, offset, bytes }), lost);
    assert!(bench.device.is_lost());
    // What waited for somebody else waits no more.
    assert_eq!(waits.wait(TIME), Some(&lost));
    let cpu = bench.device.cpu();
    let src = vram.into();
    let by_cpu = cpu.perform(&Command::Read { src, offset, bytes });
    assert_eq!(by_cpu, Err(DeviceError::Lost));
    assert_eq!(bench.device.reset(), Ok(()));
    assert!(!bench.device.is_lost());
    assert_eq!(bench.read(0, &vram, 0, 8), [0; 8]);
    bench.write(0, &vram, 0, &[9; 8]);
    assert_eq!(bench.read(0, &vram, 0, 8), [9; 8]);
}

#[test]
fn what_is_on_its_way_when_the_device_is_lost_ends_in_order() {
    if !has_gpu() {
        return;
    }
    let (pages, bytes) = (64, 256 << 10);
    let bench = Bench::new(WgpuConfig::new("gpu", pages * bytes), pages * bytes);
    let copy = |page| Command::Copy {
        src: [Segment::system(page * bytes, bytes)].into(),
        dst: [Segment::vram(page * bytes, bytes)].into(),
        src_offset: 0,
        dst_offset: 0,
        bytes,
    };
    let submit = |page| bench.submit(0, Submission::new(copy(page)).signal(page + 1));
    let outcomes: Vec<_> = (0..pages).map(submit).collect();
    let timeline = bench.device.properties().engines[0].timeline;
    let at = |value| Point { timeline, value };
    bench.timelines.wait(at(8), TIME).unwrap();
    bench.device.wgpu().0.destroy();
    bench.timelines.wait(at(pages), TIME).unwrap();
    let ends: Vec<_> = outcomes.iter().map(|o| o.get().unwrap().clone()).collect();
    let done = ends.iter().take_while(|end| **end == OutcomeValue::Done);
    let done = done.count();
    assert!(done >= 8);
    let lost = OutcomeValue::Failed(DeviceError::Lost);
    assert!(ends[done..].iter().all(|end| *end == lost), "{ends:?}");
    // Nothing is claimed any more.
    assert_eq!(bench.device.reset(), Ok(()));
    bench.done(0, copy(0));
}

#[test]
fn an_embedders_device_is_used_and_stays_lost() {
    if !has_gpu() {
        return;
    }
    // Any device of another owner: here the one that this device opened itself.
    let own = Bench::new(WgpuConfig::new("own", 4096), 4096);
    let (device, queue) = own.device.wgpu();
    let timelines = Arc::new(Timelines::new());
    let system = Arc::new(SystemMemory::new(4096).unwrap());
    let config = WgpuConfig::new("guest", 1 << 20);
    let guest = WgpuDevice::from_existing(
        device.clone(),
        queue,
        config,
        Arc::clone(&timelines),
        system,
    );
    let bench = Bench {
        device: guest.unwrap(),
        timelines,
    };
    let vram = [Segment::vram(3, 100)];
    bench.write(0, &vram, 0, &[5; 100]);
    assert_eq!(bench.read(0, &vram, 0, 100), [5; 100]);
    device.destroy();
    let fill = Command::Fill {
        dst: vram.into(),
        offset: 0,
        bytes: 100,
        pattern: 0,
    };
    let lost = OutcomeValue::Failed(DeviceError::Lost);
    assert_eq!(bench.perform(0, fill), lost);
    assert_eq!(bench.device.reset(), Err(DeviceError::Lost));
    assert!(bench.device.is_lost());
    assert_eq!(bench.perform(0, Command::Nop), lost);
    let unknown = bench.device.submit(EngineId(9), Submission::default());
    assert_eq!(unknown, Err(DeviceError::UnknownEngine(EngineId(9))));
}

#[test]
fn a_gpu_that_takes_too_long_is_given_up() {
    if !has_gpu() {
        return;
    }
    let bytes = 256 << 20;
    let mut config = WgpuConfig::new("gpu", bytes);
    config.timeout = Duration::from_nanos(1);
    let bench = Bench::new(config, 4096);
    let fill = || Command::Fill {
        dst: [Segment::vram(0, bytes)].into(),
        offset: 0,
        bytes,
        pattern: 3,
    };
    let outcome = bench.perform(0, fill());
    assert_eq!(outcome, OutcomeValue::Failed(DeviceError::TimedOut));
    assert!(bench.device.is_lost());
    let lost = OutcomeValue::Failed(DeviceError::Lost);
    assert_eq!(bench.perform(0, Command::Nop), lost);
    assert_eq!(bench.device.reset(), Ok(()));
    assert_eq!(bench.perform(0, Command::Nop), OutcomeValue::Done);
}
