//! Core modules become components; the mechanism's parts become one component.

use crate::encode::encode;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId, PackageId};

/// What makes a component a strategy.
const STRATEGY: &str = "gpumm:memory/allocator@";
/// What makes a component the mechanism's face.
const FACE: &str = "gpumm:memory/manager@";

/// Every component that is handed out.
pub(crate) struct Bundle {
    /// The composed mechanism.
    pub(crate) mechanism: Vec<u8>,
    /// What the mechanism is composed of, by folder name, sorted.
    pub(crate) parts: BTreeMap<String, Vec<u8>>,
    /// Strategies by name, sorted.
    pub(crate) strategies: BTreeMap<String, Vec<u8>>,
}

/// Encodes core modules, given by folder name, and composes the mechanism.
pub(crate) fn bundle(modules: Vec<(String, Vec<u8>)>) -> Result<Bundle> {
    let mut strategies = BTreeMap::new();
    let mut single = BTreeMap::new();
    let mut parts = Parts::default();
    for (folder, module) in modules {
        let component =
            encode(&module).with_context(|| format!("cannot encode components/{folder}"))?;
        let part = parts.register(&folder, component.clone())?;
        if parts.exports(part).any(|name| name.starts_with(STRATEGY)) {
            let name = folder
                .strip_prefix("allocator-")
                .unwrap_or(&folder)
                .to_owned();
            strategies.insert(name, component);
            parts.forget(part);
        } else {
            single.insert(folder, component);
        }
    }
    Ok(Bundle {
        mechanism: parts.compose()?,
        parts: single,
        strategies,
    })
}

/// The components of the mechanism, and the graph that composes them.
#[derive(Default)]
struct Parts {
    graph: CompositionGraph,
    /// Folder name and package.
    parts: Vec<(String, PackageId)>,
    /// Those that are in use by now.
    instances: BTreeMap<String, NodeId>,
}

impl Parts {
    fn register(&mut self, folder: &str, component: Vec<u8>) -> Result<PackageId> {
        let name = format!("gpumm:{folder}");
        let package = Package::from_bytes(&name, None, component, self.graph.types_mut())?;
        let id = self.graph.register_package(package)?;
        self.parts.push((folder.to_owned(), id));
        Ok(id)
    }

    fn forget(&mut self, part: PackageId) {
        self.parts.retain(|(_, id)| *id != part);
        self.graph.unregister_package(part);
    }

    fn exports(&self, part: PackageId) -> impl Iterator<Item = &String> {
        self.graph.types()[self.graph[part].ty()].exports.keys()
    }

    fn imports(&self, part: PackageId) -> Vec<String> {
        self.graph.types()[self.graph[part].ty()]
            .imports
            .keys()
            .cloned()
            .collect()
    }

    /// The part that exports what `wanted` accepts.
    fn find(&self, wanted: impl Fn(&str) -> bool) -> Option<(String, PackageId)> {
        self.parts
            .iter()
            .find(|(_, id)| self.exports(*id).any(|name| wanted(name)))
            .cloned()
    }

    /// The face with everything it needs, and its exports.
    fn compose(mut self) -> Result<Vec<u8>> {
        let face = self.find(|name| name.starts_with(FACE));
        let (folder, part) = face.with_context(|| format!("no component exports {FACE}*"))?;
        let instance = self.instantiate(&folder, part, 0)?;
        let idle = |(folder, _): &&(String, PackageId)| !self.instances.contains_key(folder);
        if let Some((folder, _)) = self.parts.iter().find(idle) {
            bail!(
                "components/{folder} is no strategy, and no part of the mechanism imports what it exports"
            );
        }
        let faces: Vec<String> = self.exports(part).cloned().collect();
        for name in faces {
            let export = self.graph.alias_instance_export(instance, &name)?;
            self.graph.export(export, &name)?;
        }
        let options = EncodeOptions {
            define_components: true,
            validate: true,
            processor: None,
        };
        Ok(self.graph.encode(options)?)
    }

    /// An instance of a part, whose imports are other parts' exports where there are such; what
    /// is left is an import of the whole.
    fn instantiate(&mut self, folder: &str, part: PackageId, depth: usize) -> Result<NodeId> {
        if let Some(instance) = self.instances.get(folder) {
            return Ok(*instance);
        }
        ensure!(
            depth <= self.parts.len(),
            "the imports of components/{folder} form a circle"
        );
        let mut arguments = Vec::new();
        for name in self.imports(part) {
            if let Some((provider, package)) = self.find(|export| export == name) {
                let provider = self.instantiate(&provider, package, depth + 1)?;
                arguments.push((self.graph.alias_instance_export(provider, &name)?, name));
            }
        }
        let instance = self.graph.instantiate(part);
        for (export, name) in arguments {
            self.graph
                .set_instantiation_argument(instance, &name, export)?;
        }
        self.instances.insert(folder.to_owned(), instance);
        Ok(instance)
    }
}
