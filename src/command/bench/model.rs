//! `sparsec bench model FOLDER`: a whole model dense and sparse, both on the engine, and where the time goes.

use sparsec_kernels::cpu::Peak;
use sparsec_kernels::{Element, Options};
use sparsec_runtime::benchmark::{self, Outcome, Subject, Work, bytes, matrix_share, seconds};
use sparsec_runtime::model::family;
use sparsec_runtime::profile::Profile;
use sparsec_runtime::report::Timing;
use sparsec_runtime::report::text::{percent, rate};
use sparsec_runtime::{Checkpoint, Inputs, Result};
use std::path::PathBuf;

use super::kernels::share;
use crate::command::kernels::Kernels;
use crate::command::{print_json, tell};
use crate::exit::Exit;
use crate::progress::Progress;
use crate::terminal;

/// Time a model dense and sparse in turns, without data, and show where the time goes
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  sparsec bench model recipes/shapes/whisper-small --sparsity 75 --elements int8 --threads 1\n  \
                        sparsec bench model recipes/shapes/mpt-1b --elements fp32,int8 --prompt 64 --threads 1"
)]
pub struct Arguments {
    /// A checkpoint, or a folder that holds only a `config.json`: then weights are random
    folder: PathBuf,
    /// Percent of each prunable layer that random masks remove, where the checkpoint has no masks
    #[arg(long, value_name = "PERCENT", default_value = "75", value_parser = share)]
    sparsity: f64,
    /// How the weights of the sparse model are stored: fp32, int8
    #[arg(long, value_delimiter = ',', value_name = "ELEMENT", default_value = "int8", value_parser = Element::by_word)]
    elements: Vec<Element>,
    /// Tokens decoded in each run
    #[arg(long, default_value_t = 32)]
    tokens: usize,
    /// Tokens of the text that the encoder reads, or of the prompt, where the model reads text
    #[arg(long, default_value_t = 128)]
    prompt: usize,
    /// Counted runs of each model
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    #[command(flatten)]
    kernels: Kernels,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let checkpoint = benchmark::checkpoint(&arguments.folder)?;
    let (inputs, prompt) = family(&checkpoint.config)?.trial(&checkpoint.config, arguments.prompt.max(1))?;
    let work = Work { inputs, prompt, tokens: arguments.tokens.max(1), repeats: arguments.repeats.max(1) };

    let mut progress = Progress::of("bench");
    let options = arguments.kernels.options(&mut progress)?;
    let mut subjects = vec![subject("dense fp32", &benchmark::dense(&checkpoint)?, &options, &mut progress)?];
    for &element in &arguments.elements {
        let sparse = benchmark::sparse(&checkpoint, arguments.sparsity, element)?;
        subjects.push(subject(&format!("sparse {element}"), &sparse, &options, &mut progress)?);
    }
    drop(checkpoint);
    let before = Peak::measure();
    let outcomes = benchmark::compare(&subjects, &work, &mut |done, total| tell(&mut progress, done, total, "runs"))?;
    drop(progress);
    // The better one: what else runs on the machine can only hide its limit.
    let after = Peak::measure();
    let peak = if before.read_gbps > after.read_gbps { before } else { after };
    if arguments.json {
        let kernels: serde_json::Map<_, _> =
            subjects.iter().map(|subject| (subject.name.clone(), serde_json::json!(subject.engine.kernels))).collect();
        print_json(&serde_json::json!({ "limits": peak, "models": outcomes, "kernels": kernels }))?;
        return Ok(Exit::Done);
    }
    print_beginnings(&outcomes, !matches!(work.inputs, Inputs::Nothing));
    print_tokens(&outcomes, &peak);
    print_parts("encoder and prompt", &outcomes, |outcome| &outcome.encoder, &peak);
    print_parts("one token", &outcomes, |outcome| &outcome.token, &peak);
    outln!(
        "threads    {}; medians of {} runs in turns; {:.1} GB/s is the most that was read from memory",
        peak.threads,
        work.repeats,
        peak.read_gbps
    );
    Ok(Exit::Done)
}

fn subject(name: &str, checkpoint: &Checkpoint, options: &Options, progress: &mut Progress) -> Result<Subject> {
    benchmark::subject(name.to_owned(), checkpoint, options, &mut |done, total| tell(progress, done, total, "layers compiled"))
}

/// How long everything before the first token takes.
fn print_beginnings(outcomes: &[Outcome], has_encoder: bool) {
    let mut table = terminal::table(&["before the first token", "encoder ms", "times dense", "prompt ms", "times dense"]);
    for outcome in outcomes {
        let cells = |of: fn(&Outcome) -> Timing| [spread(of(outcome)), rate(of(&outcomes[0]).median / of(outcome).median)];
        let encoder = if has_encoder { cells(|outcome| outcome.encoder_ms) } else { Default::default() };
        table.add_row([outcome.name.clone()].into_iter().chain(encoder).chain(cells(|outcome| outcome.prompt_ms)));
    }
    outln!("{table}");
}

/// How long every further token takes, and how much of what memory gives at most it reads.
fn print_tokens(outcomes: &[Outcome], peak: &Peak) {
    let mut table = terminal::table(&["decoding", "ms per token", "tokens/s", "times dense", "MB moved", "GB/s", "of the limit"]);
    for outcome in outcomes {
        let moved = bytes(&outcome.token);
        let gbps = gbps(moved, seconds(&outcome.token));
        table.add_row([
            outcome.name.clone(),
            spread(outcome.token_ms),
            rate(1e3 / outcome.token_ms.median),
            rate(outcomes[0].token_ms.median / outcome.token_ms.median),
            rate(moved as f64 / 1e6),
            rate(gbps),
            percent(gbps / peak.read_gbps),
        ]);
    }
    outln!("{table}");
}

/// A median with its extremes.
fn spread(timing: Timing) -> String {
    format!("{} ({} … {})", rate(timing.median), rate(timing.min), rate(timing.max))
}

fn gbps(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / seconds.max(f64::MIN_POSITIVE) / 1e9
}

/// The profile of every model, a row for each part.
fn print_parts(title: &str, outcomes: &[Outcome], profile: impl Fn(&Outcome) -> &Profile, peak: &Peak) {
    let mut table = terminal::table(&[title, "part", "ms", "share", "MB moved", "GB/s", "of the limit"]);
    for outcome in outcomes {
        let profile = profile(outcome);
        let (all, mut name) = (seconds(profile), outcome.name.as_str());
        let mut add = |part: String, seconds: f64, share: f64, bytes: u64| {
            let gbps = gbps(bytes, seconds);
            let moved = [rate(bytes as f64 / 1e6), rate(gbps), percent(gbps / peak.read_gbps)];
            let moved = if bytes == 0 { Default::default() } else { moved };
            table.add_row([name.to_owned(), part, rate(1e3 * seconds), percent(share)].into_iter().chain(moved));
            name = "";
        };
        for (part, cost) in profile {
            add(part.name().to_owned(), cost.seconds, cost.seconds / all, cost.bytes);
        }
        add("all, and the share of matrix work".to_owned(), all, matrix_share(profile), bytes(profile));
    }
    outln!("{table}");
}
