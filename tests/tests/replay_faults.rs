use gpumm_cli::replay::{self, Hooks, ReplayOptions, Summary, Tenants, Verify};
use gpumm_trace::{Options, Trace};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

fn trace(name: &str) -> Trace {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("traces")
        .join(name);
    let mut t = gpumm_trace::import(File::open(path).unwrap(), name, Options::default()).unwrap();
    for e in &mut t.events {
        e.bytes = (e.bytes / 128).max(1);
    }
    t
}
fn options(trace: &Trace, part: u64, rules: &[&str]) -> ReplayOptions {
    let peak = trace.stats().live_peak_bytes;
    ReplayOptions {
        verify: Verify::Full,
        faults: rules.iter().map(|r| r.parse().unwrap()).collect(),
        patience: Some(Duration::from_millis(20)),
        ..ReplayOptions::new(
            "trace",
            (peak * part / 100).next_multiple_of(4096),
            (peak * 3).next_multiple_of(4096) + (1 << 20),
        )
    }
}
fn json(s: &Summary) -> String {
    let mut v = serde_json::to_value(s).unwrap();
    v.as_object_mut().unwrap().remove("timing");
    v.to_string()
}

#[test]
fn sweep() {
    let name = std::env::var("SWEEP_TRACE").unwrap_or("cs336_forward_fp32_ctx128.csv.gz".into());
    let trace = trace(&name);
    let seed: u64 = std::env::var("SWEEP_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1);
    let count: u64 = std::env::var("SWEEP_COUNT")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(100);
    let calm = replay::run(&trace, &options(&trace, 60, &[]), Hooks::default()).unwrap();
    println!(
        "calm verified {} ops {}",
        calm.bytes_verified, calm.plan_ops
    );
    let only: Option<u64> = std::env::var("SWEEP_ONLY")
        .ok()
        .and_then(|s| s.parse().ok());
    if only.is_some() && std::env::var("GPUMM_LOG").is_ok() {
        gpumm_cli::run(["gpumm", "capture", "schema"].map(Into::into));
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bad = 0;
    for n in 0..count {
        let mut rules: Vec<String> = Vec::new();
        for _ in 0..rng.u32(1..4) {
            let max = 6000;
            rules.push(match rng.u32(0..11) {
                0 | 1 | 2 => format!("lose device after {} ops", rng.u32(0..max)),
                3 => format!("fail copy {}", rng.u32(1..300)),
                4 => format!("fail copy every {}", rng.u32(1..50)),
                5 => format!("fail copy {}%", rng.u32(1..50)),
                6 => format!("fail job every {}", rng.u32(2..200)),
                7 => format!("hang copy {}", rng.u32(1..200)),
                8 => format!("hang job {}", rng.u32(1..200)),
                9 => format!("fail dma map every {}", rng.u32(1..30)),
                _ => format!("fail allocation of fallback every {}", rng.u32(1..20)),
            });
        }
        if rng.bool() {
            rules.push("refuse fallback".into());
        }
        if let Ok(r) = std::env::var("SWEEP_RULES") {
            rules = r.split(',').map(|s| s.trim().to_owned()).collect();
        }
        let refs: Vec<&str> = rules.iter().map(String::as_str).collect();
        let mut o = options(&trace, *rng.choice(&[30u64, 40, 60, 80]).unwrap(), &refs);
        o.fault_seed = n;
        o.copy_engines = rng.u32(1..4);
        if rng.bool() {
            o.tenants = Tenants::Stream;
        }
        if rng.bool() {
            o.strategy = "buddy".into();
        }
        if rng.u8(0..3) == 0 {
            o.restart_mechanism_every = Some(rng.u64(1..5));
        }
        if rng.u8(0..3) == 0 {
            o.gtt_bytes = Some(trace.stats().live_peak_bytes * rng.u64(20..150) / 100);
        }
        o.window_batches = *rng.choice(&[1u32, 2, 4, 8]).unwrap();
        o.batch_events = *rng.choice(&[1u32, 8, 32, 100]).unwrap();
        if let Ok(v) = std::env::var("SWEEP_SET") {
            for kv in v.split(',') {
                let (k, v) = kv.split_once('=').unwrap();
                let n: u64 = v.parse().unwrap();
                match k {
                    "every" => o.restart_mechanism_every = (n > 0).then_some(n),
                    "gtt" => o.gtt_bytes = (n > 0).then_some(n),
                    "win" => o.window_batches = n as u32,
                    "batch" => o.batch_events = n as u32,
                    "copy" => o.copy_engines = n as u32,
                    _ => panic!(),
                }
            }
        }
        let describe = format!(
            "#{n} {rules:?} vram {} copy {} ten {:?} {} every {:?} gtt {:?} win {} batch {}",
            o.vram_bytes,
            o.copy_engines,
            o.tenants,
            o.strategy,
            o.restart_mechanism_every,
            o.gtt_bytes,
            o.window_batches,
            o.batch_events
        );
        if only.is_some_and(|o| o != n) {
            continue;
        }
        eprintln!("{describe}");
        match (
            replay::run(&trace, &o, Hooks::default()),
            replay::run(&trace, &o, Hooks::default()),
        ) {
            (Ok(a), Ok(b)) => {
                let (va, vb) = (
                    serde_json::to_value(&a).unwrap(),
                    serde_json::to_value(&b).unwrap(),
                );
                for (k, v) in va.as_object().unwrap() {
                    if k != "timing" && v != &vb[k] {
                        eprintln!("DIFF {k}: {v} != {}", vb[k]);
                    }
                }
                let restarts = a.restarts > 0 && o.restart_mechanism_every.is_none();
                let oom = a.failed_allocations + a.failed_accesses != a.mapping_failures;
                if a.corrupt_bytes > 0
                    || restarts
                    || json(&a) != json(&b)
                    || a.device_faults > 0
                    || (!a.is_good() && !oom)
                {
                    bad += 1;
                    eprintln!(
                        "BAD {describe}\n   corrupt {} restarts {} faults {} good {} same {} first {:?}",
                        a.corrupt_bytes,
                        a.restarts,
                        a.device_faults,
                        a.is_good(),
                        json(&a) == json(&b),
                        a.details.first_failure
                    );
                } else {
                    eprintln!(
                        "   ok verified {} poisoned {} resets {} oom {oom} cancelled {} cpu {}",
                        a.bytes_verified,
                        a.poisoned.len(),
                        a.resets,
                        a.cancelled_jobs,
                        a.cpu_fallbacks
                    );
                }
            }
            (a, b) => {
                bad += 1;
                eprintln!("BAD {describe}\n {:?} {:?}", a.err(), b.err());
            }
        }
    }
    assert_eq!(bad, 0);
}
