//! The `gpumm` program from outside: recorded traces, request logs, bad inputs, exit statuses.
//!
//! `GPUMM_TRACES` names a folder with more traces: every one of them is replayed, too.

use gpumm_cli::replay::{self, Hooks, ReplayOptions, Verify};
use gpumm_hw::sim::Sabotage;
use gpumm_tests::program::{call, call_with, program};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Replays use a thread per core, and memory: one at a time keeps both within bounds.
static HEAVY: Mutex<()> = Mutex::new(());

fn root() -> &'static Path {
    gpumm_tests::tidy::root()
}

fn trace(name: &str) -> String {
    let path = root().join("tests/traces").join(name);
    path.to_string_lossy().into_owned()
}

const FORWARD: &str = "cs336_forward_fp32_ctx128";

/// Replays with JSON; the status must be 0.
#[track_caller]
fn replay(args: &[&str]) -> Value {
    let _one = HEAVY.lock().unwrap_or_else(PoisonError::into_inner);
    let ended = call(&[&["replay"], args, &["--json", "-"]].concat());
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    ended.json()
}

#[track_caller]
fn number(json: &Value, key: &str) -> u64 {
    json[key].as_u64().unwrap_or_else(|| panic!("no {key}"))
}

/// Without the keys that may differ.
fn without(mut json: Value, keys: &[&str]) -> Value {
    let object = json.as_object_mut().expect("an object");
    keys.iter().for_each(|key| drop(object.shift_remove(*key)));
    json
}

#[track_caller]
fn is_clean(json: &Value) {
    for key in [
        "failed_allocations",
        "failed_accesses",
        "corrupt_bytes",
        "device_faults",
        "restarts",
    ] {
        assert_eq!(number(json, key), 0, "{key}: {json}");
    }
    assert!(number(json, "bytes_verified") > 0);
    let limit = number(json, "vram_bytes");
    assert!(number(json, "high_water_bytes") <= limit);
}

/// Allocations, live peak and live allocations of `reference.csv`.
fn reference(name: &str) -> Option<[u64; 4]> {
    let table = fs::read_to_string(trace("reference.csv")).expect("it is there");
    let row = table.lines().find_map(|l| l.strip_prefix(name));
    let numbers = row?.strip_prefix(',')?.split(',').map(str::parse);
    let numbers: Result<Vec<u64>, _> = numbers.take(4).collect();
    numbers.ok()?.try_into().ok()
}

#[track_caller]
fn matches_reference(json: &Value, name: &str) {
    let [events, allocations, bytes, live] = reference(name).expect("a row");
    assert_eq!(number(&json["source"], "events"), events);
    assert_eq!(number(json, "allocations"), allocations);
    assert_eq!(number(json, "live_peak_bytes"), bytes);
    assert_eq!(number(json, "live_peak_allocations"), live);
}

/// A small trace whose oldest buffers are always needed again: 48 buffers of up to 256 KiB in
/// two streams, thrice, freed in the order in which they came.
fn queue(folder: &Path) -> String {
    let mut csv = String::from("time_ns,action,id,bytes,stream\n");
    let size = |id: u64| match id % 17 {
        0 => 0,
        odd => odd * 16_001,
    };
    for round in 0..3 {
        for action in ["alloc", "free"] {
            for id in round * 48..(round + 1) * 48 {
                let _ = writeln!(csv, "0,{action},{id},{},{}", size(id), id % 2);
            }
        }
    }
    let path = folder.join("queue.csv");
    fs::write(&path, csv).expect("a folder of ours");
    path.to_string_lossy().into_owned()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn in_folder(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a folder of ours");
    path.to_string_lossy().into_owned()
}

/// The documented keys of a report, in order.
const KEYS: &str = "schema_version source device adapter strategy vram_bytes system_bytes gtt_bytes \
    copy_engines access_model faults fault_seed allocations frees live_peak_bytes \
    live_peak_allocations high_water_bytes failed_allocations failed_accesses mapping_failures \
    evictions swap_ins bytes_moved bytes_verified corrupt_bytes device_faults faults_injected \
    cpu_fallbacks poisoned refused_accesses cancelled_jobs resets failed_operations captures \
    swaps failed_swaps strategy_faults shadow vm crossings plan_ops plans_digest restarts timing";

#[track_caller]
fn keys(json: &Value) -> String {
    let keys = json.as_object().expect("an object").keys();
    keys.map(String::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_real_trace_fits_with_both_strategies() {
    let path = trace(&format!("{FORWARD}.csv.gz"));
    for strategy in ["tlsf", "buddy"] {
        let json = replay(&[&path, "--strategy", strategy]);
        is_clean(&json);
        matches_reference(&json, FORWARD);
        assert_eq!(number(&json, "evictions"), 0);
        assert_eq!(keys(&json), KEYS);
        assert_eq!(keys(&json["source"]), "path format events");
        let model = "touch before_free at_end verify tenants batch_events window_batches";
        assert_eq!(keys(&json["access_model"]), model);
        assert_eq!(json["strategy"], strategy);
        let digest = json["plans_digest"].as_str().unwrap_or_default();
        assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(json["timing"]["events_per_second"].as_f64() > Some(0.0));
    }
}

#[test]
fn a_real_trace_survives_too_little_memory() {
    let path = trace("torch_cpu_resnet18_train.csv.gz");
    let json = replay(&[&path, "--vram", "0.6x", "--verify", "full"]);
    is_clean(&json);
    matches_reference(&json, "torch_cpu_resnet18_train");
    assert!(number(&json, "evictions") > 0);
    assert!(number(&json, "swap_ins") > 0);
    assert!(number(&json, "bytes_moved") > 0);
}

#[test]
fn jobs_by_address_see_what_they_should() {
    let folder = folder();
    let path = queue(folder.path());
    for tenants in ["one", "stream"] {
        let args = [
            &path,
            "--vram=60%",
            "--verify=full",
            "--vm",
            "--tenants",
            tenants,
        ];
        let json = replay(&args);
        is_clean(&json);
        assert!(number(&json, "evictions") > 0);
        let vm = &json["vm"];
        assert_eq!(keys(vm), "binds unbinds rebinds jobs faults stale_accesses");
        // Those without bytes have no place.
        assert!(number(vm, "binds") > number(&json, "allocations") * 9 / 10);
        assert!(number(vm, "rebinds") > 0 && number(vm, "jobs") > number(vm, "binds"));
        assert_eq!((number(vm, "faults"), number(vm, "stale_accesses")), (0, 0));
        let again = without(replay(&args), &["timing"]);
        assert_eq!(without(json, &["timing"]), again);
    }
}

#[test]
fn mappings_are_listed_half_way() {
    let folder = folder();
    let path = queue(folder.path());
    let ended = call(&["replay", &path, "--maps-at", "50%"]);
    let text = &ended.out;
    assert_eq!(ended.status, 0, "{ended:?}");
    let rows = text.lines().filter(|line| line.ends_with(" rw")).count();
    assert!(text.starts_with("VM 1 of tenant 0: ") && rows > 0, "{text}");
    for wrong in ["50", "101%", "x%", "-1%"] {
        let ended = call(&["replay", &path, &format!("--maps-at={wrong}")]);
        assert_eq!(ended.status, 2, "{wrong}");
    }
}

#[test]
fn two_runs_are_equal_but_for_the_time() {
    let folder = folder();
    let path = queue(folder.path());
    for strategy in ["tlsf", "buddy"] {
        for tenants in ["one", "stream"] {
            let args = [
                path.as_str(),
                "--vram=60%",
                "--verify=full",
                "--tenants",
                tenants,
                "--strategy",
                strategy,
            ];
            let first = replay(&args);
            is_clean(&first);
            assert!(number(&first, "evictions") > 0 && number(&first, "swap_ins") > 0);
            let first = without(first, &["timing"]);
            assert_eq!(first, without(replay(&args), &["timing"]));
            // A mechanism that is rebuilt from the facts plans as the old one would have.
            let again = [&args[..], &["--restart-mechanism-every", "1"]].concat();
            let again = replay(&again);
            assert!(number(&again, "restarts") > 0);
            let left_out = ["timing", "restarts"];
            assert_eq!(without(first, &left_out), without(again, &left_out));
        }
    }
}

#[test]
fn a_pickle_and_its_csv_are_the_same_trace() {
    let less = ["--touch", "0", "--vram", "2GiB"];
    let [pickle, csv] = ["pickle", "csv.gz"].map(|ending| {
        let path = trace(&format!("cs336_weighted_sum.{ending}"));
        let json = replay(&[&[path.as_str()], &less[..]].concat());
        is_clean(&json);
        assert!(number(&json, "evictions") > 0);
        json
    });
    matches_reference(&csv, "cs336_weighted_sum");
    let left_out = ["source", "timing"];
    assert_eq!(without(pickle, &left_out), without(csv, &left_out));
}

#[test]
fn a_request_log_gives_the_same_plans() {
    let folder = folder();
    let path = queue(folder.path());
    let log = folder.path().join("queue.gpummlog");
    let log = log.to_str().expect("a name of ours");
    let json = replay(&[&path, "--vram", "0.6x", "--log", log]);
    let again = replay(&[log]);
    assert_eq!(again["kind"], "log");
    assert_eq!(again["different_batches"], 0);
    assert_eq!(again["first_different_batch"], Value::Null);
    for key in ["plans_digest", "evictions", "high_water_bytes", "plan_ops"] {
        assert_eq!(again[key], json[key], "{key}");
    }
    let text = call(&["replay", log]);
    assert_eq!(text.status, 0);
    assert!(text.out.contains("equal byte for byte"), "{text:?}");
    call(&["replay", log, "--vram", "1GiB"]).failed(2, &["--vram", "log"]);

    // The last frames are the last digest (5 words) and the end (2 words).
    let good = fs::read(log).expect("the log");
    let tamper = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        in_folder(folder.path(), "tampered.gpummlog", &bytes)
    };
    let ended = call(&["replay", &tamper(good.len() - 17)]);
    ended.failed(1, &["differ", "batch"]);
    assert!(ended.out.contains("1 batch"), "{ended:?}");
    call(&["replay", &tamper(good.len() - 8)]).failed(3, &["byte"]);
    call(&["replay", &tamper(good.len() - 16)]).failed(3, &["byte"]);
    for cut in [12, 40, good.len() / 2, good.len() - 16, good.len() - 1] {
        let path = in_folder(folder.path(), "cut.gpummlog", &good[..cut]);
        call(&["replay", &path]).failed(3, &["cut.gpummlog", "byte"]);
    }
    let header = |json: &str| {
        let text = format!("gpumm-log 2\n{json}\n");
        in_folder(folder.path(), "absurd.gpummlog", text.as_bytes())
    };
    for (vram, granule, system, strategy, device) in [
        ("18446744073709551615", 4096, 1, "tlsf", "sim"),
        ("0", 4096, 1 << 20, "tlsf", "sim"),
        ("1048576", 0, 1 << 20, "tlsf", "sim"),
        ("1048576", 4096, u64::MAX, "tlsf", "sim"),
        ("1048576", 4096, 1 << 20, "nonsense", "sim"),
        ("1048576", 4096, 1 << 20, "tlsf", "gpu9000"),
    ] {
        let json = format!(
            r#"{{"device":"{device}","vram_bytes":{vram},"granule":{granule},"system_bytes":{system},"gtt_bytes":4096,"copy_engines":1,"strategy":"{strategy}"}}"#
        );
        call(&["replay", &header(&json)]).failed(3, &["absurd.gpummlog"]);
    }
    call(&["replay", &header("{}")]).failed(3, &["absurd.gpummlog", "byte 12"]);
}

#[test]
fn bad_inputs_are_one_line() {
    let folder = folder();
    let folder = folder.path();
    let gz = fs::read(trace(&format!("{FORWARD}.csv.gz"))).expect("a trace");
    let cases: [(&str, &[u8], &[&str]); 8] = [
        ("empty", b"", &["empty"]),
        ("cut.csv.gz", &gz[..3000], &["gzip"]),
        ("text", b"hello, world\n", &["not a trace"]),
        (
            "rmm.csv",
            b"Thread,Time,Action,Pointer,Size,Stream\n",
            &["RMM"],
        ),
        (
            "global.pickle",
            b"\x80\x04cos\nsystem\n.",
            &["GLOBAL", "byte 2"],
        ),
        (
            "line.csv",
            b"time_ns,action,id,bytes\n0,alloc,0,64\n1,free,7,64\n",
            &["line.csv:3"],
        ),
        (
            "huge.csv",
            b"time_ns,action,id,bytes\n0,alloc,0,99999999999999999999\n",
            &["huge.csv:2"],
        ),
        ("log", b"gpumm-log 99\n", &["version"]),
    ];
    for (name, bytes, words) in cases {
        let path = in_folder(folder, name, bytes);
        let ended = call(&["replay", &path]);
        ended.failed(3, &[&[name], words].concat());
        assert_eq!(ended.out, "");
    }
    call(&["replay", "does-not-exist"]).failed(3, &["does-not-exist", "no such file"]);
    call(&["replay", &folder.to_string_lossy()]).failed(3, &["directory"]);
    let json = folder.join("left.json");
    let json = json.to_str().expect("a name of ours");
    call(&["replay", &in_folder(folder, "e", b""), "--json", json]).failed(3, &["empty"]);
    assert!(!Path::new(json).exists(), "half a report");
}

#[test]
fn bad_command_lines_are_one_line() {
    let folder = folder();
    let folder = folder.path();
    let path = queue(folder);
    for size in [
        "0",
        "0x",
        "0%",
        "-1",
        "-1x",
        "nonsense",
        "0x1000",
        "1e9x",
        "infx",
        "16EiB",
        "99999999999999999999",
        "",
        "33TiB",
    ] {
        let ended = call(&["replay", &path, "--vram", size]);
        ended.failed(2, &["--vram"]);
        assert_eq!(ended.out, "");
        if size.parse::<u64>() != Ok(0) {
            call(&["replay", &path, "--system", size]).failed(2, &["--system"]);
        }
    }
    let peta = b"time_ns,action,id,bytes\n0,alloc,0,72057594037927936\n";
    let peta = in_folder(folder, "peta.csv", peta);
    call(&["replay", &peta]).failed(2, &["peta.csv", "32.0 TiB"]);
    call(&["replay", &path, "--strategy", "nonsense"]).failed(2, &["nonsense", "tlsf", "buddy"]);
    call(&["replay", &path, "--verify", "nonsense"]).failed(2, &["sample"]);
    call(&["replay", &path, "--touch", "65"]).failed(2, &["64"]);
    call(&["replay", &path, "--json", &path]).failed(2, &["overwrite"]);
    call(&["replay", &path, "--json", "/no/such/folder/x"]).failed(3, &["/no/such/folder/x"]);
    call(&["replay", &path, "--log", "/no/such/folder/x"]).failed(3, &["/no/such/folder/x"]);
    call(&["replay"]).failed(2, &["TRACE"]);
    call(&["nonsense"]).failed(2, &["nonsense"]);
    call(&[]).failed(2, &["gpumm help"]);
    for args in [&["help", "replay"][..], &["--version"], &["replay", "-h"]] {
        let ended = call(args);
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    }
    assert!(call(&["help", "replay"]).out.contains("Exit status"));
}

#[test]
fn standard_input_is_read_once() {
    let folder = folder();
    let path = queue(folder.path());
    let bytes = fs::read(&path).expect("a trace");
    let piped = |args: &[&str]| {
        let args = [&["replay", "-"], args].concat();
        call_with(&args, Stdio::piped(), Some(bytes.clone()))
    };
    piped(&[]).failed(2, &["pipe", "--vram"]);
    piped(&["--vram", "0.6x"]).failed(2, &["pipe", "--vram"]);
    let ended = piped(&["--vram", "2MiB", "--json", "-"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(number(&ended.json(), "allocations"), 144);
    let file = fs::File::open(&path).expect("a trace");
    let ended = call_with(&["replay", "-", "--vram", "0.6x"], file.into(), None);
    assert_eq!(ended.status, 0, "{ended:?}");
}

#[test]
fn failures_say_what_to_try() {
    let folder = folder();
    let path = queue(folder.path());
    let small = call(&["replay", &path, "--vram", "64KiB"]);
    small.failed(1, &["allocations failed", "--vram"]);
    let crowded = call(&["replay", &path, "--vram", "1MiB", "--system", "64KiB"]);
    crowded.failed(1, &["failed", "--system"]);
    // The last line of the report says the same.
    let last = crowded.out.trim_end().lines().last().unwrap_or_default();
    assert!(crowded.err.trim_end().ends_with(last), "{crowded:?}");
    let json = call(&["replay", &path, "--vram", "64KiB", "--json", "-"]).json();
    let lost = number(&json, "failed_allocations");
    assert!(lost > 0 && lost < number(&json, "allocations"));
    assert_eq!(number(&json, "failed_accesses"), 0);
    assert_eq!(number(&json, "corrupt_bytes"), 0);
}

#[test]
fn reports_go_where_they_should() {
    let folder = folder();
    let path = queue(folder.path());
    let json = in_folder(folder.path(), "report.json", b"an older report");
    let ended = call(&["replay", &path, "--json", &json]);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    assert!(ended.out.contains("Every allocation found a place"));
    let written: Value = serde_json::from_slice(&fs::read(&json).expect("it")).expect("JSON");
    assert_eq!(number(&written, "schema_version"), 1);
    assert_eq!(fs::read_dir(folder.path()).expect("ours").count(), 2);
    // A reader that goes away early is not a failure, and no panic.
    let mut child = Command::new(program())
        .args(["replay", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gpumm runs");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0));
}

#[test]
fn a_device_that_errs_is_found_out() {
    let folder = folder();
    let path = queue(folder.path());
    let file = fs::File::open(&path).expect("a trace");
    let trace = gpumm_trace::import(file, "queue", Default::default()).expect("a good trace");
    let options = ReplayOptions {
        verify: Verify::Full,
        ..ReplayOptions::new("queue", 4 << 20, 16 << 20)
    };
    let good = replay::run(&trace, &options, Hooks::default()).expect("a run");
    assert!(good.is_good(), "{good:?}");
    let mut drop_one = |control: gpumm_hw::sim::SimControl| {
        control
            .sabotage(Sabotage::DropSegment {
                nth_command: 40,
                segment: 0,
            })
            .expect("a good order");
    };
    let hooks = Hooks {
        device: Some(&mut drop_one),
        ..Hooks::default()
    };
    let bad = replay::run(&trace, &options, hooks).expect("a run");
    assert!(bad.corrupt_bytes > 0 && !bad.is_good(), "{bad:?}");
    assert_eq!(bad.plans_digest, good.plans_digest);
}

#[test]
fn every_other_trace_survives() {
    let Some(folder) = std::env::var_os("GPUMM_TRACES") else {
        return;
    };
    let mut paths = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = path.to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if [".csv.gz", ".pickle", ".pickle.gz"]
                .iter()
                .any(|e| name.ends_with(e))
            {
                paths.push(path);
            }
        }
    }
    paths.sort();
    assert!(!paths.is_empty(), "no traces");
    for path in paths {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let name = file.split('.').next().unwrap_or_default().to_owned();
        let path = path.to_string_lossy();
        for strategy in ["tlsf", "buddy"] {
            for (vram, verify) in [("1.5x", "sample"), ("0.6x", "full")] {
                let json = replay(&[
                    &path,
                    "--vram",
                    vram,
                    "--verify",
                    verify,
                    "--strategy",
                    strategy,
                ]);
                println!("{}", without(json.clone(), &["access_model"]));
                is_clean(&json);
                if let Some([_, _, live_peak, _]) = reference(&name) {
                    assert_eq!(number(&json, "live_peak_bytes"), live_peak, "{name}");
                }
                match vram {
                    "0.6x" => {
                        assert!(number(&json, "evictions") > 0, "{name}");
                        assert!(number(&json, "swap_ins") > 0, "{name}");
                    }
                    _ if strategy == "tlsf" => assert_eq!(number(&json, "evictions"), 0),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn components_come_from_files() {
    use gpumm_components::trap_site::{MANAGER_EXECUTE, MANAGER_RESTORE_END};
    let folder = folder();
    let trace = trace("cs336_forward_fp32_ctx128.csv.gz");
    let file = |name: &str, bytes: &[u8]| in_folder(folder.path(), name, bytes);
    let bytes = gpumm_components::strategy("buddy").expect("built in");
    let buddy = file("mine.wasm", bytes);
    let mine = replay(&[&trace, "--verify", "off", "--strategy", &buddy]);
    let built_in = replay(&[&trace, "--verify", "off", "--strategy", "buddy"]);
    assert_eq!(mine["strategy"], "mine");
    assert_eq!(mine["plans_digest"], built_in["plans_digest"]);
    // No component, nothing at all, and a mechanism in the place of a strategy.
    let misfits = [&b"no component"[..], b"", gpumm_components::MECHANISM];
    for (n, bytes) in misfits.into_iter().enumerate() {
        let file = file(&format!("misfit{n}.wasm"), bytes);
        call(&["replay", &trace, "--strategy", &file]).failed(3, &["misfit", "component"]);
    }
    // A mechanism that always traps, at its start or at its first batch, cannot be replaced.
    for site in [MANAGER_EXECUTE, MANAGER_RESTORE_END] {
        let bytes = gpumm_components::patch_trap(gpumm_components::MECHANISM_TRAP, site, 1);
        let broken = file("broken.wasm", &bytes.expect("trap sites"));
        call(&["replay", &trace, "--mechanism", &broken]).failed(4, &["mechanism", "trapped"]);
    }
}
