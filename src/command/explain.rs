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
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let codes = match &arguments.code {
        None => Code::ALL.to_vec(),
        Some(text) => {
            let code = Code::parse(text).ok_or_else(|| {
                Fault::input(format!("there is no diagnostic `{text}`")).help("`sparsec explain` lists all codes")
            })?;
            vec![code]
        }
    };
    if arguments.json {
        let page = |code: &Code| serde_json::json!({ "code": code, "severity": code.severity(), "page": code.page() });
        super::print_json(&codes.iter().map(page).collect::<Vec<_>>())?;
    } else if arguments.code.is_some() {
        codes.iter().for_each(|code| outln!("{}", code.page().trim_end()));
    } else {
        codes.iter().for_each(|code| outln!("{code}"));
    }
    Ok(Exit::Done)
}
