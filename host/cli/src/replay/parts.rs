//! Components from files: a strategy that is not built in, and other mechanisms.

use super::swap::{SwapTo, What};
use super::{SwapArg, SwapAt};
use crate::args::Replay;
use crate::exit::{Exit, Failure};
use crate::files::Input;
use gpumm::parts::{MechanismSource, Parts, StrategySource};
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// The largest component that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// Whether a strategy is named by its file.
pub(super) fn is_file(strategy: &str) -> bool {
    strategy.ends_with(".wasm") || strategy.contains('/')
}

/// The parts to replay with, when not all of them are the built-in ones of these names.
///
/// Errors: a file cannot be read, or is no component of its world.
pub(super) fn chosen(args: &Replay) -> Result<Option<Parts>, Failure> {
    let strategy = args.strategy.as_deref().unwrap_or("tlsf");
    if args.mechanism.is_none() && !is_file(strategy) {
        return Ok(None);
    }
    let strategy = self::strategy(strategy)?;
    let mechanism: Arc<dyn MechanismSource> = match &args.mechanism {
        Some(path) => self::mechanism("mechanism", path)?,
        None => Arc::new(WasmMechanism::built_in()),
    };
    let fallback = self::strategy("tlsf")?;
    Ok(Some(Parts {
        mechanism,
        strategy,
        fallback,
    }))
}

/// A strategy by its name, or by its file.
///
/// Errors: as [`chosen`]; there is none of that name.
pub(super) fn strategy(strategy: &str) -> Result<Arc<dyn StrategySource>, Failure> {
    if !is_file(strategy) {
        super::known_strategy(Some(strategy))?;
        let source = WasmStrategy::built_in(strategy);
        let missing = || Failure::new(Exit::Usage, format!("there is no strategy '{strategy}'"));
        return Ok(Arc::new(source.ok_or_else(missing)?));
    }
    let path = Path::new(strategy);
    let source = WasmStrategy::new(&stem(path), read(path)?);
    // Tried once here, so that a file that does not fit is a file's fault.
    source.build().map_err(|e| misfit(path, &e))?;
    Ok(Arc::new(source))
}

/// The replacements that a command line asks for.
///
/// Errors: as [`chosen`].
pub(super) fn swaps(args: &[SwapArg]) -> Result<Vec<SwapAt>, Failure> {
    let swap = |arg: &SwapArg| {
        let by = match &arg.what {
            What::Mechanism(file) => {
                let source = file.as_deref().map(|path| mechanism(&stem(path), path));
                SwapTo::Mechanism(source.transpose()?)
            }
            What::Strategy(name) => SwapTo::Strategy(strategy(name)?),
            What::Back => SwapTo::Back,
        };
        let part = arg.part;
        Ok(SwapAt { part, by })
    };
    args.iter().map(swap).collect()
}

fn mechanism(name: &str, path: &Path) -> Result<Arc<dyn MechanismSource>, Failure> {
    let source = WasmMechanism::new(name, read(path)?);
    source.build().map_err(|e| misfit(path, &e))?;
    Ok(Arc::new(source))
}

/// What a component from a file is called.
fn stem(path: &Path) -> String {
    let name = path.file_stem().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn misfit(path: &Path, why: &gpumm::ComponentFault) -> Failure {
    Failure::new(Exit::File, format!("{}: {why}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let input = Input::open(path)?;
    let name = input.name.clone();
    let mut bytes = Vec::new();
    let read = input.content.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|e| Failure::new(Exit::File, format!("{name}: {e}")))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::new(
            Exit::File,
            format!("{name}: too large for a component"),
        ));
    }
    Ok(bytes)
}
