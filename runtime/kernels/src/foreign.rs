//! What bytes from outside may do to this crate, as properties that hold for any bytes whatever. The tests of this crate and its fuzz
//! targets share them; nothing else calls them.

use std::sync::LazyLock;

use half::f16;

use crate::{Choice, Mask, Options, SparseLinear, SparseMatrix, Tuning, Values, format::FORMATS};

#[cfg(target_arch = "x86_64")]
pub use crate::jit::foreign::code;

/// Weights of the largest matrix that is tried: more take long and show no more.
const MOST_WEIGHTS: usize = 1 << 14;

/// `base`, changed as `edits` say, over and over: two bytes of place, one of lengths, and as many bytes as its lower half that replace as
/// many as its upper half.
pub(crate) fn edited(base: &[u8], mut edits: &[u8]) -> Vec<u8> {
    let mut bytes = base.to_vec();
    while let Some((&[low, high, lengths], rest)) = edits.split_first_chunk() {
        let (new, rest) = rest.split_at(usize::from(lengths % 16).min(rest.len()));
        let place = usize::from(u16::from_le_bytes([low, high])) % (bytes.len() + 1);
        let end = (place + usize::from(lengths / 16)).min(bytes.len());
        bytes.splice(place..end, new.iter().copied());
        edits = rest;
    }
    bytes
}

/// `bytes` as they are, or what they make of `base`: their first byte decides.
pub(crate) fn from_scratch_or(base: &[u8], bytes: &[u8]) -> Vec<u8> {
    match bytes.split_first() {
        Some((first, edits)) if first % 2 == 0 => edited(base, edits),
        Some((_, raw)) => raw.to_vec(),
        None => Vec::new(),
    }
}

/// A stored mask is refused, or it is what it says and every format computes with it; written, it reads as the same.
pub fn mask(bytes: &[u8]) {
    const WHOLE: &[u8] = br#"{"rows":3,"cols":70,"words":[18446744073709551615,63,0,1,1311768467463790320,32]}"#;
    let Ok(mask) = serde_json::from_slice::<Mask>(&from_scratch_or(WHOLE, bytes)) else { return };
    // A mask of millions of rows without columns is one, and takes long.
    if mask.rows().saturating_mul(mask.cols().max(1)) > MOST_WEIGHTS {
        return;
    }
    let (rows, cols) = (mask.rows(), mask.cols());
    let kept = (0..rows).map(|row| mask.kept_cols(row).filter(|col| *col < cols).count());
    assert_eq!(kept.sum::<usize>(), mask.kept());
    let written = serde_json::to_vec(&mask).expect("a mask can be written");
    assert_eq!(serde_json::from_slice::<Mask>(&written).expect("what was written is a mask"), mask);
    let weights = vec![1.0; rows * cols];
    for format in FORMATS {
        let options = Options { tokens: vec![1, 3], choice: Choice::Always(format.word()), ..Options::default() };
        let Ok(layer) = SparseLinear::prepare(&weights, mask.clone(), None, &options) else { continue };
        let mut y = vec![0.0; 3 * rows];
        layer.forward(&vec![1.0; 3 * cols], 3, &mut y).expect("operands of its shape");
        for (row, sum) in y.iter().enumerate().take(rows) {
            assert_eq!(*sum, mask.kept_in_row(row) as f32, "{}", format.word());
        }
    }
}

/// Integers and their scales are refused, or every format that takes them computes what they mean. `bytes` are rows and columns, whether
/// values have four bits and how many of them share a scale, then scales, mask and values in turn, as far as they go.
pub fn matrix(bytes: &[u8]) {
    let Some((&[rows, cols, kind], bytes)) = bytes.split_first_chunk() else { return };
    let (rows, cols) = (usize::from(rows % 40), usize::from(cols));
    let (is_int4, group) = (kind % 2 == 1, usize::from(kind / 2).max(1));
    let mut rest = bytes.iter().copied();
    let missing = usize::from(kind >> 6 == 3);
    let count = (if is_int4 { rows * cols.div_ceil(group) } else { rows }).saturating_sub(missing);
    let scales: Vec<f32> =
        (0..count).map(|_| f32::from_le_bytes(std::array::from_fn(|at| rest.next().unwrap_or([0, 0, 0x80, 0x3f][at])))).collect();
    let mask =
        Mask::from_fn(rows, cols, |row, col| bytes.get((row * cols + col) / 8).is_some_and(|byte| byte >> (col % 8) & 1 == 1));
    let values = (0..rows * cols).map(|_| rest.next().unwrap_or(1) as i8).collect();
    let values = if is_int4 {
        Values::Int4 { values, scales: scales.into_iter().map(f16::from_f32).collect(), group }
    } else {
        Values::Int8 { values, scales }
    };
    let Ok(matrix) = SparseMatrix::of(values, mask) else { return };
    let expanded = matrix.expand();
    assert!(expanded.iter().all(|weight| weight.is_finite()));
    for format in FORMATS {
        let options = Options { tokens: vec![1, 5], choice: Choice::Always(format.word()), ..Options::default() };
        let Ok(layer) = SparseLinear::of(&matrix, None, &options) else { continue };
        assert_eq!(layer.expand(), expanded, "{}", format.word());
        let (mut y, mut short) = (vec![0.0; 5 * rows], vec![0.0; rows + 1]);
        layer.forward(&vec![1.0; 5 * cols], 5, &mut y).expect("operands of its shape");
        assert!(layer.forward(&vec![1.0; cols + 1], 1, &mut y).is_err() || rows == 0 && cols == 0);
        assert!(layer.forward(&vec![1.0; cols], 1, &mut short).is_err());
        assert_eq!(layer.forward(&[], usize::MAX, &mut []).is_ok(), rows == 0 && cols == 0);
    }
}

/// A tuning file is refused, with a reason, or it decides which kernel runs; written, it reads as the same.
pub fn tuning(bytes: &[u8]) {
    static WHOLE: LazyLock<String> = LazyLock::new(|| {
        let tuning = Tuning::default();
        SparseLinear::of(&small(), None, &deciding(Choice::Measure(tuning.clone()))).expect("a small layer");
        tuning.to_json().expect("times can be written")
    });
    let bytes = from_scratch_or(WHOLE.as_bytes(), bytes);
    let tuning = match std::str::from_utf8(&bytes).map(Tuning::parse) {
        Ok(Ok(tuning)) => tuning,
        Ok(Err(reason)) => return assert!(!reason.is_empty()),
        Err(_) => return,
    };
    let written = |tuning: &Tuning| tuning.to_json().expect("times can be written");
    let again = Tuning::parse(&written(&tuning)).expect("what was written is a tuning file");
    assert_eq!(written(&again), written(&tuning));
    let layer = SparseLinear::of(&small(), None, &deciding(Choice::Frozen(tuning))).expect("a small layer");
    layer.forward(&[1.0; COLS], 1, &mut [0.0; ROWS]).expect("operands of its shape");
}

/// Outputs of a small layer, whose code is quickly made.
const ROWS: usize = 5;

/// Its inputs.
const COLS: usize = 24;

/// Every fourth weight of it.
fn small() -> SparseMatrix {
    SparseMatrix::new(&[1.0; ROWS * COLS], Mask::from_fn(ROWS, COLS, |row, col| (row + col) % 4 == 0))
        .expect("as many weights as places")
}

/// Options that serve one token.
fn deciding(choice: Choice) -> Options {
    Options { tokens: vec![1], choice, ..Options::default() }
}
