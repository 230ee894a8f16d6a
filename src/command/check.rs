//! `sparsec check`: everything that can be known without running.

use sparsec_runtime::Result;
use std::path::PathBuf;

use super::recipe::{self, Settings};
use crate::exit::Exit;

/// Check recipes: syntax, types, units, selectors and shapes; reads only headers of checkpoints and manifests
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sparsec check recipes/*.sq")]
pub struct Arguments {
    /// Recipes
    #[arg(required = true, value_name = "RECIPE")]
    recipes: Vec<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Print the diagnostics as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let mut exit = Exit::Done;
    let mut found = Vec::new();
    for path in &arguments.recipes {
        let compilation = arguments.settings.compile(path)?;
        if compilation.has_errors() {
            exit = Exit::Input;
        }
        if arguments.json {
            found.push(serde_json::json!({ "recipe": path, "diagnostics": compilation.diagnostics }));
            continue;
        }
        match recipe::report(&compilation) {
            Ok(()) => outln!("{}: {} steps, nothing wrong", path.display(), compilation.plan.steps.len()),
            Err(_) => outln!("{}: has errors", path.display()),
        }
    }
    if arguments.json {
        super::print_json(&found)?;
    }
    Ok(exit)
}
