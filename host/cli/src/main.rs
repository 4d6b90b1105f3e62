//! The `gpumm` program; all but how it begins is in the library.

use std::ffi::OsString;

fn main() -> std::process::ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    #[cfg(target_os = "linux")]
    quietly(&args);
    gpumm_cli::run(args)
}

/// Starts the program once more, with a variable that keeps Mesa from complaining, where it would.
///
/// When GPUs are listed, Mesa's Vulkan layer `device_select` asks a Wayland server for the GPU that
/// it shows its pictures with. Where neither variable below says how to reach one, libwayland writes
/// that on stderr, every time. A server that is not there is looked for without a word, and to set
/// a variable for a new program needs no unsafe code.
#[cfg(target_os = "linux")]
fn quietly(args: &[OsString]) {
    use std::os::unix::process::CommandExt;
    let absolute = |name| std::env::var_os(name).is_some_and(|value| is_absolute(&value));
    let lists = |arg: &OsString| arg == "devices" || arg.to_string_lossy().contains("wgpu");
    if !args.iter().skip(1).any(lists) || absolute("XDG_RUNTIME_DIR") || absolute(DISPLAY) {
        return;
    }
    if let (Ok(program), Some((name, rest))) = (std::env::current_exe(), args.split_first()) {
        let mut again = std::process::Command::new(program);
        // It returns only where it fails; then the complaint stays.
        let _ = again.arg0(name).args(rest).env(DISPLAY, NOWHERE).exec();
    }
}

#[cfg(target_os = "linux")]
const DISPLAY: &str = "WAYLAND_DISPLAY";

#[cfg(target_os = "linux")]
const NOWHERE: &str = "/dev/null/none";

#[cfg(target_os = "linux")]
fn is_absolute(path: &OsString) -> bool {
    std::path::Path::new(path).is_absolute()
}
