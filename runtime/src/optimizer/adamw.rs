//! `adamw`: Adam with decoupled weight decay.
//!
//! Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (arXiv 1711.05101), as PyTorch computes it:
//! `w -= rate decay w; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)`.

use multiversion::multiversion;
use rayon::prelude::*;

use super::Optimizer;
use crate::schedule::{Numbers, Schedule};
use crate::word;

/// Weights that one task moves.
const PIECE: usize = 1 << 14;

word! {
    /// Adam with decoupled weight decay (arXiv 1711.05101).
    pub struct AdamW = "adamw" {
        /// The learning rate.
        rate: Numbers,
        /// How slowly the mean of gradients forgets.
        beta1: f64 where "0..0.999999" = 0.9,
        /// How slowly the mean of squared gradients forgets.
        beta2: f64 where "0..0.999999" = 0.999,
        /// Keeps steps finite where gradients vanish.
        epsilon: f64 where "0..1" = 1e-8,
        /// The share of every weight that goes at each step, times the learning rate.
        decay: f64 where "0..1" = 0.0,
    }
}

impl Optimizer for AdamW {
    fn rate(&self) -> &Schedule {
        &self.rate.0
    }

    fn moments(&self) -> usize {
        2
    }

    fn step(&self, step: u64, rate: f64, weights: &mut [f32], gradient: &[f32], moments: &mut [Vec<f32>]) {
        let [first, second] = moments else { unreachable!("the loop keeps as many moments as were asked for") };
        let exponent = i32::try_from(step).unwrap_or(i32::MAX);
        let pace = (rate / (1.0 - self.beta1.powi(exponent))) as f32;
        let spread = (1.0 / (1.0 - self.beta2.powi(exponent)).sqrt()) as f32;
        let (beta1, beta2, epsilon) = (self.beta1 as f32, self.beta2 as f32, self.epsilon as f32);
        let kept = (1.0 - rate * self.decay) as f32;
        let factors = Factors { kept, pace, spread, epsilon, beta1, beta2 };
        let pieces = weights.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE));
        let pieces = pieces.zip(first.par_chunks_mut(PIECE).zip(second.par_chunks_mut(PIECE)));
        pieces.for_each(|((weights, gradient), (first, second))| update(weights, gradient, first, second, factors));
    }
}

/// The numbers that all weights share in one step.
#[derive(Clone, Copy)]
struct Factors {
    /// What decay leaves of a weight.
    kept: f32,
    /// `rate / (1 - b1^t)`.
    pace: f32,
    /// `1 / sqrt(1 - b2^t)`.
    spread: f32,
    epsilon: f32,
    beta1: f32,
    beta2: f32,
}

/// Moves one piece.
#[multiversion(targets = "simd")]
fn update(weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32], by: Factors) {
    for (((weight, &gradient), m), v) in weights.iter_mut().zip(gradient).zip(first).zip(second) {
        *m = by.beta1 * *m + (1.0 - by.beta1) * gradient;
        *v = by.beta2 * *v + (1.0 - by.beta2) * gradient * gradient;
        *weight = *weight * by.kept - by.pace * *m / (v.sqrt() * by.spread + by.epsilon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula at the top, word for word, in double precision.
    #[test]
    fn follows_the_formula() {
        let adamw = AdamW { rate: Numbers(Schedule::constant(0.1)), beta1: 0.9, beta2: 0.98, epsilon: 1e-6, decay: 0.02 };
        let (mut weights, mut moments) = ([0.5f32, -1.0, 2.0], vec![vec![0.0; 3]; 2]);
        let mut expected = [(0.5f64, 0.0f64, 0.0f64), (-1.0, 0.0, 0.0), (2.0, 0.0, 0.0)];
        for step in 1..=5u64 {
            let gradient = [0.3f32 * step as f32, -0.1, 0.0];
            adamw.step(step, 0.1, &mut weights, &gradient, &mut moments);
            for ((w, m, v), g) in expected.iter_mut().zip(gradient.map(f64::from)) {
                *w -= 0.1 * 0.02 * *w;
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.98 * *v + 0.02 * g * g;
                let (first, second) = (*m / (1.0 - 0.9f64.powi(step as i32)), *v / (1.0 - 0.98f64.powi(step as i32)));
                *w -= 0.1 * first / (second.sqrt() + 1e-6);
            }
        }
        for (weight, (expected, ..)) in weights.iter().zip(expected) {
            assert!((f64::from(*weight) - expected).abs() < 1e-6, "{weight} {expected}");
        }
    }

    /// Steps of `torch.optim.AdamW`, recorded by `scripts/adamw_fixture.py`.
    #[test]
    fn takes_the_steps_of_pytorch() {
        let fixture = candle_core::safetensors::load("tests/fixtures/adamw.safetensors", &candle_core::Device::Cpu).unwrap();
        let values = |name: &str| fixture[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (case, decay) in [("plain", 0.0), ("decayed", 0.1)] {
            let adamw = AdamW { rate: Numbers(Schedule::constant(1.0)), beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay };
            let mut weights = values(&format!("{case}/weights/0"));
            let mut moments = vec![vec![0.0; weights.len()]; 2];
            for (step, rate) in (1..).zip(values("rates")) {
                adamw.step(step, f64::from(rate), &mut weights, &values(&format!("{case}/gradient/{step}")), &mut moments);
                let expected = values(&format!("{case}/weights/{step}"));
                let worst = weights.iter().zip(expected).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-6, "{case}, step {step}: off by {worst:e}");
            }
        }
    }
}
