//! The project's structure as rules that can be checked: what `tests/tests/tidy.rs` asserts.
//!
//! Every check returns the violations it found, one line each, so that a failing test names all of
//! them. Exceptions are data: an entry without need is a violation too.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"))
}

/// A file that people wrote.
pub struct SourceFile {
    /// Its path from the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Every text file of the project: those git tracks or would track, or, where there is no git,
/// those that are there. Generated and binary files are left out.
pub fn files() -> Vec<SourceFile> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let git = Command::new("git").args(list).current_dir(root()).output();
    let mut paths: Vec<String> = match git {
        Ok(out) if out.status.success() => String::from_utf8_lossy(&out.stdout)
            .lines()
            .map(str::to_owned)
            .collect(),
        _ => walk(root()),
    };
    paths.sort();
    let read = |path: String| {
        let text = fs::read_to_string(root().join(&path)).ok()?;
        Some(SourceFile { path, text })
    };
    paths
        .into_iter()
        .filter(|path| path != "Cargo.lock")
        .filter_map(read)
        .collect()
}

fn walk(folder: &Path) -> Vec<String> {
    const SKIPPED: [&str; 3] = ["target", "demo-out", ".git"];
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let skipped = SKIPPED.iter().any(|name| path.ends_with(name));
        if path.is_dir() && !skipped {
            found.extend(walk(&path));
        } else if let (true, Ok(inside)) = (path.is_file(), path.strip_prefix(root())) {
            found.push(inside.to_string_lossy().replace('\\', "/"));
        }
    }
    found
}

/// What a package is for, told by where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `components/contract`.
    Contract,
    /// `components/X` with a shell: decides.
    Logic,
    /// `components/X/shell`: maps WIT to logic.
    Shell,
    /// `components/X` without a shell: what shells share.
    Glue,
    /// `components/bundle`: the built components.
    Bundle,
    /// `hw-adapter`.
    Hardware,
    /// `host/scheduler`.
    Scheduler,
    /// `host/trace`.
    Trace,
    /// `host`.
    Host,
    /// `host/cli`.
    Cli,
    /// `tests`.
    Tests,
    /// `tests/adversaries` and below: strategies that do harm.
    Adversaries,
    /// `tests/suite`: what every strategy is tested with.
    Suite,
    /// `tests/peers`: allocators of others, to compare with.
    Peers,
    /// `xtask`.
    Xtask,
}

impl Part {
    /// The part that a package's folder belongs to; `None` when no rule knows the folder.
    pub fn of(folder: &str) -> Option<Part> {
        Some(match folder {
            "components/contract" => Part::Contract,
            "components/bundle" => Part::Bundle,
            "hw-adapter" => Part::Hardware,
            "host" => Part::Host,
            "host/cli" => Part::Cli,
            "host/scheduler" => Part::Scheduler,
            "host/trace" => Part::Trace,
            "tests" => Part::Tests,
            "tests/adversaries" | "tests/adversaries/guest" | "tests/adversaries/importer" => {
                Part::Adversaries
            }
            "tests/suite" => Part::Suite,
            "tests/peers" => Part::Peers,
            "xtask" => Part::Xtask,
            _ => match folder.strip_prefix("components/")?.split_once('/') {
                Some((_, "shell")) => Part::Shell,
                Some(_) => return None,
                None if root().join(folder).join("shell").is_dir() => Part::Logic,
                None => Part::Glue,
            },
        })
    }

    /// Which parts of this project it may depend on.
    fn may_use(self) -> &'static [Part] {
        use Part::*;
        match self {
            Contract | Hardware | Trace | Xtask => &[],
            // The suite knows no strategy, so that a new one needs no edit of it.
            Logic | Suite | Scheduler => &[Contract],
            Glue => &[Contract, Glue],
            Shell => &[Contract, Glue, Logic],
            Adversaries => &[Contract, Glue, Logic, Adversaries],
            Bundle => &[Glue],
            Host => &[Contract, Hardware, Bundle, Scheduler],
            Cli => &[Host, Hardware, Trace],
            Peers => &[Contract, Logic, Trace, Host, Tests],
            Tests => &[
                Contract,
                Logic,
                Suite,
                Adversaries,
                Glue,
                Bundle,
                Hardware,
                Scheduler,
                Trace,
                Host,
                Cli,
            ],
        }
    }

    /// Which crates of others it may depend on; `None` = any.
    fn may_import(self) -> Option<&'static [&'static str]> {
        match self {
            Part::Contract | Part::Logic => Some(&[]),
            Part::Shell | Part::Glue => Some(&["wit-bindgen"]),
            Part::Suite => Some(&["fastrand"]),
            _ => None,
        }
    }
}

/// A package of the workspace.
struct Package {
    name: String,
    folder: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    dev: bool,
    /// The folder of a package of this workspace.
    folder: Option<String>,
}

/// Dependencies that point in a forbidden direction.
pub fn wrong_dependencies() -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages() {
        let Some(part) = Part::of(&package.folder) else {
            wrong.push(format!("no rule for the package in {}", package.folder));
            continue;
        };
        for dependency in &package.dependencies {
            if !allowed(part, &package, dependency) {
                let (from, to) = (&package.name, &dependency.name);
                wrong.push(format!("{from} ({part:?}) must not depend on {to}"));
            }
        }
    }
    wrong
}

fn allowed(part: Part, package: &Package, dependency: &Dependency) -> bool {
    let Some(folder) = &dependency.folder else {
        let list = part.may_import();
        return dependency.dev || list.is_none_or(|list| list.contains(&&*dependency.name));
    };
    match (part, Part::of(folder)) {
        // Logic is tested together with its neighbours, and strategies with their suite.
        (Part::Logic, Some(Part::Logic | Part::Suite)) => dependency.dev,
        // A shell knows one logic crate: the one it is in.
        (Part::Shell, Some(Part::Logic)) => {
            package.folder.strip_suffix("/shell") == Some(folder.as_str())
        }
        (_, Some(other)) => part.may_use().contains(&other),
        (_, None) => false,
    }
}

fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut metadata = Command::new(cargo);
    metadata.args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]);
    let out = metadata
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    let text = String::from_utf8_lossy(&out.stdout);
    let json: Value = serde_json::from_str(&text).expect("cargo metadata prints JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let folder = |path: &Value| {
        let path = PathBuf::from(path.as_str()?);
        let inside = path.strip_prefix(root()).ok()?;
        Some(inside.to_string_lossy().replace('\\', "/"))
    };
    let dependency = |value: &Value| Dependency {
        name: text(&value["name"]),
        dev: value["kind"] == "dev",
        folder: folder(&value["path"]),
    };
    let package = |value: &Value| Package {
        name: text(&value["name"]),
        folder: folder(&value["manifest_path"])
            .and_then(|path| Some(path.strip_suffix("/Cargo.toml")?.to_owned()))
            .unwrap_or_default(),
        dependencies: list(&value["dependencies"])
            .iter()
            .map(dependency)
            .collect(),
    };
    list(&json["packages"]).iter().map(package).collect()
}

/// A file that may be longer than its kind allows, and why.
pub struct Longer {
    /// The file.
    pub path: &'static str,
    /// Its own limit in lines.
    pub lines: usize,
    /// Why it is not two files.
    pub reason: &'static str,
}

/// Files with more lines than their kind may have.
pub fn too_long(files: &[SourceFile], exceptions: &[Longer]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let Some(limit) = limit(&file.path) else {
            continue;
        };
        let lines = file.text.lines().count();
        let exception = exceptions.iter().find(|longer| longer.path == file.path);
        match exception {
            Some(longer) if lines <= limit => {
                wrong.push(format!("{} is no exception any more", longer.path));
            }
            Some(longer) if lines <= longer.lines && !longer.reason.is_empty() => {}
            _ if lines <= limit => {}
            _ => wrong.push(format!("{}: {lines} lines, allowed are {limit}", file.path)),
        }
    }
    let gone = |longer: &&Longer| !files.iter().any(|file| file.path == longer.path);
    wrong.extend(
        exceptions
            .iter()
            .filter(gone)
            .map(|longer| format!("{} is gone", longer.path)),
    );
    wrong
}

/// How many lines a file may have.
fn limit(path: &str) -> Option<usize> {
    if path == "ARCHITECTURE.md" {
        return Some(300);
    }
    let rust = path.ends_with(".rs");
    match () {
        () if rust && path.contains("/shell/") => Some(150),
        // Tables of cases grow by rows, not by ideas.
        () if rust && (path.contains("tests/") || path.ends_with("_tests.rs")) => Some(600),
        () if rust => Some(420),
        () => None,
    }
}

/// Folders whose files may have unsafe code: the adapter, and calls of C in the comparison.
const UNSAFE: [&str; 2] = ["hw-adapter/", "tests/peers/src/"];

/// Unsafe code outside the places that may have it, and logic that does not forbid it.
pub fn wrong_unsafe(files: &[SourceFile]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut in_host = 0;
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let uses = file.text.lines().filter(|line| has_unsafe(line)).count();
        if file.path.starts_with("host/src/") {
            in_host += uses;
        } else if uses != 0 && !UNSAFE.iter().any(|folder| file.path.starts_with(folder)) {
            wrong.push(format!("{}: unsafe code", file.path));
        }
        let folder = file.path.strip_suffix("/src/lib.rs").unwrap_or_default();
        let decides = matches!(Part::of(folder), Some(Part::Contract | Part::Logic));
        if decides && !file.text.contains("#![forbid(unsafe_code)]") {
            wrong.push(format!("{} does not forbid unsafe code", file.path));
        }
    }
    if in_host > 1 {
        wrong.push(format!(
            "host/src: {in_host} pieces of unsafe code, allowed is one"
        ));
    }
    wrong
}

/// Whether a line of code, not of a comment, says `unsafe`.
fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let word = |c: char| !c.is_alphanumeric() && c != '_';
    code.split(word).any(|word| word == "unsafe") && !code.contains('"')
}

/// Component folders with a shell and without a README.
pub fn without_readme(files: &[SourceFile]) -> Vec<String> {
    let has = |path: &str| files.iter().any(|file| file.path == path);
    let shells = files
        .iter()
        .filter_map(|file| file.path.strip_suffix("/shell/Cargo.toml"));
    shells
        .filter(|folder| !has(&format!("{folder}/README.md")))
        .map(|folder| format!("{folder} has no README.md"))
        .collect()
}

/// Lines that hold one of the words where they must not, but for the exempt files.
///
/// A word that begins with `/` counts only where a path can begin.
pub fn containing(files: &[SourceFile], words: &[&str], exempt: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| !exempt.contains(&&*file.path)) {
        for (number, line) in file.text.lines().enumerate() {
            let found = words.iter().filter(|word| {
                line.match_indices(**word)
                    .any(|(at, _)| !word.starts_with('/') || begins_path(&line[..at]))
            });
            wrong.extend(found.map(|word| format!("{}:{}: {word}", file.path, number + 1)));
        }
    }
    wrong
}

fn begins_path(before: &str) -> bool {
    let last = before.chars().next_back();
    !last.is_some_and(|c| c.is_alphanumeric() || "._-~*}>)]".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_parts_of_paths() {
        let file = |text: &str| SourceFile {
            path: "x".into(),
            text: text.into(),
        };
        let found = |text| containing(&[file(text)], &["/data/"], &[]).len();
        assert_eq!(found("open(\"/data/x\")\n in tests/data/x"), 1);
        assert_eq!(containing(&[file("/data/")], &["/data/"], &["x"]).len(), 0);
    }

    #[test]
    fn unsafe_is_found_in_code_only() {
        assert!(has_unsafe("    unsafe { x }"));
        assert!(has_unsafe("pub unsafe fn x() {}"));
        assert!(!has_unsafe("#![forbid(unsafe_code)] // unsafe"));
        assert!(!has_unsafe("/// unsafe"));
    }

    #[test]
    fn an_exception_without_need_is_wrong() {
        let file = SourceFile {
            path: "host/src/x.rs".into(),
            text: "\n".repeat(421),
        };
        let longer = |path, lines| Longer {
            path,
            lines,
            reason: "a test",
        };
        let check = |exceptions: &[Longer]| too_long(std::slice::from_ref(&file), exceptions).len();
        assert_eq!(check(&[]), 1);
        assert_eq!(check(&[longer("host/src/x.rs", 430)]), 0);
        assert_eq!(check(&[longer("host/src/x.rs", 420)]), 1);
        assert_eq!(check(&[longer("host/src/y.rs", 430)]), 2);
    }
}
