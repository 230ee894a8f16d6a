//! `sparsec ls`: the layers of a recipe's model, or those that a selector selects.

use sparsec_compiler::{Facts, Module, StepId, Value};
use sparsec_runtime::facts::FileFacts;
use sparsec_runtime::report::text::{count, percent};
use sparsec_runtime::shelf::Item;
use sparsec_runtime::stage::Load;
use sparsec_runtime::{Checkpoint, Fault, Result};
use std::collections::BTreeSet;

use super::recipe::{self, Recipe};
use crate::exit::Exit;
use crate::terminal;

/// List the layers of the first model of a recipe, with shapes, parameters and the share of zeros they have now
///
/// A selector means what it would mean in a `prune` at the end of the recipe: it may use the recipe's bindings.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  sparsec ls recipes/whisper.sq\n  sparsec ls recipes/whisper.sq 'linear in decoder.layers[0..1]'"
)]
pub struct Arguments {
    #[command(flatten)]
    recipe: Recipe,
    /// Which layers [default: all modules with parameters]
    selector: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let compilation = arguments.recipe.compile_or_report()?;
    let files = arguments.recipe.files();
    let (id, mut modules) = first_model(&compilation.graph, &FileFacts::new(files.clone()))?;
    if let Some(call) = compilation.graph.call(id).filter(|call| call.word == Load::NAME) {
        count_zeros(&mut modules, &Checkpoint::read(&files.find(&Load::from_call(call)?.checkpoint.0)?)?)?;
    }
    let selected = match &arguments.selector {
        None => modules,
        Some(selector) => {
            let binding = compilation.plan.step(id).and_then(|step| step.binding.clone());
            let binding = binding.ok_or_else(|| Fault::input("the first model of this recipe has no name to select from"))?;
            let paths = select(arguments, &binding, selector)?;
            modules.into_iter().filter(|module| paths.contains(&module.path)).collect()
        }
    };
    if arguments.json {
        super::print_json(&selected)?;
        return Ok(Exit::Done);
    }
    let mut table = terminal::table(&["layer", "kind", "role", "shape", "parameters", "zeros"]);
    for module in &selected {
        let shape = module.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
        let zeros = module.sparsity.map_or_else(String::new, percent);
        table.add_row([&module.path, &module.kind, &module.role, &shape, &count(module.parameters as usize), &zeros]);
    }
    outln!("{table}");
    let parameters: u64 = selected.iter().map(|module| module.parameters).sum();
    outln!("{} layers, {} parameters", selected.len(), count(parameters as usize));
    Ok(Exit::Done)
}

/// The first step whose layers come from outside, and its modules.
fn first_model(graph: &sparsec_compiler::StageGraph, facts: &FileFacts) -> Result<(StepId, Vec<Module>)> {
    for (id, _) in graph.stages() {
        let Some(call) = graph.call(id) else { continue };
        match facts.modules(call, graph) {
            Ok(Some(modules)) => return Ok((id, modules)),
            Ok(None) => {}
            Err(refusal) => {
                let fault = Fault::input(refusal.message);
                return Err(refusal.help.into_iter().fold(fault, Fault::help));
            }
        }
    }
    Err(Fault::input("this recipe loads no model").at(".").help("`ls` lists the layers of a `load` or `initialize`"))
}

/// Fills in the share of zeros that each weight of `checkpoint` has now.
fn count_zeros(modules: &mut [Module], checkpoint: &Checkpoint) -> Result<()> {
    for module in modules {
        module.sparsity = checkpoint.sparsity(&module.path)?;
    }
    Ok(())
}

/// The paths that `selector` selects in the model `binding`.
fn select(arguments: &Arguments, binding: &str, selector: &str) -> Result<BTreeSet<String>> {
    let path = &arguments.recipe.path;
    let text = std::fs::read_to_string(path).map_err(|error| Fault::reading(path, &error))?;
    let asked = format!("{text}\nselected_by_ls = prune({binding}, layers: {selector}, method: magnitude, sparsity: 1%)\n");
    let mut compilation = arguments.recipe.settings.compile_text(path, asked);
    compilation.diagnostics.retain(|diagnostic| diagnostic.code != sparsec_compiler::Code::Unused);
    recipe::report(&compilation)?;
    let step = compilation.plan.steps.last().and_then(|step| step.call());
    match step.and_then(|call| call.get("layers")) {
        Some(Value::Layers(selection)) => Ok(selection.modules.iter().flatten().cloned().collect()),
        _ => Err(Fault::internal("a selector was compiled to something else")),
    }
}
