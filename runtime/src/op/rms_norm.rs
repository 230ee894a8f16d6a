//! RMS norm over the last dimension (Zhang and Sennrich, arXiv 1910.07467), with `1 / rms` kept for the backward pass.
//!
//! With `n = x / rms` and `g = dy * weight`: `dx = (g - n mean(g n)) / rms`, `dweight = sum of dy n` over rows.

use std::sync::Arc;

use candle_core::{D, Tensor};
use multiversion::multiversion;
use rayon::prelude::*;

use super::parallel::{for_rows, rows_per_part};
use super::{Values, tape, vector};
use crate::Result;
use crate::profile::{self, Part};

/// `x / sqrt(mean(x²) + eps) * weight`; `x: [.., width]`, `weight: [width]`; differentiable in both.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return Ok(reference(x, weight, eps)?);
    }
    let width = weight.elem_count();
    if x.dims().last() != Some(&width) || weight.dims() != [width] || width == 0 {
        let message = format!("an RMS norm of width {:?} was given {:?}", weight.dims(), x.dims());
        return Err(candle_core::Error::Msg(message).into());
    }
    let _span = profile::span(Part::LayerNorm, || size_of::<f32>() * 2 * x.elem_count());
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let inputs = [&x, &weight];
    let mut inverses = vec![0.0; if tape::is_watched(&inputs) { x.elem_count() / width } else { 0 }];
    let y = {
        let (x, weight) = (Values::of(&x)?, Values::of(&weight)?);
        let before = &inputs[0].dims()[..inputs[0].rank() - 1];
        tape::filled(before, width, &inputs, |y| {
            forward(&x, &weight, eps, y, &mut inverses);
            Ok(())
        })?
    };
    tape::record(&y, move |dy, gradients| {
        let mut slopes = Arc::unwrap_or_clone(dy);
        let dw = backward(&Values::of(&x)?, &Values::of(&weight)?, &inverses, &mut slopes);
        gradients.add(&x, || slopes);
        gradients.add(&weight, || dw);
        Ok(())
    });
    Ok(y)
}

/// The definition.
fn reference(x: &Tensor, weight: &Tensor, eps: f32) -> candle_core::Result<Tensor> {
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean_square + f64::from(eps))?.sqrt()?)?.broadcast_mul(weight)
}

/// Writes the result to `y`, and of each row `1 / rms` to `inverses`, unless it is empty.
fn forward(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32], inverses: &mut [f32]) {
    let width = weight.len();
    if inverses.is_empty() {
        return for_rows(y, width, |first, y| forward_rows(&x[first * width..][..y.len()], weight, eps, y, &mut []));
    }
    let part = rows_per_part(x.len() / width, width);
    (y.par_chunks_mut(part * width), inverses.par_chunks_mut(part), x.par_chunks(part * width))
        .into_par_iter()
        .for_each(|(y, inverses, x)| forward_rows(x, weight, eps, y, inverses));
}

/// Turns `slopes`, the gradient of the result, into that of `x`, and gives that of the weight.
fn backward(x: &[f32], weight: &[f32], inverses: &[f32], slopes: &mut [f32]) -> Vec<f32> {
    let width = weight.len();
    let part = rows_per_part(inverses.len(), width);
    let parts = (slopes.par_chunks_mut(part * width), x.par_chunks(part * width), inverses.par_chunks(part));
    let partial: Vec<Vec<f32>> = parts
        .into_par_iter()
        .map(|(slopes, x, inverses)| {
            let mut dw = vec![0.0; width];
            backward_rows(x, weight, inverses, slopes, &mut dw);
            dw
        })
        .collect();
    let mut dw = vec![0.0; width];
    partial.iter().for_each(|part| vector::add(&mut dw, part));
    dw
}

#[multiversion(targets = "simd")]
fn forward_rows(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32], inverses: &mut [f32]) {
    let width = weight.len();
    let share = 1.0 / width as f32;
    let mut inverses = inverses.iter_mut();
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let inverse = 1.0 / (vector::sum_of(x, |x| x * x) * share + eps).sqrt();
        for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
            *y = x * inverse * weight;
        }
        if let Some(kept) = inverses.next() {
            *kept = inverse;
        }
    }
}

#[multiversion(targets = "simd")]
fn backward_rows(x: &[f32], weight: &[f32], inverses: &[f32], slopes: &mut [f32], dw: &mut [f32]) {
    let width = weight.len();
    let share = 1.0 / width as f32;
    for ((x, slopes), &inverse) in x.chunks_exact(width).zip(slopes.chunks_exact_mut(width)).zip(inverses) {
        // `slopes` holds `g` until its mean with `n` is known.
        for (((slope, x), weight), dw) in slopes.iter_mut().zip(x).zip(weight).zip(dw.iter_mut()) {
            let dy = *slope;
            *slope = dy * weight;
            *dw += dy * (x * inverse);
        }
        let mean_gn = vector::sum_of_pairs(slopes, x, |g, x| g * (x * inverse)) * share;
        for (slope, x) in slopes.iter_mut().zip(x) {
            *slope = (*slope - x * inverse * mean_gn) * inverse;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn rms_norm_is_its_reference() {
        for width in [1, 5, 40] {
            let (x, weight) = (variable(&[2, 3, width], 1), variable(&[width], 2));
            assert_operation(&[&x, &weight], || Ok(rms_norm(&x, &weight, 1e-2)?), || reference(&x, &weight, 1e-2));
        }
    }

    #[test]
    fn a_weight_of_another_width_is_an_error() {
        let (x, weight) = (variable(&[4, 8], 3), variable(&[7], 4));
        assert!(rms_norm(&x, &weight, 1e-6).is_err());
    }
}
