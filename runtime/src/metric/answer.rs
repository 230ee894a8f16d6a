//! The answer in a worked text: what counts of a chain of thought, as the task GSM8K of the language model evaluation harness
//! (EleutherAI) takes it out of texts and makes it alike.

use crate::choice;

/// What of a text is the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it, white space around it left out.
    Whole,
    /// The number behind the first `####`; a text without one has no answer.
    Marker,
    /// The last number.
    LastNumber,
}

choice! { Answer { Whole = "whole", Marker = "marker", LastNumber = "last_number" } }

/// What stands before the answer of GSM8K.
const MARKER: &str = "#### ";

impl Answer {
    /// The answer that `said` gives, as it is compared; none where it gives none.
    pub fn said(self, said: &str) -> Option<String> {
        match self {
            Self::Whole => Some(said.trim().to_owned()),
            Self::Marker => {
                let marked = said.match_indices(MARKER).map(|(at, _)| &said[at + MARKER.len()..]);
                marked.map(leading_number).find(|number| !number.is_empty()).map(alike)
            }
            Self::LastNumber => last_number(said).map(alike),
        }
    }

    /// The answer of a reference: what stands behind its last marker, or, where it has none, as [`Answer::said`].
    pub fn reference(self, reference: &str) -> Option<String> {
        match (self, reference.rsplit_once(MARKER)) {
            (Self::Marker | Self::LastNumber, Some((_, answer))) => Some(alike(answer.trim())),
            (Self::Marker, None) => Some(alike(reference.trim())),
            (Self::Whole | Self::LastNumber, _) => self.said(reference),
        }
    }
}

/// A number without what is written around it: commas, dollars, a period at its end.
fn alike(number: &str) -> String {
    let bare: String = number.chars().filter(|c| ![',', '$'].contains(c)).collect();
    bare.strip_suffix('.').unwrap_or(&bare).to_lowercase()
}

/// The characters of a number that `text` begins with.
fn leading_number(text: &str) -> &str {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit() && !['.', ','].contains(&c)).unwrap_or(unsigned.len());
    if digits == 0 { "" } else { &text[..text.len() - unsigned.len() + digits] }
}

/// The last stretch of at least two characters of numbers, or of a single digit, with the minus before it.
fn last_number(text: &str) -> Option<&str> {
    let of_number = |c: char| c.is_ascii_digit() || ['$', '.', ','].contains(&c);
    let mut end = text.len();
    while end > 0 {
        let stretch = text[..end].trim_end_matches(|c| !of_number(c));
        let start = stretch.trim_end_matches(of_number).len();
        let found = &stretch[start..];
        if found.len() >= 2 || found.starts_with(|c: char| c.is_ascii_digit()) {
            let sign = usize::from(stretch[..start].ends_with('-'));
            return Some(&stretch[start - sign..]);
        }
        end = start;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of `tests/fixtures/make_answers.py`, which runs the harness's regular expressions.
    #[test]
    fn answers_are_those_of_the_harness() {
        let cases: serde_json::Value = serde_json::from_str(include_str!("../../tests/fixtures/answers.json")).unwrap();
        let cases = cases.as_array().unwrap();
        assert!(cases.len() > 30);
        for case in cases {
            let text = case["text"].as_str().unwrap();
            assert_eq!(Answer::Marker.said(text).as_deref(), case["marker"].as_str(), "{text:?}");
            assert_eq!(Answer::LastNumber.said(text).as_deref(), case["last_number"].as_str(), "{text:?}");
        }
    }

    #[test]
    fn a_reference_is_what_stands_behind_its_marker() {
        assert_eq!(Answer::Marker.reference("2 + 2 = 4\n#### 1,400").as_deref(), Some("1400"));
        assert_eq!(Answer::LastNumber.reference("#### 7 of 9").as_deref(), Some("7 of 9"));
        assert_eq!(Answer::Marker.reference(" $5. ").as_deref(), Some("5"));
        assert_eq!(Answer::LastNumber.reference("three of 12 or 13").as_deref(), Some("13"));
        assert_eq!(Answer::Whole.reference(" a #### b\n").as_deref(), Some("a #### b"));
        assert_eq!(Answer::LastNumber.reference("none"), None);
    }
}
