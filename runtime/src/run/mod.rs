//! From a plan to artifacts and a report: every step is run once, or the result of an earlier run is used.
//!
//! Artifacts are written where the recipe says, below the working directory; everything else is kept in its folder `.sparsec`
//! ([`State`]). Whatever stops a run, the same command goes on: finished stages are reused, training goes on from a state at most
//! two minutes old, pruning behind the last layer.

mod events;
mod execute;
mod finished;
mod foresee;
mod keys;
mod models;
mod scores;
pub mod snapshot;
mod state;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sparsec_compiler::{Plan, SourceSet, Span};
use sparsec_kernels::CodeCache;

pub use events::{Event, Events, Silent};
pub use foresee::{Foreseen, foresee};
pub use scores::{likelihoods, transcripts};
pub use snapshot::Snapshot;
pub use state::State;

use crate::Fault;
use crate::facts::Files;
use crate::report::{Bar, Report};

/// How old the saved state of a running stage may become unless told otherwise; with the time of one step, well under two minutes.
pub const SAVE_EVERY: Duration = Duration::from_secs(90);

/// What a plan is executed with.
pub struct Options<'a> {
    /// The texts that the plan was made from.
    pub sources: &'a SourceSet,
    /// The files that the recipe may read.
    pub files: Files,
    /// The working directory: artifacts and the state go below it.
    pub directory: PathBuf,
    /// Whether artifacts may leave the working directory.
    pub anywhere: bool,
    /// Whether to run every stage again.
    pub fresh: bool,
    /// Whether to export although a bar was missed.
    pub despite_bars: bool,
    /// How old the saved state of a running stage may become, such as [`SAVE_EVERY`].
    pub save_every: Duration,
    /// A tuning file that alone chooses kernels, such as the one in the report of another run: nothing is measured, and with the same
    /// threads everything is computed as there, bit for bit.
    pub tuning: Option<PathBuf>,
    /// Where the machine code of layers is kept for the next run.
    pub code_cache: Option<CodeCache>,
    /// Set when the user wants the run to stop.
    pub interrupted: &'a AtomicBool,
    /// The largest resident set, bytes, of a process that loads the checkpoint in a folder and decodes with it, with the kernels that
    /// a tuning file chooses; the command knows how to start one.
    pub peak_memory: &'a PeakMemory<'a>,
}

/// From the folder of a checkpoint and a tuning file to the largest resident set, bytes; none where it cannot be told.
pub type PeakMemory<'a> = dyn Fn(&Path, &Path) -> Option<u64> + 'a;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that it found out.
    pub report: Report,
    /// Where the report was written: `report.json` and `report.html` of this run, and copies beside the artifacts.
    pub files: Vec<PathBuf>,
    /// Whether everything was there from an earlier run.
    pub nothing_to_do: bool,
}

impl Outcome {
    /// Whether a bar was missed, which holds exports back.
    pub fn is_bar_missed(&self) -> bool {
        self.report.requires.iter().any(|verdict| verdict.outcome == Bar::Missed)
    }
}

/// Why a run ended early.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub fault: Fault,
    /// The call in the recipe that it happened in.
    pub span: Option<Span>,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { fault, span: None }
    }
}

/// A file that this program wrote as JSON.
fn read_json<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> crate::Result<T> {
    let bytes = std::fs::read(path).map_err(|error| Fault::reading(path, &error))?;
    serde_json::from_slice(&bytes).map_err(|error| Fault::input(format!("this was not written by sparsec: {error}")).at(path))
}

/// Executes `plan` step by step.
///
/// # Errors
/// The first fault, with the call that it happened in. What was finished by then is kept.
pub fn execute(plan: &Plan, options: &Options<'_>, events: &mut dyn Events) -> Result<Outcome, Failure> {
    let state = State::open(&options.directory)?;
    execute::Run::new(plan, options, state, events)?.execute(events)
}
