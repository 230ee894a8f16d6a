//! What it gives to take groups of tokens through both layers of a feed-forward part, beside one layer after the other:
//!
//! ```sh
//! cargo run --release -p sparsec-kernels --example feed_forward -- 1500 1
//! ```
//!
//! The arguments are tokens and threads. Kernels are chosen by measurement; times are medians of runs in turns.

use std::time::Instant;

use sparsec_kernels::bench::Masks;
use sparsec_kernels::{
    Activation, Choice, Element, Epilogue, FeedForward, KernelError, Options, SparseLinear, SparseMatrix, Tuning, Values,
};

/// Widths in and between: those of T5-small, Whisper-small and MPT-7B.
const SHAPES: [[usize; 2]; 3] = [[512, 2048], [768, 3072], [4096, 16384]];

/// Share of weights that are pruned.
const SPARSITY: f64 = 0.75;

/// Runs of each way.
const ROUNDS: usize = 15;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |otherwise| arguments.next().map_or(Ok(otherwise), |argument| argument.parse::<usize>());
    let (tokens, threads) = (number(1500)?, number(1)?);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    println!(
        "{tokens} tokens, {threads} threads, 75 % of the weights pruned at random, GELU between the layers, a residual after them"
    );
    let options = Options { tokens: vec![tokens], choice: Choice::Measure(Tuning::default()), ..Options::default() };
    for [width, hidden] in SHAPES {
        for element in [Element::Fp32, Element::Int8] {
            pool.install(|| compare(width, hidden, element, tokens, &options))?;
        }
    }
    Ok(())
}

fn compare(width: usize, hidden: usize, element: Element, tokens: usize, options: &Options) -> Result<(), KernelError> {
    let (up, down) = (layer(hidden, width, element, options, 1)?, layer(width, hidden, element, options, 2)?);
    let x = waves(tokens * width);
    let (mut between, mut y) = (vec![0.0; tokens * hidden], vec![0.0; tokens * width]);
    let activated = Epilogue { activation: Some(Activation::Gelu), ..Epilogue::default() };
    let together = FeedForward { gate: None, up: &up, activation: Activation::Gelu, down: &down };
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        up.forward_with(&x, tokens, &mut between, activated)?;
        down.forward_with(&between, tokens, &mut y, Epilogue { residual: Some(&x), ..Epilogue::default() })?;
        times[0].push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        together.forward(&x, tokens, &mut y, Some(&x))?;
        times[1].push(start.elapsed().as_secs_f64() * 1e3);
    }
    let [apart, together] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    });
    let kernel = |layer: &SparseLinear| layer.explain().choices.last().map_or_else(String::new, |choice| choice.format.clone());
    println!(
        "{width} -> {hidden} -> {width} {element} ({}, {}): one after the other {apart:.2} ms, together {together:.2} ms, {:.2} times as fast",
        kernel(&up),
        kernel(&down),
        apart / together
    );
    Ok(())
}

/// A layer whose mask keeps a random quarter.
fn layer(rows: usize, cols: usize, element: Element, options: &Options, seed: u64) -> Result<SparseLinear, KernelError> {
    let mask = Masks::default().mask(rows, cols, SPARSITY, seed);
    let values = Values::round(&waves(rows * cols), rows, cols, element)?;
    SparseLinear::of(&SparseMatrix::of(values, mask)?, None, options)
}

/// Values that differ from each other, -1 to 1.
fn waves(count: usize) -> Vec<f32> {
    (0..count).map(|at| (at as f32 * 0.37).sin()).collect()
}
