//! `sparsec eval`: the word error rate of an artifact on a manifest.

use sparsec_runtime::dataset::{Access, Csv, Dataset, Jsonl, Manifest, Rows, Split};
use sparsec_runtime::metric::{Bootstrap, Normalization, Scores, share, wer};
use sparsec_runtime::report::Unit;
use sparsec_runtime::run::transcripts;
use sparsec_runtime::shelf::InputPath;
use sparsec_runtime::{Fault, Result};
use std::path::PathBuf;

use super::kernels::Kernels;
use super::speech::Speech;
use crate::exit::Exit;
use crate::progress::Progress;

/// Score an artifact: word error rate with a 95 % bootstrap interval
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sparsec eval out/whisper recipes/data/spoken-numbers/manifest.jsonl --split test")]
pub struct Arguments {
    /// A folder that `export` wrote, or any checkpoint
    artifact: PathBuf,
    /// A manifest, `.jsonl` or `.csv`, with the columns `audio` and `text`
    manifest: PathBuf,
    /// Score only the rows whose `split` column says this
    #[arg(long)]
    split: Option<String>,
    #[command(flatten)]
    speech: Speech,
    #[command(flatten)]
    kernels: Kernels,
    /// Let the manifest name files outside its folder
    #[arg(long)]
    allow_outside: bool,
    /// Print JSON, with what was said for every row and the kernels that ran
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let rows = rows(arguments)?;
    let checkpoint = arguments.speech.checkpoint(&arguments.artifact)?;
    let mut progress = Progress::of("scoring");
    let engine = arguments.kernels.engine(&checkpoint, &mut progress)?;
    let mut texts = Vec::new();
    transcripts(&checkpoint, &*engine.model, &rows, &mut texts, &mut |texts| {
        super::tell(&mut progress, texts.len(), rows.len(), "rows")
    })?;
    drop(progress);
    let pairs = texts.iter().enumerate().map(|(index, text)| (rows.text(index), text.as_str()));
    let count = |reference: &str, said: &str| {
        wer::edits(&Normalization::Basic.apply(reference), &Normalization::Basic.apply(said)).counts()
    };
    let score = Scores::of_texts(count, share, pairs)?.record(
        "wer",
        Unit::Share,
        &arguments.manifest.display().to_string(),
        &Bootstrap::default(),
    );
    if arguments.json {
        let said: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| serde_json::json!({ "reference": rows.text(index), "hypothesis": text }))
            .collect();
        super::print_json(&serde_json::json!({ "score": score, "rows": said, "kernels": engine.kernels }))?;
    } else {
        let words = score.words.map(|words| format!(", {words} words")).unwrap_or_default();
        outln!("WER {}, {} rows{words}", score.text(), score.rows);
    }
    Ok(Exit::Done)
}

/// The rows to score.
fn rows(arguments: &Arguments) -> Result<Rows> {
    let path = arguments.manifest.as_path();
    let (text, split) = ("text".to_owned(), "split".to_owned());
    let name = InputPath(path.display().to_string());
    let commas = path.extension().is_some_and(|extension| extension == "csv" || extension == "tsv");
    let manifest: Box<dyn Manifest> = if commas {
        Box::new(Csv { path: name, audio: None, source: None, text, split })
    } else {
        Box::new(Jsonl { path: name, audio: None, source: None, text, split })
    };
    let access = if arguments.allow_outside { Access::Anywhere } else { Access::Folder };
    let rows = Rows::open(&*manifest, path, access)?;
    let Some(wanted) = &arguments.split else { return Ok(rows) };
    let splits = rows.split(&Split::Column, 0)?;
    let names = splits.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let found = splits.into_iter().find(|(name, _)| name == wanted).map(|(_, rows)| rows);
    found.ok_or_else(|| Fault::input(format!("there is no split `{wanted}`")).at(path).help(format!("the splits are {names}")))
}
