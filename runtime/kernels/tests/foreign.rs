//! What comes from outside of the process, masks, numbers and tuning files, may say anything: it is refused, or it works.

use std::fs;

use proptest::prelude::*;
use sparsec_kernels::format::FORMATS;
use sparsec_kernels::{Choice, Element, Mask, Options, SparseLinear, SparseMatrix, Tuning, Values};

/// Text in which some bytes are others and some are missing.
fn changed(text: &str) -> impl Strategy<Value = String> {
    let change = (0..text.len(), prop::sample::select(&b"0123456789-.e[]{},:\" x"[..]));
    let text = text.as_bytes().to_vec();
    (prop::collection::vec(change, 0..4), 0..8usize, any::<bool>()).prop_map(move |(changes, cut, is_cut)| {
        let mut bytes = text.clone();
        for (place, byte) in changes {
            bytes[place] = byte;
        }
        if is_cut {
            bytes.truncate(bytes.len() - cut);
        }
        String::from_utf8(bytes).unwrap()
    })
}

/// Whether a mask is what it says, and every format computes with it.
fn assert_usable(mask: Mask) {
    let (rows, cols) = (mask.rows(), mask.cols());
    assert_eq!((0..rows).map(|row| mask.kept_cols(row).filter(|col| *col < cols).count()).sum::<usize>(), mask.kept());
    let weights = vec![1.0; rows * cols];
    for format in FORMATS {
        let options = Options { tokens: vec![1, 3], choice: Choice::Always(format.word()), ..Options::default() };
        let Ok(layer) = SparseLinear::prepare(&weights, mask.clone(), None, &options) else { continue };
        let mut y = vec![0.0; 3 * rows];
        layer.forward(&vec![1.0; 3 * cols], 3, &mut y).unwrap();
        for (row, sum) in y.iter().enumerate().take(rows) {
            assert_eq!(*sum, mask.kept_in_row(row) as f32, "{}", format.word());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_stored_mask_is_whole_or_refused(text in changed(r#"{"rows":3,"cols":70,"words":[18446744073709551615,63,0,1,1311768467463790320,32]}"#)) {
        // A mask of millions of rows without columns is one, and takes long.
        if let Ok(mask) = serde_json::from_str::<Mask>(&text) && mask.rows() * mask.cols().max(1) < 1 << 16 {
            assert_usable(mask);
        }
    }

    #[test]
    fn words_are_a_mask_or_refused(rows in any::<usize>(), cols in any::<usize>(), words in prop::collection::vec(any::<u64>(), 0..5)) {
        for (rows, cols) in [(rows, cols), (rows % 4, cols % 200)] {
            if let Ok(mask) = Mask::from_words(rows, cols, words.clone()) && rows.saturating_mul(cols.max(1)) < 1 << 16 {
                assert_usable(mask);
            }
        }
    }

    #[test]
    fn numbers_that_do_not_belong_together_are_refused(
        values in prop::collection::vec(any::<i8>(), 0..20),
        scales in prop::collection::vec(any::<f32>(), 0..5),
        rows in 0..4usize,
        cols in 0..6usize,
    ) {
        let belong = values.len() == rows * cols && scales.len() == rows;
        let are_scales = scales.iter().all(|scale| scale.is_finite() && *scale > 0.0);
        let matrix = SparseMatrix::of(Values::Int8 { values, scales }, Mask::from_fn(rows, cols, |row, col| (row + col) % 2 == 0));
        prop_assert!(matrix.is_err() || (belong && are_scales));
        let Ok(matrix) = matrix else { return Ok(()) };
        let layer = SparseLinear::of(&matrix, None, &Options { choice: Choice::Frozen(Tuning::default()), ..Options::default() });
        let layer = layer.unwrap();
        let (mut y, mut short) = (vec![0.0; rows], vec![0.0; rows + 1]);
        layer.forward(&vec![1.0; cols], 1, &mut y).unwrap();
        prop_assert!(layer.forward(&vec![1.0; cols + 1], 1, &mut y).is_err() && layer.forward(&vec![1.0; cols], 1, &mut short).is_err());
        prop_assert!(layer.forward(&[], usize::MAX, &mut y).is_err());
    }

    #[test]
    fn a_tuning_file_decides_or_is_refused(text in changed(&tuning_file())) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tuning.json");
        fs::write(&path, &text).unwrap();
        match Tuning::load(&path) {
            Ok(tuning) => {
                layer(Choice::Frozen(tuning));
            }
            Err(error) => prop_assert!(error.to_string().contains("tuning.json"), "{}", error),
        }
    }
}

/// A layer that serves one token.
fn layer(choice: Choice) -> SparseLinear {
    let weights: Vec<f32> = (0..24 * 40).map(|at| if at % 4 == 0 { 1.0 } else { 0.0 }).collect();
    let options = Options { tokens: vec![1], choice, ..Options::default() };
    SparseLinear::prepare(&weights, Mask::of_nonzeros(&weights, 24, 40), None, &options).unwrap()
}

/// What measuring a layer writes.
fn tuning_file() -> String {
    let (tuning, folder) = (Tuning::default(), tempfile::tempdir().unwrap());
    assert_eq!(layer(Choice::Measure(tuning.clone())).explain().element, Element::Fp32);
    let path = folder.path().join("tuning.json");
    tuning.save(&path).unwrap();
    fs::read_to_string(path).unwrap()
}
