//! The project's structure; the rules are in `tests/src/tidy.rs`, the exceptions here.

use gpumm_tests::tidy::{self, Longer};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Files that are longer than their kind allows.
const LONGER: &[Longer] = &[];

/// Files that have to spell what others must not hold.
const RULES: &[&str] = &["tests/tests/tidy.rs", "tests/src/tidy.rs"];

#[track_caller]
fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn dependencies_point_in_their_direction() {
    none(tidy::wrong_dependencies());
}

#[test]
fn files_are_small() {
    none(tidy::too_long(&tidy::files(), LONGER));
}

#[test]
fn unsafe_code_is_where_it_may_be() {
    none(tidy::wrong_unsafe(&tidy::files()));
}

#[test]
fn every_component_has_a_readme() {
    none(tidy::without_readme(&tidy::files()));
}

#[test]
fn nothing_names_a_machine() {
    let paths = ["/root/", "/home/", "/work/", "/tmp/target"];
    let hosts = [
        "index.crates.io",
        "static.crates.io",
        "artifactory",
        "jfrog",
        "replace-with",
    ];
    none(tidy::containing(
        &tidy::files(),
        &[&paths[..], &hosts[..]].concat(),
        RULES,
    ));
}

#[test]
fn nothing_is_left_for_later() {
    let words = ["TODO", "FIXME", "#[ignore]"];
    none(tidy::containing(&tidy::files(), &words, RULES));
}

/// What a component imports and exports, types apart.
fn face(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let engine = Engine::default();
    let component = Component::new(&engine, bytes).expect("a valid component");
    let ty = component.component_type();
    let imports = ty.imports(&engine).map(|(name, _)| name.to_owned());
    let exports = ty.exports(&engine).map(|(name, _)| name.to_owned());
    // Interfaces that hold nothing but types are there for their types' sake.
    let types = [
        "gpumm:types/",
        "gpumm:memory/plan@",
        "gpumm:memory/requests@",
    ];
    let acts = |name: &String| !types.iter().any(|prefix| name.starts_with(prefix));
    (
        imports.filter(acts).collect(),
        exports.filter(acts).collect(),
    )
}

#[test]
fn the_mechanism_imports_its_slots_and_exports_its_face() {
    for bytes in [
        gpumm_components::MECHANISM,
        gpumm_components::MECHANISM_TRAP,
    ] {
        let (imports, exports) = face(bytes);
        assert_eq!(imports, ["gpumm:memory/slots@0.1.0"]);
        assert_eq!(exports, ["gpumm:memory/manager@0.1.0"]);
    }
}

#[test]
fn strategies_import_nothing() {
    let all = [
        gpumm_components::strategies(),
        gpumm_components::strategies_trap(),
    ]
    .concat();
    for (name, bytes) in all {
        let (imports, exports) = face(bytes);
        assert_eq!(imports, Vec::<String>::new(), "{name}");
        assert_eq!(exports, ["gpumm:memory/allocator@0.1.0"], "{name}");
    }
}

#[test]
fn components_hold_no_paths_of_the_machine_that_built_them() {
    let home = std::env::var("CARGO_HOME")
        .or(std::env::var("HOME"))
        .unwrap_or("/root".into());
    let root = tidy::root().to_string_lossy().into_owned();
    let parts = gpumm_components::strategies()
        .iter()
        .map(|(_, bytes)| *bytes);
    for bytes in parts.chain([gpumm_components::MECHANISM]) {
        for place in [&home, &root] {
            let found = bytes
                .windows(place.len())
                .any(|window| window == place.as_bytes());
            assert!(!found, "{place}");
        }
    }
}
