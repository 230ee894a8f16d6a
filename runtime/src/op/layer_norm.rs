//! Layer norm over the last dimension, with mean and deviation kept for the backward pass.
//!
//! With `n = (x - mean) / deviation` and `g = dy * weight`: `dx = (g - mean(g) - n mean(g n)) / deviation`.

use std::sync::Arc;

use candle_core::{D, Tensor};
use multiversion::multiversion;
use rayon::prelude::*;

use super::parallel::{for_rows, rows_per_part};
use super::{Values, tape, vector};
use crate::Result;
use crate::profile::{self, Part};

/// `(x - mean) / sqrt(variance + eps) * weight + bias`; `x: [.., width]`, `weight` and `bias: [width]`; differentiable in all
/// three.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f32) -> Result<Tensor> {
    let bias = bias.map(Tensor::contiguous).transpose()?;
    if !x.device().is_cpu() {
        return Ok(reference(x, weight, bias.as_ref(), eps)?);
    }
    let width = weight.elem_count();
    let of_bias = bias.as_ref().map(Tensor::dims);
    if x.dims().last() != Some(&width) || weight.dims() != [width] || of_bias.is_some_and(|dims| dims != [width]) || width == 0 {
        let of_weight = weight.dims();
        let message = format!("a layer norm of width {of_weight:?} with a bias of {of_bias:?} was given {:?}", x.dims());
        return Err(candle_core::Error::Msg(message).into());
    }
    let _span = profile::span(Part::LayerNorm, || size_of::<f32>() * 2 * x.elem_count());
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let inputs = [&x, &weight, bias.as_ref().unwrap_or(&weight)];
    let mut moments = vec![0.0; if tape::is_watched(&inputs) { x.elem_count() / width * 2 } else { 0 }];
    let y = {
        let (x, weight, bias) = (Values::of(&x)?, Values::of(&weight)?, bias.as_ref().map(Values::of).transpose()?);
        let before = &inputs[0].dims()[..inputs[0].rank() - 1];
        tape::filled(before, width, &inputs, |y| {
            forward(&x, &weight, bias.as_deref().unwrap_or_default(), eps, y, &mut moments);
            Ok(())
        })?
    };
    tape::record(&y, move |dy, gradients| {
        let mut slopes = Arc::unwrap_or_clone(dy);
        let (dw, db) = backward(&Values::of(&x)?, &Values::of(&weight)?, &moments, &mut slopes);
        gradients.add(&x, || slopes);
        gradients.add(&weight, || dw);
        if let Some(bias) = &bias {
            gradients.add(bias, || db);
        }
        Ok(())
    });
    Ok(y)
}

/// The definition.
fn reference(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f32) -> candle_core::Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let scaled = centred.broadcast_div(&(variance + f64::from(eps))?.sqrt()?)?.broadcast_mul(weight)?;
    bias.map_or(Ok(scaled.clone()), |bias| scaled.broadcast_add(bias))
}

/// Writes the result to `y`, and of each row mean and `1 / deviation` to `moments`, `[rows, 2]`, unless it is empty. An empty bias is
/// none.
fn forward(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, y: &mut [f32], moments: &mut [f32]) {
    let width = weight.len();
    if moments.is_empty() {
        return for_rows(y, width, |first, y| forward_rows(&x[first * width..][..y.len()], weight, bias, eps, y, &mut []));
    }
    let part = rows_per_part(x.len() / width, width);
    (y.par_chunks_mut(part * width), moments.par_chunks_mut(part * 2), x.par_chunks(part * width))
        .into_par_iter()
        .for_each(|(y, moments, x)| forward_rows(x, weight, bias, eps, y, moments));
}

/// Turns `slopes`, the gradient of the result, into that of `x`, and gives those of weight and bias.
fn backward(x: &[f32], weight: &[f32], moments: &[f32], slopes: &mut [f32]) -> (Vec<f32>, Vec<f32>) {
    let width = weight.len();
    let part = rows_per_part(moments.len() / 2, width);
    let parts = (slopes.par_chunks_mut(part * width), x.par_chunks(part * width), moments.par_chunks(part * 2));
    let partial: Vec<(Vec<f32>, Vec<f32>)> = parts
        .into_par_iter()
        .map(|(slopes, x, moments)| {
            let (mut dw, mut db) = (vec![0.0; width], vec![0.0; width]);
            backward_rows(x, weight, moments, slopes, &mut dw, &mut db);
            (dw, db)
        })
        .collect();
    let (mut dw, mut db) = (vec![0.0; width], vec![0.0; width]);
    for (part_dw, part_db) in &partial {
        vector::add(&mut dw, part_dw);
        vector::add(&mut db, part_db);
    }
    (dw, db)
}

#[multiversion(targets = "simd")]
fn forward_rows(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, y: &mut [f32], moments: &mut [f32]) {
    let width = weight.len();
    let share = 1.0 / width as f32;
    let mut moments = moments.chunks_exact_mut(2);
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let mean = vector::sum_of(x, |x| x) * share;
        let variance = vector::sum_of(x, |x| (x - mean) * (x - mean)) * share;
        let inverse = 1.0 / (variance + eps).sqrt();
        if bias.is_empty() {
            for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
                *y = (x - mean) * inverse * weight;
            }
        }
        for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
            *y = (x - mean) * inverse * weight + bias;
        }
        if let Some(moments) = moments.next() {
            moments.copy_from_slice(&[mean, inverse]);
        }
    }
}

#[multiversion(targets = "simd")]
fn backward_rows(x: &[f32], weight: &[f32], moments: &[f32], slopes: &mut [f32], dw: &mut [f32], db: &mut [f32]) {
    let width = weight.len();
    let share = 1.0 / width as f32;
    for ((x, slopes), moments) in x.chunks_exact(width).zip(slopes.chunks_exact_mut(width)).zip(moments.chunks_exact(2)) {
        let (mean, inverse) = (moments[0], moments[1]);
        // `slopes` holds `g` until both means over it are known.
        for (((slope, x), weight), (dw, db)) in slopes.iter_mut().zip(x).zip(weight).zip(dw.iter_mut().zip(db.iter_mut())) {
            let dy = *slope;
            *slope = dy * weight;
            *dw += dy * ((x - mean) * inverse);
            *db += dy;
        }
        let mean_g = vector::sum_of(slopes, |g| g) * share;
        let mean_gn = vector::sum_of_pairs(slopes, x, |g, x| g * ((x - mean) * inverse)) * share;
        for (slope, x) in slopes.iter_mut().zip(x) {
            *slope = (*slope - mean_g - (x - mean) * inverse * mean_gn) * inverse;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn layer_norm_is_its_reference() {
        for width in [1, 5, 40] {
            let (x, weight, bias) = (variable(&[2, 3, width], 1), variable(&[width], 2), variable(&[width], 3));
            let fused = || Ok(layer_norm(&x, &weight, Some(&bias), 1e-2)?);
            assert_operation(&[&x, &weight, &bias], fused, || reference(&x, &weight, Some(&bias), 1e-2));
        }
    }

    #[test]
    fn a_missing_bias_is_zero_and_a_wrong_one_an_error() {
        let (x, weight, bias) = (variable(&[4, 8], 4), variable(&[8], 5), variable(&[7], 6));
        let zero = weight.zeros_like().unwrap();
        let fused = || Ok(layer_norm(&x, &weight, None, 1e-5)?);
        assert_operation(&[&x, &weight], fused, || reference(&x, &weight, None, 1e-5));
        assert_operation(&[&x, &weight], fused, || reference(&x, &weight, Some(&zero), 1e-5));
        assert!(layer_norm(&x, &weight, Some(&bias), 1e-5).is_err());
    }
}
