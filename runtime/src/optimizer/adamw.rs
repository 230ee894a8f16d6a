//! `adamw`: Adam with decoupled weight decay.
//!
//! Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (arXiv 1711.05101), as PyTorch computes it:
//! `w -= rate decay w; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)`.

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
        beta1: f64 where "0..1" = 0.9,
        /// How slowly the mean of squared gradients forgets.
        beta2: f64 where "0..1" = 0.999,
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
        let pieces = weights.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE));
        pieces.zip(first.par_chunks_mut(PIECE).zip(second.par_chunks_mut(PIECE))).for_each(|((weights, gradient), (m, v))| {
            for (((weight, &gradient), m), v) in weights.iter_mut().zip(gradient).zip(m).zip(v) {
                *m = beta1 * *m + (1.0 - beta1) * gradient;
                *v = beta2 * *v + (1.0 - beta2) * gradient * gradient;
                *weight = *weight * kept - pace * *m / (v.sqrt() * spread + epsilon);
            }
        });
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
}
