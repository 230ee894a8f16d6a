//! `sparsec explain`: a page for each diagnostic code.

use sparsec_compiler::Code;
use sparsec_runtime::{Fault, Result};

use crate::exit::Exit;

/// Explain a diagnostic: a failing recipe, why it fails, and the mended recipe
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sparsec explain no-layer-matches")]
pub struct Arguments {
    /// The code, such as `no-layer-matches`; without one, all codes are listed
    code: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    match &arguments.code {
        None => Code::ALL.iter().for_each(|code| outln!("{code}")),
        Some(text) => {
            let code = Code::parse(text);
            let code = code.ok_or_else(|| {
                Fault::input(format!("there is no diagnostic `{text}`")).help("`sparsec explain` lists all codes")
            })?;
            outln!("{}", code.page().trim_end());
        }
    }
    Ok(Exit::Done)
}
