//! The `gpumm` program, called as a user would.
//!
//! `GPUMM_BIN` names a program to test; otherwise it is built in the profile of the test.

use serde_json::Value;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The longest time that one call may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The program; built if nobody says which.
pub fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(given) = std::env::var_os("GPUMM_BIN") {
            return given.into();
        }
        // This test is TARGET/PROFILE/deps/cli-HASH.
        let test = std::env::current_exe().expect("a test knows itself");
        let folder = test.ancestors().nth(2).expect("a target folder");
        let target = folder.parent().expect("a target folder");
        let profile = folder.file_name().unwrap_or_default();
        let profile = match profile.to_string_lossy().as_ref() {
            "debug" => "dev".to_owned(),
            other => other.to_owned(),
        };
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--package", "gpumm-cli", "--bin"])
            .args(["gpumm", "--profile", &profile, "--target-dir"])
            .arg(target)
            .current_dir(crate::tidy::root())
            .status();
        assert!(built.is_ok_and(|s| s.success()), "gpumm can be built");
        folder.join("gpumm")
    })
}

/// How a call ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit status.
    pub status: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Asserts the status, and that it was told in one line with these words.
    #[track_caller]
    pub fn failed(&self, status: i32, words: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        let line = self.err.strip_suffix('\n').unwrap_or_default();
        assert!(line.starts_with("gpumm: "), "{self:?}");
        assert_eq!(line.lines().count(), 1, "{self:?}");
        for word in words {
            assert!(line.contains(word), "{word:?} is missing in {line:?}");
        }
    }
}

/// Calls the program.
pub fn call(args: &[&str]) -> Ended {
    call_with(args, Stdio::null(), None)
}

/// Calls the program with other variables of the environment.
pub fn call_among(variables: &[(&str, &str)], args: &[&str]) -> Ended {
    let mut command = Command::new(program());
    command.envs(variables.iter().copied());
    ended(command, args, Stdio::null(), None)
}

/// Calls the program with an input.
pub fn call_with(args: &[&str], stdin: Stdio, piped: Option<Vec<u8>>) -> Ended {
    ended(Command::new(program()), args, stdin, piped)
}

fn ended(mut command: Command, args: &[&str], stdin: Stdio, piped: Option<Vec<u8>>) -> Ended {
    let mut child = command
        .args(args)
        .current_dir(std::env::temp_dir())
        .env_remove("GPUMM_LOG")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gpumm runs");
    if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), piped) {
        // A program that does not want its input closes it.
        std::thread::spawn(move || pipe.write_all(&bytes));
    }
    let reader = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = String::new();
            from.read_to_string(&mut text).expect("text");
            text
        })
    };
    let out = reader(Box::new(child.stdout.take().expect("a pipe")));
    let err = reader(Box::new(child.stderr.take().expect("a pipe")));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().expect("a child of ours") {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                let _ = child.kill();
                panic!("{args:?} has not ended");
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    Ended {
        status: status.code().expect("no signal"),
        out: out.join().expect("a reader"),
        err: err.join().expect("a reader"),
    }
}
