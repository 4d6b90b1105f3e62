//! Components from files: a strategy that is not built in, and a mechanism for tests.

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
    let built_in = |name: &str| {
        let missing = || Failure::new(Exit::Usage, format!("there is no strategy '{name}'"));
        WasmStrategy::built_in(name).ok_or_else(missing)
    };
    let strategy: Arc<dyn StrategySource> = if is_file(strategy) {
        let path = Path::new(strategy);
        let name = path
            .file_stem()
            .map_or(strategy.into(), |n| n.to_string_lossy());
        let source = WasmStrategy::new(&name, read(path)?);
        // Tried once here, so that a file that does not fit is a file's fault.
        source.build().map_err(|e| misfit(path, &e))?;
        Arc::new(source)
    } else {
        Arc::new(built_in(strategy)?)
    };
    let mechanism: Arc<dyn MechanismSource> = match &args.mechanism {
        Some(path) => {
            let source = WasmMechanism::new("mechanism", read(path)?);
            source.build().map_err(|e| misfit(path, &e))?;
            Arc::new(source)
        }
        None => Arc::new(WasmMechanism::built_in()),
    };
    let fallback = Arc::new(built_in("tlsf")?);
    Ok(Some(Parts {
        mechanism,
        strategy,
        fallback,
    }))
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
