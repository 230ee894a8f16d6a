//! `sparsec generate`: how texts go on.

use sparsec_runtime::generate::{Asked, Sampling, Search};
use sparsec_runtime::model::family;
use sparsec_runtime::{Checkpoint, Fault, Result};
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::kernels::Kernels;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::terminal;

/// Continue texts with a model that only decodes; the text appears while it is found
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  sparsec generate recipes/models/mpt-nano --prompt \"Ada has 3 pens and buys 4. How many has she?\"\n\n\
                        The likeliest token follows, unless a temperature is given. Without `--prompt`, the prompt is read from \
                        standard input, a last line break left out."
)]
pub struct Arguments {
    /// A folder that `export` wrote, or any MPT checkpoint
    artifact: PathBuf,
    /// The text to continue; repeatable
    #[arg(long = "prompt", value_name = "TEXT")]
    prompts: Vec<String>,
    /// The most tokens that are said [default: what the artifact says, or 256]
    #[arg(long, value_name = "N")]
    max_tokens: Option<NonZeroUsize>,
    /// Draw tokens, more daringly the higher it is; 0 takes the likeliest [default: 0, or 1 where `--top-k` or `--top-p` is given]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Draw from the K likeliest tokens
    #[arg(long, value_name = "K")]
    top_k: Option<NonZeroUsize>,
    /// Draw from the likeliest tokens that together have this share of the probability, such as 0.9
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Another seed draws another text
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A string that ends the text and is no part of it; repeatable
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    #[command(flatten)]
    kernels: Kernels,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let asked =
        Asked { search: search(arguments)?, max_new: arguments.max_tokens.map(NonZeroUsize::get), stop: arguments.stop.clone() };
    let prompts = if arguments.prompts.is_empty() { vec![piped()?] } else { arguments.prompts.clone() };
    let checkpoint = Checkpoint::read(&arguments.artifact)?;
    let processor = family(&checkpoint.config)?.processor(&checkpoint)?;
    let model = arguments.kernels.engine(&checkpoint, &mut Progress::new())?.model;
    let mut continued = Vec::new();
    for prompt in &prompts {
        let (said, ended) = processor.continue_text(&*model, prompt, &asked, &mut |part| {
            if !arguments.json {
                terminal::print_part(part);
            }
            super::go_on()
        })?;
        if !arguments.json {
            outln!("");
        }
        continued.push(serde_json::json!({ "prompt": prompt, "text": said.text, "tokens": said.tokens.len(), "ended": ended }));
    }
    if arguments.json {
        super::print_json(&continued)?;
    }
    Ok(Exit::Done)
}

/// How tokens are found.
fn search(arguments: &Arguments) -> Result<Search> {
    let Arguments { temperature, top_k, top_p, seed, .. } = arguments;
    let is_narrowed = top_k.is_some() || top_p.is_some();
    match temperature.unwrap_or(if is_narrowed { 1.0 } else { 0.0 }) {
        0.0 if is_narrowed => Err(Fault::input("a temperature of 0 draws nothing that could be narrowed")
            .help("leave `--top-k` and `--top-p` out, or give a temperature above 0")),
        0.0 => Ok(Search::Greedy),
        temperature => {
            let sampling =
                Sampling { temperature, top_k: top_k.map(NonZeroUsize::get), top_p: top_p.unwrap_or(1.0), seed: *seed };
            sampling.checked().map(Search::Sample)
        }
    }
}

/// What standard input says.
fn piped() -> Result<String> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes);
    read.map_err(|error| Fault::environment(format!("standard input cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        Fault::input(format!("standard input is no UTF-8 text: byte {}", error.utf8_error().valid_up_to() + 1))
    })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
