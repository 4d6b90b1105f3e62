//! How the program ends: five statuses, and one line for everything that goes wrong.

use gpumm_hw::DeviceError;
use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// The exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Good = 0,
    /// The run found a failure: no memory, wrong contents, a device fault, a log that differs.
    Found = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// A file cannot be read or written.
    File = 3,
    /// A component failed and could not be replaced.
    Component = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why the program ends early: a status, and a line for stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status.
    pub exit: Exit,
    /// What happened, without line breaks.
    pub line: String,
}

impl Failure {
    /// A failure; line breaks and control characters of the text are escaped.
    pub fn new(exit: Exit, text: impl AsRef<str>) -> Self {
        let mut line = String::new();
        for c in text.as_ref().chars() {
            match c {
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    line.extend(c.escape_default());
                }
                c => line.push(c),
            }
        }
        Failure { exit, line }
    }

    /// A failure of the Runtime, with the status that its kind has.
    pub fn of_runtime(error: &gpumm::Error) -> Self {
        use gpumm::Error;
        let mut text = chain(error);
        let exit = match error {
            Error::Stopped(_) | Error::Component { .. } if error.is_component_failure() => {
                Exit::Component
            }
            Error::UnknownStrategy { .. } | Error::Argument(_) => Exit::Usage,
            // Nothing has run yet: the sizes asked for cannot be had.
            Error::Device(DeviceError::Reserve { .. } | DeviceError::InvalidConfig(_)) => {
                Exit::Usage
            }
            // Nor is this a failure of the device: there is none.
            Error::Device(why @ (DeviceError::NoAdapter | DeviceError::LimitTooSmall { .. })) => {
                text = why.to_string();
                Exit::Usage
            }
            Error::Log(_) => Exit::File,
            Error::Stopped(inner) if matches!(**inner, Error::Log(_)) => Exit::File,
            _ => Exit::Found,
        };
        Failure::new(exit, text)
    }

    /// The same failure with a name in front.
    pub fn of(self, name: &str) -> Self {
        Failure::new(self.exit, format!("{name}: {}", self.line))
    }

    /// The same failure with another status.
    pub fn with(self, exit: Exit) -> Self {
        Failure { exit, ..self }
    }

    /// Writes the line to stderr.
    pub fn print(&self) {
        // There is no place left to complain to.
        let _ = writeln!(io::stderr().lock(), "gpumm: {}", self.line);
    }
}

/// An error and those of its causes that its text does not name.
fn chain(error: &gpumm::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::new(Exit::File, "a\nb\u{2028}c\td").of("x\r");
        assert_eq!(failure.line, "x\\r: a\\nb\\u{2028}c\\td");
    }

    #[test]
    fn causes_are_named_once() {
        let source = io::Error::from(io::ErrorKind::OutOfMemory).into();
        let error = gpumm::Error::Device(DeviceError::Reserve { bytes: 7, source });
        let failure = Failure::of_runtime(&error);
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(
            failure.line,
            "the device failed: no address space for a memory of 7 bytes: out of memory"
        );
    }

    #[test]
    fn a_gpu_that_is_missing_or_too_small_is_no_failure_of_a_device() {
        let small = DeviceError::LimitTooSmall {
            limit: "max_buffer_size",
            has: 4096,
            needed: 8192,
        };
        for (error, line) in [
            (
                small,
                "the GPU's limit max_buffer_size is 4096, and 8192 is needed",
            ),
            (DeviceError::NoAdapter, "no GPU adapter was found"),
        ] {
            let failure = Failure::of_runtime(&gpumm::Error::Device(error));
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.line.starts_with(line), "{}", failure.line);
        }
    }

    #[test]
    fn a_failed_request_is_found_and_a_stopped_device_is_lost() {
        let fault = gpumm::ComponentFault::Trap("unreachable".into());
        let request = gpumm::Error::Request(fault.clone());
        assert_eq!(Failure::of_runtime(&request).exit, Exit::Found);
        let name = "mechanism".into();
        let stopped = gpumm::Error::Stopped(gpumm::Error::Component { name, fault }.into());
        assert_eq!(Failure::of_runtime(&stopped).exit, Exit::Component);
    }
}
