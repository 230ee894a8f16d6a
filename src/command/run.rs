//! `sparsec run`: plan, then execute exactly that plan.

use sparsec_runtime::Result;
use sparsec_runtime::run::{self, Failure, Options, Outcome};
use std::path::PathBuf;
use std::time::Duration;

use super::recipe::Recipe;
use super::{decode_once, fetch, kernels};
use crate::exit::{Exit, INTERRUPTED};
use crate::progress::Progress;
use crate::terminal;

/// Run a recipe: prune, heal, quantize, evaluate, export
///
/// Finished stages are kept in `.sparsec` of the working directory and reused; an interrupted run goes on where it was.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sparsec run recipes/whisper.sq --set sparsity=80%")]
pub struct Arguments {
    #[command(flatten)]
    recipe: Recipe,
    /// Where artifacts and the state of the run go
    #[arg(long, short = 'C', value_name = "FOLDER", default_value = ".")]
    directory: PathBuf,
    /// Run every stage again, whatever earlier runs left
    #[arg(long)]
    fresh: bool,
    /// Export even if a bar was missed; the report says so
    #[arg(long)]
    despite_bars: bool,
    /// Choose kernels by this tuning file alone, such as the `tuning.json` beside an earlier report: the same file, seed and number of
    /// threads give the same bits
    #[arg(long, value_name = "FILE")]
    tuning: Option<PathBuf>,
    /// How often a running stage saves its state, seconds: what a kill can cost
    #[arg(long, value_name = "SECONDS", default_value_t = run::SAVE_EVERY.as_secs())]
    save_every: u64,
    /// Print the report as JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    fetch::absent(&arguments.recipe)?;
    let compilation = arguments.recipe.compile_or_report()?;
    let options = Options {
        sources: &compilation.sources,
        files: arguments.recipe.files(),
        directory: arguments.directory.clone(),
        anywhere: arguments.recipe.settings.allow_outside,
        fresh: arguments.fresh,
        despite_bars: arguments.despite_bars,
        tuning: arguments.tuning.clone(),
        save_every: Duration::from_secs(arguments.save_every),
        code_cache: kernels::code_cache(),
        interrupted: &INTERRUPTED,
        peak_memory: &decode_once::in_a_process_of_its_own,
    };
    let outcome = match run::execute(&compilation.plan, &options, &mut Progress::new()) {
        Ok(outcome) => outcome,
        Err(Failure { fault, span }) => return terminal::end(fault, span, &compilation.sources),
    };
    if arguments.json {
        super::print_json(&outcome.report)?;
    } else {
        show(&outcome);
    }
    Ok(if outcome.is_bar_missed() { Exit::BarMissed } else { Exit::Done })
}

fn show(outcome: &Outcome) {
    terminal::print_report(&outcome.report);
    if outcome.nothing_to_do {
        outln!("nothing to do: every stage was finished before");
    }
    for file in &outcome.files {
        outln!("report     {}", file.display());
    }
}
