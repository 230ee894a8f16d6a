//! What a value of a recipe can be. The set is closed; only the shelves of methods are open.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A family of interchangeable methods, such as the pruners. The vocabulary names the shelves; the compiler compares the names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shelf(String);

impl Shelf {
    /// The shelf of this name; singular, as it reads in "a pruner".
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A model, made by a stage.
    Model,
    /// A data set, or one part of it.
    Dataset,
    /// What leaves the program. A stage that yields one waits for every `require` above it.
    Artifact,
    /// A method with its arguments.
    Method(Shelf),
    /// A sum of methods of one shelf, each with a coefficient.
    Weighted(Shelf),
    /// A value of this kind that changes while its stage runs; a plain value is one that does not change.
    Schedule(Box<Kind>),
    /// `a to b`.
    Range(Box<Kind>),
    /// Inside the parameters of a word that yields a schedule: whatever the schedule is made of.
    Element,
    /// A set of layers.
    Selector,
    /// What a layer does in its block: a dotted name that modules carry.
    Role,
    /// One of a few names.
    Choice(Vec<String>),
    /// A share, `75%`.
    Ratio,
    /// A difference of two shares, `1.0 points`.
    Points,
    /// How long a stage trains: epochs or steps. Time and tokens are none, for a schedule runs over the steps of its stage and
    /// must know them before the first, and a run that a clock stops is never the same twice.
    Duration,
    /// A time that can be measured, `20 ms`.
    Time,
    /// A number of rows.
    Rows,
    /// A number of tokens.
    Tokens,
    /// An amount of memory or disk.
    Bytes,
    /// The width of a number format.
    Bits,
    /// A number without a unit.
    Number,
    /// A whole number without a unit.
    Integer,
    /// A text in quotes.
    Text,
    /// `true` or `false`.
    Flag,
    /// A text that names a file or folder to read, relative to the recipe; it never enters a fingerprint.
    InputPath,
    /// A text that names a file or folder to write; it never enters a fingerprint.
    OutputPath,
    /// `[a, b]`.
    List(Box<Kind>),
    /// `[name: a, other: b]`, the names free.
    Record(Box<Kind>),
    /// A `def` with parameters of these kinds, and what it yields.
    Function(Vec<Kind>, Box<Kind>),
    /// What an expression with a reported mistake yields: it fits everywhere, so that one mistake is reported once.
    Unknown,
}

impl Kind {
    /// The kind of the methods on the shelf `name`.
    pub fn method(name: impl Into<String>) -> Self {
        Kind::Method(Shelf::new(name))
    }

    /// A weighted sum of the methods on the shelf `name`.
    pub fn weighted(name: impl Into<String>) -> Self {
        Kind::Weighted(Shelf::new(name))
    }

    /// A schedule of `element`.
    pub fn schedule(element: Kind) -> Self {
        Kind::Schedule(Box::new(element))
    }

    /// `a to b`, both of `element`.
    pub fn range(element: Kind) -> Self {
        Kind::Range(Box::new(element))
    }

    /// A list of `element`.
    pub fn list(element: Kind) -> Self {
        Kind::List(Box::new(element))
    }

    /// A record whose values are of kind `element`.
    pub fn record(element: Kind) -> Self {
        Kind::Record(Box::new(element))
    }

    /// One of `names`.
    pub fn choice<const N: usize>(names: [&str; N]) -> Self {
        Kind::Choice(names.map(str::to_owned).to_vec())
    }

    /// Whether values of this kind are made by stages and flow along the edges of the graph.
    pub fn flows(&self) -> bool {
        matches!(self, Kind::Model | Kind::Dataset | Kind::Artifact)
    }

    /// Whether it is a number, with or without a unit.
    pub fn is_quantity(&self) -> bool {
        !crate::unit::Unit::of_kind(self).is_empty()
    }

    /// Whether a value of this kind can stand where `wanted` is taken. Between quantities this is about kinds alone: whether a
    /// number's own unit fits is known when the number is.
    pub(crate) fn fits(&self, wanted: &Kind) -> bool {
        match (self, wanted) {
            (Kind::Unknown, _) | (_, Kind::Unknown) => true,
            (found, wanted) if found == wanted => true,
            (Kind::Number, Kind::Integer) | (Kind::Integer, Kind::Number) => true,
            (Kind::Text, Kind::InputPath | Kind::OutputPath) => true,
            (Kind::Method(found), Kind::Weighted(wanted)) => found == wanted,
            (Kind::Schedule(found), Kind::Schedule(wanted)) => found.fits(wanted),
            (found, Kind::Schedule(wanted)) => found.fits(wanted),
            (Kind::Range(found), Kind::Range(wanted))
            | (Kind::List(found), Kind::List(wanted))
            | (Kind::Record(found), Kind::Record(wanted)) => found.fits(wanted),
            (Kind::Function(takes, yields), Kind::Function(given, wanted)) => {
                takes.len() == given.len()
                    && given.iter().zip(takes).all(|(given, takes)| given.fits(takes))
                    && yields.fits(wanted)
            }
            _ => false,
        }
    }

    /// How many lists, records and ranges are inside each other.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Kind::List(inner) | Kind::Record(inner) | Kind::Range(inner) | Kind::Schedule(inner) => 1 + inner.depth(),
            _ => 0,
        }
    }

    /// What a schedule is made of, or the kind itself.
    pub(crate) fn element(&self) -> &Kind {
        match self {
            Kind::Schedule(element) => element,
            other => other,
        }
    }

    /// Replaces [`Kind::Element`] by what a schedule is made of.
    pub(crate) fn with_element(&self, element: &Kind) -> Kind {
        match self {
            Kind::Element => element.clone(),
            Kind::Range(inner) => Kind::range(inner.with_element(element)),
            Kind::List(inner) => Kind::list(inner.with_element(element)),
            Kind::Record(inner) => Kind::record(inner.with_element(element)),
            other => other.clone(),
        }
    }

    /// The kind that a type annotation names, shelves aside.
    pub(crate) fn named(name: &str) -> Option<Kind> {
        NAMED.iter().find(|(word, _)| *word == name).map(|(_, kind)| kind.clone()).or_else(|| match name {
            "schedule" => Some(Kind::schedule(Kind::Unknown)),
            _ => None,
        })
    }

    /// Every name that [`Kind::named`] knows.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(word, _)| *word).chain(["schedule"])
    }
}

/// The kinds that a `param` or `def` can name.
const NAMED: &[(&str, Kind)] = &[
    ("model", Kind::Model),
    ("dataset", Kind::Dataset),
    ("selector", Kind::Selector),
    ("ratio", Kind::Ratio),
    ("points", Kind::Points),
    ("duration", Kind::Duration),
    ("time", Kind::Time),
    ("rows", Kind::Rows),
    ("tokens", Kind::Tokens),
    ("bytes", Kind::Bytes),
    ("bits", Kind::Bits),
    ("number", Kind::Number),
    ("integer", Kind::Integer),
    ("text", Kind::Text),
    ("flag", Kind::Flag),
];

/// Reads after "this takes" and "this is": `a ratio`, `a list of ratios` is avoided in favour of `a list, each a ratio`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Model => f.write_str("a model"),
            Kind::Dataset => f.write_str("a data set"),
            Kind::Artifact => f.write_str("an artifact"),
            Kind::Method(shelf) => write!(f, "{} {}", article(shelf.name()), shelf.name()),
            Kind::Weighted(shelf) => write!(f, "{} {} or a weighted sum of them", article(shelf.name()), shelf.name()),
            Kind::Schedule(element) if **element == Kind::Unknown => f.write_str("a schedule"),
            Kind::Schedule(element) => write!(f, "{element} or a schedule"),
            Kind::Range(element) => write!(f, "a range from {element} to another"),
            Kind::Element => f.write_str("what the schedule is made of"),
            Kind::Selector => f.write_str("a selector of layers"),
            Kind::Role => f.write_str("a role of layers"),
            Kind::Choice(names) => write!(f, "one of `{}`", names.join("`, `")),
            Kind::Ratio => f.write_str("a ratio"),
            Kind::Points => f.write_str("percentage points"),
            Kind::Duration => f.write_str("a duration in epochs or steps"),
            Kind::Time => f.write_str("a time"),
            Kind::Rows => f.write_str("a number of rows"),
            Kind::Tokens => f.write_str("a number of tokens"),
            Kind::Bytes => f.write_str("an amount of bytes"),
            Kind::Bits => f.write_str("a number of bits"),
            Kind::Number => f.write_str("a number"),
            Kind::Integer => f.write_str("a whole number"),
            Kind::Text => f.write_str("a text"),
            Kind::Flag => f.write_str("`true` or `false`"),
            Kind::InputPath => f.write_str("a path to read"),
            Kind::OutputPath => f.write_str("a path to write"),
            Kind::List(element) if **element == Kind::Unknown => f.write_str("a list"),
            Kind::List(element) => write!(f, "a list, each {element}"),
            Kind::Record(element) if **element == Kind::Unknown => f.write_str("a record"),
            Kind::Record(element) => write!(f, "a record, each value {element}"),
            Kind::Function(params, yields) => {
                f.write_str("a `def` that takes ")?;
                for (i, param) in params.iter().enumerate() {
                    write!(f, "{}{param}", if i == 0 { "" } else { " and " })?;
                }
                write!(f, " and yields {yields}")
            }
            Kind::Unknown => f.write_str("something"),
        }
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}
