//! Functions of each element, as the kernels compute them behind a product, with their gradients.

use std::mem::MaybeUninit;
use std::sync::Arc;

use candle_core::Tensor;
use multiversion::multiversion;
use sparsec_kernels::Activation;
use sparsec_kernels::activation::{exp, normal};

use super::parallel::for_rows;
use super::{Values, tape};
use crate::Result;
use crate::profile::{self, Part};

/// `activation(x)` of each element; differentiable.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return Ok(reference(x, activation)?);
    }
    let _span = profile::span(Part::Activation, || size_of::<f32>() * 2 * x.elem_count());
    let x = x.contiguous()?;
    let y = {
        let (inputs, x) = (&x, Values::of(&x)?);
        // SAFETY: `forward` writes as many values as it reads, and it reads as many as there are.
        unsafe { tape::written(&[inputs], |first, y| forward(activation, &x[first..first + y.len()], y))? }
    };
    tape::record(&y, move |dy, gradients| {
        let x_values = Values::of(&x)?;
        gradients.add(&x, || {
            let mut dx = Arc::unwrap_or_clone(dy);
            for_rows(&mut dx, 1, |first, dx| backward(activation, &x_values[first..first + dx.len()], dx));
            dx
        });
        Ok(())
    });
    Ok(y)
}

/// The definition.
fn reference(x: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    match activation {
        Activation::Relu => x.relu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
    }
}

fn forward(activation: Activation, x: &[f32], y: &mut [MaybeUninit<f32>]) {
    match activation {
        Activation::Relu => forward_relu(x, y),
        Activation::Gelu => forward_gelu(x, y),
        Activation::GeluTanh => forward_gelu_tanh(x, y),
    }
}

#[multiversion(targets = "simd")]
fn forward_relu(x: &[f32], y: &mut [MaybeUninit<f32>]) {
    for (y, &x) in y.iter_mut().zip(x) {
        y.write(Activation::Relu.of(x));
    }
}

#[multiversion(targets = "simd")]
fn forward_gelu(x: &[f32], y: &mut [MaybeUninit<f32>]) {
    for (y, &x) in y.iter_mut().zip(x) {
        y.write(Activation::Gelu.of(x));
    }
}

#[multiversion(targets = "simd")]
fn forward_gelu_tanh(x: &[f32], y: &mut [MaybeUninit<f32>]) {
    for (y, &x) in y.iter_mut().zip(x) {
        y.write(Activation::GeluTanh.of(x));
    }
}

fn backward(activation: Activation, x: &[f32], slopes: &mut [f32]) {
    match activation {
        Activation::Relu => backward_relu(x, slopes),
        Activation::Gelu => backward_gelu(x, slopes),
        Activation::GeluTanh => backward_gelu_tanh(x, slopes),
    }
}

/// As PyTorch, no slope at zero.
#[multiversion(targets = "simd")]
fn backward_relu(x: &[f32], slopes: &mut [f32]) {
    slopes.iter_mut().zip(x).for_each(|(slope, &x)| *slope = if x > 0.0 { *slope } else { 0.0 });
}

/// `Φ(x) + x e^(-x²/2) / sqrt(2 π)`.
#[multiversion(targets = "simd")]
fn backward_gelu(x: &[f32], slopes: &mut [f32]) {
    /// `1 / sqrt(2 π)`.
    const DENSITY: f32 = 0.398_942_3;
    for (slope, &x) in slopes.iter_mut().zip(x) {
        let (share, density) = normal(x);
        *slope *= share + x * density * DENSITY;
    }
}

/// With `s = 1 / (1 + e^(-2u))`: `s + x s (1 - s) (2u)'`.
#[multiversion(targets = "simd")]
fn backward_gelu_tanh(x: &[f32], slopes: &mut [f32]) {
    /// `2 sqrt(2 / π)`.
    const TWICE: f32 = 1.595_769;
    for (slope, &x) in slopes.iter_mut().zip(x) {
        let square = 0.044_715 * x * x;
        let share = 1.0 / (1.0 + exp(-TWICE * x * (1.0 + square)));
        *slope *= share + x * share * (1.0 - share) * TWICE * (1.0 + 3.0 * square);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn every_activation_is_its_reference() {
        let x = variable(&[3, 50], 1);
        let wide = || x.affine(4.0, 0.5);
        for activation in Activation::ALL {
            assert_operation(&[&x], || Ok(activate(&wide()?, activation)?), || reference(&wide()?, activation));
        }
    }
}
