//! Exit codes, and the flag that Ctrl-C sets.

use sparsec_runtime::{Fault, FaultKind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why the process ends; documented in `sparsec --help` and the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// A bar of the recipe was missed.
    BarMissed = 1,
    /// The recipe, its files or the usage is wrong.
    Input = 2,
    /// Failed while running; what was finished is kept.
    Failed = 3,
    /// The machine: device, disk, memory, permissions.
    Environment = 4,
    /// Interrupted; run the same command again to go on.
    Interrupted = 130,
}

impl Exit {
    /// The exit code for a fault.
    pub fn of(fault: &Fault) -> Self {
        match fault.kind {
            FaultKind::Input => Self::Input,
            FaultKind::Running | FaultKind::Internal => Self::Failed,
            FaultKind::Environment => Self::Environment,
            FaultKind::Interrupted => Self::Interrupted,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Set by the first Ctrl-C (or a termination signal): the run saves its state and stops.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The first interrupt asks the run to stop in good order; the second ends the process at once.
pub fn watch_for_interrupts() {
    let watch = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(Exit::Interrupted as i32);
        }
        errln!("\nstopping: saving the state of this run (press Ctrl-C again to stop at once)");
    });
    if let Err(error) = watch {
        errln!("warning: Ctrl-C will not save the state of the run: {error}");
    }
}
