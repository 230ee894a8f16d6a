//! Numbers with units: which units there are, and which kinds of value they make.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kind::Kind;

/// A unit that a number in a recipe can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A bare number.
    One,
    /// `%`: a share.
    Percent,
    /// Percentage points: an absolute difference of two shares.
    Points,
    /// Passes over a stage's training data.
    Epochs,
    /// Optimizer steps.
    Steps,
    /// Tokens of a text.
    Tokens,
    /// Rows of a data set.
    Rows,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
    /// Bytes.
    Bytes,
    /// 1000 bytes.
    Kilobytes,
    /// 1000^2 bytes.
    Megabytes,
    /// 1000^3 bytes.
    Gigabytes,
    /// 1024 bytes.
    Kibibytes,
    /// 1024^2 bytes.
    Mebibytes,
    /// 1024^3 bytes.
    Gibibytes,
    /// Bits of a number format.
    Bits,
}

/// Every unit with the spellings that are read; the first is the one that is written, the second its singular if it has one.
const UNITS: &[(Unit, &[&str])] = &[
    (Unit::Percent, &["%"]),
    (Unit::Points, &["points", "point"]),
    (Unit::Epochs, &["epochs", "epoch"]),
    (Unit::Steps, &["steps", "step"]),
    (Unit::Tokens, &["tokens", "token"]),
    (Unit::Rows, &["rows", "row"]),
    (Unit::Milliseconds, &["ms"]),
    (Unit::Seconds, &["s"]),
    (Unit::Minutes, &["min"]),
    (Unit::Hours, &["h"]),
    (Unit::Bytes, &["bytes", "byte"]),
    (Unit::Kilobytes, &["KB"]),
    (Unit::Megabytes, &["MB"]),
    (Unit::Gigabytes, &["GB"]),
    (Unit::Kibibytes, &["KiB"]),
    (Unit::Mebibytes, &["MiB"]),
    (Unit::Gibibytes, &["GiB"]),
    (Unit::Bits, &["bits", "bit"]),
];

impl Unit {
    /// The unit of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        UNITS.iter().find(|(_, spellings)| spellings.contains(&text)).map(|(unit, _)| *unit)
    }

    /// Every spelling, for suggestions and completion.
    pub fn spellings() -> impl Iterator<Item = &'static str> {
        UNITS.iter().flat_map(|(_, spellings)| spellings.iter().copied())
    }

    /// The spelling that is written; empty for a bare number.
    pub fn word(self) -> &'static str {
        UNITS.iter().find(|(unit, _)| *unit == self).map_or("", |(_, spellings)| spellings[0])
    }

    /// The kind that a number with this unit has where nothing else is asked for.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Unit::One => Kind::Number,
            Unit::Percent => Kind::Ratio,
            Unit::Points => Kind::Points,
            Unit::Epochs | Unit::Steps => Kind::Duration,
            Unit::Milliseconds | Unit::Seconds | Unit::Minutes | Unit::Hours => Kind::Time,
            Unit::Tokens => Kind::Tokens,
            Unit::Rows => Kind::Rows,
            Unit::Bytes
            | Unit::Kilobytes
            | Unit::Megabytes
            | Unit::Gigabytes
            | Unit::Kibibytes
            | Unit::Mebibytes
            | Unit::Gibibytes => Kind::Bytes,
            Unit::Bits => Kind::Bits,
        }
    }

    /// The units that a value of `kind` can be written in; empty where `kind` is not a quantity.
    pub(crate) fn of_kind(kind: &Kind) -> &'static [Unit] {
        match kind {
            Kind::Number | Kind::Integer => &[Unit::One],
            Kind::Ratio => &[Unit::Percent],
            Kind::Points => &[Unit::Points],
            Kind::Duration => &[Unit::Epochs, Unit::Steps],
            Kind::Time => &[Unit::Milliseconds, Unit::Seconds, Unit::Minutes, Unit::Hours],
            Kind::Tokens => &[Unit::Tokens],
            Kind::Rows => &[Unit::Rows],
            Kind::Bytes => &[
                Unit::Bytes,
                Unit::Kibibytes,
                Unit::Mebibytes,
                Unit::Gibibytes,
                Unit::Kilobytes,
                Unit::Megabytes,
                Unit::Gigabytes,
            ],
            Kind::Bits => &[Unit::Bits],
            _ => &[],
        }
    }

    /// An amount of this in the kind's base unit: shares of 1, seconds, bytes, or itself.
    pub(crate) fn to_base(self, amount: f64) -> f64 {
        match self {
            // Divided, so that 55 % is the very number that 0.55 is.
            Unit::Percent => amount / 100.0,
            Unit::Milliseconds => amount / 1000.0,
            unit => amount * unit.scale(),
        }
    }

    /// An amount of the kind's base unit in this unit.
    pub(crate) fn in_unit(self, amount: f64) -> f64 {
        match self {
            Unit::Percent => amount * 100.0,
            Unit::Milliseconds => amount * 1000.0,
            unit => amount / unit.scale(),
        }
    }

    /// Whether amounts of both can be added.
    pub(crate) fn converts_to(self, other: Unit) -> bool {
        self == other || (self.kind() == other.kind() && self.kind() != Kind::Duration)
    }

    fn scale(self) -> f64 {
        match self {
            Unit::Minutes => 60.0,
            Unit::Hours => 3600.0,
            Unit::Kilobytes => 1e3,
            Unit::Megabytes => 1e6,
            Unit::Gigabytes => 1e9,
            Unit::Kibibytes => 1024.0,
            Unit::Mebibytes => 1024.0 * 1024.0,
            Unit::Gibibytes => 1024.0 * 1024.0 * 1024.0,
            Unit::One
            | Unit::Percent
            | Unit::Points
            | Unit::Epochs
            | Unit::Milliseconds
            | Unit::Steps
            | Unit::Tokens
            | Unit::Rows
            | Unit::Seconds
            | Unit::Bytes
            | Unit::Bits => 1.0,
        }
    }
}

/// A number and its unit, as written or computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantity {
    pub(crate) amount: f64,
    pub(crate) unit: Unit,
}

impl Quantity {
    pub(crate) fn new(amount: f64, unit: Unit) -> Self {
        Self { amount, unit }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Amount(self.amount))?;
        match self.unit {
            Unit::One => Ok(()),
            Unit::Percent => f.write_str("%"),
            unit => {
                let plural = unit.word();
                let spelling = if self.amount == 1.0 { plural.strip_suffix('s').filter(|s| s.len() > 1) } else { None };
                write!(f, " {}", spelling.unwrap_or(plural))
            }
        }
    }
}

/// Writes a number as a person would: exact, without noise, in scientific notation where that is shorter to read.
pub(crate) struct Amount(pub(crate) f64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        // Twelve significant digits hide the rounding of `75 * 0.01` and keep everything a recipe says.
        let rounded: f64 = format!("{:.11e}", self.0).parse().unwrap_or(self.0);
        if size != 0.0 && !(1e-3..1e15).contains(&size) { write!(f, "{rounded:e}") } else { write!(f, "{rounded}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_reads_back_as_its_unit() {
        for (unit, spellings) in UNITS {
            for spelling in *spellings {
                assert_eq!(Unit::parse(spelling), Some(*unit));
            }
            assert!(Unit::of_kind(&unit.kind()).contains(unit), "{unit:?} does not fit its own kind");
        }
    }

    #[test]
    fn quantities_are_written_as_people_write_them() {
        let written = |amount, unit| Quantity::new(amount, unit).to_string();
        assert_eq!(written(75.0, Unit::Percent), "75%");
        assert_eq!(written(1.0, Unit::Epochs), "1 epoch");
        assert_eq!(written(1.0, Unit::Milliseconds), "1 ms");
        assert_eq!(written(2e-4, Unit::One), "2e-4");
        assert_eq!(written(0.1 + 0.2, Unit::One), "0.3");
    }
}
