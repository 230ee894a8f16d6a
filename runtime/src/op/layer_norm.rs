//! Layer norm over the last dimension, with mean and deviation kept for the backward pass.
//!
//! With `n = (x - mean) / deviation` and `g = dy * weight`: `dx = (g - mean(g) - n mean(g n)) / deviation`.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, D, Layout, Shape, Tensor, bail};
use multiversion::multiversion;
use rayon::prelude::*;

use super::parallel::rows_per_part;
use super::{Values, values, vector};
use crate::Result;

/// `(x - mean) / sqrt(variance + eps) * weight + bias`; `x: [.., width]`, `weight` and `bias: [width]`; differentiable in all
/// three.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f32) -> Result<Tensor> {
    let bias = match bias {
        Some(bias) => bias.contiguous()?,
        None => weight.zeros_like()?,
    };
    if !x.device().is_cpu() {
        return Ok(reference(x, weight, &bias, eps)?);
    }
    let norm = LayerNorm { eps, moments: OnceLock::new() };
    Ok(x.contiguous()?.apply_op3(&weight.contiguous()?, &bias, norm)?)
}

/// The definition.
fn reference(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> candle_core::Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(variance + f64::from(eps))?.sqrt()?)?.broadcast_mul(weight)?.broadcast_add(bias)
}

struct LayerNorm {
    eps: f32,
    /// Of each row: mean and `1 / deviation`; `[rows, 2]`, known after the forward pass.
    moments: OnceLock<Vec<f32>>,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, weight, bias) = (values(x, x_layout)?, values(weight, weight_layout)?, values(bias, bias_layout)?);
        let width = weight.len();
        if x_layout.dims().last() != Some(&width) || bias.len() != width || width == 0 {
            bail!("a layer norm of width {width} with a bias of {} was given {:?}", bias.len(), x_layout.dims());
        }
        let rows = x.len() / width;
        let (mut y, mut moments) = (vec![0.0; x.len()], vec![0.0; rows * 2]);
        let part = rows_per_part(rows, width);
        (y.par_chunks_mut(part * width), moments.par_chunks_mut(part * 2), x.par_chunks(part * width))
            .into_par_iter()
            .for_each(|(y, moments, x)| forward_rows(x, weight, bias, self.eps, y, moments));
        let _ = self.moments.set(moments);
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(moments) = self.moments.get() else { bail!("layer norm: backward before forward") };
        let dy = dy.contiguous()?;
        let (x_values, weight_values, dy) = (Values::of(x)?, Values::of(weight)?, Values::of(&dy)?);
        let width = weight_values.len();
        let part = rows_per_part(moments.len() / 2, width);
        let mut dx = vec![0.0; x_values.len()];
        let partial: Vec<(Vec<f32>, Vec<f32>)> = (
            dx.par_chunks_mut(part * width),
            x_values.par_chunks(part * width),
            dy.par_chunks(part * width),
            moments.par_chunks(part * 2),
        )
            .into_par_iter()
            .map(|(dx, x, dy, moments)| {
                let (mut dw, mut db) = (vec![0.0; width], vec![0.0; width]);
                backward_rows(x, &weight_values, dy, moments, dx, &mut dw, &mut db);
                (dw, db)
            })
            .collect();
        let (mut dw, mut db) = (vec![0.0; width], vec![0.0; width]);
        for (part_dw, part_db) in &partial {
            vector::add(&mut dw, part_dw);
            vector::add(&mut db, part_db);
        }
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            Some(Tensor::from_vec(dw, weight.shape(), x.device())?),
            Some(Tensor::from_vec(db, bias.shape(), x.device())?),
        ))
    }
}

#[multiversion(targets = "simd")]
fn forward_rows(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, y: &mut [f32], moments: &mut [f32]) {
    let width = weight.len();
    let share = 1.0 / width as f32;
    for ((x, y), moments) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(moments.chunks_exact_mut(2)) {
        let mean = vector::sum_of(x, |x| x) * share;
        let variance = vector::sum_of(x, |x| (x - mean) * (x - mean)) * share;
        let inverse = 1.0 / (variance + eps).sqrt();
        for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
            *y = (x - mean) * inverse * weight + bias;
        }
        moments.copy_from_slice(&[mean, inverse]);
    }
}

#[multiversion(targets = "simd")]
fn backward_rows(x: &[f32], weight: &[f32], dy: &[f32], moments: &[f32], dx: &mut [f32], dw: &mut [f32], db: &mut [f32]) {
    let width = weight.len();
    let share = 1.0 / width as f32;
    let rows = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width)).zip(moments.chunks_exact(2));
    for (((x, dy), dx), moments) in rows {
        let (mean, inverse) = (moments[0], moments[1]);
        // `dx` holds `g` until both means over it are known.
        for ((((dx, x), dy), weight), (dw, db)) in dx.iter_mut().zip(x).zip(dy).zip(weight).zip(dw.iter_mut().zip(db.iter_mut()))
        {
            *dx = dy * weight;
            *dw += dy * ((x - mean) * inverse);
            *db += dy;
        }
        let mean_g = vector::sum_of(dx, |g| g) * share;
        let mean_gn = vector::sum_of_pairs(dx, x, |g, x| g * ((x - mean) * inverse)) * share;
        for (dx, x) in dx.iter_mut().zip(x) {
            *dx = (*dx - mean_g - (x - mean) * inverse * mean_gn) * inverse;
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
            assert_operation(&[&x, &weight, &bias], fused, || reference(&x, &weight, &bias, 1e-2));
        }
    }

    #[test]
    fn a_missing_bias_is_zero_and_a_wrong_one_an_error() {
        let (x, weight, bias) = (variable(&[4, 8], 4), variable(&[8], 5), variable(&[7], 6));
        let zero = weight.zeros_like().unwrap();
        assert_operation(&[&x, &weight], || Ok(layer_norm(&x, &weight, None, 1e-5)?), || reference(&x, &weight, &zero, 1e-5));
        assert!(layer_norm(&x, &weight, Some(&bias), 1e-5).is_err());
    }
}
