//! Runs `recipes/whisper-losses.sq`, or that of another family, at four sparsities with three seeds and prints the table of
//! `docs/results.md`.
//!
//! ```text
//! cargo run --release --example losses [-- whisper|t5|mpt] [NAME=VALUE …]     # such as `t5 epochs='20 steps'`
//! ```
//!
//! Finished stages are kept in `.sparsec`, and Ctrl-C saves the state of the running one, so that an interrupted table goes on where
//! it was.

use sparsec_compiler::{Color, Options as Compile, SourceSet, compile};
use sparsec_runtime::facts::{FileFacts, Files};
use sparsec_runtime::report::{ModelRecord, Report, Verdict};
use sparsec_runtime::run::{Options, SAVE_EVERY, Silent, execute};
use sparsec_runtime::vocabulary::vocabulary;
use sparsec_runtime::{Fault, FaultKind, Result, memory};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Families with what their recipe scores models with, and on which rows.
const FAMILIES: [(&str, &str, &str); 3] =
    [("whisper", "wer", "speech.test"), ("t5", "bleu", "pairs.test"), ("mpt", "exact_match", "problems.test")];
const SPARSITIES: [&str; 4] = ["50%", "75%", "80%", "90%"];
const SEEDS: [&str; 3] = ["1", "2", "3"];
/// The bindings of the recipe, as they stand in the table.
const MODELS: [&str; 4] = ["dense", "task_only", "with_kl", "with_squarehead"];

#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

/// Set by the first Ctrl-C: the run saves its state and stops. The second ends the process at once.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    match sparsec_runtime::threads::run(None, || watch_for_interrupts().and_then(|()| print_table())).flatten() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::from(if fault.kind == FaultKind::Interrupted { 130 } else { 1 })
        }
    }
}

fn watch_for_interrupts() -> Result<()> {
    let interrupt = || {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(interrupt).map_err(|error| Fault::environment(format!("cannot watch for Ctrl-C: {error}")))
}

fn print_table() -> Result<()> {
    let (sets, names): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|argument| argument.contains('='));
    let more: Vec<(String, String)> =
        sets.iter().filter_map(|set| set.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let wanted = names.first().map_or(FAMILIES[0].0, String::as_str);
    let (family, metric, rows) = *FAMILIES.iter().find(|(name, ..)| *name == wanted).ok_or_else(|| {
        Fault::input(format!("`{wanted}` is no family with a comparison of losses")).help("name whisper, t5 or mpt")
    })?;
    println!(
        "| Sparsity | Seed | dense | task | task + KL | task + SquareHead | SquareHead − task (95 %) | SquareHead − KL (95 %) |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for sparsity in SPARSITIES {
        let mut rates = Vec::new();
        for seed in SEEDS {
            let sets = [("sparsity", sparsity), ("seed", seed)].map(|(name, value)| (name.to_owned(), value.to_owned()));
            let report = run(&format!("recipes/{family}-losses.sq"), &[&sets[..], &more].concat())?;
            let row = MODELS.map(|name| score(&report, name, metric, rows));
            let [task, kl] = [difference(report.requires.first()), difference(report.requires.get(1))];
            println!("| {sparsity} | {seed} | {} | {task} | {kl} |", row.map(percent).join(" | "));
            rates.push(row);
        }
        let means = [0, 1, 2, 3].map(|model| rates.iter().map(|row| row[model]).sum::<f64>() / rates.len() as f64);
        println!("| {sparsity} | mean | {} | | |", means.map(percent).join(" | "));
    }
    Ok(())
}

/// Runs `recipe` with `sets`, or reads what an earlier run of the same found.
fn run(recipe: &str, sets: &[(String, String)]) -> Result<Report> {
    let path = Path::new(recipe);
    let text = std::fs::read_to_string(path).map_err(|error| Fault::reading(path, &error))?;
    let files = Files::of(path, false);
    let options = Compile { sets: sets.to_vec(), outside_paths: false };
    let compilation = compile(SourceSet::new(recipe, text), vocabulary(), &FileFacts::new(files.clone()), &options);
    if compilation.has_errors() {
        return Err(Fault::input(compilation.rendered(Color::Off)));
    }
    let options = Options {
        sources: &compilation.sources,
        files,
        directory: PathBuf::from("."),
        anywhere: false,
        fresh: false,
        despite_bars: false,
        save_every: SAVE_EVERY,
        code_cache: None,
        tuning: None,
        interrupted: &INTERRUPTED,
        peak_memory: &|_, _| None,
    };
    Ok(execute(&compilation.plan, &options, &mut Silent).map_err(|failure| failure.fault)?.report)
}

/// What a model scored on `rows`, 0 to 1.
fn score(report: &Report, name: &str, metric: &str, rows: &str) -> f64 {
    let model = report.models.iter().find(|model: &&ModelRecord| model.name == name);
    model.and_then(|model| model.score(metric, rows)).map_or(f64::NAN, |score| score.value)
}

fn percent(rate: f64) -> String {
    format!("{:.2}", 100.0 * rate)
}

/// The difference that a bar measured, with its interval, in points.
fn difference(verdict: Option<&Verdict>) -> String {
    let interval = verdict.and_then(|verdict| Some((verdict.measured - verdict.bar, verdict.difference?)));
    interval.map_or_else(String::new, |(value, (low, high))| {
        format!("{:+.2} ({:+.2} … {:+.2})", 100.0 * value, 100.0 * low, 100.0 * high)
    })
}
