//! A hidden subcommand: load one artifact, decode one window with it, and tell how much memory that took.
//!
//! Memory is a figure of a whole process, so every model of a report is measured in one of its own.

use sparsec_runtime::model::family;
use sparsec_runtime::{Checkpoint, Fault, Result, measure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::kernels::Kernels;
use crate::exit::Exit;
use crate::progress::Progress;

/// The name of the subcommand.
const NAME: &str = "decode-once";

#[derive(clap::Args)]
pub struct Arguments {
    artifact: PathBuf,
    #[command(flatten)]
    kernels: Kernels,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let checkpoint = Checkpoint::read(&arguments.artifact)?;
    let processor = family(&checkpoint.config)?.processor(&checkpoint)?;
    let model = arguments.kernels.engine(&checkpoint, &mut Progress::new())?.model;
    processor.decode(&*model, &[processor.probe()], None)?;
    let bytes = measure::peak_resident_bytes().ok_or_else(|| Fault::environment("this system does not tell peak memory"))?;
    outln!("{bytes}");
    Ok(Exit::Done)
}

/// Peak resident bytes of a process that runs this subcommand on `folder` with the kernels that the file `tuning` chooses; none if it
/// cannot be told.
pub fn in_a_process_of_its_own(folder: &Path, tuning: &Path) -> Option<u64> {
    let command = std::env::current_exe().ok()?;
    let threads = rayon::current_num_threads().to_string();
    let output = Command::new(command)
        .arg("--threads")
        .arg(threads)
        .arg(NAME)
        .arg(folder)
        .arg("--tuning")
        .arg(tuning)
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
