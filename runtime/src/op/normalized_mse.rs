//! The error of hidden states relative to the teacher's: one term of SquareHead (arXiv 2310.06927).
//!
//! Over the rows that a mask keeps: `L = mean((s - t)²) / (mean(t²) + eps)`; its gradient is `2 (s - t) / (n (mean(t²) + eps))` in
//! those rows, where `n` counts their elements, and zero elsewhere.

use candle_core::{D, Tensor};
use multiversion::multiversion;

use super::parallel::{for_rows, piece_sums};
use super::{Values, tape, vector};
use crate::Result;

/// `student` and `teacher: [.., width]`; `mask` says for each row whether it counts (all, where there is no mask). A scalar,
/// differentiable in `student` alone.
///
/// # Errors
/// When the shapes differ, or no row counts.
pub fn normalized_mse(student: &Tensor, teacher: &Tensor, mask: Option<&[bool]>, eps: f32) -> Result<Tensor> {
    let width = student.dim(D::Minus1)?;
    let rows = student.elem_count() / width.max(1);
    let mask: Box<[bool]> = mask.map_or_else(|| vec![true; rows].into(), Box::from);
    let counted = mask.iter().filter(|counts| **counts).count() * width;
    if student.dims() != teacher.dims() || mask.len() != rows || counted == 0 {
        let message = format!("{:?} compared with {:?} in {counted} values", student.dims(), teacher.dims());
        return Err(candle_core::Error::Msg(message).into());
    }
    let teacher = teacher.detach().contiguous()?;
    if !student.device().is_cpu() {
        return Ok(reference(student, &teacher, &mask, eps)?);
    }
    let student = student.contiguous()?;
    let (norm, error) = {
        let (student, teacher) = (Values::of(&student)?, Values::of(&teacher)?);
        let norm = sum_of_rows(&teacher, &teacher, &mask, vector::dot) / counted as f64 + f64::from(eps);
        (norm, sum_of_rows(&student, &teacher, &mask, squared_distance) / counted as f64)
    };
    if norm == 0.0 {
        return Err(candle_core::Error::Msg("the teacher's hidden states are all zero".into()).into());
    }
    let value = tape::output(vec![(error / norm) as f32], (), &[&student])?;
    tape::record(&value, move |slope, gradients| {
        let (of_student, of_teacher) = (Values::of(&student)?, Values::of(&teacher)?);
        let share = (2.0 * f64::from(slope[0]) / (counted as f64 * norm)) as f32;
        gradients.add(&student, || backward(&of_student, &of_teacher, &mask, share));
        Ok(())
    });
    Ok(value)
}

/// The definition.
fn reference(student: &Tensor, teacher: &Tensor, mask: &[bool], eps: f32) -> candle_core::Result<Tensor> {
    let width = student.dim(D::Minus1)?;
    let rows: Vec<u32> = (0u32..).zip(mask).filter_map(|(row, counts)| counts.then_some(row)).collect();
    let rows = Tensor::new(rows, student.device())?;
    let kept = |hidden: &Tensor| hidden.reshape(((), width))?.index_select(&rows, 0);
    let (student, teacher) = (kept(student)?, kept(teacher)?);
    student.sub(&teacher)?.sqr()?.mean_all()?.div(&(teacher.sqr()?.mean_all()? + f64::from(eps))?)
}

/// The sum of `of(row of a, row of b)` over rows that count.
fn sum_of_rows(a: &[f32], b: &[f32], mask: &[bool], of: impl Fn(&[f32], &[f32]) -> f32 + Sync) -> f64 {
    let width = a.len() / mask.len();
    piece_sums(a.len(), |piece| {
        // A row belongs to the piece that it starts in.
        let rows = piece.start.div_ceil(width)..piece.end.div_ceil(width);
        let counted = rows.filter(|row| mask[*row]).map(|row| row * width..(row + 1) * width);
        counted.map(|row| f64::from(of(&a[row.clone()], &b[row]))).sum()
    })
}

/// The gradient of the student's states: `share (s - t)` in rows that count.
fn backward(student: &[f32], teacher: &[f32], mask: &[bool], share: f32) -> Vec<f32> {
    let width = student.len() / mask.len();
    let mut gradient = vec![0.0; student.len()];
    for_rows(&mut gradient, width, |first, part| {
        for (row, gradient) in (first..).zip(part.chunks_exact_mut(width)).filter(|(row, _)| mask[*row]) {
            let part = row * width..(row + 1) * width;
            differences(&student[part.clone()], &teacher[part], share, gradient);
        }
    });
    gradient
}

/// `sum (s - t)²`.
#[multiversion(targets = "simd")]
fn squared_distance(student: &[f32], teacher: &[f32]) -> f32 {
    vector::sum_of_pairs(student, teacher, |s, t| (s - t) * (s - t))
}

/// `share (s - t)`.
#[multiversion(targets = "simd")]
fn differences(student: &[f32], teacher: &[f32], share: f32, out: &mut [f32]) {
    for ((out, s), t) in out.iter_mut().zip(student).zip(teacher) {
        *out = share * (s - t);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn the_error_is_its_reference() {
        let (student, teacher) = (variable(&[2, 3, 19], 1), variable(&[2, 3, 19], 2));
        let mask = [true, false, true, true, false, true];
        let masked = || Ok(normalized_mse(&student, &teacher, Some(&mask), 0.25)?);
        assert_operation(&[&student], masked, || reference(&student, &teacher.detach(), &mask, 0.25));
        let whole = || Ok(normalized_mse(&student, &teacher, None, 1e-8)?);
        assert_operation(&[&student], whole, || reference(&student, &teacher.detach(), &[true; 6], 1e-8));
    }

    #[test]
    fn rows_longer_and_shorter_than_a_piece_of_work_are_counted_once() {
        for shape in [[3, 20_000], [700, 90]] {
            let (student, teacher) = (variable(&shape, 3), variable(&shape, 4));
            let got = normalized_mse(&student, &teacher, None, 0.0).unwrap().to_scalar::<f32>().unwrap();
            let want = reference(&student, &teacher, &vec![true; shape[0]], 0.0).unwrap().to_scalar::<f32>().unwrap();
            assert!((got - want).abs() < 1e-4 * want, "{got} instead of {want}");
        }
    }

    #[test]
    fn equal_states_have_no_error_and_an_empty_mask_is_refused() {
        let (student, teacher) = (variable(&[2, 8], 5), variable(&[2, 8], 5));
        assert_eq!(normalized_mse(&student, &teacher, None, 1e-8).unwrap().to_scalar::<f32>().unwrap(), 0.0);
        assert!(normalized_mse(&student, &teacher, Some(&[false, false]), 1e-8).is_err());
        assert!(normalized_mse(&student, &teacher, Some(&[true]), 1e-8).is_err());
    }
}
