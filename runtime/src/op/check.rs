//! What every operation's tests share: seeded values, closeness, and gradients by central differences.

use candle_core::{Device, Result, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::differentiate;

/// A variable of values in -1..1, the same for the same seed.
pub(super) fn variable(shape: &[usize], seed: u64) -> Var {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.random_range(-1.0..1.0)).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

/// The values, row-major.
pub(super) fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Fails unless every value of `got` is within `tolerance` of `want`, relative to the largest of `want` or 1.
pub(super) fn assert_close(got: &Tensor, want: &Tensor, tolerance: f32) {
    assert_eq!(got.dims(), want.dims());
    let (got, want) = (flat(got), flat(want));
    let scale = want.iter().fold(1.0f32, |scale, value| scale.max(value.abs()));
    for (at, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!((got - want).abs() <= tolerance * scale, "at {at}: {got} instead of {want}");
    }
}

/// Fails unless `fused` and `reference` agree in value and in the gradient of every variable, and the gradients of `fused` agree
/// with central differences of `fused` itself.
pub(super) fn assert_operation(variables: &[&Var], fused: impl Fn() -> Result<Tensor>, reference: impl Fn() -> Result<Tensor>) {
    let expected = reference().unwrap();
    // A weighting that no two outputs share, so that no error cancels.
    let weights = variable(expected.dims(), 99).as_tensor().detach();
    let objective = |value: &Tensor| value.mul(&weights)?.sum_all();
    let differentiated = differentiate(|| {
        let value = fused()?;
        Ok((objective(&value)?, value))
    });
    let (mut gradients, value) = differentiated.unwrap();
    assert_close(&value, &expected, 1e-5);
    let expected = objective(&expected).unwrap().backward().unwrap();
    for (index, variable) in variables.iter().enumerate() {
        let gradient = gradients.take(variable).unwrap_or_else(|| panic!("variable {index} has no gradient"));
        let gradient = Tensor::from_vec(gradient, variable.shape(), &Device::Cpu).unwrap();
        assert_close(&gradient, expected.get(variable).unwrap(), 2e-5);
        assert_differences(variable, &gradient, || {
            let (value, weights) = (flat(&fused().unwrap()), flat(&weights));
            value.iter().zip(&weights).map(|(value, weight)| f64::from(*value) * f64::from(*weight)).sum()
        });
    }
}

/// Compares `gradient` with central differences of `objective` at up to 24 elements of `variable`.
fn assert_differences(variable: &Var, gradient: &Tensor, objective: impl Fn() -> f64) {
    const STEP: f32 = 1e-2;
    let (start, gradient) = (flat(variable), flat(gradient));
    let set = |values: Vec<f32>| variable.set(&Tensor::from_vec(values, variable.dims(), &Device::Cpu).unwrap()).unwrap();
    let at_offset = |at: usize, offset: f32| {
        let mut moved = start.clone();
        moved[at] += offset;
        set(moved);
        objective()
    };
    for at in (0..start.len()).step_by(start.len().div_ceil(24)) {
        // Fourth order: the error of the formula stays far below that of FP32.
        let near = at_offset(at, STEP) - at_offset(at, -STEP);
        let far = at_offset(at, 2.0 * STEP) - at_offset(at, -2.0 * STEP);
        let difference = (8.0 * near - far) / (12.0 * f64::from(STEP));
        let tolerance = 2e-3 * (1.0 + difference.abs());
        assert!((difference - f64::from(gradient[at])).abs() < tolerance, "at {at}: {} instead of {difference}", gradient[at]);
    }
    set(start);
}
