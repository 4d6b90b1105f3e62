//! What the process holds more for each live buffer at rest: mechanism, strategy, broker and ledger
//! as native libraries, the client's handle not counted. In the component pointers have half the
//! size.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use cap::Cap;
use common::{Row, finish};
use gpumm::{Buffer, Pacing, Runtime};
use gpumm_tests::crowd::create;
use gpumm_tests::native;
use serde_json::Map;
use std::alloc::System;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

fn memory(count: u64) -> Row {
    let runtime = Runtime::builder()
        .sim(2 * count * 4096)
        .pacing(Pacing::Window(4))
        .parts(native::parts("tlsf"))
        .build()
        .unwrap();
    let client = runtime.client();
    let device = runtime.device(0).unwrap();
    create(&client, 1000, 4096, true);
    device.drain().unwrap();
    let before = HEAP.allocated();
    let held = create(&client, count, 4096, true);
    device.drain().unwrap();
    let handles = held.capacity() * size_of::<Buffer>();
    let after = HEAP.allocated() - handles;
    let each = after.saturating_sub(before) as f64 / count as f64;
    Row {
        bench: "memory",
        case: format!("live/{count}"),
        subject: "native".into(),
        unit: "B/buffer",
        samples: vec![each],
        extra: Map::new(),
    }
}

fn main() {
    finish(vec![memory(10_000), memory(50_000)]);
}
