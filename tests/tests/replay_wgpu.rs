//! Recorded traces on a GPU: contents, the plans beside those of the simulated device, swaps; which
//! GPU a command line means, and what it says where there is none.
//!
//! The JSON of a replay has nothing in it that depends on time but `timing`, so everything else must
//! be equal on both devices: evictions, bytes moved and verified, mappings, the digest of all plans.
//! Where the GPU's memory is of more than one chunk, buffers lie elsewhere while it grows: what
//! follows from their places is not compared then.
#![allow(clippy::unwrap_used)]

use gpumm_cli::DeviceKind;
use gpumm_cli::replay::{self, Hooks, ReplayOptions, Summary};
use gpumm_hw::conformance::has_gpu;
use gpumm_hw::wgpu::list;
use gpumm_tests::program::{call, call_among};
use gpumm_tests::small_traces::{self, FORWARD};
use gpumm_trace::Trace;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Where Mesa's driver computes on the CPU, one replay has all of it.
static ONE: Mutex<()> = Mutex::new(());

/// What differs between devices.
const DEVICE: [&str; 3] = ["device", "adapter", "timing"];

/// What also differs where buffers lie elsewhere.
const PLACED: [&str; 13] = [
    "device",
    "adapter",
    "timing",
    "high_water_bytes",
    "evictions",
    "swap_ins",
    "bytes_moved",
    "swaps",
    "shadow",
    "vm",
    "crossings",
    "plan_ops",
    "plans_digest",
];

fn folder() -> PathBuf {
    gpumm_tests::tidy::root().join("tests/traces")
}

fn path(name: &str) -> String {
    folder().join(name).to_string_lossy().into_owned()
}

/// The recorded traces by name.
fn traces() -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
    let is_trace = |name: &String| name.ends_with(".csv.gz") || name.ends_with(".pickle");
    let mut traces: Vec<String> = names.filter(is_trace).collect();
    traces.sort();
    assert!(traces.len() >= 4, "{traces:?}");
    traces
}

fn without(mut json: Value, keys: &[&str]) -> Value {
    let object = json.as_object_mut().unwrap();
    keys.iter().for_each(|key| drop(object.shift_remove(*key)));
    json
}

/// The program's replay on a device. It must end well, and without a word on stderr.
#[track_caller]
fn program(device: &str, args: &[&str]) -> Value {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let given = ["replay", "--device", device, "--json", "-"];
    let ended = call(&[&given, args].concat());
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{args:?}");
    ended.json()
}

/// The library's replay, with small buffers.
#[track_caller]
fn library(trace: &Trace, device: DeviceKind, percent: u64, vm: bool) -> Summary {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let options = ReplayOptions {
        device,
        vm,
        patience: None,
        ..small_traces::options(trace, percent, &[])
    };
    let summary = replay::run(trace, &options, Hooks::default()).unwrap();
    assert!(summary.is_good(), "{:?}", summary.details);
    summary
}

#[test]
fn every_trace_is_planned_and_verified_as_on_the_simulated_device() {
    if !has_gpu() {
        return;
    }
    for name in traces() {
        let trace = small_traces::trace(&name);
        for (percent, vm) in [(150, false), (60, false), (150, true), (60, true)] {
            let on = |device| library(&trace, device, percent, vm);
            let gpu = on(DeviceKind::Wgpu(None));
            let case = format!("{name}, {percent}%, vm {vm}");
            assert_eq!((gpu.corrupt_bytes, gpu.device_faults), (0, 0), "{case}");
            assert_eq!(gpu.vm.map(|vm| vm.stale_accesses), vm.then_some(0));
            assert!(gpu.bytes_verified > 0 && gpu.faults_injected == 0, "{case}");
            assert_eq!(gpu.evictions > 0, percent < 100, "{case}");
            let adapter = gpu.adapter.clone().unwrap();
            let known = list().into_iter().any(|entry| entry.name == adapter.name);
            assert!(known && gpu.device == "wgpu", "{adapter:?}");
            let sim = on(DeviceKind::Sim);
            assert_eq!((sim.device.as_str(), &sim.adapter), ("sim", &None));
            let [gpu, sim] = [gpu, sim].map(|summary| small_traces::json(&summary, &DEVICE[..2]));
            assert_eq!(gpu, sim, "{case}");
        }
    }
}

#[test]
fn the_program_replays_a_real_trace_with_too_little_memory() {
    if !has_gpu() {
        return;
    }
    let path = path(FORWARD);
    for more in [&["--touch", "0"][..], &["--vm", "--touch", "0"]] {
        let args = [&[path.as_str(), "--vram", "0.6x", "--verify", "full"], more].concat();
        let gpu = program("wgpu", &args);
        assert!(gpu["evictions"].as_u64() > Some(0) && gpu["swap_ins"].as_u64() > Some(0));
        assert_eq!(
            (&gpu["corrupt_bytes"], &gpu["device_faults"]),
            (&0.into(), &0.into())
        );
        let sim = program("sim", &args);
        assert_eq!(without(gpu, &PLACED), without(sim, &PLACED), "{more:?}");
    }
}

#[test]
fn components_are_swapped_in_the_middle() {
    if !has_gpu() {
        return;
    }
    let path = path(FORWARD);
    let swaps = [
        "--swap",
        "50%:buddy",
        "--swap",
        "75%:mechanism",
        "--shadow",
        "range",
    ];
    let args = [
        &[path.as_str(), "--vram", "0.6x", "--touch", "0"],
        &swaps[..],
    ]
    .concat();
    let gpu = program("wgpu", &args);
    let made = gpu["swaps"].as_array().unwrap();
    assert_eq!(
        (made.len(), &made[0]["to"]),
        (2, &"buddy".into()),
        "{made:?}"
    );
    assert!(made[0]["live"].as_u64() > Some(0), "{made:?}");
    assert_eq!(
        (&gpu["failed_swaps"], &gpu["restarts"]),
        (&0.into(), &0.into())
    );
    let sim = program("sim", &args);
    assert_eq!(without(gpu, &PLACED), without(sim, &PLACED));
}

#[test]
fn other_options_do_what_they_do_on_the_simulated_device() {
    if !has_gpu() {
        return;
    }
    let path = path(FORWARD);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (log, captures) = (at("run.gpummlog"), at("captures"));
    let more = [
        "--strategy=buddy",
        "--gtt=256MiB",
        "--copy-engines=2",
        "--tenants=stream",
        "--touch=1",
    ];
    let args = [
        &[path.as_str(), "--vram=60%", "--captures", &captures],
        &more[..],
    ]
    .concat();
    let gpu = program("wgpu:0", &[&args, &["--log", log.as_str()][..]].concat());
    assert_eq!(gpu["captures"].as_array().map(Vec::len), Some(0));
    let sim = program("sim", &args);
    assert_eq!(without(gpu.clone(), &PLACED), without(sim, &PLACED));
    // What was planned for a GPU is planned again without one.
    let again = call(&["replay", &log, "--json", "-"]);
    assert_eq!(again.status, 0, "{again:?}");
    let again = again.json();
    assert_eq!(
        (&again["different_batches"], &again["device"]),
        (&0.into(), &"sim".into())
    );
    assert_eq!(again["plans_digest"], gpu["plans_digest"]);
    call(&["replay", &log, "--device", "wgpu"]).failed(2, &["--device wgpu", "log"]);
}

#[test]
fn the_report_names_the_gpu() {
    if !has_gpu() {
        return;
    }
    let all = list();
    let first = &all[0];
    let (trace, some) = (path(FORWARD), first.name.split(' ').next().unwrap());
    let named = [some.to_uppercase(), first.backend.clone(), "0".into()];
    for name in named {
        let device = format!("wgpu:{name}");
        let args = [
            "replay",
            &trace,
            "--device",
            &device,
            "--verify=off",
            "--touch=0",
        ];
        let ended = call(&args);
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{name}");
        let told = format!(
            "wgpu on {} by way of {}, strategy tlsf",
            first.name, first.backend
        );
        assert!(ended.out.contains(&told), "{}", ended.out);
    }
    let adapter = &program("wgpu:0", &[&trace, "--verify=off", "--touch=0"])["adapter"];
    let keys: Vec<&String> = adapter.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["name", "backend", "kind", "driver"]);
    assert_eq!(adapter["name"].as_str(), Some(first.name.as_str()));
}

#[test]
fn what_makes_no_sense_is_one_line() {
    let trace = path(FORWARD);
    let replay = |device: &str, more: &[&str]| {
        call(&[&["replay", trace.as_str(), "--device", device], more].concat())
    };
    for device in ["cuda", "wgpu:", "sim:0", "WGPU"] {
        replay(device, &[]).failed(2, &[device, "--device", "wgpu:NAME", "gpumm devices"]);
    }
    replay("wgpu", &["--fault", "fail copy 5%"]).failed(2, &["--fault ", "--device sim"]);
    replay("wgpu", &["--fault-seed", "7"]).failed(2, &["--fault-seed ", "--device sim"]);
    if !has_gpu() {
        return;
    }
    let all = list();
    let first = format!("0 = {} ({})", all[0].name, all[0].backend);
    replay("wgpu:no\nsuch one", &[]).failed(2, &["wgpu:no\\nsuch one", &first]);
    replay("wgpu:4711", &[]).failed(2, &["wgpu:4711", "number", &first]);
}

/// As on a machine without a driver.
const NO_DRIVER: [(&str, &str); 2] = [
    ("VK_DRIVER_FILES", "/dev/null/none"),
    ("VK_ICD_FILENAMES", "/dev/null/none"),
];

const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];

#[cfg(target_os = "linux")]
#[test]
fn without_a_driver_the_packages_are_named() {
    let trace = path(FORWARD);
    for device in ["wgpu", "wgpu:0", "wgpu:llvmpipe"] {
        let ended = call_among(&NO_DRIVER, &["replay", &trace, "--device", device]);
        ended.failed(2, &PACKAGES);
    }
    let listed = call_among(&NO_DRIVER, &["devices"]);
    assert_eq!((listed.status, listed.err.as_str()), (0, ""), "{listed:?}");
    let said = |word: &&str| listed.out.contains(*word);
    assert!(PACKAGES.iter().all(said), "{listed:?}");
    assert!(listed.out.starts_with("--device sim\n"), "{listed:?}");
    let json = call_among(&NO_DRIVER, &["devices", "--json"]).json();
    assert_eq!(json["devices"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["devices"][0]["device"], "sim");
    assert!(json["note"].as_str().unwrap().contains(PACKAGES[0]));
}

#[test]
fn devices_are_listed() {
    let listed = call(&["devices", "--json"]);
    assert_eq!((listed.status, listed.err.as_str()), (0, ""), "{listed:?}");
    let json = listed.json();
    let keys = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&json), ["schema_version", "devices", "note"]);
    let devices = json["devices"].as_array().unwrap();
    let mut expected = vec![("sim".to_owned(), "sim".to_owned())];
    let gpus = list();
    let named = |(index, gpu): (usize, &gpumm_hw::wgpu::AdapterEntry)| {
        (format!("wgpu:{index}"), gpu.name.clone())
    };
    expected.extend(gpus.iter().enumerate().map(named));
    let text = call(&["devices"]);
    assert_eq!((text.status, text.err.as_str()), (0, ""), "{text:?}");
    for (device, (word, name)) in devices.iter().zip(&expected) {
        assert_eq!(
            (&device["device"], &device["name"]),
            (&word.as_str().into(), &name.as_str().into())
        );
        assert_eq!(
            keys(device).join(" "),
            "device index name backend kind driver limits features"
        );
        assert!(text.out.contains(&format!("--device {word}\n")), "{text:?}");
        assert!(text.out.contains(name), "{text:?}");
        let features: Vec<&str> = device["features"]
            .as_array()
            .unwrap()
            .iter()
            .map(|feature| feature.as_str().unwrap())
            .collect();
        assert!(features.is_sorted() && features.iter().all(|name| text.out.contains(name)));
    }
    assert_eq!(devices.len(), expected.len());
    for (device, gpu) in devices.iter().skip(1).zip(&gpus) {
        let limits = &device["limits"];
        assert_eq!(limits["max_buffer_size"], gpu.limits.max_buffer_size);
        let names = keys(limits);
        assert!(
            names.iter().all(|name| text.out.contains(name)),
            "{names:?}"
        );
        let alignment = gpu.limits.min_storage_buffer_offset_alignment;
        assert_eq!(limits["min_storage_buffer_offset_alignment"], alignment);
    }
    call(&["devices", "--nope"]).failed(2, &["--nope", "gpumm help devices"]);
    let help = call(&["help", "devices"]);
    assert!(
        help.status == 0 && help.out.contains("Without a GPU:"),
        "{help:?}"
    );
}

/// Where nothing says how to reach a Wayland server, libwayland would complain.
#[test]
fn nobody_hears_of_wayland() {
    let nowhere = [("XDG_RUNTIME_DIR", ""), ("WAYLAND_DISPLAY", "")];
    let listed = call_among(&nowhere, &["devices"]);
    assert_eq!((listed.status, listed.err.as_str()), (0, ""), "{listed:?}");
}
