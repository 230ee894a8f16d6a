//! `sparsec plan`: what would happen.

use serde_json::json;
use sparsec_compiler::Plan;
use sparsec_kernels::{Chosen, Cpu, Pattern};
use sparsec_runtime::Result;
use sparsec_runtime::engine::Alike;
use sparsec_runtime::report::text::{bytes, count, percent, rate};
use sparsec_runtime::run::{Failure, Foreseen, Options, SAVE_EVERY, foresee};
use sparsec_runtime::stage::Memory;
use std::path::PathBuf;

use super::recipe::Recipe;
use crate::exit::{Exit, INTERRUPTED};
use crate::progress::Progress;
use crate::terminal;

/// Show what a run would do: every step with its resolved arguments and layers, where each parameter came from, what is finished
/// already, how large the models become, what memory that takes, and which kernels will run in those that it scores or exports
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
    let foreseen = match foresee(&compilation.plan, &options, &mut Progress::new()) {
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
        print_memory(&compilation.plan, &foreseen);
        print_kernels(&compilation.plan, &foreseen);
    }
    Ok(Exit::Done)
}

/// A row for each step: whether it is finished, and the size of its model.
fn print_foreseen(plan: &Plan, foreseen: &[Foreseen]) {
    let mut table = terminal::table(&["step", "parameters", "kept, about", "bytes, about", "cached", "why"]);
    for (step, Foreseen { cached, why, model, .. }) in plan.steps.iter().zip(foreseen) {
        let [parameters, kept, size] = match model {
            Some(size) => [count(size.parameters as usize), count(size.kept as usize), bytes(size.bytes)],
            None => Default::default(),
        };
        table.add_row([step.name.as_str(), &parameters, &kept, &size, if *cached { "yes" } else { "no" }, why]);
    }
    outln!("{table}");
}

/// The memory of every stage that makes a model.
fn print_memory(plan: &Plan, foreseen: &[Foreseen]) {
    let mut table = terminal::table(&["step", "models so far", "and while it works", "and for each token of a batch, about"]);
    for (step, Foreseen { memory, .. }) in plan.steps.iter().zip(foreseen) {
        let Some(Memory { models, work, per_token }) = memory else { continue };
        let cell = |held: u64| if held == 0 { String::new() } else { bytes(held) };
        table.add_row([&step.name, &cell(*models), &cell(*work), &cell(*per_token)]);
    }
    if table.row_count() > 0 {
        outln!("\nmemory, from shapes alone: data, machine code and the program itself come on top\n{table}");
    }
}

/// Which kernels run in the layers of each model that the run scores or exports, layers alike in one row for each range of tokens.
fn print_kernels(plan: &Plan, foreseen: &[Foreseen]) {
    let mut table = terminal::table(&["model", "layers", "shape", "weights", "tokens", "kernel", "µs", "dense µs", "why"]);
    for (step, foreseen) in plan.steps.iter().zip(foreseen) {
        for alike in &foreseen.kernels {
            let explanation = &alike.explanation;
            let shape = format!("{}x{}", explanation.rows, explanation.cols);
            for (tokens, chosen) in ranges(&explanation.choices) {
                let micros = |word: &str| chosen.milliseconds.get(word).map_or_else(String::new, |time| rate(1e3 * time));
                table.add_row([
                    &step.name,
                    &alike.layers.to_string(),
                    &shape,
                    &weights(alike),
                    &tokens,
                    &chosen.format,
                    &micros(&chosen.format),
                    &micros("dense"),
                    &chosen.reason,
                ]);
            }
        }
    }
    if table.row_count() > 0 {
        let cpu = Cpu::this();
        outln!("\n{table}");
        outln!("kernels for {}, {}, {} threads", cpu.model, cpu.tier, rayon::current_num_threads());
    }
}

/// What the weights of layers are: `75.0 % 2:4 int8`.
fn weights(alike: &Alike) -> String {
    let mean = if alike.is_mean { "about " } else { "" };
    let pattern = match alike.pattern {
        Pattern::Group { .. } => format!(" {}", alike.pattern),
        Pattern::Uniform | Pattern::Block { .. } => String::new(),
    };
    format!("{mean}{} zeros{pattern}, {}", percent(alike.explanation.sparsity), alike.explanation.element)
}

/// The choices with the token counts that each serves; neighbours that differ in nothing are one.
fn ranges(choices: &[Chosen]) -> Vec<(String, &Chosen)> {
    let same = |one: &Chosen, other: &Chosen| {
        one.format == other.format && one.reason == other.reason && one.milliseconds == other.milliseconds
    };
    let groups: Vec<&[Chosen]> = choices.chunk_by(same).collect();
    let firsts = groups.iter().map(|group| group[0].first_tokens);
    let lasts = firsts.clone().skip(1).map(|first| format!(" … {}", first - 1)).chain(["+".to_owned()]);
    groups.iter().zip(firsts.zip(lasts)).map(|(group, (first, last))| (format!("{first}{last}"), &group[0])).collect()
}
