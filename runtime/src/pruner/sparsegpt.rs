//! `sparsegpt`: one shot, layer by layer; every weight that stays is moved to make up for those that go.
//!
//! Frantar & Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot" (arXiv 2301.00774). Inputs are
//! eliminated from left to right. In each block of columns the weights of least `w^2 / U_jj^2` go, over all rows together; removing
//! a weight leaves the error `w / U_jj`, which the row takes back along `U[j, j..]`. `U` is explained in `hessian.rs`.
//!
//! Differs from the authors' code in one thing: theirs removes every score up to the one at index `n * s`, that is one weight more
//! in each block and all of its ties; here the removals up to each block's end are `round(n * s)` of the weights up to there.
//!
//! Where a pattern keeps so many of each group, every row chooses in each group of columns for itself, as in the authors' code.
//!
//! Layers go by transformer block: the inputs of a block come from the pruned blocks before it.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use multiversion::multiversion;
use rayon::prelude::*;

use super::hessian::InverseFactor;
use super::rank::{self, key};
use super::{Calibration, Pattern, PrunedLayer, Pruner, Request};
use crate::shelf::Ratio;
use crate::weight::Weight;
use crate::{Checkpoint, Fault, Mask, Result, word};

word! {
    /// One shot, layer by layer; every weight that stays is moved to make up for those that go (arXiv 2301.00774).
    pub struct SparseGpt = "sparsegpt" {
        /// Added to the diagonal of the Hessian, as a share of its mean; raised tenfold where that is not enough.
        damping: Ratio where "0%..100%" = Ratio(0.01),
        /// Columns that choose their removals together.
        block: usize where "1..65536" = 128,
    }
}

impl Pruner for SparseGpt {
    fn needs_calibration(&self) -> bool {
        true
    }

    fn prune(
        &self,
        checkpoint: &mut Checkpoint,
        request: &Request<'_>,
        calibration: Option<&mut dyn Calibration>,
        done: &mut dyn FnMut(&Checkpoint, &[PrunedLayer]) -> Result<()>,
    ) -> Result<()> {
        let request = request.checked()?;
        let calibration = calibration.ok_or_else(|| Fault::internal("`sparsegpt` was given no calibration rows"))?;
        for layers in request.layers.chunk_by(|a, b| transformer_block(a) == transformer_block(b)) {
            let hessians = calibration.hessians(checkpoint, layers)?;
            let work: Vec<_> = layers.iter().zip(&hessians).collect();
            let mut finished = Vec::with_capacity(layers.len());
            for same_input in work.chunk_by(|(_, a), (_, b)| Arc::ptr_eq(a, b)) {
                let (path, hessian) = same_input[0];
                let factor = InverseFactor::new(hessian, Weight::read(checkpoint, path)?.inputs, self.damping.0)
                    .map_err(|fault| Fault { message: format!("pruning `{path}`: {}", fault.message), ..fault })?;
                for (path, hessian) in same_input {
                    let before = Weight::read(checkpoint, path)?;
                    request.pattern.fits(path, before.inputs)?;
                    let mut weight = before.clone();
                    let mask = self.sweep(&mut weight, &factor, checkpoint.masks.get(*path), request);
                    finished.push(PrunedLayer {
                        path: path.to_string(),
                        sparsity: mask.sparsity(),
                        relative_error: Some(relative_error(&before, &weight, hessian)?),
                        notes: self.notes(&factor),
                    });
                    weight.write(checkpoint, path)?;
                    checkpoint.masks.insert(path.to_string(), mask);
                }
            }
            done(checkpoint, &finished)?;
        }
        Ok(())
    }
}

impl SparseGpt {
    /// Prunes one weight in place, block of columns by block of columns; weights that `before` removes go again.
    fn sweep(&self, weight: &mut Weight, factor: &InverseFactor, before: Option<&Mask>, request: &Request<'_>) -> Mask {
        let (out, inputs) = (weight.out, weight.inputs);
        // Groups choose one after the other, each by the weights as those before it have left them.
        let columns = if let Pattern::Groups { of, .. } = request.pattern { of } else { self.block.max(1) };
        for row in weight.values.chunks_exact_mut(inputs.max(1)) {
            factor.dead.iter().for_each(|&col| row[col] = 0.0);
        }
        let mut removed = vec![false; out * inputs];
        let mut so_far = 0;
        for start in (0..inputs).step_by(columns) {
            let end = (start + columns).min(inputs);
            let keys = block_keys(weight, factor, before, start..end);
            let already = keys.iter().filter(|&&key| key == rank::REMOVED).count();
            let chosen = match request.pattern {
                Pattern::Unstructured => rank::lowest(&keys, request.removals(out * end).saturating_sub(so_far).max(already)),
                Pattern::Groups { kept, of } => rank::lowest_of_each(&keys, of - kept, of),
            };
            so_far += chosen.iter().filter(|&&chosen| chosen).count();
            weight.values.par_chunks_exact_mut(inputs).zip(chosen.par_chunks_exact(end - start)).for_each(|(row, chosen)| {
                for (col, _) in (start..end).zip(chosen).filter(|&(_, &chosen)| chosen) {
                    eliminate(&mut row[col..], &factor.row(col)[col..]);
                }
            });
            for (removed, chosen) in removed.chunks_exact_mut(inputs).zip(chosen.chunks_exact(end - start)) {
                removed[start..end].copy_from_slice(chosen);
            }
        }
        Mask::from_fn(out, inputs, |row, col| !removed[row * inputs + col])
    }

    /// What the user should know about this layer's Hessian.
    fn notes(&self, factor: &InverseFactor) -> Vec<String> {
        let mut notes = Vec::new();
        if factor.damping > self.damping.0 {
            notes.push(format!("damping raised from {}% to {}%", self.damping.0 * 100.0, factor.damping * 100.0));
        }
        if !factor.dead.is_empty() {
            notes.push(format!("{} inputs are zero on every calibration row, and so are their weights now", factor.dead.len()));
        }
        notes
    }
}

/// `|X dW^T|^2 / |X W^T|^2` by the Hessian of `X`; 0 for a layer that puts out nothing.
fn relative_error(before: &Weight, after: &Weight, hessian: &[f32]) -> Result<f64> {
    let matrix = |weight: &Weight| Tensor::from_slice(&weight.values, (weight.out, weight.inputs), &Device::Cpu);
    let hessian = Tensor::from_slice(hessian, (before.inputs, before.inputs), &Device::Cpu)?;
    let size = |weight: &Tensor| -> Result<f64> {
        Ok((weight.matmul(&hessian)? * weight)?.to_dtype(DType::F64)?.sum_all()?.to_scalar()?)
    };
    let (error, output) = (size(&matrix(before)?.sub(&matrix(after)?)?)?, size(&matrix(before)?)?);
    Ok(if output > 0.0 { (error / output).max(0.0) } else { 0.0 })
}

/// The rank keys `w^2 / U_jj^2` of the columns `columns`, `[out, columns]` row-major.
fn block_keys(weight: &Weight, factor: &InverseFactor, before: Option<&Mask>, columns: std::ops::Range<usize>) -> Vec<u32> {
    let rows = weight.values.par_chunks_exact(weight.inputs).enumerate();
    rows.flat_map_iter(|(row, values)| {
        columns.clone().map(move |col| match before {
            Some(mask) if !mask.keeps(row, col) => rank::REMOVED,
            _ => key((values[col] / factor.diagonal(col)).powi(2)),
        })
    })
    .collect()
}

/// Removes the first weight of `row` and moves those after it along `direction`, a row of `U` from its diagonal on.
#[multiversion(targets = "simd")]
fn eliminate(row: &mut [f32], direction: &[f32]) {
    let error = row[0] / direction[0];
    for (weight, along) in row.iter_mut().zip(direction) {
        *weight -= error * along;
    }
    row[0] = 0.0;
}

/// The transformer block of a module path: up to its first numbered segment, `model.encoder.layers.0` of
/// `model.encoder.layers.0.fc1`; the path itself where nothing is numbered.
pub(crate) fn transformer_block(path: &str) -> &str {
    let mut end = 0;
    for segment in path.split('.') {
        end += segment.len();
        if segment.bytes().all(|byte| byte.is_ascii_digit()) {
            return &path[..end];
        }
        end += 1;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_grouped_by_transformer_block() {
        assert_eq!(transformer_block("model.encoder.layers.10.self_attn.q_proj"), "model.encoder.layers.10");
        assert_eq!(transformer_block("decoder.block.0.layer.1.EncDecAttention.k"), "decoder.block.0");
        assert_eq!(transformer_block("proj_out"), "proj_out");
    }
}
