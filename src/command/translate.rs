//! `sparsec translate`: texts to texts.

use sparsec_runtime::generate::{Beam, Search, Stopping};
use sparsec_runtime::model::{Decoded, Row, family};
use sparsec_runtime::{Checkpoint, Fault, Result};
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::kernels::Kernels;
use crate::exit::Exit;
use crate::progress::Progress;

/// Texts that are decoded together.
const TOGETHER: usize = 16;

/// Translate texts with a model that reads and writes text, one line each
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sparsec translate out/t5 \"The train leaves at half past nine.\"\n\n\
                        Without a text, every line of standard input is translated; an empty line stays empty.")]
pub struct Arguments {
    /// A folder that `export` wrote, or any T5 checkpoint
    artifact: PathBuf,
    /// The texts
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    /// Follow N translations and take the best; 1 takes the likeliest token at every step [default: what the artifact says]
    #[arg(long, value_name = "N")]
    beam: Option<NonZeroUsize>,
    /// The power of its length that a translation's score is divided by [default: what the artifact says, or 1]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    length_penalty: Option<f64>,
    /// What to do: a name in `task_specific_params` of the checkpoint's config.json, such as `translation_en_to_de`
    #[arg(long)]
    task: Option<String>,
    #[command(flatten)]
    kernels: Kernels,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let checkpoint = Checkpoint::read(&arguments.artifact)?;
    let family = family(&checkpoint.config)?;
    let checkpoint = match &arguments.task {
        Some(task) => family.told(checkpoint, None, Some(task))?,
        None => checkpoint,
    };
    let processor = family.processor(&checkpoint)?;
    if processor.sample_rate().is_some() {
        return Err(Fault::input("this model hears and reads no text").at(&arguments.artifact).help("use `sparsec transcribe`"));
    }
    let search = search(arguments, processor.search())?;
    let model = arguments.kernels.engine(&checkpoint, &mut Progress::new())?.model;
    let mut translated = Vec::new();
    let mut translate = |sources: Vec<String>| -> Result<()> {
        super::go_on()?;
        let rows: Vec<Row> = sources.iter().map(|source| Row { source: Some(source.clone()), ..Row::default() }).collect();
        for (source, Decoded { text, tokens }) in sources.into_iter().zip(processor.decode(&*model, &rows, Some(&search))?) {
            match arguments.json {
                true => translated.push(serde_json::json!({ "source": source, "text": text, "tokens": tokens })),
                false => outln!("{text}"),
            }
        }
        Ok(())
    };
    match arguments.texts.as_slice() {
        [] => piped(&mut translate)?,
        texts => texts.chunks(TOGETHER).try_for_each(|texts| translate(texts.to_vec()))?,
    }
    if arguments.json {
        super::print_json(&translated)?;
    }
    Ok(Exit::Done)
}

/// How tokens are found: as the flags say, and where they say nothing, as the artifact does.
fn search(arguments: &Arguments, own: Search) -> Result<Search> {
    let known = match own {
        Search::Beam(beam) => Some(beam),
        _ => None,
    };
    let beams = arguments.beam.map(NonZeroUsize::get).or(known.map(|beam| beam.beams)).unwrap_or(1);
    let length_penalty = arguments.length_penalty.or(known.map(|beam| beam.length_penalty)).unwrap_or(1.0);
    if !length_penalty.is_finite() {
        return Err(Fault::input(format!("a length penalty of {length_penalty} is none")).help("give a number such as 0.6"));
    }
    let stopping = known.map_or(Stopping::default(), |beam| beam.stopping);
    Ok(if beams == 1 { Search::Greedy } else { Search::Beam(Beam { beams, length_penalty, stopping }) })
}

/// Hands the lines of standard input to `translate`, several together.
fn piped(translate: &mut dyn FnMut(Vec<String>) -> Result<()>) -> Result<()> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(std::io::stdin()).split(b'\n')) {
        let line = line.map_err(|error| Fault::environment(format!("standard input cannot be read: {error}")))?;
        let line = String::from_utf8(line).map_err(|_| {
            Fault::input(format!("line {number} of standard input is not UTF-8")).help("convert it, with `iconv` say")
        })?;
        lines.push(line.trim_end_matches('\r').to_owned());
        if lines.len() == TOGETHER {
            translate(std::mem::take(&mut lines))?;
        }
    }
    if lines.is_empty() { Ok(()) } else { translate(lines) }
}
