//! What a recipe demands of its result.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::value::{Call, StepRef, Value};

/// How two sides are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
}

impl Comparison {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
            Comparison::Greater => ">",
            Comparison::AtLeast => ">=",
            Comparison::Equal => "==",
        }
    }

    /// Whether it holds between two numbers; never if one is NaN.
    pub fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Comparison::Less => left < right,
            Comparison::AtMost => left <= right,
            Comparison::Greater => left > right,
            Comparison::AtLeast => left >= right,
            Comparison::Equal => left == right,
        }
    }
}

/// One side of a requirement: numbers and measurements, combined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// A number with its unit.
    Value(Value),
    /// A metric to measure.
    Metric(Call),
    /// `-a`
    Negative(Box<Measured>),
    /// `a + b`
    Sum(Box<Measured>, Box<Measured>),
    /// `a - b`
    Difference(Box<Measured>, Box<Measured>),
    /// `a * b`
    Product(Box<Measured>, Box<Measured>),
    /// `a / b`
    Quotient(Box<Measured>, Box<Measured>),
}

/// A `require`: both sides and how they must compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requirement {
    /// The side before the comparison.
    pub left: Measured,
    /// The comparison.
    pub comparison: Comparison,
    /// The side after it.
    pub right: Measured,
}

impl Measured {
    /// The number that it comes to, in base units: shares of 1 for ratios and points, seconds, bytes. `measure` gives each
    /// metric's value in the same units.
    ///
    /// # Errors
    /// The first error of `measure`.
    pub fn evaluate<E>(&self, measure: &mut impl FnMut(&Call) -> Result<f64, E>) -> Result<f64, E> {
        Ok(match self {
            Measured::Value(value) => base(value),
            Measured::Metric(call) => measure(call)?,
            Measured::Negative(a) => -a.evaluate(measure)?,
            Measured::Sum(a, b) => a.evaluate(measure)? + b.evaluate(measure)?,
            Measured::Difference(a, b) => a.evaluate(measure)? - b.evaluate(measure)?,
            Measured::Product(a, b) => a.evaluate(measure)? * b.evaluate(measure)?,
            Measured::Quotient(a, b) => a.evaluate(measure)? / b.evaluate(measure)?,
        })
    }

    /// Every metric in it, from left to right.
    pub fn metrics(&self) -> Vec<&Call> {
        match self {
            Measured::Value(_) => Vec::new(),
            Measured::Metric(call) => vec![call],
            Measured::Negative(a) => a.metrics(),
            Measured::Sum(a, b) | Measured::Difference(a, b) | Measured::Product(a, b) | Measured::Quotient(a, b) => {
                let mut all = a.metrics();
                all.extend(b.metrics());
                all
            }
        }
    }

    pub(crate) fn each_step(&self, visit: &mut impl FnMut(&StepRef)) {
        self.metrics().into_iter().for_each(|call| call.each_step(visit));
    }
}

/// A quantity in base units. The checker lets only quantities into a requirement.
fn base(value: &Value) -> f64 {
    match value {
        Value::Number(x) | Value::Ratio(x) | Value::Seconds(x) => *x,
        Value::Points(points) => points / 100.0,
        Value::Integer(x) => *x as f64,
        Value::Duration(duration) => duration.unit.to_base(duration.amount),
        Value::Rows(x) | Value::Tokens(x) | Value::Bytes(x) | Value::Bits(x) => *x as f64,
        _ => f64::NAN,
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measured::Value(value) => value.fmt(f),
            Measured::Metric(call) => call.fmt(f),
            Measured::Negative(a) => write!(f, "-{a}"),
            Measured::Sum(a, b) => write!(f, "({a} + {b})"),
            Measured::Difference(a, b) => write!(f, "({a} - {b})"),
            Measured::Product(a, b) => write!(f, "({a} * {b})"),
            Measured::Quotient(a, b) => write!(f, "({a} / {b})"),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.comparison.symbol(), self.right)
    }
}
