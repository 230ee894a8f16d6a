//! The shelf of elements: how the numbers of a matrix are stored, and in which arithmetic they are multiplied.
//!
//! | element | weights | activations |
//! |---|---|---|
//! | `fp32` | FP32 | FP32 |
//! | `bf16` | BF16, widened exactly | FP32 |
//! | `int8` | INT8, one scale per row | INT8, one scale per token found while the product runs |
//! | `int4` | INT4, one scale per group of columns | as `int8` |
//!
//! Products of `fp32` and `bf16` are summed in FP32. Products of `int8` are summed exactly, in 32-bit integers, and become FP32 once, as
//! [`int8::dequantize`] says; whichever kernel computes them, the result is the same to the bit. Products of `int4` are summed so inside of
//! each group of columns, and groups in FP32.

pub mod int4;
pub mod int8;
mod layout;
mod terms;

use std::borrow::Cow;
use std::fmt;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

pub(crate) use layout::{Layout, Rows};
pub(crate) use terms::{OneRow, RowTerms};

use crate::buffer::Number;
use crate::error::{Result, expect_length};
use crate::{KernelError, Mask};

/// How a number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// 32-bit floating point.
    Fp32,
    /// The upper half of a 32-bit floating point number.
    Bf16,
    /// 8-bit integers with one scale per row.
    Int8,
    /// 4-bit integers with one scale per group of columns.
    Int4,
}

impl Element {
    /// Every element, widest first.
    pub const ALL: [Self; 4] = [Self::Fp32, Self::Bf16, Self::Int8, Self::Int4];

    /// Its name, in files and explanations.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    /// The element called `word`.
    ///
    /// # Errors
    /// When there is none; the message lists those there are.
    pub fn by_word(word: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|element| element.word() == word).ok_or_else(|| {
            let known = Self::ALL.map(Self::word).join(", ");
            KernelError::Refused(format!("no element is called {word}; there are {known}"))
        })
    }

    /// Whether activations are rounded to integers.
    pub const fn is_integer(self) -> bool {
        matches!(self, Self::Int8 | Self::Int4)
    }

    /// The activations of one token as products of this element see them.
    pub fn round_token(self, x: &[f32]) -> Cow<'_, [f32]> {
        match self {
            Self::Fp32 | Self::Bf16 => Cow::Borrowed(x),
            Self::Int8 | Self::Int4 => {
                let scale = int8::symmetric_scale(x);
                Cow::Owned(x.iter().map(|value| int8::round(*value, scale) * scale).collect())
            }
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The numbers of a `[rows, cols]` matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// FP32.
    Fp32(Vec<f32>),
    /// BF16.
    Bf16(Vec<bf16>),
    /// INT8: a weight is `value * scale` of its row.
    Int8 {
        /// `[rows, cols]`.
        values: Vec<i8>,
        /// `[rows]`, finite and positive.
        scales: Vec<f32>,
    },
    /// INT4: a weight is `value * scale` of its group.
    Int4 {
        /// `[rows, cols]`, -7 to 7.
        values: Vec<i8>,
        /// `[rows, groups]`, finite and positive.
        scales: Vec<f16>,
        /// Columns of a group, 32 or a multiple of 64; the last group of a row may have fewer.
        group: usize,
    },
}

impl Values {
    /// FP32 weights rounded to `element`, each row by itself, and INT4 each [`int4::GROUP`] columns: `[rows, cols]`, row-major, to the
    /// nearest value and halves to even.
    ///
    /// # Errors
    /// When `weights` does not hold `rows * cols` values, or integers are asked of one that is NaN or infinite.
    pub fn round(weights: &[f32], rows: usize, cols: usize, element: Element) -> Result<Self> {
        expect_length("weights", weights.len(), rows * cols)?;
        Ok(match element {
            Element::Fp32 => Self::Fp32(weights.to_vec()),
            Element::Bf16 => Self::Bf16(weights.iter().map(|weight| bf16::from_f32(*weight)).collect()),
            Element::Int8 => {
                expect_finite(weights, cols)?;
                let row_of = |row: usize| &weights[row * cols..][..cols];
                let scales: Vec<f32> = (0..rows).map(|row| int8::symmetric_scale(row_of(row))).collect();
                let mut values = Vec::with_capacity(weights.len());
                for (row, scale) in scales.iter().enumerate() {
                    values.extend(row_of(row).iter().map(|weight| int8::round(*weight, *scale) as i8));
                }
                Self::Int8 { values, scales }
            }
            Element::Int4 => {
                expect_finite(weights, cols)?;
                let (mut values, mut scales) = (Vec::with_capacity(weights.len()), Vec::new());
                for group in weights.chunks(cols.max(1)).flat_map(|row| row.chunks(int4::GROUP)) {
                    let scale = int4::symmetric_scale(group);
                    values.extend(group.iter().map(|weight| int4::round(*weight, scale)));
                    scales.push(scale);
                }
                Self::Int4 { values, scales, group: int4::GROUP }
            }
        })
    }

    /// Their element.
    pub fn element(&self) -> Element {
        match self {
            Self::Fp32(_) => Element::Fp32,
            Self::Bf16(_) => Element::Bf16,
            Self::Int8 { .. } => Element::Int8,
            Self::Int4 { .. } => Element::Int4,
        }
    }

    /// The weight at `row`, `col` of a matrix of `cols` columns.
    pub fn weight(&self, row: usize, col: usize, cols: usize) -> f32 {
        let at = row * cols + col;
        match self {
            Self::Fp32(values) => values[at],
            Self::Bf16(values) => values[at].widen(),
            Self::Int8 { values, scales } => values[at].widen() * scales[row],
            Self::Int4 { values, scales, group } => {
                values[at].widen() * scales[row * cols.div_ceil(*group) + col / group].to_f32()
            }
        }
    }

    /// Fails unless these are the numbers of a `[rows, cols]` matrix.
    pub(crate) fn check(&self, rows: usize, cols: usize) -> Result<()> {
        let count = rows.checked_mul(cols);
        let count = count.ok_or_else(|| KernelError::Shape(format!("a [{rows}, {cols}] matrix is too large")))?;
        match self {
            Self::Fp32(values) => expect_length("weights", values.len(), count),
            Self::Bf16(values) => expect_length("weights", values.len(), count),
            Self::Int8 { values, scales } => {
                expect_length("weights", values.len(), count)?;
                expect_length("scales", scales.len(), rows)?;
                int8::check(scales, cols)
            }
            Self::Int4 { values, scales, group } => {
                expect_length("weights", values.len(), count)?;
                int4::check(values, scales, *group, rows, cols)
            }
        }
    }

    /// Sets what `mask` prunes to zero.
    pub(crate) fn prune(&mut self, mask: &Mask) {
        match self {
            Self::Fp32(values) => mask.apply(values),
            Self::Bf16(values) => mask.apply(values),
            Self::Int8 { values, .. } | Self::Int4 { values, .. } => mask.apply(values),
        }
    }
}

/// Fails where a weight of a matrix of `cols` columns is NaN or infinite.
fn expect_finite(weights: &[f32], cols: usize) -> Result<()> {
    match weights.iter().position(|weight| !weight.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let (row, col) = (at / cols, at % cols);
            Err(KernelError::Shape(format!("{} at row {row}, column {col} is no integer", weights[at])))
        }
    }
}

/// A number as one element stores it.
pub(crate) trait Stored: Number {
    /// The element.
    const ELEMENT: Element;

    /// Its value, before any scale.
    fn widen(self) -> f32;

    /// The numbers of this element, and the scales of their rows if it has any.
    fn of(values: &Values) -> Option<(&[Self], &[f32])>;
}

impl Stored for f32 {
    const ELEMENT: Element = Element::Fp32;

    fn widen(self) -> f32 {
        self
    }

    fn of(values: &Values) -> Option<(&[Self], &[f32])> {
        if let Values::Fp32(values) = values { Some((values, &[])) } else { None }
    }
}

impl Stored for bf16 {
    const ELEMENT: Element = Element::Bf16;

    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    fn of(values: &Values) -> Option<(&[Self], &[f32])> {
        if let Values::Bf16(values) = values { Some((values, &[])) } else { None }
    }
}

impl Stored for i8 {
    const ELEMENT: Element = Element::Int8;

    fn widen(self) -> f32 {
        f32::from(self)
    }

    fn of(values: &Values) -> Option<(&[Self], &[f32])> {
        if let Values::Int8 { values, scales } = values { Some((values, scales)) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random_values;

    #[test]
    fn every_element_has_a_name_and_rounds_to_its_nearest_value() {
        let (rows, cols) = (7, 33);
        let weights = random_values(rows * cols, 1);
        for element in Element::ALL {
            assert_eq!(Element::by_word(element.word()).unwrap(), element);
            let values = Values::round(&weights, rows, cols, element).unwrap();
            assert_eq!(values.element(), element);
            values.check(rows, cols).unwrap();
            let half_a_step = match element {
                Element::Fp32 => 0.0,
                Element::Bf16 => 1.0 / 512.0,
                Element::Int8 => 0.5001 / 127.0,
                Element::Int4 => 0.502 / 7.0,
            };
            for (at, weight) in weights.iter().enumerate() {
                let back = values.weight(at / cols, at % cols, cols);
                assert!((back - weight).abs() <= half_a_step, "{element}: {weight} became {back}");
            }
            assert!(Values::round(&weights, rows, cols + 1, element).is_err());
        }
        assert!(Element::by_word("fp8").is_err_and(|error| error.to_string().contains("bf16")));
        assert!(Values::round(&[1.0, f32::NAN], 1, 2, Element::Int8).is_err_and(|error| error.to_string().contains("column 1")));
    }
}
