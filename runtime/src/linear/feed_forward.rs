//! The feed-forward part of a block, which every model family has.

use candle_core::Tensor;
use sparsec_kernels::{self as kernels, Activation};

use super::{Linear, Then, compiled};
use crate::model::Taps;
use crate::{Result, op};

/// `residual + down(activation(up(x)))`, or with a gate `residual + down(up(x) * activation(gate(x)))`.
pub struct FeedForward {
    /// `[hidden, width]`; none is none.
    pub gate: Option<Linear>,
    /// `[hidden, width]`.
    pub up: Linear,
    /// What is done to the results of the gate, or without one to those of `up`.
    pub activation: Activation,
    /// `[width, hidden]`.
    pub down: Linear,
}

impl FeedForward {
    /// `x`, `residual: [.., width] -> [.., width]`. Where all layers are compiled and `taps` does not look between them, they run
    /// together.
    pub fn forward(&self, x: &Tensor, residual: &Tensor, taps: &mut dyn Taps) -> Result<Tensor> {
        if let Some(together) = self.compiled().filter(|_| !taps.sees_inputs()) {
            return compiled::feed_forward(&together, x, residual);
        }
        let activated = Then::activation(self.activation);
        let between = match &self.gate {
            None => self.up.forward_then(x, activated, taps)?,
            Some(gate) => op::multiply(&gate.forward_then(x, activated, taps)?, &self.up.forward(x, taps)?)?,
        };
        self.down.forward_then(&between, Then::residual(residual), taps)
    }

    /// The layers as kernels, where they all are.
    fn compiled(&self) -> Option<kernels::FeedForward<'_>> {
        let gate = match &self.gate {
            None => None,
            Some(gate) => Some(gate.kernel()?),
        };
        Some(kernels::FeedForward { gate, up: self.up.kernel()?, activation: self.activation, down: self.down.kernel()? })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::Device;
    use sparsec_kernels::{Mask, Options, SparseLinear};

    use super::*;
    use crate::linear::{Compiled, Dense};
    use crate::model::NoTaps;

    /// The inputs that it was shown.
    #[derive(Default)]
    struct Seen(Vec<String>);

    impl Taps for Seen {
        fn linear_input(&mut self, path: &str, _x: &Tensor) -> Result<()> {
            self.0.push(path.into());
            Ok(())
        }
    }

    fn values(len: usize, step: f32) -> Vec<f32> {
        (0..len).map(|at| (at as f32 * step).sin()).collect()
    }

    fn compiled(path: &str, out: usize, inputs: usize) -> Linear {
        let mask = Mask::from_fn(out, inputs, |row, col| (row * 7 + col * 5 + path.len()).is_multiple_of(4));
        let options = Options { tokens: vec![1, 64], ..Options::default() };
        let kernel = SparseLinear::prepare(&values(out * inputs, 0.37), mask, Some(&values(out, 0.1)), &options).unwrap();
        Linear::new(path, Arc::new(Compiled::new(kernel)))
    }

    #[test]
    fn layers_together_give_what_each_by_itself_gives() {
        for gate in [None, Some(compiled("gate", 96, 24))] {
            let (up, down) = (compiled("up", 96, 24), compiled("down", 24, 96));
            let inputs = if gate.is_some() { vec!["gate", "up", "down"] } else { vec!["up", "down"] };
            let layers = FeedForward { gate, up, activation: Activation::Gelu, down };
            for tokens in [1, 7, 150] {
                let x = Tensor::from_vec(values(2 * tokens * 24, 0.11), (2, tokens, 24), &Device::Cpu).unwrap();
                let mut seen = Seen::default();
                let apart = layers.forward(&x, &x, &mut seen).unwrap();
                assert_eq!(seen.0, inputs);
                let together = layers.forward(&x, &x, &mut NoTaps).unwrap();
                assert_eq!(together.dims(), [2, tokens, 24]);
                let worst = (apart - together).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(worst < 1e-5, "{tokens} tokens: off by {worst:e}");
            }
            let wide = Tensor::zeros((2, 3, 25), candle_core::DType::F32, &Device::Cpu).unwrap();
            assert!(layers.forward(&wide, &wide, &mut NoTaps).is_err());
        }
    }

    #[test]
    fn a_layer_that_is_no_kernel_runs_by_itself() {
        let weight = Tensor::from_vec(values(24 * 96, 0.2), (24, 96), &Device::Cpu).unwrap();
        let down = Linear::new("down", Arc::new(Dense::new(weight, None)));
        let layers = FeedForward { gate: None, up: compiled("up", 96, 24), activation: Activation::Relu, down };
        let x = Tensor::from_vec(values(5 * 24, 0.11), (5, 24), &Device::Cpu).unwrap();
        assert!(layers.compiled().is_none());
        assert_eq!(layers.forward(&x, &x, &mut NoTaps).unwrap().dims(), [5, 24]);
    }
}
