//! What every bench shares: rows, a table for people, JSON for tools.

use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// One measured line.
pub(crate) struct Row {
    /// The bench.
    pub(crate) bench: &'static str,
    /// What was done.
    pub(crate) case: String,
    /// Who did it.
    pub(crate) subject: String,
    /// Of what, `ns/op`.
    pub(crate) unit: &'static str,
    /// One value per repetition.
    pub(crate) samples: Vec<f64>,
    /// More, by name.
    pub(crate) extra: Map<String, Value>,
}

impl Row {
    /// The value that a share of the samples does not exceed.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let at = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }

    fn json(&self) -> Value {
        json!({
            "bench": self.bench, "case": self.case, "subject": self.subject, "unit": self.unit,
            "median": self.quantile(0.5), "min": self.quantile(0.0), "p99": self.quantile(0.99),
            "n": self.samples.len(), "extra": self.extra,
        })
    }
}

/// Times `operations` done by one call of `act`, until the time is over; ns per operation.
#[allow(dead_code, reason = "not every bench samples by time")]
pub(crate) fn sample(budget: Duration, operations: usize, mut act: impl FnMut()) -> Vec<f64> {
    let begin = Instant::now();
    let mut samples = Vec::new();
    while begin.elapsed() < budget || samples.len() < 5 {
        let start = Instant::now();
        act();
        samples.push(start.elapsed().as_nanos() as f64 / operations as f64);
    }
    // The first calls warm caches and grow vectors.
    let warm = samples.len() / 10;
    samples.split_off(warm)
}

/// The value of an option of the bench's own on the command line.
#[allow(dead_code, reason = "not every bench has options")]
pub(crate) fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}

/// Prints the rows, and writes them where `--json FILE` says (`-` is standard output, without the
/// table).
#[allow(dead_code, reason = "not every bench is without options")]
pub(crate) fn finish(rows: Vec<Row>) {
    finish_with(rows, &[]);
}

/// As [`finish`], for a bench with options of its own, each with a value.
pub(crate) fn finish_with(mut rows: Vec<Row>, own: &[&str]) {
    if let Some(first) = rows.first_mut() {
        first.extra.insert("machine".into(), machine());
    }
    let mut args = std::env::args().skip(1);
    let mut file = None;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => file = args.next().or_else(|| usage("--json needs a file, or -")),
            // cargo adds it.
            "--bench" => {}
            other if own.contains(&other) => _ = args.next(),
            other => _ = usage(&format!("'{other}' is not known; there is --json FILE")),
        }
    }
    let json = Value::Array(rows.iter().map(Row::json).collect());
    if file.as_deref() != Some("-") {
        table(&rows);
    }
    let text = format!("{json:#}\n");
    match file.as_deref() {
        None => {}
        Some("-") => print!("{text}"),
        Some(path) => {
            if let Err(error) = std::fs::write(path, text) {
                usage(&format!("{path} cannot be written: {error}"));
            }
        }
    }
}

fn usage(message: &str) -> Option<String> {
    eprintln!("bench: {message}");
    std::process::exit(2);
}

fn table(rows: &[Row]) {
    println!(
        "{:<28} {:<22} {:>11} {:>11} {:>11} {:>7}  unit",
        "case", "subject", "median", "min", "p99", "n"
    );
    for row in rows {
        let (median, min, p99) = (row.quantile(0.5), row.quantile(0.0), row.quantile(0.99));
        let n = row.samples.len();
        println!(
            "{:<28} {:<22} {median:>11.1} {min:>11.1} {p99:>11.1} {n:>7}  {}",
            row.case, row.subject, row.unit
        );
        for (name, value) in row.extra.iter().filter(|(name, _)| *name != "machine") {
            println!("{:<28}   {name}: {value}", "");
        }
    }
}

fn machine() -> Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|l| l.starts_with("model name"))?;
            Some(line.split(':').nth(1)?.trim().to_owned())
        });
    json!({
        "cpu": cpu.unwrap_or_else(|| "unknown".into()),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "os": std::env::consts::OS, "arch": std::env::consts::ARCH,
        "profile": if cfg!(debug_assertions) { "debug" } else { "optimised" },
    })
}
