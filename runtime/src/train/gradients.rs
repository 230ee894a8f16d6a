//! The gradients of one optimizer step, by parameter.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::student::{Student, mask_of};
use crate::{Fault, Mask, Result, op};

/// Sums of gradients over the passes of a step.
#[derive(Default)]
pub(super) struct Gradients(BTreeMap<String, Vec<f32>>);

impl Gradients {
    /// Adds what one backward pass found.
    pub(super) fn add(&mut self, mut found: op::Gradients, student: &Student) {
        for (name, variable) in &student.variables {
            let Some(gradient) = found.take(variable) else { continue };
            match self.0.get_mut(name) {
                Some(sum) => sum.par_iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value),
                None => drop(self.0.insert(name.clone(), gradient)),
            }
        }
    }

    /// Every gradient, in the order of names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Vec<f32>)> {
        self.0.iter()
    }

    /// Every trained parameter has a gradient.
    ///
    /// # Errors
    /// When one has none: the loss does not depend on it, or an operation of ours on the way to it has no backward pass.
    pub(super) fn check_coverage(&self, student: &Student) -> Result<()> {
        let missing: Vec<&str> =
            student.variables.keys().filter(|name| !self.0.contains_key(*name)).map(String::as_str).collect();
        match missing.as_slice() {
            [] => Ok(()),
            [first, ..] => {
                let message = format!("no gradient reached {} parameters, among them `{first}`", missing.len());
                Err(Fault::input(message)
                    .help("add a term to the loss that depends on what the model puts out, such as `0.5 * task`"))
            }
        }
    }

    /// Sets the gradients of removed weights to zero.
    pub(super) fn mask(&mut self, masks: &BTreeMap<String, Mask>) {
        for (name, gradient) in &mut self.0 {
            if let Some(mask) = mask_of(masks, name) {
                mask.apply(gradient);
            }
        }
    }

    /// Scales all gradients down to the norm `limit` together, if they exceed it.
    ///
    /// # Errors
    /// Gradients that are not finite.
    pub(super) fn clip(&mut self, limit: Option<f64>) -> Result<()> {
        let norm = self.0.values().map(|gradient| op::sum_of_squares(gradient)).sum::<f64>().sqrt();
        if !norm.is_finite() {
            let bad = self.0.iter().find(|(_, gradient)| !op::sum_of_squares(gradient).is_finite());
            let name = bad.map_or("", |(name, _)| name);
            return Err(Fault::running(format!("the gradient of `{name}` is not finite")));
        }
        if let Some(limit) = limit.filter(|&limit| norm > limit) {
            let scale = (limit / norm) as f32;
            self.0.values_mut().for_each(|gradient| gradient.par_iter_mut().for_each(|value| *value *= scale));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checkpoint;

    #[test]
    fn masked_gradients_do_not_count_for_clipping() {
        let mut gradients = Gradients(BTreeMap::from([("a.weight".to_owned(), vec![3.0, 1e9]), ("b".to_owned(), vec![4.0])]));
        gradients.mask(&BTreeMap::from([("a".to_owned(), Mask::from_fn(1, 2, |_, col| col == 0))]));
        gradients.clip(Some(1.0)).unwrap();
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(&gradients.0["a.weight"], &[0.6, 0.0]) && close(&gradients.0["b"], &[0.8]));
    }

    #[test]
    fn a_parameter_without_a_gradient_is_named() {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/whisper/plain");
        let student = Student::new(&Checkpoint::read(fixture.as_ref()).unwrap(), 0).unwrap();
        let mut gradients = Gradients(student.variables.keys().map(|name| (name.clone(), Vec::new())).collect());
        gradients.check_coverage(&student).unwrap();
        gradients.0.remove("model.decoder.layer_norm.bias");
        let fault = gradients.check_coverage(&student).unwrap_err();
        assert_eq!(fault.message, "no gradient reached 1 parameters, among them `model.decoder.layer_norm.bias`");
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_named() {
        let mut gradients = Gradients(BTreeMap::from([("a".to_owned(), vec![1.0]), ("b".to_owned(), vec![f32::NAN])]));
        assert!(gradients.clip(None).unwrap_err().message.contains("`b`"));
    }
}
