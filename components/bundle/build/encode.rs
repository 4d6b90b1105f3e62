//! A core module becomes a component.

use anyhow::Result;

/// Encodes a core module, which says itself what it imports and exports.
pub(crate) fn encode(module: &[u8]) -> Result<Vec<u8>> {
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)?
        .encode()
}
