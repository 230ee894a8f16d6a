//! What it gives to take groups of tokens through both layers of a feed-forward part, beside one layer after the other:
//!
//! ```sh
//! cargo run --release -p sparsec-kernels --example feed_forward -- 1500 1
//! ```
//!
//! The arguments are tokens and threads. Kernels are chosen by measurement; times are medians of runs in turns.

use std::time::Instant;

use sparsec_kernels::element::int8;
use sparsec_kernels::{
    Activation, Choice, Element, Epilogue, FeedForward, KernelError, Mask, Options, SparseLinear, SparseMatrix, Tuning, Values,
};

/// Widths in and between: those of T5-small, Whisper-small and MPT-7B.
const SHAPES: [[usize; 2]; 3] = [[512, 2048], [768, 3072], [4096, 16384]];

/// Share of weights that are pruned.
const SPARSITY: f32 = 0.75;

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
    let mut random = Random(88_172_645_463_325_252);
    let (up, down) = (layer(hidden, width, element, options, &mut random)?, layer(width, hidden, element, options, &mut random)?);
    let x: Vec<f32> = (0..tokens * width).map(|_| random.next()).collect();
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

/// A layer of random weights, of which a random quarter is kept.
fn layer(
    rows: usize,
    cols: usize,
    element: Element,
    options: &Options,
    random: &mut Random,
) -> Result<SparseLinear, KernelError> {
    let kept: Vec<bool> = (0..rows * cols).map(|_| random.next() + 0.5 >= SPARSITY).collect();
    let mask = Mask::from_fn(rows, cols, |row, col| kept[row * cols + col]);
    let weights: Vec<f32> = kept.iter().map(|kept| if *kept { random.next() } else { 0.0 }).collect();
    let values = match element {
        Element::Int8 => {
            let scales: Vec<f32> = weights.chunks_exact(cols).map(int8::symmetric_scale).collect();
            let round =
                |(row, scale): (&[f32], &f32)| row.iter().map(|weight| int8::round(*weight, *scale) as i8).collect::<Vec<_>>();
            Values::Int8 { values: weights.chunks_exact(cols).zip(&scales).flat_map(round).collect(), scales }
        }
        _ => Values::Fp32(weights),
    };
    SparseLinear::of(&SparseMatrix::of(values, mask)?, None, options)
}

/// Xorshift (Marsaglia 2003), -0.5 to 0.5.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 24) as f32 - 0.5
    }
}
