//! The codes of diagnostics. Each has a page, `docs/errors/<code>.md`, with a failing recipe, why, and the mended one.

use std::fmt;

use serde::Serialize;

use super::Severity;

/// Makes the enum, its spellings, its severities and its pages from one list.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $severity:ident;)*) => {
        /// What kind of mistake a diagnostic reports. The spelling is stable: people search for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The spelling.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $text,)*
                }
            }

            /// How bad it always is.
            pub fn severity(self) -> Severity {
                match self {
                    $(Code::$name => Severity::$severity,)*
                }
            }

            /// Its page, in Markdown.
            pub fn page(self) -> &'static str {
                match self {
                    $(Code::$name => include_str!(concat!("../../../docs/errors/", $text, ".md")),)*
                }
            }
        }
    };
}

codes! {
    /// A word is given twice for one parameter, or a record has one label twice.
    DuplicateArgument = "duplicate-argument", Error;
    /// A name is bound that is bound already.
    AlreadyBound = "already-bound", Error;
    /// The text is not what the grammar allows at this place.
    Syntax = "syntax", Error;
    /// A bracket is opened and never closed.
    UnclosedBracket = "unclosed-bracket", Error;
    /// A text is opened and never closed.
    UnclosedText = "unclosed-text", Error;
    /// A bracket closes nothing, or another kind of bracket.
    StrayBracket = "stray-bracket", Error;
    /// A reserved word is used as a name.
    ReservedWord = "reserved-word", Error;
    /// The recipe does not say its edition.
    MissingEdition = "missing-edition", Error;
    /// The edition is not one that this program knows.
    UnknownEdition = "unknown-edition", Error;
    /// A name is neither bound nor a word.
    UnknownName = "unknown-name", Error;
    /// No word of the kind expected here has this name, or several where nothing says which kind.
    UnknownWord = "unknown-word", Error;
    /// A type annotation names no kind.
    UnknownKind = "unknown-kind", Error;
    /// A number carries something that is not a unit.
    UnknownUnit = "unknown-unit", Error;
    /// A call gives an argument that the word does not take.
    UnknownArgument = "unknown-argument", Error;
    /// A call leaves out an argument that the word needs.
    MissingArgument = "missing-argument", Error;
    /// Something without parameters is called, or more arguments are given without label than allowed.
    TooManyArguments = "too-many-arguments", Error;
    /// A data set, record or import has no such field.
    UnknownField = "unknown-field", Error;
    /// A value is set from outside for a parameter that the recipe does not declare.
    UnknownParam = "unknown-param", Error;
    /// A name is used above the line that binds it.
    UsedBeforeBound = "used-before-bound", Error;
    /// A `def` uses itself.
    RecursiveDef = "recursive-def", Error;
    /// A value is of another kind than its place takes.
    WrongKind = "wrong-kind", Error;
    /// A number has a unit that does not fit, or none where one is needed.
    WrongUnit = "wrong-unit", Error;
    /// A value lies outside what is allowed.
    OutOfRange = "out-of-range", Error;
    /// A number is too large to be one, or a calculation has no result.
    NotANumber = "not-a-number", Error;
    /// Durations in different units are added, and the length of an epoch is not known.
    MixedUnits = "mixed-units", Error;
    /// Something is measured outside a `require`.
    MetricOutsideRequire = "metric-outside-require", Error;
    /// A `require` does not compare two sides.
    NoComparison = "no-comparison", Error;
    /// A statement yields a value that nobody can use.
    NoEffect = "no-effect", Error;
    /// Two values are compared where nothing judges them.
    MisplacedComparison = "misplaced-comparison", Error;
    /// A selector, or a part of it, matches no layer.
    NoLayerMatches = "no-layer-matches", Error;
    /// A selector matches another number of layers than expected.
    UnexpectedCount = "unexpected-count", Error;
    /// The segments of a schedule do not fill its stage.
    ScheduleLength = "schedule-length", Error;
    /// An imported recipe cannot be read.
    UnreadableImport = "unreadable-import", Error;
    /// Recipes import each other in a circle.
    ImportCycle = "import-cycle", Error;
    /// A path leaves the folder that it may not leave.
    PathLeavesRoot = "path-leaves-root", Error;
    /// The world refuses what a stage asks for.
    Unavailable = "unavailable", Error;
    /// Something is nested or chained too deeply.
    TooDeep = "too-deep", Error;
    /// A source, or the plan that it makes, is too large.
    TooLarge = "too-large", Error;
    /// A binding, parameter, import or `def` that nobody uses.
    Unused = "unused", Warning;
    /// A `require` or an export in an imported recipe is not executed.
    IgnoredInImport = "ignored-in-import", Warning;
    /// The layers of a model are not known here, so selectors go unchecked.
    LayersUnknown = "layers-unknown", Note;
}

impl Code {
    /// The code of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_page_and_no_page_is_left_over() {
        for code in Code::ALL {
            assert!(code.page().starts_with(&format!("# {code}: ")), "the page of {code}");
            assert!(code.page().contains("```sq fails"), "the page of {code} shows no mistake");
            assert_eq!(Code::parse(code.as_str()), Some(*code));
        }
        let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors");
        assert_eq!(std::fs::read_dir(pages).unwrap().count(), Code::ALL.len());
    }
}
