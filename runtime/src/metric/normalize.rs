//! What texts are made alike before they are compared: a transcript without capitals is no worse a transcript.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::choice;
use crate::shelf::Defaulted;

/// How texts are changed before edits are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    /// As they are.
    None,
    /// Lower case; marks, symbols and punctuation become spaces; what stands in brackets is dropped. The `BasicTextNormalizer` that
    /// Whisper's multilingual scores are made with (Radford et al. 2022, appendix C).
    Basic,
}

choice! { Normalization { None = "none", Basic = "basic" } }

impl Normalization {
    /// How a score of texts that were made alike in this way is told apart; nothing for the usual way.
    pub fn variant(self) -> Option<String> {
        (self != Self::Basic).then(|| format!("normalize: {}", self.text()))
    }

    /// The text as it is compared.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::None => Cow::Borrowed(text),
            Self::Basic => Cow::Owned(basic(text)),
        }
    }
}

fn basic(text: &str) -> String {
    let text = without_brackets(&text.to_lowercase());
    let spaced: String = text.nfkc().map(|c| if is_mark_symbol_or_punctuation(c) { ' ' } else { c }).collect();
    spaced.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_mark_symbol_or_punctuation(c: char) -> bool {
    use GeneralCategoryGroup::{Mark, Punctuation, Symbol};
    matches!(c.general_category_group(), Mark | Symbol | Punctuation)
}

/// `text` without `<…>`, `[…]` (either bracket closes) and, after these are gone, without `(…)` that holds something.
fn without_brackets(text: &str) -> String {
    let angular = dropping(text, |c| matches!(c, '<' | '['), |c| matches!(c, '>' | ']'), 0);
    dropping(&angular, |c| c == '(', |c| c == ')', 1)
}

/// `text` without every stretch from an opening character to the next closing one with at least `inside` characters between.
fn dropping(text: &str, opens: fn(char) -> bool, closes: fn(char) -> bool, inside: usize) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(opens) {
        let (before, bracket) = rest.split_at(start);
        kept.push_str(before);
        // Both brackets are one byte long.
        match bracket[1..].find(closes) {
            Some(length) if length >= inside => rest = &bracket[length + 2..],
            Some(_) => {
                kept.push_str(&bracket[..1]);
                rest = &bracket[1..];
            }
            None => {
                rest = bracket;
                break;
            }
        }
    }
    kept.push_str(rest);
    kept
}
