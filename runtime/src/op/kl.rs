//! Distillation of logits: the forward Kullback-Leibler divergence from the teacher to the student at a temperature.
//!
//! `L = T²/|A| sum_{t in A} sum_v p_tv (log p_tv - log q_tv)` with `p = softmax(teacher / T)`, `q = softmax(student / T)`; its
//! gradient in the student's logits is `T/|A| (q - p)`.

use candle_core::{D, Tensor};
use multiversion::multiversion;
use rayon::prelude::*;
use sparsec_kernels::activation::exp;

use super::cross_entropy::{check_labels, counted};
use super::parallel::for_rows;
use super::{Values, tape, vector};
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
    let student = student.contiguous()?;
    let (count, cold) = (counted(labels).count(), 1.0 / temperature);
    let (total, log_sums) = forward(&Values::of(&student)?, &Values::of(&teacher)?, labels, cold);
    let value = total * f64::from(temperature).powi(2) / count as f64;
    let value = tape::output(vec![value as f32], (), &[&student])?;
    let labels: Box<[i64]> = labels.into();
    tape::record(&value, move |slope, gradients| {
        let (of_student, of_teacher) = (Values::of(&student)?, Values::of(&teacher)?);
        let share = slope[0] * temperature / count as f32;
        gradients.add(&student, || backward(&of_student, &of_teacher, &labels, cold, &log_sums, share));
        Ok(())
    });
    Ok(value)
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

/// `sum p (log p - log q)` over all rows that count, and `log sum exp` of each row over the temperature: student's and teacher's.
fn forward(student: &[f32], teacher: &[f32], labels: &[i64], cold: f32) -> (f64, Vec<(f32, f32)>) {
    let vocab = student.len() / labels.len();
    let log_sums: Vec<(f32, f32)> = (student.par_chunks_exact(vocab), teacher.par_chunks_exact(vocab))
        .into_par_iter()
        .map(|(student, teacher)| (vector::log_sum_exp(student, cold), vector::log_sum_exp(teacher, cold)))
        .collect();
    let of_row = |row: usize| {
        let part = row * vocab..(row + 1) * vocab;
        f64::from(divergence(&student[part.clone()], &teacher[part], cold, log_sums[row]))
    };
    (counted(labels).map(|(row, _)| of_row(row)).sum(), log_sums)
}

/// The gradient of the student's logits for the slope `share` of each row that counts.
fn backward(student: &[f32], teacher: &[f32], labels: &[i64], cold: f32, log_sums: &[(f32, f32)], share: f32) -> Vec<f32> {
    let vocab = student.len() / labels.len();
    let mut gradient = vec![0.0; student.len()];
    for_rows(&mut gradient, vocab, |first, part| {
        for (row, gradient) in (first..).zip(part.chunks_exact_mut(vocab)) {
            if labels[row] != batch::IGNORE {
                let part = row * vocab..(row + 1) * vocab;
                differences(&student[part.clone()], &teacher[part], cold, log_sums[row], share, gradient);
            }
        }
    });
    gradient
}

/// `sum p (log p - log q)` of one row.
#[multiversion(targets = "simd")]
fn divergence(student: &[f32], teacher: &[f32], cold: f32, (of_student, of_teacher): (f32, f32)) -> f32 {
    vector::sum_of_pairs(student, teacher, |student, teacher| {
        let (log_q, log_p) = (student * cold - of_student, teacher * cold - of_teacher);
        exp(log_p) * (log_p - log_q)
    })
}

/// `share (q - p)` of one row.
#[multiversion(targets = "simd")]
fn differences(student: &[f32], teacher: &[f32], cold: f32, log_sums: (f32, f32), share: f32, out: &mut [f32]) {
    for ((out, student), teacher) in out.iter_mut().zip(student).zip(teacher) {
        *out = share * (exp(student * cold - log_sums.0) - exp(teacher * cold - log_sums.1));
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::super::differentiate;
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
        let (mut gradients, ()) = differentiate(|| Ok((kl(&student, &teacher, &LABELS, 1.0)?, ()))).unwrap();
        assert!(gradients.take(&student).unwrap().iter().all(|slope| slope.abs() < 1e-6));
        assert!(gradients.take(&teacher).is_none());
        assert!(kl(&student, &teacher, &LABELS, 0.0).is_err());
    }
}
