//! `sparsec bench ARTIFACT`: which kernel runs in each layer and why, and what that gives end to end.

use sparsec_runtime::measure::{self, Effort, Speed};
use sparsec_runtime::model::family;
use sparsec_runtime::report::text::{percent, rate};
use sparsec_runtime::report::{KernelRecord, Timing};
use sparsec_runtime::{Batch, Checkpoint, Result};
use std::path::Path;

use crate::command::kernels::Kernels;
use crate::command::{print_json, tell};
use crate::exit::Exit;
use crate::progress::Progress;
use crate::terminal;

/// How an artifact is timed: the kernel of every pruned layer and why it was chosen, then whole models, dense and sparse in turns.
#[derive(clap::Args)]
pub struct Options {
    /// Counted runs of each model
    #[arg(long, default_value_t = 9)]
    repeats: usize,
    /// Tokens decoded in each run
    #[arg(long, default_value_t = 24)]
    tokens: usize,
    #[command(flatten)]
    kernels: Kernels,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(artifact: &Path, options: &Options) -> Result<Exit> {
    let checkpoint = Checkpoint::read(artifact)?;
    let processor = family(&checkpoint.config)?.processor(&checkpoint)?;
    let example = processor.example(&processor.probe())?;
    let start = example.decoder.first().copied().unwrap_or_default();
    let inputs = Batch::of(&[example], processor.pad())?.inputs;

    let dense = checkpoint.model()?;
    let mut progress = Progress::of("bench");
    let engine = options.kernels.engine(&checkpoint, &mut progress)?;
    let effort = Effort { repeats: options.repeats.max(1), tokens: options.tokens.max(1), start };
    let speeds =
        measure::speed(&[&*dense, &*engine.model], &inputs, effort, &mut |done, total| tell(&mut progress, done, total, "runs"))?;
    drop(progress);
    if options.json {
        let whole = [("dense", &speeds[0]), ("sparse", &speeds[1])].map(|(name, speed)| {
            serde_json::json!({ "kernels": name, "encoder_ms": speed.encoder_ms, "decode_tokens_per_second": speed.decode_tokens_per_second })
        });
        print_json(&serde_json::json!({ "layers": engine.kernels, "models": whole }))?;
        return Ok(Exit::Done);
    }
    print_layers(&engine.kernels);
    print_models(&speeds);
    Ok(Exit::Done)
}

fn print_layers(kernels: &[KernelRecord]) {
    let mut table = terminal::table(&["layer", "shape", "sparsity", "tokens", "kernel", "µs", "dense µs", "why"]);
    for kernel in kernels {
        let micros = |name: &str| kernel.micros.get(name).map_or_else(String::new, |micros| rate(*micros));
        let shape = format!("{}x{}", kernel.shape[0], kernel.shape[1]);
        let (tokens, sparsity) = (kernel.tokens.to_string(), percent(kernel.sparsity));
        table.add_row([
            &kernel.path,
            &shape,
            &sparsity,
            &tokens,
            &kernel.kernel,
            &micros(&kernel.kernel),
            &micros("dense"),
            &kernel.why(),
        ]);
    }
    outln!("{table}");
}

fn print_models(speeds: &[Speed]) {
    let mut table = terminal::table(&["whole model", "encoder ms", "min … max", "tokens/s", "min … max"]);
    for (name, speed) in ["all layers dense", "kernels as above"].iter().zip(speeds) {
        let cells = |timing: Timing| [rate(timing.median), format!("{} … {}", rate(timing.min), rate(timing.max))];
        let encoder = speed.encoder_ms.map_or([const { String::new() }; 2], cells);
        let cells = encoder.into_iter().chain(cells(speed.decode_tokens_per_second));
        table.add_row(std::iter::once((*name).to_owned()).chain(cells));
    }
    outln!("{table}");
    outln!("threads    {}; medians of runs in turns", rayon::current_num_threads());
}
