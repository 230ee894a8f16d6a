//! The shelf of patterns: how the zeros of a pruned weight must lie.

use std::sync::Arc;

use sparsec_compiler::{Kind, Literal, Value, Word};

use crate::shelf::{Defaulted, Parameter, Shelf, unexpected};
use crate::{Fault, Result, row};

mod n_of_m;
mod unstructured;

pub use n_of_m::NOfM;
pub use unstructured::Unstructured;

/// How zeros lie, as pruners see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Anywhere.
    Unstructured,
    /// In each row, `kept` of every `of` inputs that follow each other stay.
    Groups {
        /// Weights that stay.
        kept: usize,
        /// Weights of a group.
        of: usize,
    },
}

impl Pattern {
    /// Checks that `sparsity` is what the pattern makes it.
    ///
    /// # Errors
    /// When it is not, or a group keeps more than it has.
    pub fn check(self, sparsity: f64) -> Result<()> {
        let Self::Groups { kept, of } = self else { return Ok(()) };
        if kept > of {
            return Err(Fault::input(format!("a group of {of} weights cannot keep {kept}")));
        }
        let made = 1.0 - kept as f64 / of as f64;
        if (made - sparsity).abs() > 1e-9 {
            return Err(Fault::input(format!("{self} removes {}%, and {}% are asked for", made * 100.0, sparsity * 100.0))
                .help(format!("write `sparsity: {}%`", made * 100.0)));
        }
        Ok(())
    }

    /// Checks that rows of `inputs` weights divide into the pattern's groups.
    ///
    /// # Errors
    /// When they do not.
    pub fn fits(self, path: &str, inputs: usize) -> Result<()> {
        match self {
            Self::Groups { of, .. } if !inputs.is_multiple_of(of) => {
                Err(Fault::input(format!("`{path}` has {inputs} inputs, which groups of {of} do not divide"))
                    .help(format!("leave it out: `… and multiple(in_features, of: {of})`")))
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unstructured => f.write_str("unstructured"),
            Self::Groups { kept, of } => write!(f, "{kept}:{of}"),
        }
    }
}

/// A word for a pattern: one file of this folder, one row of [`PATTERNS`].
pub trait Form: std::fmt::Debug + Send + Sync {
    /// The pattern that it stands for.
    fn pattern(&self) -> Pattern;
}

/// Every word for a pattern.
pub static PATTERNS: Shelf<dyn Form> = Shelf::new("pattern", &[row!(dyn Form, Unstructured), row!(dyn Form, NOfM)]);

/// The words, of which `2:4` stands for the one with two numbers.
pub(crate) fn words() -> impl Iterator<Item = Word> {
    PATTERNS.words().map(|word| if word.params.len() == 2 { word.literal(Literal::Colon) } else { word })
}

impl Parameter for Pattern {
    fn kind() -> Kind {
        PATTERNS.kind()
    }

    fn read(value: &Value) -> Result<Self> {
        let call = value.as_call().ok_or_else(|| unexpected(&Self::kind(), value))?;
        PATTERNS.make(call).map(|form: Arc<dyn Form>| form.pattern())
    }
}

impl Defaulted for Pattern {
    fn text(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_decides_how_much_goes() {
        let groups = |kept, of| Pattern::Groups { kept, of };
        assert!(
            Pattern::Unstructured.check(0.3).is_ok() && groups(2, 4).check(0.5).is_ok() && groups(16, 64).check(0.75).is_ok()
        );
        let fault = groups(16, 64).check(0.5).unwrap_err();
        assert_eq!(fault.message, "16:64 removes 75%, and 50% are asked for");
        assert_eq!(fault.help.as_deref(), Some("write `sparsity: 75%`"));
        assert!(groups(5, 4).check(0.0).is_err());
    }

    #[test]
    fn rows_are_whole_groups() {
        assert!(Pattern::Groups { kept: 2, of: 4 }.fits("fc", 32).is_ok() && Pattern::Unstructured.fits("fc", 31).is_ok());
        let fault = Pattern::Groups { kept: 16, of: 32 }.fits("fc", 48).unwrap_err();
        assert_eq!(fault.message, "`fc` has 48 inputs, which groups of 32 do not divide");
    }
}
