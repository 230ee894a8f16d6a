//! `sparsec bench`: what the kernels give, in an artifact and alone.

mod artifact;
mod compile;
mod kernels;
mod model;
mod shapes;

use sparsec_runtime::{Fault, Result};
use std::path::PathBuf;

use crate::exit::Exit;

/// Time an artifact and its kernels, dense and sparse in turns, or the kernels alone
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  sparsec bench out/whisper --threads 1\n  sparsec bench kernels --shapes 3072x768 --tokens 1,384 --threads 1"
)]
pub struct Arguments {
    #[command(subcommand)]
    alone: Option<Alone>,
    /// A folder that `export` wrote
    #[arg(required = true)]
    artifact: Option<PathBuf>,
    #[command(flatten)]
    options: artifact::Options,
}

/// What is timed without an artifact.
#[derive(clap::Subcommand)]
enum Alone {
    Kernels(kernels::Arguments),
    Model(model::Arguments),
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    match (&arguments.alone, &arguments.artifact) {
        (Some(Alone::Kernels(arguments)), _) => kernels::run(arguments),
        (Some(Alone::Model(arguments)), _) => model::run(arguments),
        (None, Some(artifact)) => artifact::run(artifact, &arguments.options),
        (None, None) => Err(Fault::input("nothing to time").help("name an artifact, or `kernels`")),
    }
}
