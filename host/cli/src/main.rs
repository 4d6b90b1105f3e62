//! The `gpumm` program; everything is in the library.

fn main() -> std::process::ExitCode {
    gpumm_cli::run(std::env::args_os())
}
