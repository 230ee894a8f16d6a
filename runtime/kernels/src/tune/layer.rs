//! What the choice of a layer's kernels depends on, which is known before its weights are.

use serde::Serialize;

use crate::error::Result;
use crate::testing::{random_values, rounded};
use crate::{Element, Mask, Pattern, SparseMatrix};

/// A layer as far as the choice of its kernels depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// How its weights are stored.
    pub element: Element,
    /// How the kept ones lie, as [`Pattern::of`] finds it.
    pub pattern: Pattern,
    /// Share of weights that are pruned, 0 to 1.
    pub sparsity: f64,
}

impl Layer {
    /// The layer of `matrix`.
    pub fn of(matrix: &SparseMatrix) -> Self {
        Self {
            rows: matrix.rows(),
            cols: matrix.cols(),
            element: matrix.element(),
            pattern: Pattern::of(matrix.mask()),
            sparsity: matrix.mask().sparsity(),
        }
    }

    /// `self` before any weight of it is chosen: `pattern` is what is asked for, groups of any size among them, and becomes what
    /// [`Pattern::of`] will find.
    pub fn planned(self) -> Self {
        Self { pattern: Pattern::of(&self.trial_mask()), ..self }
    }

    /// A small matrix of this kind: formats that serve it, or refuse it, do the same to the layer, code budgets aside.
    pub(crate) fn trial(&self) -> Result<SparseMatrix> {
        let mask = self.trial_mask();
        rounded(&SparseMatrix::new(&random_values(mask.rows() * mask.cols(), 1), mask)?, self.element)
    }

    /// A mask of whole groups.
    fn trial_mask(&self) -> Mask {
        let group = if let Pattern::Group { group, .. } = self.pattern { group.max(1) } else { 64 };
        self.pattern.mask(64, group * 256usize.div_ceil(group), 1.0 - self.sparsity, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::patterned_matrix;
    use crate::{Choice, Options, SparseLinear, Tuning};

    fn layers() -> impl Iterator<Item = (Pattern, SparseMatrix)> {
        let group = |kept, group| Pattern::Group { kept, group };
        let patterns = Pattern::KNOWN.into_iter().chain([Pattern::Uniform, group(1, 4), group(8, 16), group(3, 5)]);
        let densities = [1.0, 0.5, 0.25, 0.05];
        let of = move |pattern: Pattern| densities.map(move |density| (pattern, patterned_matrix(pattern, 48, 320, density, 3)));
        patterns.flat_map(of).flat_map(|(pattern, matrix)| {
            Element::ALL.map(|element| (pattern, rounded(&matrix, element).expect("a matrix of random values")))
        })
    }

    #[test]
    fn a_planned_layer_is_what_its_matrix_will_be() {
        for (pattern, matrix) in layers() {
            let layer = Layer::of(&matrix);
            assert_eq!(Layer { pattern, ..layer }.planned(), layer);
        }
    }

    /// A plan and a run choose alike wherever nothing is timed.
    #[test]
    fn what_is_foreseen_is_what_happens() {
        let measured = Tuning::default();
        for (at, (_, matrix)) in layers().enumerate() {
            let options = |choice| Options { tokens: vec![1, 8, 128], choice, ..Options::default() };
            if at % 7 == 0 {
                SparseLinear::of(&matrix, None, &options(Choice::Measure(measured.clone()))).expect("formats that serve");
            }
            let frozen = options(Choice::Frozen(measured.clone()));
            let (layer, made) = (Layer::of(&matrix), SparseLinear::of(&matrix, None, &frozen).expect("formats that serve"));
            let choices = |choices: &[crate::Chosen]| choices.iter().map(|choice| format!("{choice:?}")).collect::<Vec<_>>();
            let foreseen = SparseLinear::foresee(&layer, &frozen).expect("formats that serve");
            assert_eq!(choices(&foreseen.choices), choices(&made.explain().choices), "{layer:?}");
            assert_eq!((foreseen.rows, foreseen.cols, foreseen.element), (48, 320, layer.element));
        }
    }

    #[test]
    fn what_is_not_measured_yet_is_said() {
        let matrix = patterned_matrix(Pattern::Uniform, 48, 320, 0.25, 3);
        let tuning = Tuning::default();
        let foreseen = || {
            let options = Options { choice: Choice::Measure(tuning.clone()), ..Options::default() };
            SparseLinear::foresee(&Layer::of(&matrix), &options).expect("formats that serve")
        };
        assert!(
            foreseen().choices.iter().all(|choice| choice.reason.contains("not measured yet") && choice.milliseconds.is_empty())
        );
        SparseLinear::of(&matrix, None, &Options { choice: Choice::Measure(tuning.clone()), ..Options::default() })
            .expect("measured");
        assert!(foreseen().choices.iter().all(|choice| choice.reason == "fastest in the tuning file"));
    }
}
