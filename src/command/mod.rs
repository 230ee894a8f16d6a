//! One file per subcommand: its flags, and what it prints.

mod bench;
mod check;
mod decode_once;
mod doctor;
mod eval;
mod explain;
mod fetch;
mod generate;
mod inspect;
mod kernels;
mod ls;
mod metric;
mod plan;
mod recipe;
mod run;
mod speech;
mod transcribe;
mod translate;
mod words;

use clap::{Parser, Subcommand};
use sparsec_runtime::run::{Event, Events};
use sparsec_runtime::{Fault, FaultKind, Result};
use std::sync::atomic::Ordering;

use crate::exit::{Exit, INTERRUPTED};
use crate::progress::Progress;

/// Compile and run recipes for sparse fine-tuning: prune, distil, quantize and measure transformer models.
///
/// Results go to stdout, progress and diagnostics to stderr. There is no telemetry; only `run` uses the
/// network, to fetch a model that its recipe loads from the hub and that is not in the cache yet.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  sparsec run recipes/whisper.sq --set sparsity=80%\n\n\
                  Exit codes: 0 done or nothing to do, 1 a bar was missed, 2 recipe or usage wrong, 3 failed while running\n\
                  (run the same command again to go on), 4 environment (device, disk, memory), 130 interrupted (resumable)"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Threads for training and inference [default: one per core]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Plan(plan::Arguments),
    Check(check::Arguments),
    Ls(ls::Arguments),
    Words(words::Arguments),
    Explain(explain::Arguments),
    Eval(eval::Arguments),
    Bench(bench::Arguments),
    Inspect(inspect::Arguments),
    Transcribe(transcribe::Arguments),
    Translate(translate::Arguments),
    Generate(generate::Arguments),
    Doctor(doctor::Arguments),
    #[command(hide = true)]
    DecodeOnce(decode_once::Arguments),
}

/// Runs the subcommand that was asked for.
pub fn run(arguments: &Arguments) -> Result<Exit> {
    match &arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Plan(arguments) => plan::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Ls(arguments) => ls::run(arguments),
        Command::Words(arguments) => words::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Eval(arguments) => eval::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Transcribe(arguments) => transcribe::run(arguments),
        Command::Translate(arguments) => translate::run(arguments),
        Command::Generate(arguments) => generate::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::DecodeOnce(arguments) => decode_once::run(arguments),
    }
}

/// Shows how far a subcommand's work is, and ends it if the user wants so.
fn tell(progress: &mut Progress, done: usize, total: usize, unit: &str) -> Result<()> {
    progress.event(Event::Progress { done: done as u64, total: total as u64, unit });
    go_on()
}

/// Ends the work of a subcommand if the user wants so.
fn go_on() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(Fault::new(FaultKind::Interrupted, "interrupted")) } else { Ok(()) }
}

/// Prints a value as JSON on stdout, indented.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Fault::internal(format!("cannot write JSON: {error}")))?;
    outln!("{text}");
    Ok(())
}
