//! The files that the command line names: the only place with authority over the file system.

use crate::exit::{Exit, Failure};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// An opened input.
pub(crate) struct Input {
    /// What it is called in messages.
    pub(crate) name: String,
    /// Its content.
    pub(crate) content: Box<dyn Read>,
    /// Its length if it is a file that could be read again, not a pipe.
    pub(crate) len: Option<u64>,
}

/// What a path is called in messages.
pub(crate) fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::File, format!("{}: {}", name(path), words(error)))
}

/// What the system says, without the number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_lowercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

impl Input {
    /// Opens a file, or standard input for `-`.
    ///
    /// Errors: there is none, it may not be read, or it is a directory.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Self::standard();
        }
        let file = File::open_ambient(path, ambient_authority()).map_err(|e| failed(path, &e))?;
        let metadata = file.metadata().map_err(|e| failed(path, &e))?;
        if metadata.is_dir() {
            let line = format!("{}: this is a directory", name(path));
            return Err(Failure::new(Exit::File, line));
        }
        let len = metadata.is_file().then_some(metadata.len());
        Ok(Input {
            name: name(path),
            content: Box::new(file),
            len,
        })
    }

    fn standard() -> Result<Self, Failure> {
        use std::os::fd::AsFd;
        let name = "standard input".to_owned();
        let stdin = io::stdin();
        // A second handle of the same file tells a pipe from a file behind `<`.
        let file = stdin.as_fd().try_clone_to_owned().map(std::fs::File::from);
        let metadata = file.and_then(|f| f.metadata());
        let metadata = metadata.map_err(|e| failed(Path::new("standard input"), &e))?;
        if metadata.is_dir() {
            return Err(Failure::new(
                Exit::File,
                format!("{name}: this is a directory"),
            ));
        }
        let len = metadata.is_file().then_some(metadata.len());
        Ok(Input {
            name,
            content: Box::new(stdin.lock()),
            len,
        })
    }

    /// Reads up to this many first bytes; [`Input::content`] still begins with them.
    pub(crate) fn peek(&mut self, len: usize) -> Result<Vec<u8>, Failure> {
        let mut prefix = Vec::new();
        let read = (&mut self.content)
            .take(len as u64)
            .read_to_end(&mut prefix);
        read.map_err(|e| failed(Path::new(&self.name), &e))?;
        let rest = std::mem::replace(&mut self.content, Box::new(io::empty()));
        self.content = Box::new(io::Cursor::new(prefix.clone()).chain(rest));
        Ok(prefix)
    }
}

/// Refuses an output that is the input.
pub(crate) fn refuse_same(input: &Path, output: &Path, option: &str) -> Result<(), Failure> {
    let same = match (input.canonicalize(), output.canonicalize()) {
        (Ok(a), Ok(b)) => a == b && a.is_file(),
        _ => false,
    };
    if same {
        let line = format!("{option} {} would overwrite the input", name(output));
        return Err(Failure::new(Exit::Usage, line));
    }
    Ok(())
}

/// Creates a file that is written while the program runs.
pub(crate) fn create(path: &Path) -> Result<File, Failure> {
    File::create_ambient(path, ambient_authority()).map_err(|e| failed(path, &e))
}

/// Opens a folder, made if it is missing, and says what it is called.
///
/// Errors: it cannot be made, or is no folder.
pub(crate) fn folder(path: &Path) -> Result<(Dir, String), Failure> {
    let opened = Dir::create_ambient_dir_all(path, ambient_authority())
        .and_then(|()| Dir::open_ambient_dir(path, ambient_authority()));
    let folder = opened.map_err(|e| failed(path, &e))?;
    Ok((folder, name(path)))
}

/// An output that is there completely or not at all.
pub(crate) enum Whole {
    /// Standard output.
    Standard,
    /// What cannot be exchanged, such as `/dev/null` or a pipe: written directly.
    Special(PathBuf, File),
    /// A new file beside the old one takes its place at the end.
    Exchanged {
        path: PathBuf,
        folder: Dir,
        name: PathBuf,
        fresh: PathBuf,
    },
}

impl Whole {
    /// Finds out early whether the file can be written. `-` is standard output.
    ///
    /// Errors: it cannot.
    pub(crate) fn prepare(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Whole::Standard);
        }
        // Through a link the file it names is exchanged, not the link.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let line = format!("{}: this is a directory", self::name(path));
                return Err(Failure::new(Exit::File, line));
            }
            Ok(metadata) if !metadata.is_file() => {
                let mut options = cap_std::fs::OpenOptions::new();
                let file = File::open_ambient_with(path, options.write(true), ambient_authority());
                return Ok(Whole::Special(
                    path.clone(),
                    file.map_err(|e| failed(path, &e))?,
                ));
            }
            _ => {}
        }
        let Some(file) = path.file_name() else {
            let line = format!("{}: this is no name of a file", self::name(path));
            return Err(Failure::new(Exit::File, line));
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = Dir::open_ambient_dir(parent, ambient_authority());
        let folder = folder.map_err(|e| failed(path, &e))?;
        let mut fresh = std::ffi::OsString::from(".");
        fresh.push(file);
        fresh.push(format!(".{}.part", std::process::id()));
        let (name, fresh) = (PathBuf::from(file), PathBuf::from(fresh));
        let tried = folder
            .create(&fresh)
            .and_then(|_| folder.remove_file(&fresh));
        tried.map_err(|e| failed(path, &e))?;
        Ok(Whole::Exchanged {
            path: path.clone(),
            folder,
            name,
            fresh,
        })
    }

    /// Writes all of it.
    ///
    /// Errors: it cannot be written; an older file is then as it was.
    pub(crate) fn write(self, text: &str) -> Result<(), Failure> {
        match self {
            Whole::Standard => print(text),
            Whole::Special(path, mut file) => {
                let done = file.write_all(text.as_bytes());
                forgive_broken_pipe(done).map_err(|e| failed(&path, &e))
            }
            Whole::Exchanged {
                path,
                folder,
                name,
                fresh,
            } => {
                let write = || {
                    folder.create(&fresh)?.write_all(text.as_bytes())?;
                    folder.rename(&fresh, &folder, &name)
                };
                write().map_err(|e| {
                    let _ = folder.remove_file(&fresh);
                    failed(&path, &e)
                })
            }
        }
    }
}

/// Writes to standard output.
///
/// Errors: it cannot be written. A reader that has gone away is none.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let done = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    forgive_broken_pipe(done).map_err(|e| failed(Path::new("standard output"), &e))
}

fn forgive_broken_pipe(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
