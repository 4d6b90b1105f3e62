//! Builds the components: nested `cargo build` of the shells for wasm32-unknown-unknown
//! (`guest.rs`), encoding and composition (`compose.rs`), bytes and a table into `OUT_DIR`.

mod compose;
mod encode;
mod guest;
mod place;

use anyhow::{Context, Result};
use place::Place;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    if let Err(why) = guest::check_target() {
        // One line instead of the dump that a failing build script gets.
        println!("cargo::error={why}");
        return ExitCode::SUCCESS;
    }
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    let place = Place::from_env()?;
    let shells = guest::find(&place.workspace)?;
    let trap = env::var_os("CARGO_FEATURE_TRAP").is_some();
    let mut table = bundle(&place, &shells, guest::Variant::Plain, trap)?;
    if trap {
        table += &bundle(&place, &shells, guest::Variant::Trap, trap)?;
    }
    write(&place.out.join("strategies.rs"), table.as_bytes())?;
    watch(&place.workspace)
}

/// Builds one variant of all components, and returns the source text of its tables: strategies,
/// and the mechanism's parts where they are wanted.
fn bundle(
    place: &Place,
    shells: &[guest::Shell],
    variant: guest::Variant,
    parts: bool,
) -> Result<String> {
    let modules = guest::build(&place.workspace, &place.nested, shells, variant)?;
    let bundle = compose::bundle(modules)?;
    let folder = variant.folder();
    fs::create_dir_all(place.out.join(folder))?;
    write(
        &place.out.join(folder).join("mechanism.wasm"),
        &bundle.mechanism,
    )?;
    let mut text = table(place, variant, "STRATEGIES", "strategy", &bundle.strategies)?;
    if parts {
        text += &table(place, variant, "PARTS", "part", &bundle.parts)?;
    }
    Ok(text)
}

/// Writes components of a kind, and returns the source text of their table.
fn table(
    place: &Place,
    variant: guest::Variant,
    name: &str,
    kind: &str,
    components: &BTreeMap<String, Vec<u8>>,
) -> Result<String> {
    let mut table = format!("const {name}{}: Table = &[\n", variant.suffix());
    for (name, bytes) in components {
        let file = Path::new(variant.folder()).join(format!("{kind}-{name}.wasm"));
        write(&place.out.join(&file), bytes)?;
        writeln!(table, "    ({name:?}, include_bytes!({file:?})),")?;
    }
    table += "];\n";
    Ok(table)
}

/// Names what the components are made of; anything else may change without a new build.
///
/// A new component folder is noticed by the lock file, where its packages appear.
fn watch(workspace: &Path) -> Result<()> {
    let mut made_of = ["Cargo.toml", "Cargo.lock", "wit", "components/bundle/build"]
        .map(|path| workspace.join(path))
        .to_vec();
    for folder in guest::folders(workspace)? {
        if !folder.ends_with("bundle") {
            made_of.extend(["Cargo.toml", "src", "shell"].map(|part| folder.join(part)));
        }
    }
    for path in made_of.iter().filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
