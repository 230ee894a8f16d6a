//! GELU, exact: `x Φ(x)` with the normal distribution Φ, as "gelu" of transformers (not the tanh form).
//!
//! `Φ(-z) = e^(-z²/2) g(z)` for `z >= 0`, where `g` is smooth and is fitted by a polynomial in `t = 1 / (1 + 0.3 z)` with the
//! smallest greatest relative error on 0..13.2 (5.7e-8; weighted least squares until the errors are level). The exponential is the
//! one that the gradient `Φ(x) + x e^(-x²/2) / sqrt(2 π)` needs too, and small values of the left tail keep their relative precision.

use std::mem::MaybeUninit;
use std::sync::Arc;

use candle_core::Tensor;
use multiversion::multiversion;

use super::parallel::{for_rows, written};
use super::{Values, tape, vector};
use crate::Result;

/// `x Φ(x)` of each element; differentiable.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return Ok(x.gelu_erf()?);
    }
    let x = x.contiguous()?;
    let y = {
        let x = Values::of(&x)?;
        // SAFETY: `forward` writes as many values as it reads, and it reads as many as there are.
        unsafe { written(x.len(), 1, |first, y| forward(&x[first..first + y.len()], y)) }
    };
    let y = tape::output(y, x.shape(), &[&x])?;
    tape::record(&y, move |dy, gradients| {
        let x_values = Values::of(&x)?;
        gradients.add(&x, || {
            let mut dx = Arc::unwrap_or_clone(dy);
            for_rows(&mut dx, 1, |first, dx| backward(&x_values[first..first + dx.len()], dx));
            dx
        });
        Ok(())
    });
    Ok(y)
}

/// `Φ(x)` and `e^(-x²/2)`.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let z = x.abs().min(13.2);
    let density = vector::exp(-0.5 * z * z);
    let t = 1.0 / (1.0 + 0.3 * z);
    let g = 0.038_298_924;
    let g = g * t - 0.168_779_73;
    let g = g * t + 0.227_860_53;
    let g = g * t - 0.075_590_216;
    let g = g * t + 0.141_901_24;
    let g = g * t + 0.094_954_41;
    let g = g * t + 0.121_850_826;
    let g = g * t + 0.119_497_47;
    let g = g * t + 6.592_578_3e-6;
    let tail = g * density;
    (if x > 0.0 { 1.0 - tail } else { tail }, density)
}

#[multiversion(targets = "simd")]
fn forward(x: &[f32], y: &mut [MaybeUninit<f32>]) {
    for (y, &x) in y.iter_mut().zip(x) {
        y.write(x * normal(x).0);
    }
}

#[multiversion(targets = "simd")]
fn backward(x: &[f32], slopes: &mut [f32]) {
    /// `1 / sqrt(2 π)`.
    const DENSITY: f32 = 0.398_942_3;
    for (slope, &x) in slopes.iter_mut().zip(x) {
        let (share, density) = normal(x);
        *slope *= share + x * density * DENSITY;
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::check::{assert_operation, flat, variable};
    use super::*;

    #[test]
    fn gelu_is_its_reference() {
        let x = variable(&[3, 50], 1);
        let wide = || x.affine(4.0, 0.5);
        assert_operation(&[&x], || Ok(gelu(&wide()?)?), || wide()?.gelu_erf());
    }

    #[test]
    fn gelu_is_precise_far_out() {
        let x: Vec<f32> = (-13_000..13_000).map(|i| i as f32 * 1e-3).collect();
        let y = flat(&gelu(&Tensor::from_slice(&x, x.len(), &Device::Cpu).unwrap()).unwrap());
        for (&x, y) in x.iter().zip(y) {
            let exact = f64::from(x) * 0.5 * erfc(-f64::from(x) / std::f64::consts::SQRT_2);
            let error = (f64::from(y) - exact).abs();
            assert!(error <= 1e-6 && error <= 1e-5 * exact.abs() + 1e-37, "gelu({x}) is {y} instead of {exact}");
        }
    }

    /// The complementary error function by its continued fraction far out and its series near zero, in FP64.
    fn erfc(x: f64) -> f64 {
        if x < 0.0 {
            return 2.0 - erfc(-x);
        }
        let bell = (-x * x).exp() / std::f64::consts::PI.sqrt();
        if x > 2.0 {
            return bell / (1..200).rev().fold(x, |below, k| x + f64::from(k) * 0.5 / below);
        }
        let (mut term, mut sum) = (x, x);
        for k in 1..100 {
            term *= 2.0 * x * x / (2.0 * f64::from(k) + 1.0);
            sum += term;
        }
        1.0 - 2.0 * bell * sum
    }
}
