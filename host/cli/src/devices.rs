//! `gpumm devices`: what a replay can run on.

use crate::device::Adapter;
use crate::exit::{Exit, Failure};
use crate::{files, gpu};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// The version of the JSON's keys and their meaning.
const SCHEMA_VERSION: u32 = 1;

/// Where lists of features are broken, in characters.
const WIDTH: usize = 100;

pub(crate) const HELP: &str = "\
What is listed:
  First sim, the simulated device, which is always there. Then the GPUs that wgpu finds by way of
  Vulkan, Metal or Direct3D 12, each under the words that 'gpumm replay' takes: --device wgpu:0 is
  the first. A part of the name or the backend does as well (--device wgpu:nvidia), and plain
  --device wgpu takes the best: discrete before integrated before virtual ones, and the CPU last.

Without a GPU:
  Mesa's lavapipe is a Vulkan driver that computes on the CPU, slow and complete. On Debian:
  apt-get install mesa-vulkan-drivers libvulkan1.

Limits and features:
  Limits have their WebGPU names. Device memory is made of buffers of up to 64 MiB, so that
  max_buffer_size and max_storage_buffer_binding_size say how large a piece may be; they say
  nothing about how much memory there is. gpumm needs no feature.

Examples:
  gpumm devices
  gpumm devices --json | jq -r '.devices[].device'
  gpumm replay run.csv.gz --vram 60% --device wgpu:0

Exit status:
  0  all is well, also without a GPU
  2  the command line makes no sense";

/// What a list without GPUs says.
const NO_GPU: &str = "no GPU: install a Vulkan driver, on Debian mesa-vulkan-drivers and \
                      libvulkan1, which compute on the CPU";

/// Options of `gpumm devices`.
#[derive(Debug, Args)]
pub(crate) struct Devices {
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// A GPU with what it can do.
pub(crate) struct Listed {
    pub(crate) adapter: Adapter,
    /// By their WebGPU names.
    pub(crate) limits: Vec<(&'static str, u64)>,
    /// Sorted.
    pub(crate) features: Vec<&'static str>,
}

/// All devices, as JSON.
#[derive(Serialize)]
struct List {
    schema_version: u32,
    devices: Vec<Entry>,
    /// What to do about it, where there is no GPU.
    note: Option<&'static str>,
}

/// One of them; `sim` has no limits of a GPU.
#[derive(Serialize)]
struct Entry {
    /// What `--device` takes.
    device: String,
    index: Option<usize>,
    name: String,
    backend: Option<String>,
    kind: String,
    driver: Option<String>,
    limits: Option<Map<String, Value>>,
    features: Vec<&'static str>,
}

/// The command.
pub(crate) fn command(args: &Devices) -> Result<(), Failure> {
    let listed = gpu::listed();
    let note = match listed.is_empty() {
        false => None,
        true if cfg!(feature = "wgpu") => Some(NO_GPU),
        true => Some("this gpumm was built without its feature 'wgpu': it knows no GPU"),
    };
    if !args.json {
        return files::print(&text(&listed, note));
    }
    let sim = Entry {
        device: "sim".into(),
        index: None,
        name: "sim".into(),
        backend: None,
        kind: "simulated".into(),
        driver: None,
        limits: None,
        features: Vec::new(),
    };
    let list = List {
        schema_version: SCHEMA_VERSION,
        devices: std::iter::once(sim)
            .chain(listed.into_iter().enumerate().map(entry))
            .collect(),
        note,
    };
    let failed = |e: serde_json::Error| Failure::new(Exit::File, e.to_string());
    let json = serde_json::to_string_pretty(&list).map_err(failed)?;
    files::print(&(json + "\n"))
}

fn entry((index, listed): (usize, Listed)) -> Entry {
    let limit = |(name, value): (&str, u64)| (name.to_owned(), value.into());
    Entry {
        device: format!("wgpu:{index}"),
        index: Some(index),
        name: listed.adapter.name,
        backend: Some(listed.adapter.backend),
        kind: listed.adapter.kind,
        driver: Some(listed.adapter.driver),
        limits: Some(listed.limits.into_iter().map(limit).collect()),
        features: listed.features,
    }
}

fn text(listed: &[Listed], note: Option<&str>) -> String {
    let mut text = String::from(
        "--device sim\n  kind      simulated: moves and checks real bytes in host memory, fails on \
         demand (--fault)\n",
    );
    for (index, gpu) in listed.iter().enumerate() {
        let of = &gpu.adapter;
        // Writing to a text cannot fail.
        let _ = writeln!(text, "\n--device wgpu:{index}");
        let _ = writeln!(text, "  name      {}", of.name);
        let _ = writeln!(text, "  backend   {}", of.backend);
        let _ = writeln!(text, "  kind      {}", of.kind);
        let _ = writeln!(text, "  driver    {}", of.driver);
        let width = gpu.limits.iter().map(|(name, _)| name.len()).max();
        let width = width.unwrap_or(0);
        for (row, (name, value)) in gpu.limits.iter().enumerate() {
            let title = if row == 0 { "limits" } else { "" };
            let _ = writeln!(text, "  {title:8}  {name:width$}  {value}");
        }
        for (row, line) in wrapped(&gpu.features).iter().enumerate() {
            let title = if row == 0 { "features" } else { "" };
            let _ = writeln!(text, "  {title:8}  {line}");
        }
    }
    if let Some(note) = note {
        let _ = writeln!(text, "\n{note}");
    }
    text
}

/// Words in lines that are not too long.
fn wrapped(words: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push((*word).to_owned()),
        }
    }
    lines
}
