//! A product by the kernel that was chosen for the layer: machine code made for its mask, compressed weights, or dense; FP32 or INT8.

use candle_core::Tensor;
use sparsec_kernels::{self as kernels, Epilogue, FeedForward, SparseLinear};

use super::{Product, Then};
use crate::op::{self, Values};
use crate::profile::{self, Part};
use crate::{Fault, Result};

/// A product by a kernel; for inference only.
pub struct Compiled(SparseLinear);

impl Compiled {
    /// The product of `kernel`, which rounds activations itself where its weights are INT8.
    pub fn new(kernel: SparseLinear) -> Self {
        Self(kernel)
    }
}

impl Product for Compiled {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_then(x, Then::default())
    }

    fn kernel(&self) -> Option<&SparseLinear> {
        Some(&self.0)
    }

    fn forward_then(&self, x: &Tensor, then: Then) -> Result<Tensor> {
        run(&[&self.0], x, then.residual, |x, tokens, y, residual| {
            self.0.forward_with(x, tokens, y, Epilogue { activation: then.activation, factor: None, residual })
        })
    }
}

/// [`super::FeedForward`] of layers that all are compiled.
pub(super) fn feed_forward(layers: &FeedForward, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
    let work = |x: &[f32], tokens, y: &mut [f32], residual: Option<&[f32]>| layers.forward(x, tokens, y, residual);
    match layers.gate {
        None => run(&[layers.up, layers.down], x, Some(residual), work),
        Some(gate) => run(&[gate, layers.up, layers.down], x, Some(residual), work),
    }
}

/// The result of `work(x, tokens, y, residual)`, which takes `x`, `[.., cols]` of the first of `layers`, through them to `y`, `[.., rows]` of
/// the last; `residual: [.., rows]`.
fn run(
    layers: &[&SparseLinear],
    x: &Tensor,
    residual: Option<&Tensor>,
    work: impl FnOnce(&[f32], usize, &mut [f32], Option<&[f32]>) -> kernels::Result<()>,
) -> Result<Tensor> {
    let (cols, rows) = (layers[0].cols(), layers[layers.len() - 1].rows());
    let Some((before, [_])) = x.dims().split_last_chunk().filter(|(_, [inputs])| *inputs == cols) else {
        return Err(Fault::internal(format!("a layer of {cols} inputs was given {:?}", x.dims())));
    };
    let tokens = before.iter().product();
    let _span = profile::span(Part::Linear, || {
        let weights: usize = layers.iter().map(|layer| layer.weight_bytes_read(tokens)).sum();
        weights + size_of::<f32>() * tokens * (cols + rows)
    });
    let (x, residual) = (x.contiguous()?, residual.map(Tensor::contiguous).transpose()?);
    let (values, residual) = (Values::of(&x)?, residual.as_ref().map(Values::of).transpose()?);
    op::filled(before, rows, &[&x], |y| {
        let done = work(&values, tokens, y, residual.as_deref());
        done.map_err(|error| Fault::internal(format!("a compiled product failed: {error}")))
    })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use sparsec_kernels::{Activation, Mask, Options, SparseMatrix, Values as Weights};

    use super::*;
    use crate::linear::Quantized;
    use crate::quantizer::{Quantizer, Rtn};

    /// What every token count computes in INT8 is what the integers mean.
    #[test]
    fn int8_kernels_compute_what_the_reference_does() {
        let (out, inputs) = (48, 96);
        let weights: Vec<f32> = (0..out * inputs).map(|at| (at as f32 * 0.37).sin() * 0.2).collect();
        let mask = Mask::from_fn(out, inputs, |row, col| (row * 7 + col * 5) % 4 == 0);
        let bias: Vec<f32> = (0..out).map(|row| row as f32 * 0.01).collect();
        let weight = Rtn {}.quantize(&weights, out, inputs, Some(&mask)).unwrap();
        let values = Weights::Int8 { values: weight.values.to_vec(), scales: weight.scales.to_vec() };
        let kernel = SparseLinear::of(&SparseMatrix::of(values, mask).unwrap(), Some(&bias), &Options::default()).unwrap();
        let (fast, plain) =
            (Compiled::new(kernel), Quantized::new(&weight, Some(Tensor::new(bias, &Device::Cpu).unwrap())).unwrap());
        for tokens in [1, 3, 8, 40, 400] {
            let x: Vec<f32> = (0..tokens * inputs).map(|at| (at as f32 * 0.11).cos() * 3.0).collect();
            let x = Tensor::from_vec(x, (1, tokens, inputs), &Device::Cpu).unwrap();
            let (fast, plain) = (fast.forward(&x).unwrap(), plain.forward(&x).unwrap());
            assert_eq!(fast.dims(), [1, tokens, out]);
            let worst = (fast - plain).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(worst < 1e-5, "{tokens} tokens: off by {worst:e}");
        }
        let x = Tensor::from_vec(vec![0.3f32; 40 * inputs], (2, 20, inputs), &Device::Cpu).unwrap();
        let residual = Tensor::from_vec((0..40 * out).map(|at| at as f32 * 1e-3).collect(), (2, 20, out), &Device::Cpu).unwrap();
        for activation in [None, Some(Activation::Gelu)] {
            let then = Then { activation, residual: Some(&residual) };
            let (fast, plain) = (fast.forward_then(&x, then).unwrap(), plain.forward_then(&x, then).unwrap());
            let worst = (fast - plain).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(worst < 1e-5, "{activation:?}: off by {worst:e}");
        }
        assert!(fast.forward_then(&x, Then::residual(&x)).is_err(), "a residual of another width");
        assert!(fast.forward(&Tensor::zeros((2, inputs + 1), candle_core::DType::F32, &Device::Cpu).unwrap()).is_err());
    }
}
