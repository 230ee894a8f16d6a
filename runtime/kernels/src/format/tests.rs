//! The contract of every row of the table, on every tier of this CPU.

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::Pattern;
use crate::element::{Values, int8};
use crate::testing::{assert_close, patterned_matrix, random_matrix, random_values, rounded};
use crate::{Activation, Epilogue};

/// Compresses in every format and tier that does not refuse.
fn every_form(matrix: &SparseMatrix, bias: &[f32]) -> Vec<(Tier, Box<dyn Compressed>)> {
    let mut forms = Vec::new();
    for format in FORMATS {
        for tier in Tier::available() {
            let target = Target { tier, ..Target::this_cpu() };
            match format.compress(matrix, bias, &target) {
                Ok(form) => forms.push((tier, form)),
                Err(KernelError::Refused(_)) => {}
                Err(error) => panic!("{} on {tier}: {error}", format.word()),
            }
        }
    }
    forms
}

/// Every form of the matrix rounded to every element, against the plain product.
fn check(matrix: &SparseMatrix, x: &[f32], tokens: usize) {
    let bias = random_values(matrix.rows(), 3);
    for element in Element::ALL {
        let matrix = rounded(matrix, element).unwrap();
        let mut expected = vec![0.0; tokens * matrix.rows()];
        matrix.product(x, tokens, &bias, &mut expected).unwrap();
        let exact = exact_product(&matrix, x, tokens, &bias);
        for (tier, form) in every_form(&matrix, &bias) {
            let what = format!("{element} {} on {tier}, [{}, {}] by {tokens}", form.word(), matrix.rows(), matrix.cols());
            assert_eq!(form.expand(), matrix.expand(), "{what}");
            assert_eq!(form.element(), element);
            let mut y = vec![f32::NAN; expected.len()];
            form.product(&mut Operands::new(x, &mut y, tokens, matrix.rows(), matrix.cols()).unwrap()).unwrap();
            assert_close(&y, &expected, matrix.cols(), &what);
            if let Some(exact) = &exact {
                assert!(y == *exact, "{what}: integer sums are exact");
            }
            check_epilogues(&*form, x, tokens, exact.as_ref().unwrap_or(&expected), exact.is_some(), &what);
        }
    }
}

/// What a form gives with everything that may follow a product, against the same done to the plain results `expected`.
fn check_epilogues(form: &dyn Compressed, x: &[f32], tokens: usize, expected: &[f32], is_exact: bool, what: &str) {
    let (factor, residual) = (random_values(expected.len(), 6), random_values(expected.len(), 7));
    let activations = Activation::ALL.into_iter().map(Some).chain([None]);
    let others = [(None, None), (None, Some(&residual[..])), (Some(&factor[..]), None), (Some(&factor[..]), Some(&residual[..]))];
    for (activation, (factor, residual)) in activations.zip(others) {
        let epilogue = Epilogue { activation, factor, residual };
        let expected: Vec<f32> = expected.iter().enumerate().map(|(at, value)| epilogue.of(*value, at)).collect();
        let mut y = vec![f32::NAN; expected.len()];
        let operands = Operands::new(x, &mut y, tokens, form.mask().rows(), form.mask().cols()).unwrap();
        form.product(&mut operands.then(epilogue).unwrap()).unwrap();
        let what = format!("{what}, then {activation:?}, factor: {}, residual: {}", factor.is_some(), residual.is_some());
        assert_close(&y, &expected, form.mask().cols(), &what);
        assert!(!is_exact || y == expected, "{what}: to the bit");
    }
}

/// What integers give to the bit, where no activation is NaN or infinite.
fn exact_product(matrix: &SparseMatrix, x: &[f32], tokens: usize, bias: &[f32]) -> Option<Vec<f32>> {
    let Values::Int8 { values, scales } = matrix.values() else { return None };
    if !is_finite(x) {
        return None;
    }
    let cols = matrix.cols();
    let mut y = Vec::new();
    for token in 0..tokens {
        let x = &x[token * cols..][..cols];
        let token_scale = int8::symmetric_scale(x);
        let x: Vec<i32> = x.iter().map(|value| int8::round(*value, token_scale) as i32).collect();
        for (row, row_scale) in scales.iter().enumerate() {
            let sum = x.iter().zip(&values[row * cols..]).map(|(x, weight)| x * i32::from(*weight)).sum();
            y.push(int8::dequantize(sum, *row_scale, token_scale, bias[row]));
        }
    }
    Some(y)
}

/// One of all patterns, none among them.
fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![Just(Pattern::Uniform), prop::sample::select(&Pattern::KNOWN[..])]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_product_agrees_with_the_plain_one(
        rows in 1usize..80, cols in 1usize..200, tokens in 1usize..40, density in prop_oneof![Just(0.0), Just(1.0), 0.02..0.9f64],
        pattern in pattern(), seed: u64
    ) {
        let matrix = patterned_matrix(pattern, rows, cols, density, seed);
        check(&matrix, &random_values(tokens * cols, seed ^ 1), tokens);
    }

    #[test]
    fn nan_and_infinity_reach_only_what_they_should(cols in 1usize..150, tokens in 1usize..20, pattern in pattern(), seed: u64) {
        let matrix = patterned_matrix(pattern, 33, cols, 0.3, seed);
        let mut x = random_values(tokens * cols, seed);
        let places = x.len();
        x[seed as usize % places] = f32::NAN;
        x[(seed >> 8) as usize % places] = f32::INFINITY;
        x[(seed >> 16) as usize % places] = f32::NEG_INFINITY;
        check(&matrix, &x, tokens);
    }
}

#[test]
fn odd_shapes_and_small_numbers() {
    for (rows, cols) in [(1, 1), (1, 1000), (1000, 1), (17, 64), (33, 1025), (40, 512), (20, 2100)] {
        for tokens in [0, 1, 2, 15, 16, 17, 24, 50] {
            check(&random_matrix(rows, cols, 0.25, 5), &random_values(tokens * cols, 6), tokens);
        }
    }
    for pattern in Pattern::KNOWN {
        for (rows, cols, tokens) in
            [(1, 1, 1), (17, 65, 3), (100, 1300, 5), (130, 70, 200), (7, 260, 33), (7, 2051, 65), (13, 8201, 65)]
        {
            check(&patterned_matrix(pattern, rows, cols, 0.25, 5), &random_values(tokens * cols, 6), tokens);
        }
    }
    let holes = Mask::from_fn(30, 100, |row, _| row % 3 == 0 && row != 9);
    check(&SparseMatrix::new(&random_values(3000, 1), holes).unwrap(), &random_values(700, 2), 7);
    let denormal: Vec<f32> = random_values(20 * 64, 9).into_iter().map(|value| value * 1e-40).collect();
    check(&SparseMatrix::new(&denormal, Mask::from_fn(20, 64, |_, _| true)).unwrap(), &random_values(640, 2), 10);
    check(&SparseMatrix::new(&[], Mask::from_fn(0, 5, |_, _| true)).unwrap(), &[1.0; 10], 2);
    check(&SparseMatrix::new(&[], Mask::from_fn(5, 0, |_, _| true)).unwrap(), &[], 2);
}

#[test]
fn threads_share_the_tokens_of_a_product() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    for (pattern, tokens) in [(Pattern::Uniform, 1000), (Pattern::Block { rows: 1, cols: 4 }, 333)] {
        let mut x = random_values(tokens * 90, 6);
        x[300 * 90 + 7] = f32::NAN;
        pool.install(|| check(&patterned_matrix(pattern, 50, 90, 0.3, 5), &x, tokens));
    }
}

#[test]
fn groups_of_int4_may_be_narrow_or_wide() {
    for (group, cols) in [(32, 20), (32, 150), (64, 200), (192, 500)] {
        let matrix = random_matrix(9, cols, 0.4, 3);
        let scales = random_values(9 * cols.div_ceil(group), 4).into_iter().map(|value| f16::from_f32(value + 1.01)).collect();
        let values = matrix.expand().iter().map(|weight| (weight * 7.0).round() as i8).collect();
        let matrix = SparseMatrix::of(Values::Int4 { values, scales, group }, matrix.mask().clone()).unwrap();
        let (x, bias) = (random_values(5 * cols, 5), random_values(9, 6));
        let mut expected = vec![0.0; 5 * 9];
        matrix.product(&x, 5, &bias, &mut expected).unwrap();
        for (tier, form) in every_form(&matrix, &bias) {
            let what = format!("{} on {tier}, groups of {group}", form.word());
            assert_eq!(form.expand(), matrix.expand(), "{what}");
            let mut y = vec![0.0; expected.len()];
            form.product(&mut Operands::new(&x, &mut y, 5, 9, cols).unwrap()).unwrap();
            // Weights are up to fourteen.
            let scaled = |y: &[f32]| y.iter().map(|value| value / 14.0).collect::<Vec<_>>();
            assert_close(&scaled(&y), &scaled(&expected), cols, &what);
        }
    }
}

#[test]
fn values_can_change_under_the_mask() {
    for pattern in [Pattern::Uniform, Pattern::Block { rows: 1, cols: 4 }] {
        values_can_change(&patterned_matrix(pattern, 50, 90, 0.3, 1));
    }
}

fn values_can_change(first: &SparseMatrix) {
    let second = SparseMatrix::new(&random_values(50 * 90, 8), (**first.mask()).clone()).unwrap();
    let (bias, x) = (random_values(50, 4), random_values(20 * 90, 5));
    for element in Element::ALL {
        let second = rounded(&second, element).unwrap();
        let mut expected = vec![0.0; 20 * 50];
        second.product(&x, 20, &bias, &mut expected).unwrap();
        for (tier, mut form) in every_form(&rounded(first, element).unwrap(), &[0.0; 50]) {
            form.set_values(&second, &bias).unwrap();
            assert_eq!(form.expand(), second.expand());
            let mut y = vec![0.0; expected.len()];
            form.product(&mut Operands::new(&x, &mut y, 20, 50, 90).unwrap()).unwrap();
            assert_close(&y, &expected, 90, &format!("{element} {} on {tier}", form.word()));
            let other = rounded(&random_matrix(50, 90, 0.3, 2), element).unwrap();
            assert!(form.set_values(&other, &bias).is_err(), "{} took another mask", form.word());
            let other = rounded(&second, if element == Element::Fp32 { Element::Bf16 } else { Element::Fp32 }).unwrap();
            assert!(form.set_values(&other, &bias).is_err(), "{} took another element", form.word());
        }
    }
}

#[test]
fn wrong_lengths_are_errors() {
    let matrix = random_matrix(8, 12, 0.5, 1);
    assert!(Operands::new(&[0.0; 11], &mut [0.0; 8], 1, 8, 12).is_err());
    let (mut y, epilogue) = ([0.0; 8], Epilogue { residual: Some(&[0.0; 7]), ..Epilogue::default() });
    assert!(Operands::new(&[0.0; 12], &mut y, 1, 8, 12).unwrap().then(epilogue).is_err());
    for format in FORMATS {
        assert!(format.compress(&matrix, &[0.0; 7], &Target::this_cpu()).is_err(), "{}", format.word());
    }
    for (_, form) in every_form(&matrix, &[0.0; 8]) {
        let mut y = [0.0; 7];
        assert!(form.product(&mut Operands::new(&[0.0; 12], &mut y, 1, 7, 12).unwrap()).is_err(), "{}", form.word());
    }
}

#[test]
fn every_element_has_formats_on_every_tier() {
    for (element, pattern) in Element::ALL
        .into_iter()
        .flat_map(|element| [Pattern::Uniform].into_iter().chain(Pattern::KNOWN).map(move |pattern| (element, pattern)))
    {
        let matrix = rounded(&patterned_matrix(pattern, 48, 256, 0.3, 1), element).unwrap();
        for tier in Tier::available() {
            let target = Target { tier, ..Target::this_cpu() };
            for format in FORMATS {
                let stored = format.compress(&matrix, &[0.0; 48], &target);
                let must = match format.word() {
                    "dense" | "bitmask" => true,
                    "gemm" => element == Element::Fp32,
                    "sell" | "rowset" if element == Element::Int4 => false,
                    "sell" | "rowset" if element.is_integer() => tier == Tier::Avx512 && tier.for_integers() == tier,
                    "sell" | "rowset" => tier == Tier::Avx512,
                    "rowblock" => !element.is_integer() && tier > Tier::Portable,
                    "block" if element == Element::Int4 => false,
                    "block" if element.is_integer() => matches!(pattern, Pattern::Block { rows: 1, .. }),
                    "block" => matches!(pattern, Pattern::Block { .. }),
                    word => panic!("this test does not know {word}"),
                };
                assert_eq!(stored.is_ok(), must, "{element} {} of {pattern} on {tier}", format.word());
                if let Ok(stored) = stored {
                    assert!(stored.weight_bytes_read(1) <= stored.footprint().bytes());
                    assert!(stored.weight_bytes_read(1000) >= stored.weight_bytes_read(1));
                }
            }
        }
    }
}

#[test]
fn the_table_is_well_kept() {
    for format in FORMATS {
        assert_eq!(by_word(format.word()).unwrap().word(), format.word());
        assert!(!format.about().is_empty());
    }
    assert!(by_word("csr").is_err_and(|error| error.to_string().contains("dense")));
}
