//! Recorded traces on a device that fails on purpose: what can be saved is saved, what is lost is
//! named, and nothing is ever corrupt.
#![allow(clippy::unwrap_used)]

use gpumm::capture::{Capture, Operation, Repaired};
use gpumm::parts::MechanismSource;
use gpumm::wasm::WasmMechanism;
use gpumm_cli::replay::{self, Hooks, ReplayOptions, SwapAt, SwapTo, Tenants};
use gpumm_components::{MECHANISM_TRAP, patch_trap, trap_site};
use gpumm_hw::sim::{FaultRule, SimControl};
use gpumm_tests::program::call;
use gpumm_tests::small_traces::{FORWARD, TRAINING, json, options, run, trace};
use gpumm_trace::{EventKind, Trace};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A file of such a trace for the program.
fn csv(folder: &Path, trace: &Trace) -> String {
    let mut csv = String::from("time_ns,action,id,bytes\n");
    for event in &trace.events {
        let action = match event.kind {
            EventKind::Alloc => "alloc",
            EventKind::Free => "free",
            EventKind::Other(_) => continue,
        };
        let _ = writeln!(csv, "0,{action},{},{}", event.id, event.bytes);
    }
    let path = folder.join("trace.csv");
    fs::write(&path, csv).unwrap();
    path.to_string_lossy().into_owned()
}

/// What copies that fail change, when nothing is lost.
const REPAIRED: [&str; 5] = [
    "faults",
    "faults_injected",
    "cpu_fallbacks",
    "failed_operations",
    "captures",
];

#[test]
fn copies_that_fail_or_hang_are_redone() {
    let trace = trace(FORWARD);
    let calm = run(&trace, &options(&trace, 60, &[]));
    assert_eq!((calm.faults_injected, calm.failed_operations), (0, 0));
    let copies = calm.evictions + calm.swap_ins;
    for (rule, fails) in [
        ("fail copy 3", 1..=1),
        ("fail copy every 5", copies / 5..=copies / 5),
        ("fail copy 10%", copies / 20..=copies / 5),
        ("fail copy", copies..=copies),
        ("hang copy 7", 1..=1),
        ("hang copy every 100", copies / 100..=copies / 100),
    ] {
        let run = run(&trace, &options(&trace, 60, &[rule]));
        assert!(fails.contains(&run.cpu_fallbacks), "{rule}");
        assert_eq!(run.faults_injected, run.cpu_fallbacks, "{rule}");
        assert_eq!(run.failed_operations, run.cpu_fallbacks, "{rule}");
        assert_eq!(json(&run, &REPAIRED), json(&calm, &REPAIRED), "{rule}");
    }
}

#[test]
fn copies_without_memory_for_their_repair_are_repaired_at_once() {
    let trace = trace(FORWARD);
    let calm = run(&trace, &options(&trace, 60, &[]));
    let copies = calm.evictions + calm.swap_ins;
    let rule = "fail allocation of fallback every 4";
    let alone = run(&trace, &options(&trace, 60, &[rule]));
    assert_eq!(
        (alone.faults_injected, alone.cpu_fallbacks),
        (copies / 4, 0)
    );
    assert_eq!(json(&alone, &REPAIRED), json(&calm, &REPAIRED));
    let both = run(&trace, &options(&trace, 60, &[rule, "fail copy every 3"]));
    assert!(both.cpu_fallbacks >= copies / 3, "{both:?}");
    assert_eq!(json(&both, &REPAIRED), json(&calm, &REPAIRED));
}

#[test]
fn jobs_that_fail_or_hang_leave_what_nobody_trusts() {
    let trace = trace(FORWARD);
    let calm = run(&trace, &options(&trace, 60, &[]));
    for rule in ["fail job 9", "fail job every 20", "fail job", "hang job 50"] {
        let run = run(&trace, &options(&trace, 60, &[rule]));
        assert!(run.cancelled_jobs > 0, "{rule}");
        assert_eq!(run.faults_injected, run.cancelled_jobs, "{rule}");
        assert!(run.bytes_verified < calm.bytes_verified, "{rule}");
        assert_eq!(run.plans_digest, calm.plans_digest, "{rule}");
        assert_eq!((run.poisoned.len(), run.cpu_fallbacks), (0, 0));
    }
}

#[test]
fn a_copy_that_nobody_may_redo_costs_its_buffer() {
    let trace = trace(FORWARD);
    for rule in ["fail copy 3", "hang copy 3"] {
        let run = run(&trace, &options(&trace, 60, &["refuse fallback", rule]));
        assert_eq!((run.poisoned.len(), run.cpu_fallbacks), (1, 0), "{rule}");
        // The failure, and the refusal of its repair.
        assert_eq!(run.faults_injected, 2, "{rule}");
        assert!(run.refused_accesses > 0, "{rule}");
    }
    let rules = ["refuse fallback", "fail copy 10%"];
    let run = run(&trace, &options(&trace, 60, &rules));
    assert!(run.poisoned.len() > 1 && run.poisoned.is_sorted());
    assert!(run.refused_accesses > 0 && run.cancelled_jobs > 0);
}

#[test]
fn a_device_may_be_lost_after_any_operation() {
    let trace = trace(FORWARD);
    let calm = run(&trace, &options(&trace, 60, &[]));
    let mut survivors = 0;
    for after in (0..4600).step_by(330).chain([1, 2, 3, 777]) {
        let rule = format!("lose device after {after} ops");
        let run = run(&trace, &options(&trace, 60, &[&rule]));
        assert_eq!((run.resets, run.faults_injected), (1, 1), "{rule}");
        assert!(run.cancelled_jobs > 0, "{rule}");
        assert_eq!(run.failed_allocations, 0, "{rule}");
        assert!(run.bytes_verified * 2 > calm.bytes_verified, "{rule}");
        survivors += u64::from(run.swap_ins > 0);
    }
    assert!(survivors > 6, "something came back from system memory");
    let never = run(
        &trace,
        &options(&trace, 60, &["lose device after 99999 ops"]),
    );
    assert_eq!((never.resets, never.faults_injected), (0, 0));
    // The window is so long that nobody hears of the loss before the end.
    let late = ReplayOptions {
        window_batches: 8,
        batch_events: 200,
        ..options(&trace, 60, &["lose device after 3000 ops", "fail copy 12%"])
    };
    assert_eq!(run(&trace, &late).resets, 1);
    let rules = ["lose device after 1000 ops", "lose device after 3000 ops"];
    assert_eq!(run(&trace, &options(&trace, 60, &rules)).resets, 2);
}

#[test]
fn memory_that_cannot_be_mapped_is_done_without() {
    let trace = trace(FORWARD);
    let few = run(&trace, &options(&trace, 60, &["fail dma map every 3"]));
    assert!(few.faults_injected > 10 && few.evictions > 0);
    let all = run(&trace, &options(&trace, 60, &["fail dma map"]));
    assert_eq!(all.evictions, 0);
    assert_eq!(
        all.mapping_failures,
        all.failed_allocations + all.failed_accesses
    );
    assert!(all.mapping_failures > 0);
    // So little is mapped at once that a plan unmaps and maps the same memory.
    let narrow = ReplayOptions {
        copy_engines: 2,
        tenants: Tenants::Stream,
        batch_events: 8,
        window_batches: 2,
        gtt_bytes: Some(trace.stats().live_peak_bytes * 44 / 100),
        ..options(&trace, 60, &["fail dma map every 16"])
    };
    assert!(run(&trace, &narrow).faults_injected > 10);
}

#[test]
fn any_mixture_of_faults_and_parts_is_survived() {
    let trace = trace(FORWARD);
    let mut rng = fastrand::Rng::with_seed(20);
    for seed in 0..20 {
        let mut rules: Vec<String> = (0..rng.u32(1..4))
            .map(|_| match rng.u32(0..8) {
                0 | 1 => format!("lose device after {} ops", rng.u32(0..5000)),
                2 => format!("fail copy every {}", rng.u32(1..50)),
                3 => format!("fail copy {}%", rng.u32(1..50)),
                4 => format!("fail job every {}", rng.u32(2..200)),
                5 => format!("hang copy {}", rng.u32(1..200)),
                6 => format!("fail dma map every {}", rng.u32(2..30)),
                _ => format!("fail allocation of fallback every {}", rng.u32(1..20)),
            })
            .collect();
        if rng.bool() {
            rules.push("refuse fallback".into());
        }
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let window = *rng.choice(&[1, 4, 8]).unwrap();
        let events = *rng.choice(&[8, 32, 100]).unwrap();
        // What is in use stays mapped until it is delivered: too long a window is no room.
        let narrow = rng.bool() && window * events <= 32;
        let mixed = ReplayOptions {
            fault_seed: seed,
            copy_engines: rng.u32(1..4),
            tenants: *rng.choice(&[Tenants::One, Tenants::Stream]).unwrap(),
            strategy: rng.choice(["tlsf", "buddy"]).unwrap().into(),
            window_batches: window,
            batch_events: events,
            gtt_bytes: narrow.then(|| trace.stats().live_peak_bytes * 8 / 10),
            ..options(&trace, 60, &rules)
        };
        let whole = run(&trace, &mixed);
        let restarted = ReplayOptions {
            restart_mechanism_every: Some(rng.u64(1..4)),
            ..mixed
        };
        let restarted = run(&trace, &restarted);
        assert!(restarted.restarts > 0);
        assert_eq!(
            json(&restarted, &["restarts"]),
            json(&whole, &["restarts"]),
            "{rules:?}"
        );
    }
}

#[test]
fn a_longer_trace_survives_less_memory() {
    let trace = trace(TRAINING);
    for rules in [
        &["lose device after 9000 ops", "fail copy every 7"][..],
        &["refuse fallback", "fail copy 2%", "fail job every 500"],
    ] {
        let run = run(&trace, &options(&trace, 40, rules));
        assert!(run.evictions > 0 && run.faults_injected > 2);
    }
}

#[test]
fn without_rules_every_failure_is_a_finding() {
    let trace = trace(FORWARD);
    for (rules, poisoned) in [
        (&["fail copy 3"][..], false),
        (&["fail copy 3", "refuse fallback"], true),
        (&["fail job 9"], false),
        (&["lose device after 900 ops"], true),
    ] {
        let mut inject = |control: SimControl| {
            rules
                .iter()
                .for_each(|r| control.inject(r.parse().unwrap()));
        };
        let hooks = Hooks {
            device: Some(&mut inject),
            ..Hooks::default()
        };
        let run = replay::run(&trace, &options(&trace, 60, &[]), hooks).unwrap();
        assert!(!run.is_good(), "{rules:?}");
        assert_eq!(run.corrupt_bytes, 0, "{rules:?}");
        assert_eq!(!run.poisoned.is_empty(), poisoned, "{rules:?}");
    }
    // A rule explains its own kind of failure only.
    let mut lose = |control: SimControl| {
        control.inject(FaultRule::LoseDevice { after: 900 });
    };
    let hooks = Hooks {
        device: Some(&mut lose),
        ..Hooks::default()
    };
    let options = options(&trace, 60, &["fail copy 3"]);
    assert!(!replay::run(&trace, &options, hooks).unwrap().is_good());
}

#[test]
fn a_fresh_mechanism_takes_over_without_a_trace() {
    let trace = trace(FORWARD);
    let source =
        |bytes| Some(Arc::new(WasmMechanism::new("other", bytes)) as Arc<dyn MechanismSource>);
    let swap = |part, source| SwapAt {
        part,
        by: SwapTo::Mechanism(source),
    };
    for rules in [
        &[][..],
        &["lose device after 2500 ops", "fail copy every 9"],
    ] {
        let calm = run(&trace, &options(&trace, 60, rules));
        let swapping = ReplayOptions {
            swaps: vec![
                swap(0.75, None),
                swap(0.5, source(gpumm_components::MECHANISM)),
                swap(0.5, None),
                swap(1.0, None),
                swap(0.0, None),
            ],
            ..options(&trace, 60, rules)
        };
        let swapped = run(&trace, &swapping);
        let left_out = ["swaps"];
        assert_eq!(json(&swapped, &left_out), json(&calm, &left_out));
        let made: Vec<(u64, &str, &str)> = swapped
            .swaps
            .iter()
            .map(|s| (s.at_event, s.from.as_str(), s.to.as_str()))
            .collect();
        let (old, new) = ("mechanism", "other");
        assert_eq!(
            made,
            [
                (0, old, old),
                (768, old, new),
                (768, new, old),
                (1152, old, old),
                (1499, old, old),
            ]
        );
        assert!(swapped.swaps[0].live == 0 && swapped.swaps[1].live > 0);
        assert_eq!(swapped.timing.swap_pause_ns.len(), 5);
    }
    // One that does not start: the old one goes on.
    let broken = patch_trap(MECHANISM_TRAP, trap_site::MANAGER_RESTORE_END, 1).unwrap();
    let broken = Arc::new(WasmMechanism::new("broken", broken));
    let options = ReplayOptions {
        swaps: vec![swap(0.5, Some(broken))],
        ..options(&trace, 60, &[])
    };
    let run = replay::run(&trace, &options, Hooks::default()).unwrap();
    assert_eq!((run.failed_swaps, run.swaps.len()), (1, 0));
    assert!(!run.is_good() && run.failed_allocations + run.corrupt_bytes == 0);
}

#[test]
fn the_program_tells_what_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = csv(folder.path(), &trace(FORWARD));
    let captures = folder.path().join("new/captures");
    let captures = captures.to_string_lossy().into_owned();
    let base = ["replay", &path, "--vram", "60%", "--verify", "full"];
    let with = |more: &[&str]| call(&[&base[..], more].concat());
    let lossy = [
        "--fault",
        "fail copy 3",
        "--fault=refuse fallback",
        "--captures",
        &captures,
        "--swap=50%:mechanism",
        "--copy-engines",
        "2",
        "--gtt",
        "8MiB",
    ];
    let text = with(&lossy);
    assert_eq!((text.status, text.err.as_str()), (0, ""), "{text:?}");
    for words in [
        "fault rule     fail copy 3",
        "1 buffer lost its content (allocation 2)",
        "everything else was verified",
        "after event 768: mechanism -> mechanism",
        "capture show",
    ] {
        assert!(text.out.contains(words), "{words}: {}", text.out);
    }
    let json = with(&[&lossy[..], &["--json", "-"]].concat()).json();
    assert_eq!(
        json["faults"],
        serde_json::json!(["fail copy 3", "refuse fallback"])
    );
    assert_eq!(json["poisoned"], serde_json::json!([2]));
    let kept = json["captures"].as_array().unwrap();
    assert_eq!(kept.len(), 1);
    let kept = kept[0].as_str().unwrap();
    assert!(kept.starts_with(&captures));
    let capture = Capture::from_json(&fs::read(kept).unwrap()).unwrap();
    assert_eq!(capture.failed.operation, Operation::Copy);
    assert_eq!(capture.failed.repaired, Repaired::Poisoned);
    // Buffers are numbered from 1, in the order of their allocations.
    assert_eq!(capture.buffers[0].buffer, 3);
    assert_eq!(call(&["capture", "show", kept]).status, 0);
    // Nothing of it is said of a run without faults.
    let calm = with(&[]);
    assert!(!calm.out.contains("fault rule") && !calm.out.contains("injected"));
    let missed = with(&["--fault", "fail copy 99999"]);
    assert_eq!(missed.status, 0);
    assert!(missed.out.contains("No fault struck"), "{}", missed.out);
}

#[test]
fn request_logs_of_failing_runs_are_planned_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = csv(folder.path(), &trace(FORWARD));
    let log = folder.path().join("run.gpummlog");
    let log = log.to_str().unwrap();
    for rules in [
        &["fail copy every 3"][..],
        &["fail dma map every 5"],
        &["lose device after 2000 ops"],
        &["refuse fallback", "fail copy 5%", "fail dma map every 11"],
        &[
            "lose device after 1500 ops",
            "fail copy every 4",
            "refuse fallback",
        ],
    ] {
        let mut args = vec![
            "replay",
            &path,
            "--vram=60%",
            "--verify=full",
            "--log",
            log,
            "--json=-",
        ];
        rules
            .iter()
            .for_each(|rule| args.extend(["--fault", *rule]));
        let first = call(&args);
        assert_eq!(first.status, 0, "{rules:?}: {first:?}");
        let again = call(&["replay", log, "--json", "-"]);
        assert_eq!(again.status, 0, "{rules:?}: {again:?}");
        let (first, again) = (first.json(), again.json());
        assert_eq!(again["different_batches"], 0, "{rules:?}");
        assert_eq!(again["corrupt_bytes"], 0, "{rules:?}");
        assert_eq!(again["plans_digest"], first["plans_digest"], "{rules:?}");
    }
    call(&["replay", log, "--fault", "fail copy"]).failed(2, &["--fault", "log"]);
    call(&["replay", log, "--swap", "1%:mechanism"]).failed(2, &["--swap", "log"]);
}

#[test]
fn what_makes_no_sense_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = csv(folder.path(), &trace(FORWARD));
    let help = call(&["replay", "--fault", "help"]);
    assert_eq!((help.status, help.err.as_str()), (0, ""));
    assert!(help.out.contains("lose device after"), "{help:?}");
    call(&["replay", "--fault", "fail copy"]).failed(2, &["TRACE"]);
    let file = folder.path().join("file");
    fs::write(&file, "no component").unwrap();
    let file = file.to_str().unwrap();
    let swap = format!("50%:mechanism={file}");
    for (args, status, word) in [
        (&["--fault", "fail cpy"][..], 2, "copy"),
        (&["--fault", ""], 2, "--fault"),
        (&["--fault-seed", "x"], 2, "--fault-seed"),
        (&["--swap", "50%"], 2, "50%:buddy"),
        (&["--swap", "101%:mechanism"], 2, "101"),
        (&["--swap", "5%:strategy"], 2, "no strategy"),
        (&["--swap", &swap], 3, "component"),
        (&["--swap", "5%:mechanism=missing.wasm"], 3, "missing.wasm"),
        (&["--gtt", "0"], 2, "--gtt"),
        (&["--copy-engines", "0"], 2, "--copy-engines"),
        (&["--copy-engines", "9"], 2, "--copy-engines"),
        (&["--captures", file], 3, file),
    ] {
        call(&[&["replay", &path][..], args].concat()).failed(status, &[word]);
    }
}
