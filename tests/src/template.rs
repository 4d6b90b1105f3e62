//! A copy of the workspace with a new strategy in it, made from `tests/template`.

use crate::tidy;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The template's folder, and the words in it that stand for a name.
const TEMPLATE: &str = "tests/template/allocator-mine/";
const WORDS: (&str, &str) = ("mine", "Mine");

/// A workspace elsewhere, which is built into a target directory of its own.
pub struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    /// Copies the workspace into a folder and adds a strategy: nothing but one new folder.
    ///
    /// What was built there before is used again.
    pub fn with_strategy(folder: &Path, name: &str, type_name: &str) -> Copy {
        let copy = Copy {
            root: folder.join("workspace"),
            target: folder.join("target"),
        };
        if copy.root.exists() {
            fs::remove_dir_all(&copy.root).unwrap();
        }
        let lock = fs::read_to_string(tidy::root().join("Cargo.lock")).unwrap();
        copy.write("Cargo.lock", &lock);
        let new = format!("components/allocator-{name}/");
        for file in tidy::files() {
            copy.write(&file.path, &file.text);
            let Some(inside) = file.path.strip_prefix(TEMPLATE) else {
                continue;
            };
            let inside = inside.strip_suffix(".in").expect("a template's file");
            let text = file.text.replace(WORDS.0, name).replace(WORDS.1, type_name);
            copy.write(&format!("{new}{inside}"), &text);
        }
        assert!(copy.root.join(new).is_dir(), "the template is gone");
        copy
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs a cargo command there, without the network.
    ///
    /// Panics with what it printed when it fails.
    pub fn cargo(&self, arguments: &str) -> Output {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        let (command, rest) = arguments.split_once(' ').expect("a command and arguments");
        cargo
            .arg(command)
            .args(["--offline", "--target-dir"])
            .arg(&self.target)
            .args(rest.split_whitespace())
            .current_dir(&self.root);
        // The outer cargo's flags for its own crates would make another build of everything.
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC_WORKSPACE_WRAPPER",
        ] {
            cargo.env_remove(name);
        }
        let output = cargo.output().expect("cargo can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "cargo {arguments}\n{}\n{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        output
    }

    /// Builds the components as every build does, and returns the new strategy's, which the
    /// bundle has to find by itself.
    pub fn component(&self, name: &str) -> Vec<u8> {
        let output = self.cargo("build --package gpumm-components --message-format=json");
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let bundle = lines.lines().find_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let built = message["reason"] == "build-script-executed";
            let id = message["package_id"].as_str()?;
            let bundle = built && id.contains("components/bundle");
            bundle.then(|| PathBuf::from(message["out_dir"].as_str().unwrap_or_default()))
        });
        let file = bundle.unwrap().join(format!("strategy-{name}.wasm"));
        fs::read(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
    }
}
