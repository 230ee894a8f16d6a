//! `sparsec check`: everything that can be known without running.

use serde_json::{Value, json};
use sparsec_compiler::{Diagnostic, Label, Severity, SourceSet};
use sparsec_runtime::Result;
use std::path::PathBuf;

use super::recipe::{self, Settings};
use crate::exit::Exit;
use crate::terminal;

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
        let compilation = match arguments.settings.compile(path) {
            Ok(compilation) => compilation,
            Err(fault) => {
                exit = Exit::Input;
                terminal::print_fault(&fault);
                found.push(json!({ "recipe": path, "error": fault.message, "diagnostics": [] }));
                continue;
            }
        };
        if compilation.has_errors() {
            exit = Exit::Input;
        }
        if arguments.json {
            let diagnostics = compilation.diagnostics.iter().map(|diagnostic| placed(diagnostic, &compilation.sources));
            found.push(json!({ "recipe": path, "diagnostics": diagnostics.collect::<Vec<_>>() }));
        } else {
            // Whether it can run is said in the line below.
            let _ = recipe::report(&compilation);
            outln!("{}: {} steps, {}", path.display(), compilation.plan.steps.len(), summary(&compilation.diagnostics));
        }
    }
    if arguments.json {
        super::print_json(&found)?;
    }
    Ok(exit)
}

/// How many diagnostics of each severity there are.
fn summary(diagnostics: &[Diagnostic]) -> String {
    let counted =
        [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")].map(|(severity, word)| {
            match diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count() {
                0 => None,
                1 => Some(format!("1 {word}")),
                count => Some(format!("{count} {word}s")),
            }
        });
    let counted: Vec<String> = counted.into_iter().flatten().collect();
    if counted.is_empty() { "nothing wrong".to_owned() } else { counted.join(", ") }
}

/// A diagnostic as JSON, with the source, line and column of each of its places.
fn placed(diagnostic: &Diagnostic, sources: &SourceSet) -> Value {
    let mut value = json!(diagnostic);
    value["primary"] = place(&diagnostic.primary, sources);
    value["secondary"] = diagnostic.secondary.iter().map(|label| place(label, sources)).collect();
    value
}

fn place(label: &Label, sources: &SourceSet) -> Value {
    let (line, column) = sources.line_column(label.span);
    let (start, end) = (label.span.start, label.span.end);
    let source = sources.name(label.span.source);
    json!({ "message": label.message, "source": source, "line": line, "column": column, "start": start, "end": end })
}
