//! `sparsec eval`: the scores of an artifact on a manifest.

use sparsec_runtime::dataset::{Access, Csv, Dataset, Jsonl, Manifest, Rows, Split};
use sparsec_runtime::engine::Engine;
use sparsec_runtime::metric::{Bootstrap, Called, Counts, Sees};
use sparsec_runtime::model::family;
use sparsec_runtime::report::Score;
use sparsec_runtime::run::{likelihoods, transcripts};
use sparsec_runtime::shelf::InputPath;
use sparsec_runtime::{Checkpoint, Fault, Result};
use std::path::PathBuf;

use super::kernels::Kernels;
use super::metric;
use super::speech::Speech;
use crate::exit::Exit;
use crate::progress::Progress;

/// Score an artifact on a manifest, with 95 % bootstrap intervals
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  sparsec eval out/whisper recipes/data/spoken-numbers/manifest.jsonl --split test\n  \
                        sparsec eval out/t5 recipes/data/english-german/manifest.jsonl --split test --metric bleu --metric chrf\n  \
                        sparsec eval out/mpt recipes/data/word-problems/manifest.jsonl --split test --metric exact_match\n\n\
                        `sparsec words` lists the metrics, and `sparsec words exact_match` the options of one.")]
pub struct Arguments {
    /// A folder that `export` wrote, or any checkpoint
    artifact: PathBuf,
    /// A manifest, `.jsonl`, `.csv` or `.tsv`: a row for each sound or source text, with the reference text
    manifest: PathBuf,
    /// A metric as in a recipe, such as `wer`, `bleu`, `perplexity` or `exact_match(answer: last_number)`; repeatable [default: `wer`
    /// for Whisper, `bleu` for T5, `perplexity` for MPT]
    #[arg(long = "metric", value_name = "METRIC")]
    metrics: Vec<String>,
    /// Score only the rows whose `split` column says this
    #[arg(long)]
    split: Option<String>,
    /// Where a row has the path of its sound, for a model that hears [default: audio]
    #[arg(long, value_name = "COLUMN")]
    audio: Option<String>,
    /// Where a row has the text to translate or to answer, for a model that reads [default: source]
    #[arg(long, value_name = "COLUMN")]
    source: Option<String>,
    /// Where a row has the reference text
    #[arg(long, value_name = "COLUMN", default_value = "text")]
    text: String,
    #[command(flatten)]
    speech: Speech,
    #[command(flatten)]
    kernels: Kernels,
    /// Let the manifest name files outside its folder
    #[arg(long)]
    allow_outside: bool,
    /// Print JSON, with what was found for every row and the kernels that ran
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let checkpoint = arguments.speech.checkpoint(&arguments.artifact)?;
    let family = family(&checkpoint.config)?;
    let usual = [family.metric().to_owned()];
    let metrics = if arguments.metrics.is_empty() { &usual } else { arguments.metrics.as_slice() };
    let metrics = metrics.iter().map(|text| metric::parse(text)).collect::<Result<Vec<_>>>()?;
    let hears = family.processor(&checkpoint)?.sample_rate().is_some();
    let rows = rows(arguments, hears)?;
    let mut progress = Progress::of("scoring");
    let engine = arguments.kernels.engine(&checkpoint, &mut progress)?;
    let found = Found::look(&checkpoint, &engine, &rows, &metrics, &mut progress)?;
    drop(progress);
    let scores = metrics.iter().map(|metric| found.score(metric, &rows)).collect::<Result<Vec<_>>>()?;
    if arguments.json {
        let rows: Vec<_> = (0..rows.len()).map(|index| found.row(index, &rows)).collect();
        super::print_json(&serde_json::json!({ "scores": scores, "rows": rows, "kernels": engine.kernels }))?;
        return Ok(Exit::Done);
    }
    for score in scores {
        let words = score.words.map(|words| format!(", {words} words")).unwrap_or_default();
        outln!("{} {}, {} rows{words}", score.metric, score.text(), score.rows);
    }
    Ok(Exit::Done)
}

/// What a model makes of every row, as far as metrics ask for it.
struct Found {
    /// What it says.
    texts: Option<Vec<String>>,
    /// The negative log-likelihood of the reference, and its tokens.
    likelihoods: Option<Vec<Counts>>,
}

impl Found {
    /// Looks at every row once for all `metrics`.
    fn look(checkpoint: &Checkpoint, engine: &Engine, rows: &Rows, metrics: &[Called], progress: &mut Progress) -> Result<Self> {
        let asks_text = |called: &Called| matches!(called.metric.sees(), Sees::Text(_));
        let mut found = Self { texts: None, likelihoods: None };
        if metrics.iter().any(asks_text) {
            let told = &mut |found: &[String]| super::tell(progress, found.len(), rows.len(), "rows");
            transcripts(checkpoint, &*engine.model, rows, found.texts.insert(Vec::new()), told)?;
        }
        if !metrics.iter().all(asks_text) {
            let told = &mut |found: &[Counts]| super::tell(progress, found.len(), rows.len(), "references");
            likelihoods(checkpoint, &*engine.model, rows, found.likelihoods.insert(Vec::new()), told)?;
        }
        Ok(found)
    }

    fn score(&self, called: &Called, rows: &Rows) -> Result<Score> {
        let references = || (0..rows.len()).map(|index| rows.text(index));
        let counts = match called.metric.sees() {
            Sees::Text(count) => {
                let said = self.texts.iter().flatten();
                references().zip(said).map(|(reference, said)| count(reference, said)).collect()
            }
            Sees::Likelihood => self.likelihoods.clone().unwrap_or_default(),
        };
        let data = rows.path().display().to_string();
        Ok(called.record(&called.scores(counts, references())?, &data, &Bootstrap::default()))
    }

    /// What was found for row `index`.
    fn row(&self, index: usize, rows: &Rows) -> serde_json::Value {
        let mut row = serde_json::json!({ "reference": rows.text(index) });
        if let Some(said) = self.texts.as_ref().map(|texts| &texts[index]) {
            row["hypothesis"] = said.as_str().into();
        }
        if let Some([surprise, tokens]) = self.likelihoods.as_ref().map(|counts| counts[index].as_slice()) {
            row["negative_log_likelihood"] = (*surprise).into();
            row["tokens"] = (*tokens).into();
        }
        row
    }
}

/// The rows to score.
fn rows(arguments: &Arguments, hears: bool) -> Result<Rows> {
    let path = arguments.manifest.as_path();
    let column = |given: &Option<String>, usual: &str| given.clone().or_else(|| Some(usual.to_owned()));
    let (audio, source) = match (hears, &arguments.audio, &arguments.source) {
        (true, audio, None) => (column(audio, "audio"), None),
        (false, None, source) => (None, column(source, "source")),
        (true, _, Some(_)) => return Err(misfit("this model hears and reads no source text", "--source")),
        (false, Some(_), _) => return Err(misfit("this model reads and hears no sound", "--audio")),
    };
    let (text, split) = (arguments.text.clone(), "split".to_owned());
    let name = InputPath(path.display().to_string());
    let commas = path.extension().is_some_and(|extension| extension == "csv" || extension == "tsv");
    let manifest: Box<dyn Manifest> = if commas {
        Box::new(Csv { path: name, audio, source, text, split })
    } else {
        Box::new(Jsonl { path: name, audio, source, text, split })
    };
    let access = if arguments.allow_outside { Access::Anywhere } else { Access::Folder };
    let rows = Rows::open(&*manifest, path, access)?;
    let Some(wanted) = &arguments.split else { return Ok(rows) };
    let splits = rows.split(&Split::Column, 0)?;
    let names = splits.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let found = splits.into_iter().find(|(name, _)| name == wanted).map(|(_, rows)| rows);
    found.ok_or_else(|| Fault::input(format!("there is no split `{wanted}`")).at(path).help(format!("the splits are {names}")))
}

fn misfit(message: &str, flag: &str) -> Fault {
    Fault::input(message).help(format!("leave `{flag}` out"))
}
