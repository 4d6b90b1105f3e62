//! Builds the two components, as the bundle builds the product's, into `OUT_DIR`.

#[path = "../../components/bundle/build/encode.rs"]
mod encode;
#[allow(dead_code, reason = "the bundle uses the rest")]
#[path = "../../components/bundle/build/guest.rs"]
mod guest;
#[path = "../../components/bundle/build/place.rs"]
mod place;

use anyhow::{Context, Result};
use std::fs;

/// What the components are made of; anything else may change without a new build.
const MADE_OF: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "wit",
    "components/allocator-tlsf/src",
    "components/bundle/build",
    "components/contract/src",
    "components/shell-support/src",
    "components/strategy-shell/src",
    "tests/adversaries/guest",
    "tests/adversaries/importer",
];

fn main() -> Result<()> {
    if let Err(why) = guest::check_target() {
        // One line instead of the dump that a failing build script gets.
        println!("cargo::error={why}");
        return Ok(());
    }
    let place = place::Place::from_env()?;
    let shells = ["guest", "importer"].map(|name| guest::Shell {
        name: name.into(),
        package: format!("gpumm-adversaries-{name}"),
    });
    let variant = guest::Variant::Trap;
    for (name, module) in guest::build(&place.workspace, &place.nested, &shells, variant)? {
        let component = encode::encode(&module).with_context(|| format!("cannot encode {name}"))?;
        let path = place.out.join(name).with_extension("wasm");
        fs::write(&path, component).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for path in MADE_OF {
        println!(
            "cargo::rerun-if-changed={}",
            place.workspace.join(path).display()
        );
    }
    Ok(())
}
