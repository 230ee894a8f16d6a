//! Distillation of logits: the forward Kullback-Leibler divergence from the teacher to the student at a temperature.
//!
//! `L = T²/|A| sum_{t in A} sum_v p_tv (log p_tv - log q_tv)` with `p = softmax(teacher / T)`, `q = softmax(student / T)`; its
//! gradient in the student's logits is `T/|A| (q - p)`.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, D, Layout, Shape, Tensor, bail};
use multiversion::multiversion;
use rayon::prelude::*;

use super::cross_entropy::{check_labels, counted};
use super::parallel::for_rows;
use super::{Values, values, vector};
use crate::{Result, batch};

/// The mean over rows whose label is not [`batch::IGNORE`]; `student` and `teacher: [.., vocab]`, one label for each row. A scalar,
/// differentiable in `student` alone.
///
/// # Errors
/// As [`cross_entropy`](super::cross_entropy); when the shapes differ, or the temperature is not above zero.
pub fn kl(student: &Tensor, teacher: &Tensor, labels: &[i64], temperature: f32) -> Result<Tensor> {
    check_labels(student, labels)?;
    if student.dims() != teacher.dims() || temperature <= 0.0 || temperature.is_nan() {
        let message = format!("a divergence of {:?} from {:?} at temperature {temperature}", student.dims(), teacher.dims());
        return Err(candle_core::Error::Msg(message).into());
    }
    let teacher = teacher.detach().contiguous()?;
    if !student.device().is_cpu() {
        return Ok(reference(student, &teacher, labels, temperature)?);
    }
    let counted = counted(labels).count();
    let kl = Kl { teacher, labels: labels.into(), counted, temperature, log_sums: OnceLock::new() };
    Ok(student.contiguous()?.apply_op1(kl)?)
}

/// The definition.
fn reference(student: &Tensor, teacher: &Tensor, labels: &[i64], temperature: f32) -> candle_core::Result<Tensor> {
    let vocab = student.dim(D::Minus1)?;
    let rows: Vec<u32> = counted(labels).map(|(row, _)| row as u32).collect();
    let rows = Tensor::new(rows, student.device())?;
    let temperature = f64::from(temperature);
    let log_shares = |logits: &Tensor| -> candle_core::Result<Tensor> {
        let logits = logits.reshape(((), vocab))?.index_select(&rows, 0)?.affine(1.0 / temperature, 0.0)?;
        logits.broadcast_sub(&logits.log_sum_exp(1)?.unsqueeze(1)?)
    };
    let (student, teacher) = (log_shares(student)?, log_shares(teacher)?);
    let divergence = teacher.exp()?.mul(&teacher.sub(&student)?)?.sum_all()?;
    divergence.affine(temperature * temperature / rows.elem_count() as f64, 0.0)
}

struct Kl {
    teacher: Tensor,
    labels: Box<[i64]>,
    /// Labels that count, at least one.
    counted: usize,
    temperature: f32,
    /// `log sum exp` of each row over the temperature: the student's and the teacher's; known after the forward pass.
    log_sums: OnceLock<Vec<(f32, f32)>>,
}

impl CustomOp1 for Kl {
    fn name(&self) -> &'static str {
        "kl"
    }

    fn cpu_fwd(&self, student: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (student, teacher) = (values(student, layout)?, Values::of(&self.teacher)?);
        let vocab = student.len() / self.labels.len();
        let cold = 1.0 / self.temperature;
        let log_sums: Vec<(f32, f32)> = (student.par_chunks_exact(vocab), teacher.par_chunks_exact(vocab))
            .into_par_iter()
            .map(|(student, teacher)| (vector::log_sum_exp(student, cold), vector::log_sum_exp(teacher, cold)))
            .collect();
        let of_row = |row: usize| {
            let part = row * vocab..(row + 1) * vocab;
            f64::from(divergence(&student[part.clone()], &teacher[part], cold, log_sums[row]))
        };
        let total: f64 = counted(&self.labels).map(|(row, _)| of_row(row)).sum();
        let _ = self.log_sums.set(log_sums);
        let value = total * f64::from(self.temperature).powi(2) / self.counted as f64;
        Ok((CpuStorage::F32(vec![value as f32]), Shape::from(())))
    }

    fn bwd(&self, student: &Tensor, _: &Tensor, slope: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let Some(log_sums) = self.log_sums.get() else { bail!("divergence: backward before forward") };
        let (values, teacher) = (Values::of(student)?, Values::of(&self.teacher)?);
        let vocab = values.len() / self.labels.len();
        let cold = 1.0 / self.temperature;
        let share = slope.to_scalar::<f32>()? * self.temperature / self.counted as f32;
        let mut gradient = vec![0.0; values.len()];
        for_rows(&mut gradient, vocab, |first, part| {
            for (row, gradient) in (first..).zip(part.chunks_exact_mut(vocab)) {
                if self.labels[row] != batch::IGNORE {
                    let part = row * vocab..(row + 1) * vocab;
                    differences(&values[part.clone()], &teacher[part], cold, log_sums[row], share, gradient);
                }
            }
        });
        Ok(Some(Tensor::from_vec(gradient, student.shape(), student.device())?))
    }
}

/// `sum p (log p - log q)` of one row.
#[multiversion(targets = "simd")]
fn divergence(student: &[f32], teacher: &[f32], cold: f32, (of_student, of_teacher): (f32, f32)) -> f32 {
    vector::sum_of_pairs(student, teacher, |student, teacher| {
        let (log_q, log_p) = (student * cold - of_student, teacher * cold - of_teacher);
        vector::exp(log_p) * (log_p - log_q)
    })
}

/// `share (q - p)` of one row.
#[multiversion(targets = "simd")]
fn differences(student: &[f32], teacher: &[f32], cold: f32, log_sums: (f32, f32), share: f32, out: &mut [f32]) {
    for ((out, student), teacher) in out.iter_mut().zip(student).zip(teacher) {
        *out = share * (vector::exp(student * cold - log_sums.0) - vector::exp(teacher * cold - log_sums.1));
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, flat, variable};
    use super::*;
    use crate::batch::IGNORE;

    const LABELS: [i64; 6] = [3, IGNORE, 0, 36, 3, IGNORE];

    #[test]
    fn kl_is_its_reference() {
        let (student, teacher) = (variable(&[2, 3, 37], 1), variable(&[2, 3, 37], 2));
        for temperature in [1.0, 2.5] {
            let fused = || Ok(kl(&student, &teacher, &LABELS, temperature)?);
            assert_operation(&[&student], fused, || reference(&student, &teacher.detach(), &LABELS, temperature));
        }
    }

    #[test]
    fn equal_logits_have_no_divergence_and_the_teacher_no_gradient() {
        let (student, teacher) = (variable(&[6, 37], 3), variable(&[6, 37], 3));
        let value = kl(&student, &teacher, &LABELS, 1.0).unwrap();
        assert!(value.to_scalar::<f32>().unwrap().abs() < 1e-6);
        let gradients = value.backward().unwrap();
        assert!(flat(gradients.get(&student).unwrap()).iter().all(|slope| slope.abs() < 1e-6));
        assert!(gradients.get(&teacher).is_none());
        assert!(kl(&student, &teacher, &LABELS, 0.0).is_err());
    }
}
