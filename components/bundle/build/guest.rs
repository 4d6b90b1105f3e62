//! The shells as core WebAssembly modules, by a nested `cargo build`.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "component";

/// A package that becomes a component.
pub(crate) struct Shell {
    /// What the component is called: its folder's name.
    pub(crate) name: String,
    /// The package.
    pub(crate) package: String,
}

/// A build of all components.
#[derive(Clone, Copy)]
pub(crate) enum Variant {
    /// What is used.
    Plain,
    /// With trap sites, for tests.
    Trap,
}

impl Variant {
    /// Where its bytes are in `OUT_DIR`.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Variant::Plain => "",
            Variant::Trap => "trap",
        }
    }

    /// What the names of its tables end with.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Variant::Plain => "",
            Variant::Trap => "_TRAP",
        }
    }
}

/// Whether the compiler has the components' target.
///
/// Errors: the line that tells what to do.
pub(crate) fn check_target() -> Result<(), String> {
    let rustc = env::var_os("RUSTC").unwrap_or("rustc".into());
    let printed = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let libraries = printed
        .ok()
        .filter(|out| out.status.success())
        .map(|out| PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()));
    match libraries {
        Some(folder) if folder.is_dir() => Ok(()),
        _ => Err(format!(
            "the components need the target {TARGET}: run `rustup target add {TARGET}`"
        )),
    }
}

/// The folders in `components`, by name.
pub(crate) fn folders(workspace: &Path) -> Result<Vec<PathBuf>> {
    let components = workspace.join("components");
    let list = fs::read_dir(&components)
        .with_context(|| format!("cannot list {}", components.display()))?;
    let mut folders = list
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    folders.sort();
    Ok(folders)
}

/// Every component folder with a shell, by name.
pub(crate) fn find(workspace: &Path) -> Result<Vec<Shell>> {
    let mut folders = folders(workspace)?;
    folders.retain(|folder| folder.join("shell/Cargo.toml").is_file());
    let name = |folder: &PathBuf| {
        folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    Ok(folders
        .iter()
        .filter_map(name)
        .map(|name| Shell {
            package: format!("gpumm-{name}-shell"),
            name,
        })
        .collect())
}

/// Builds the shells and returns each one's name and core module.
pub(crate) fn build(
    workspace: &Path,
    nested: &Path,
    shells: &[Shell],
    variant: Variant,
) -> Result<Vec<(String, Vec<u8>)>> {
    // The variants differ in features only, which their files' names do not say.
    let target = nested.join(match variant {
        Variant::Plain => "plain",
        Variant::Trap => "trap",
    });
    fs::create_dir_all(&target)?;
    // Outer builds of other profiles write the same files; cargo's own lock ends before they are read.
    let lock = fs::File::create(nested.join("lock"))?;
    lock.lock()
        .context("cannot lock the components' target directory")?;

    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(workspace).args([
        "build",
        "--locked",
        "--profile",
        PROFILE,
        "--target",
        TARGET,
    ]);
    cargo.arg("--target-dir").arg(&target);
    shells
        .iter()
        .for_each(|shell| _ = cargo.args(["--package", &shell.package]));
    if let Variant::Trap = variant {
        cargo.args(["--features", "trap"]);
    }
    clean(&mut cargo);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags(workspace));
    // Not `status`: what cargo prints must not be read as this build script's instructions.
    let output = cargo
        .output()
        .context("cannot run cargo for the components")?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("the components do not build");
    }

    let modules = target.join(TARGET).join(PROFILE);
    let read = |shell: &Shell| {
        let path = modules
            .join(shell.package.replace('-', "_"))
            .with_extension("wasm");
        let module = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((shell.name.clone(), module))
    };
    shells.iter().map(read).collect()
}

/// Keeps the outer build's settings away from the nested one: its flags, wrappers (clippy's) and
/// profiles would change the bytes. What says where crates come from, and the job server, stay.
fn clean(cargo: &mut Command) {
    const STAY: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_MAKEFLAGS",
        "CARGO_BUILD_JOBS",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const GO: [&str; 4] = [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
    ];
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let cargos = name.starts_with("CARGO_") && !STAY.iter().any(|stay| name.starts_with(stay));
        if cargos || GO.contains(&&*name) {
            cargo.env_remove(&*name);
        }
    }
}

/// Flags that keep this machine's paths out of the bytes.
fn rustflags(workspace: &Path) -> OsString {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default();
    // Of several prefixes that match, the last one wins.
    let mut renamed = vec![(workspace.to_owned(), "/gpumm"), (home.clone(), "/cargo")];
    let sources = fs::read_dir(home.join("registry/src"))
        .into_iter()
        .flatten()
        .flatten();
    renamed.extend(sources.map(|source| (source.path(), "/crates")));
    let mut flags = OsString::new();
    for (from, to) in renamed
        .iter()
        .filter(|(from, _)| !from.as_os_str().is_empty())
    {
        if !flags.is_empty() {
            flags.push("\u{1f}");
        }
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    flags
}
