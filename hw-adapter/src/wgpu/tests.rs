use super::*;

fn limits(max_buffer_size: u64) -> wgpu::Limits {
    wgpu::Limits {
        max_buffer_size,
        ..wgpu::Limits::default()
    }
}

#[test]
fn chunks_obey_limits() {
    let config = |vram_bytes, chunk_bytes| WgpuConfig {
        chunk_bytes,
        ..WgpuConfig::new("gpu", vram_bytes)
    };
    let gigabyte = 1 << 30;
    assert_eq!(config(gigabyte, None).chunk(&limits(1 << 28)), Ok(64 << 20));
    let (narrow, odd) = (config(gigabyte, None), (40 << 20) + 5);
    assert_eq!(narrow.chunk(&limits(odd)), Ok(40 << 20));
    assert_eq!(config(8192, None).chunk(&limits(1 << 28)), Ok(8192));
    let refused = DeviceError::LimitTooSmall {
        limit: "max_buffer_size",
        has: 1 << 24,
        needed: 1 << 25,
    };
    assert_eq!(config(8192, None).chunk(&limits(1 << 24)), Err(refused));
    let wide = config(gigabyte, Some(1 << 29)).chunk(&limits(1 << 30));
    let refused = DeviceError::LimitTooSmall {
        limit: "max_storage_buffer_binding_size",
        has: 1 << 27,
        needed: 1 << 29,
    };
    assert_eq!(wide, Err(refused));
    assert_eq!(
        refused.to_string(),
        "the GPU's limit max_storage_buffer_binding_size is 134217728, and 536870912 is needed"
    );
}

#[test]
fn senseless_configurations_are_refused() {
    let good = WgpuConfig::new("gpu", 1 << 20);
    assert_eq!(good.check(), Ok(()));
    let mut empty = good.clone();
    empty.engines.clear();
    let wrong = [
        WgpuConfig {
            vram_bytes: 0,
            ..good.clone()
        },
        WgpuConfig {
            granule: 2,
            ..good.clone()
        },
        WgpuConfig {
            vram_bytes: 5000,
            ..good.clone()
        },
        WgpuConfig {
            chunk_bytes: Some(5000),
            ..good
        },
        empty,
    ];
    for config in wrong {
        let refused = matches!(config.check(), Err(DeviceError::InvalidConfig(_)));
        assert!(refused, "{config:?}");
    }
}
