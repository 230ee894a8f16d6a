//! What went wrong, said to the person who wrote the recipe: what, in which file, and what to do.
//!
//! A fault is what a recipe, its files or the machine can cause. What only a bug of ours can cause is [`FaultKind::Internal`]: it
//! asks for a report and never blames the recipe.

use std::fmt;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// Whose turn it is to act; decides the exit code of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The recipe, a flag, a checkpoint or a data file is wrong.
    Input,
    /// A stage failed while it ran, or broke what it promises; finished work is kept.
    Running,
    /// The machine: disk, memory, permissions, a folder that another run holds.
    Environment,
    /// The user stopped the run; it can be resumed.
    Interrupted,
    /// A bug of ours.
    Internal,
}

/// One failure: a sentence, the file it is about, and what to do about it.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Whose turn it is.
    pub kind: FaultKind,
    /// What went wrong, one sentence without a final stop.
    pub message: String,
    /// The file or folder that it is about.
    pub path: Option<PathBuf>,
    /// What to do, one sentence.
    pub help: Option<String>,
}

impl Fault {
    /// A fault of `kind`.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), path: None, help: None }
    }

    /// Something given to us is wrong.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Input, message)
    }

    /// A stage failed while it ran.
    pub fn running(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Running, message)
    }

    /// The machine does not allow it.
    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Environment, message)
    }

    /// A bug of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Internal, message)
    }

    /// Names the file; the first name stays.
    pub fn at(mut self, path: impl AsRef<Path>) -> Self {
        self.path.get_or_insert_with(|| path.as_ref().to_owned());
        self
    }

    /// Says what to do; the first advice stays.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.get_or_insert_with(|| help.into());
        self
    }

    /// A failed read: the file is what is wrong.
    pub fn reading(path: impl AsRef<Path>, error: &std::io::Error) -> Self {
        Self::input(format!("cannot read this: {error}")).at(path)
    }

    /// A failed write: the disk or the permissions are what is wrong.
    pub fn writing(path: impl AsRef<Path>, error: &std::io::Error) -> Self {
        Self::environment(format!("cannot write this: {error}"))
            .at(path)
            .help("free some space or choose another folder; finished stages are kept")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.display(), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Fault {}

impl From<candle_core::Error> for Fault {
    fn from(error: candle_core::Error) -> Self {
        Self::internal(format!("tensor operation failed: {error}"))
    }
}

/// The way back through candle's own traits.
impl From<Fault> for candle_core::Error {
    fn from(fault: Fault) -> Self {
        Self::wrap(fault)
    }
}
