//! Reading and compiling a recipe, shared by every subcommand that takes one.

use sparsec_compiler::{Color, Compilation, Options, SourceSet, compile};
use sparsec_runtime::facts::{FileFacts, Files};
use sparsec_runtime::hub::Hub;
use sparsec_runtime::vocabulary::vocabulary;
use sparsec_runtime::{Fault, Result};
use std::path::{Path, PathBuf};

use crate::terminal;

/// A recipe and the values set for its parameters.
#[derive(clap::Args)]
pub struct Recipe {
    /// The recipe, a `.sq` file
    #[arg(value_name = "RECIPE")]
    pub path: PathBuf,
    #[command(flatten)]
    pub settings: Settings,
}

/// What the command line may change about a recipe.
#[derive(clap::Args)]
pub struct Settings {
    /// Set a declared parameter, such as `sparsity=80%`; repeatable
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    sets: Vec<(String, String)>,
    /// Let the recipe and its manifests read files outside their folders, and write outside the working directory
    #[arg(long)]
    pub allow_outside: bool,
    /// Fetch nothing from the hub; what is in its cache is used
    #[arg(long)]
    pub offline: bool,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as `sparsity=80%`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl Recipe {
    /// Compiles the recipe.
    pub fn compile(&self) -> Result<Compilation> {
        self.settings.compile(&self.path)
    }

    /// Compiles the recipe, prints what is wrong with it on stderr, and fails if it cannot run.
    pub fn compile_or_report(&self) -> Result<Compilation> {
        let compilation = self.compile()?;
        report(&compilation)?;
        Ok(compilation)
    }

    /// The files that the recipe may read.
    pub fn files(&self) -> Files {
        self.settings.files(&self.path)
    }
}

impl Settings {
    /// The files that the recipe at `path` may read.
    fn files(&self, path: &Path) -> Files {
        Files::of(path, self.allow_outside).with(Hub::from_environment(self.offline))
    }

    /// Compiles the recipe at `path`.
    pub fn compile(&self, path: &Path) -> Result<Compilation> {
        let text = std::fs::read_to_string(path).map_err(|error| Fault::reading(path, &error))?;
        Ok(self.compile_text(path, text))
    }

    /// Compiles `text` as if it stood at `path`.
    pub fn compile_text(&self, path: &Path, text: String) -> Compilation {
        let facts = FileFacts::new(self.files(path));
        let options = Options { sets: self.sets.clone(), outside_paths: self.allow_outside };
        compile(SourceSet::new(path.display().to_string(), text), vocabulary(), &facts, &options)
    }
}

/// Prints the diagnostics on stderr.
///
/// # Errors
/// When one of them is an error.
pub fn report(compilation: &Compilation) -> Result<()> {
    if !compilation.diagnostics.is_empty() {
        errln!("{}", compilation.rendered(if terminal::colour() { Color::On } else { Color::Off }).trim_end());
    }
    if compilation.has_errors() {
        return Err(
            Fault::input("the recipe has errors").help("`sparsec explain CODE` shows a mended example for each code above")
        );
    }
    Ok(())
}
