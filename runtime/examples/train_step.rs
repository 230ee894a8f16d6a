//! Takes training steps (forward, backward, AdamW) of a plain pre-norm transformer on this crate's operations.
//!
//!     cargo run --release -p sparsec-runtime --example train_step -- WIDTH LAYERS POSITIONS BATCH THREADS
//!
//! Each line that it reads makes it take one step, which it answers with the milliseconds of the forward pass, the backward pass and
//! the optimizer, and with the loss. `runtime/scripts/train_step.py` asks for steps in turn with the same model in PyTorch.

use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sparsec_kernels::Activation;
use sparsec_runtime::optimizer::{AdamW, Optimizer};
use sparsec_runtime::schedule::{Numbers, Schedule};
use sparsec_runtime::{Result, memory, op, threads};

#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

/// Width of one head of attention.
const DEPTH: usize = 64;

fn main() -> Result<()> {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    let &[width, layers, positions, batch, threads] = sizes.as_slice() else {
        eprintln!("usage: train_step WIDTH LAYERS POSITIONS BATCH THREADS");
        std::process::exit(2);
    };
    threads::run(threads.try_into().ok(), || answer(width, layers, positions, batch))?
}

fn answer(width: usize, layers: usize, positions: usize, batch: usize) -> Result<()> {
    let mut training = Training::new(width, layers)?;
    let input = training.values.tensor(&[batch, positions, width], 1.0)?;
    let target = training.values.tensor(&[batch, positions, width], 1.0)?;
    for _ in std::io::stdin().lines() {
        let [forward, backward, optimizer] = training.step(&input, &target)?.map(|seconds| seconds * 1e3);
        println!("{forward:.2} {backward:.2} {optimizer:.2} {:.6}", training.loss);
    }
    Ok(())
}

/// The model, its optimizer, and what they have come to.
struct Training {
    values: Values,
    blocks: Vec<Block>,
    variables: Vec<Var>,
    moments: Vec<Vec<Vec<f32>>>,
    adamw: AdamW,
    steps: u64,
    loss: f32,
}

impl Training {
    fn new(width: usize, layers: usize) -> Result<Self> {
        let mut values = Values(ChaCha8Rng::seed_from_u64(17));
        let mut variables = Vec::new();
        let blocks = (0..layers).map(|_| Block::new(width, &mut values, &mut variables)).collect::<Result<_>>()?;
        let moments = variables.iter().map(|variable| vec![vec![0.0; variable.elem_count()]; 2]).collect();
        let rate = Numbers(Schedule::constant(1e-4));
        let adamw = AdamW { rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.01 };
        Ok(Self { values, blocks, variables, moments, adamw, steps: 0, loss: 0.0 })
    }

    /// Seconds of the forward pass, the backward pass and the optimizer.
    fn step(&mut self, input: &Tensor, target: &Tensor) -> Result<[f64; 3]> {
        let start = Instant::now();
        let (mut gradients, (forward, loss)) = op::differentiate(|| {
            let hidden = self.blocks.iter().try_fold(input.clone(), |hidden, block| block.forward(&hidden))?;
            let loss = op::normalized_mse(&hidden, target, None, 1e-8)?;
            Ok((loss.clone(), (start.elapsed(), loss)))
        })?;
        let backward = start.elapsed();
        self.steps += 1;
        for (variable, moments) in self.variables.iter().zip(&mut self.moments) {
            let Some(gradient) = gradients.take(variable) else { continue };
            op::in_place(variable, |weights| self.adamw.step(self.steps, 1e-4, weights, &gradient, moments))?;
        }
        self.loss = loss.to_scalar()?;
        let end = start.elapsed();
        Ok([forward, backward - forward, end - backward].map(|time| time.as_secs_f64()))
    }
}

/// Attention and a feed-forward layer, each behind a norm and around which the input is added.
struct Block {
    norms: [[Tensor; 2]; 2],
    projections: [[Tensor; 2]; 4],
    up: [Tensor; 2],
    down: [Tensor; 2],
    heads: usize,
}

impl Block {
    fn new(width: usize, values: &mut Values, variables: &mut Vec<Var>) -> Result<Self> {
        let mut variable = |shape: &[usize], scale: f32, offset: f64| -> Result<Tensor> {
            let var = Var::from_tensor(&(values.tensor(shape, scale)? + offset)?)?;
            let tensor = var.as_tensor().clone();
            variables.push(var);
            Ok(tensor)
        };
        let mut linear = |out: usize, inputs: usize| -> Result<[Tensor; 2]> {
            Ok([variable(&[out, inputs], (inputs as f32).powf(-0.5), 0.0)?, variable(&[out], 0.02, 0.0)?])
        };
        let projections = [linear(width, width)?, linear(width, width)?, linear(width, width)?, linear(width, width)?];
        let (up, down) = (linear(4 * width, width)?, linear(width, 4 * width)?);
        let mut norm = || -> Result<[Tensor; 2]> { Ok([variable(&[width], 0.02, 1.0)?, variable(&[width], 0.02, 0.0)?]) };
        Ok(Self { norms: [norm()?, norm()?], projections, up, down, heads: width.div_ceil(DEPTH) })
    }

    /// `[batch, positions, width]` to the same.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let linear = |x: &Tensor, [weight, bias]: &[Tensor; 2]| op::linear(x, weight, Some(bias));
        let normed = op::layer_norm(x, &self.norms[0][0], Some(&self.norms[0][1]), 1e-5)?;
        let [q, k, v, out] = &self.projections;
        let (q, k, v) = (linear(&normed, q)?, linear(&normed, k)?, linear(&normed, v)?);
        let found = op::attention(&q, &k, &v, self.heads, (DEPTH as f32).powf(-0.5), op::Scope::default())?;
        let x = op::add(x, &linear(&found, out)?)?;
        let normed = op::layer_norm(&x, &self.norms[1][0], Some(&self.norms[1][1]), 1e-5)?;
        op::add(&x, &linear(&op::activate(&linear(&normed, &self.up)?, Activation::Gelu)?, &self.down)?)
    }
}

/// Seeded random values.
struct Values(ChaCha8Rng);

impl Values {
    /// Values in `-scale..scale`.
    fn tensor(&mut self, shape: &[usize], scale: f32) -> Result<Tensor> {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.0.random_range(-scale..scale)).collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}
