//! Generated from `wit/`.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

pub(super) mod mechanism {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "gpumm:memory/mechanism",
        imports: { default: trappable },
    });
}

pub(super) mod strategy {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "gpumm:memory/strategy",
    });
}
