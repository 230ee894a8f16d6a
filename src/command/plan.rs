//! `sparsec plan`: what would happen.

use serde_json::json;
use sparsec_compiler::Plan;
use sparsec_runtime::Result;
use sparsec_runtime::report::text::{bytes, count};
use sparsec_runtime::run::{Failure, Foreseen, Options, SAVE_EVERY, foresee};
use std::path::PathBuf;

use super::recipe::Recipe;
use crate::exit::{Exit, INTERRUPTED};
use crate::terminal;

/// Show what a run would do: every step with its resolved arguments and layers, where each parameter came from, what is finished
/// already, and how large the models become
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sparsec plan recipes/whisper.sq --set sparsity=80%")]
pub struct Arguments {
    #[command(flatten)]
    recipe: Recipe,
    /// Where a run would keep its state
    #[arg(long, short = 'C', value_name = "FOLDER", default_value = ".")]
    directory: PathBuf,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let compilation = arguments.recipe.compile_or_report()?;
    let options = Options {
        sources: &compilation.sources,
        files: arguments.recipe.files(),
        directory: arguments.directory.clone(),
        anywhere: arguments.recipe.settings.allow_outside,
        fresh: false,
        despite_bars: false,
        tuning: None,
        save_every: SAVE_EVERY,
        code_cache: None,
        interrupted: &INTERRUPTED,
        peak_memory: &|_, _| None,
    };
    let foreseen = match foresee(&compilation.plan, &options) {
        Ok(foreseen) => foreseen,
        Err(Failure { fault, span }) => return terminal::end(fault, span, &compilation.sources),
    };
    if arguments.json {
        let mut plan = json!(compilation.plan);
        for (step, foreseen) in plan["steps"].as_array_mut().into_iter().flatten().zip(&foreseen) {
            step["foreseen"] = json!(foreseen);
        }
        super::print_json(&plan)?;
    } else {
        outln!("{}\n", compilation.plan.to_string().trim_end());
        print_foreseen(&compilation.plan, &foreseen);
    }
    Ok(Exit::Done)
}

/// A row for each step: whether it is finished, and the size of its model.
fn print_foreseen(plan: &Plan, foreseen: &[Foreseen]) {
    let mut table = terminal::table(&["step", "parameters", "kept, about", "bytes, about", "cached", "why"]);
    for (step, Foreseen { cached, why, model }) in plan.steps.iter().zip(foreseen) {
        let [parameters, kept, size] = match model {
            Some(size) => [count(size.parameters as usize), count(size.kept as usize), bytes(size.bytes)],
            None => Default::default(),
        };
        table.add_row([step.name.as_str(), &parameters, &kept, &size, if *cached { "yes" } else { "no" }, why]);
    }
    outln!("{table}");
}
