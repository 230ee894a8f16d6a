//! Functions between two layers. They have no branches and no library calls, so that the compiler makes vector code of loops over
//! them; whoever calls them in a loop chooses the instructions.

/// A function of each result of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x Φ(x)`, with the normal distribution Φ (Hendrycks and Gimpel 2016, arXiv 1606.08415).
    Gelu,
    /// `x / 2 (1 + tanh(sqrt(2 / π) (x + 0.044715 x³)))`, the approximation that the same paper gives.
    GeluTanh,
}

impl Activation {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Relu, Self::Gelu, Self::GeluTanh];

    /// Its value at `x`; NaN stays NaN.
    #[inline(always)]
    pub fn of(self, x: f32) -> f32 {
        match self {
            Self::Relu => relu(x),
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_tanh(x),
        }
    }

    /// Changes every value, with the instructions of the caller.
    #[inline(always)]
    pub(crate) fn change(self, values: &mut [f32]) {
        match self {
            Self::Relu => each(values, relu),
            Self::Gelu => each(values, gelu),
            Self::GeluTanh => each(values, gelu_tanh),
        }
    }
}

/// Values that are changed together: a known number, so that short runs become vectors too.
const TOGETHER: usize = 16;

/// Loops alone: what an iterator of the library calls is compiled by itself, without the instructions of the caller.
#[inline(always)]
fn each(values: &mut [f32], of: impl Fn(f32) -> f32) {
    let (chunks, rest) = values.as_chunks_mut::<TOGETHER>();
    for chunk in chunks {
        for value in chunk {
            *value = of(*value);
        }
    }
    for value in rest {
        *value = of(*value);
    }
}

#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    x * normal(x).0
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    /// `2 sqrt(2 / π)`: `(1 + tanh u) / 2` is `1 / (1 + e^(-2u))`.
    const TWICE: f32 = 1.595_769;
    x / (1.0 + exp(-TWICE * (x + 0.044_715 * x * x * x)))
}

/// `e^x`, relative error below 3e-7; arguments below -87.3 count as -87.3, above 88.3 as 88.3.
///
/// Cody and Waite: `x = n ln 2 + r`, and the Taylor series of `e^r` for `|r| <= ln 2 / 2`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer and leaves that integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let series = 1.0 / 5040.0;
    let series = series * r + 1.0 / 720.0;
    let series = series * r + 1.0 / 120.0;
    let series = series * r + 1.0 / 24.0;
    let series = series * r + 1.0 / 6.0;
    let series = series * r + 0.5;
    let series = series * r + 1.0;
    let series = series * r + 1.0;
    series * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// The normal distribution `Φ(x)`, and `e^(-x²/2)`, which its derivative needs too.
///
/// `Φ(-z) = e^(-z²/2) g(z)` for `z >= 0`, where `g` is smooth and is fitted by a polynomial in `t = 1 / (1 + 0.3 z)` with the
/// smallest greatest relative error on 0..13.2 (5.7e-8; weighted least squares until the errors are level). Small values of the left
/// tail keep their relative precision.
#[inline(always)]
pub fn normal(x: f32) -> (f32, f32) {
    let z = x.abs().min(13.2);
    let density = exp(-0.5 * z * z);
    let t = 1.0 / (1.0 + 0.3 * z);
    let g = 0.038_298_924;
    let g = g * t - 0.168_779_73;
    let g = g * t + 0.227_860_53;
    let g = g * t - 0.075_590_216;
    let g = g * t + 0.141_901_24;
    let g = g * t + 0.094_954_41;
    let g = g * t + 0.121_850_826;
    let g = g * t + 0.119_497_47;
    let g = g * t + 6.592_578_3e-6;
    let tail = g * density;
    (if x > 0.0 { 1.0 - tail } else { tail }, density)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_follows_libm() {
        let worst = (-870..=880)
            .flat_map(|tenth| (0..100).map(move |part| (tenth as f32 + part as f32 * 0.01) * 0.1))
            .filter(|x| (-87.3..=88.3).contains(x))
            .map(|x| (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs())
            .fold(0.0, f64::max);
        assert!(worst < 3e-7, "relative error {worst:e}");
    }

    #[test]
    fn gelu_is_precise_far_out() {
        for x in (-13_000..13_000).map(|i| i as f32 * 1e-3) {
            let y = Activation::Gelu.of(x);
            let exact = f64::from(x) * 0.5 * erfc(-f64::from(x) / std::f64::consts::SQRT_2);
            let error = (f64::from(y) - exact).abs();
            assert!(error <= 1e-6 && error <= 1e-5 * exact.abs() + 1e-37, "gelu({x}) is {y} instead of {exact}");
        }
    }

    #[test]
    fn the_tanh_form_and_relu_are_what_they_are_called() {
        for x in (-9_000..9_000).map(|i| f64::from(i) * 1e-3) {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            let (y, exact) = (f64::from(Activation::GeluTanh.of(x as f32)), 0.5 * x * (1.0 + u.tanh()));
            assert!((y - exact).abs() <= 1e-6 * (1.0 + exact.abs()), "{x}: {y} instead of {exact}");
            assert_eq!(f64::from(Activation::Relu.of(x as f32)), f64::from(x as f32).max(0.0));
        }
    }

    #[test]
    fn many_values_change_as_one_does_and_nan_stays() {
        for activation in Activation::ALL {
            for len in 0..40 {
                let x: Vec<f32> = (0..len).map(|at| at as f32 * 0.37 - 5.0).collect();
                let mut y = x.clone();
                activation.change(&mut y);
                assert!(x.iter().zip(&y).all(|(x, y)| activation.of(*x) == *y), "{activation:?}");
            }
            assert!(activation.of(f32::NAN).is_nan());
            assert_eq!(activation.of(f32::INFINITY), f32::INFINITY);
        }
    }

    /// The complementary error function by its continued fraction far out and its series near zero, in FP64.
    fn erfc(x: f64) -> f64 {
        if x < 0.0 {
            return 2.0 - erfc(-x);
        }
        let bell = (-x * x).exp() / std::f64::consts::PI.sqrt();
        if x > 2.0 {
            return bell / (1..200).rev().fold(x, |below, k| x + f64::from(k) * 0.5 / below);
        }
        let (mut term, mut sum) = (x, x);
        for k in 1..100 {
            term *= 2.0 * x * x / (2.0 * f64::from(k) + 1.0);
            sum += term;
        }
        1.0 - 2.0 * bell * sum
    }
}
