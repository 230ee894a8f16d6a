//! `sparsec plan`: what would happen.

use sparsec_runtime::Result;

use super::recipe::Recipe;
use crate::exit::Exit;

/// Show what a run would do: every step with its resolved arguments and layers, and where each parameter came from
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sparsec plan recipes/whisper.sq --set sparsity=80%")]
pub struct Arguments {
    #[command(flatten)]
    recipe: Recipe,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let compilation = arguments.recipe.compile_or_report()?;
    if arguments.json {
        super::print_json(&compilation.plan)?;
    } else {
        outln!("{}", compilation.plan.to_string().trim_end());
    }
    Ok(Exit::Done)
}
