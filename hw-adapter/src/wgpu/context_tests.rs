#![allow(clippy::unwrap_used)]

use super::*;
use crate::wgpu::{AdapterChoice, adapters};

/// On any GPU; `None`, said aloud, where there is none. Under `CI` that is a failure.
pub(in crate::wgpu) fn context() -> Option<Context> {
    context_of(10_000, 4096)
}

/// As [`context`], with so much vram in chunks of so many bytes.
pub(in crate::wgpu) fn context_of(vram_bytes: u64, chunk_bytes: u64) -> Option<Context> {
    let adapter = match adapters::choose(&AdapterChoice::Best) {
        Ok(adapter) => adapter,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            eprintln!("skipped: {error}");
            return None;
        }
    };
    let opened = adapters::open(&adapter).unwrap();
    let patience = Duration::from_secs(60);
    Some(Context::new(opened, vram_bytes, chunk_bytes, patience))
}

#[test]
fn what_wgpu_finds_invalid_is_an_error_with_its_words() {
    let Some(context) = context() else { return };
    assert_eq!(context.said(), None);
    let refused = context.guarded(|| {
        // No buffer may be both.
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE;
        context.buffer("both", 6, usage | wgpu::BufferUsages::STORAGE);
        Ok(())
    });
    assert_eq!(refused, Err(DeviceError::Driver("it is not valid")));
    assert!(context.said().is_some_and(|said| said.contains("both")));
    // It harms nothing else.
    assert_eq!(context.touch(&[0, 2]), Ok(()));
    assert_eq!(context.chunk_memory(), 4096 + 10_000 - 8192);
    assert!(!context.signal.is_lost());
}

#[test]
fn a_panic_in_wgpu_is_an_error() {
    let Some(context) = context() else { return };
    let panicked = context.guarded(|| -> Result<(), DeviceError> { panic!("as wgpu does") });
    assert_eq!(panicked, Err(DeviceError::Driver("wgpu panicked")));
    // The scopes are gone with it.
    assert_eq!(context.guarded(|| Ok(1)), Ok(1));
}

#[test]
fn a_lost_device_is_known_by_its_next_work() {
    let Some(context) = context() else { return };
    context.device.destroy();
    let work = || {
        let encoder = context.device.create_command_encoder(&Default::default());
        context.wait(&context.submit(encoder))
    };
    assert_eq!(context.guarded(work), Err(DeviceError::Lost));
    assert!(context.signal.is_lost());
}

#[test]
fn errors_have_names() {
    let source = || Box::new(DeviceError::GpuMemory) as wgpu::ErrorSource;
    let error = wgpu::Error::OutOfMemory { source: source() };
    assert_eq!(named(&error), DeviceError::GpuMemory);
    let description = String::new();
    let source = source();
    let error = wgpu::Error::Internal {
        source,
        description,
    };
    assert_eq!(named(&error), DeviceError::Driver("an internal error"));
}
