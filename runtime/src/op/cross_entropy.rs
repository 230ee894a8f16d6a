//! Mean cross-entropy of logits against labels.
//!
//! `L = 1/|A| sum_{t in A} (log sum_v e^(z_tv) - z_t,label)`, where `A` are the rows whose label counts; its gradient is
//! `(softmax(z) - onehot) / |A|` in those rows and zero elsewhere.

use candle_core::{Tensor, bail};
use rayon::prelude::*;

use super::parallel::for_rows;
use super::{Values, tape, vector};
use crate::{Result, batch};

/// The mean over rows of `logits`, `[.., vocab]`, whose label is not [`batch::IGNORE`]; `labels` holds one for each row. A scalar,
/// differentiable in `logits`.
///
/// # Errors
/// When no label counts, or one is neither ignored nor below `vocab`.
pub fn cross_entropy(logits: &Tensor, labels: &[i64]) -> Result<Tensor> {
    let vocab = logits.dim(candle_core::D::Minus1)?;
    check_labels(logits, labels)?;
    if !logits.device().is_cpu() {
        return Ok(reference(&logits.reshape(((), vocab))?, labels)?);
    }
    let logits = logits.contiguous()?;
    let values = Values::of(&logits)?;
    let log_sums: Vec<f32> = values.par_chunks_exact(vocab).map(|row| vector::log_sum_exp(row, 1.0)).collect();
    let total: f64 = counted(labels).map(|(row, label)| f64::from(log_sums[row] - values[row * vocab + label])).sum();
    drop(values);
    let count = counted(labels).count();
    let loss = tape::output(vec![(total / count as f64) as f32], (), &[&logits])?;
    let labels: Box<[i64]> = labels.into();
    tape::record(&loss, move |slope, gradients| {
        let values = Values::of(&logits)?;
        gradients.add(&logits, || backward(&values, &labels, &log_sums, slope[0] / count as f32));
        Ok(())
    });
    Ok(loss)
}

/// Rows whose label counts, with the label.
pub(super) fn counted(labels: &[i64]) -> impl Iterator<Item = (usize, usize)> {
    labels.iter().enumerate().filter(|(_, label)| **label != batch::IGNORE).map(|(row, label)| (row, *label as usize))
}

/// That there is one label for each row, each one sensible, and one at least that counts.
pub(super) fn check_labels(logits: &Tensor, labels: &[i64]) -> candle_core::Result<()> {
    let vocab = logits.dim(candle_core::D::Minus1)?;
    if labels.len() * vocab != logits.elem_count() {
        bail!("{} labels for logits of {:?}", labels.len(), logits.dims());
    }
    if let Some(label) = labels.iter().find(|label| **label != batch::IGNORE && !(0..vocab as i64).contains(label)) {
        bail!("label {label} is not among {vocab} tokens");
    }
    if counted(labels).next().is_none() {
        bail!("no label of this batch counts");
    }
    Ok(())
}

/// The definition; `logits: [rows, vocab]`.
fn reference(logits: &Tensor, labels: &[i64]) -> candle_core::Result<Tensor> {
    let (rows, targets): (Vec<u32>, Vec<u32>) = counted(labels).map(|(row, label)| (row as u32, label as u32)).unzip();
    let count = rows.len();
    let logits = logits.index_select(&Tensor::new(rows, logits.device())?, 0)?;
    let targets = logits.gather(&Tensor::from_vec(targets, (count, 1), logits.device())?, 1)?;
    logits.log_sum_exp(1)?.sub(&targets.squeeze(1)?)?.mean_all()
}

/// The gradient of the logits for the slope `share` of each row that counts.
fn backward(logits: &[f32], labels: &[i64], log_sums: &[f32], share: f32) -> Vec<f32> {
    let vocab = logits.len() / labels.len();
    let mut gradient = vec![0.0; logits.len()];
    for_rows(&mut gradient, vocab, |first, part| {
        for (row, gradient) in (first..).zip(part.chunks_exact_mut(vocab)) {
            if labels[row] != batch::IGNORE {
                gradient.copy_from_slice(&logits[row * vocab..][..vocab]);
                vector::exp_in_place(gradient, log_sums[row]);
                gradient[labels[row] as usize] -= 1.0;
                vector::scale(gradient, share);
            }
        }
    });
    gradient
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;
    use crate::batch::IGNORE;

    #[test]
    fn cross_entropy_is_its_reference() {
        let logits = variable(&[2, 3, 37], 1);
        let labels = [3, IGNORE, 0, 36, 3, IGNORE];
        let large = || logits.affine(30.0, 5.0);
        let plain = || reference(&logits.reshape((6, 37))?, &labels);
        assert_operation(&[&logits], || Ok(cross_entropy(&logits, &labels)?), plain);
        let got = cross_entropy(&large().unwrap(), &labels).unwrap().to_scalar::<f32>().unwrap();
        let want = reference(&large().unwrap().reshape((6, 37)).unwrap(), &labels).unwrap().to_scalar::<f32>().unwrap();
        assert!((got - want).abs() < 1e-4 * want);
    }

    #[test]
    fn labels_that_cannot_be_are_errors() {
        let logits = variable(&[2, 5], 2);
        assert!(cross_entropy(&logits, &[IGNORE, IGNORE]).is_err());
        assert!(cross_entropy(&logits, &[1, 5]).is_err());
        assert!(cross_entropy(&logits, &[1, -1]).is_err());
        assert!(cross_entropy(&logits, &[1]).is_err());
    }
}
