//! The checked recipe: every name looked up, every word found, every argument in its place, defaults filled in.

use std::collections::BTreeMap;

use crate::kind::Kind;
use crate::requirement::Comparison;
use crate::source::Span;
use crate::syntax::{Name, Operator};
use crate::unit::Quantity;

/// A recipe and everything that it imports. Invariant: the recipe itself is the first file.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// The edition that it names; 0 where it names none.
    pub edition: u32,
    pub(crate) files: Vec<File>,
}

/// One file of a recipe.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// The name of its first import; empty for the recipe itself.
    pub(crate) alias: String,
    /// What it binds, in source order.
    pub(crate) items: Vec<Item>,
    /// The item that each name is bound to; the first one counts.
    pub(crate) names: BTreeMap<String, usize>,
}

/// An item of a file, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ItemRef {
    pub(crate) file: usize,
    pub(crate) item: usize,
}

/// A statement.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The name that it binds.
    pub(crate) name: Option<Name>,
    pub(crate) span: Span,
    pub(crate) doc: String,
    /// The kind of its value; that of the result for a `def`.
    pub(crate) kind: Kind,
    pub(crate) body: Body,
}

/// What a statement says.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Param {
        /// The default, or what was set from outside.
        value: Typed,
        bounds: Option<Bounds>,
        is_set: bool,
    },
    /// The imported file, by its place; `None` if it cannot be read.
    Import(Option<usize>),
    Def {
        params: Vec<(Name, Kind)>,
        body: Typed,
    },
    Bind(Typed),
    Require(Typed, Comparison, Typed),
    Bare(Typed),
    /// A mistake was reported.
    Unreadable,
}

/// The least and the largest value allowed.
pub(crate) type Bounds = (Quantity, Quantity);

/// A checked expression.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
    pub(crate) meaning: Meaning,
}

/// What an expression means.
#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    Quantity(Quantity),
    Text(String),
    Flag(bool),
    /// One of a few names, or a role.
    Name(String),
    /// A binding or parameter of a file; a `def` as a value.
    Item(ItemRef),
    /// A parameter of the `def` around it.
    Parameter(usize),
    Call(WordCall),
    /// A call of a `def`, one argument for each parameter.
    Apply(ItemRef, Vec<Typed>),
    /// A part of a data set or a value of a record.
    Field(Box<Typed>, Name),
    /// A record with some of its values replaced.
    Override(Box<Typed>, Vec<(Name, Typed)>),
    Negative(Box<Typed>),
    /// `+ - * /` between quantities, or a weighted sum.
    Arithmetic(Operator, Box<Typed>, Box<Typed>),
    Range(Box<Typed>, Box<Typed>),
    Then(Box<Typed>, Box<Typed>),
    List(Vec<Typed>),
    Record(Vec<(Name, Typed)>),
    /// Layers by place or role.
    Path(Vec<Segment>),
    /// `in & | except` between selectors.
    Combine(Operator, Box<Typed>, Box<Typed>),
    Expect(Box<Typed>, Comparison, u32, Span),
    Maybe(Box<Typed>),
    /// A mistake was reported.
    Unknown,
}

/// A segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Name(String),
    /// From the first to the last, both included.
    Numbers(u32, u32),
}

/// A word and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct WordCall {
    /// Its place in the vocabulary.
    pub(crate) word: usize,
    pub(crate) name: String,
    /// Where the word stands.
    pub(crate) callee: Span,
    /// In the order of the word's parameters; optional ones that were left out are absent.
    pub(crate) arguments: Vec<TypedArgument>,
    /// `for:` of a segment of a schedule.
    pub(crate) length: Option<Box<Typed>>,
}

/// An argument of a word.
#[derive(Clone, Debug)]
pub(crate) struct TypedArgument {
    pub(crate) name: String,
    /// What the parameter takes.
    pub(crate) kind: Kind,
    pub(crate) value: Typed,
    pub(crate) bounds: Option<Bounds>,
}

impl Typed {
    pub(crate) fn new(span: Span, kind: Kind, meaning: Meaning) -> Self {
        Self { span, kind, meaning }
    }

    /// What stands for an expression with a reported mistake.
    pub(crate) fn unknown(span: Span) -> Self {
        Self { span, kind: Kind::Unknown, meaning: Meaning::Unknown }
    }
}

impl Recipe {
    pub(crate) fn item(&self, at: ItemRef) -> Option<&Item> {
        self.files.get(at.file)?.items.get(at.item)
    }

    /// The name of an item as the recipe itself would write it.
    pub(crate) fn name_of(&self, at: ItemRef) -> String {
        let name = self.item(at).and_then(|item| item.name.as_ref()).map_or("", |name| &name.text);
        match self.files.get(at.file).map(|file| file.alias.as_str()) {
            None | Some("") => name.to_owned(),
            Some(alias) => format!("{alias}.{name}"),
        }
    }
}

mod print {
    //! The printed form: one line an item, its kind, its value with every default.

    use std::fmt::{self, Display, Formatter};

    use super::{Body, Item, Meaning, Recipe, Segment, Typed, WordCall};

    impl Display for Recipe {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            writeln!(f, "edition {}", self.edition)?;
            for file in &self.files {
                if !file.alias.is_empty() {
                    writeln!(f, "\nimported as {}", file.alias)?;
                }
                file.items.iter().try_for_each(|item| self.item_line(f, item))?;
            }
            Ok(())
        }
    }

    impl Recipe {
        fn item_line(&self, f: &mut Formatter<'_>, item: &Item) -> fmt::Result {
            let name = item.name.as_ref().map_or("", |name| &name.text);
            let value = |typed| Shown { recipe: self, typed };
            match &item.body {
                Body::Param { value: typed, bounds: Some((least, most)), is_set } => {
                    let set = if *is_set { " (set)" } else { "" };
                    writeln!(f, "param {name}: {} in {least}..{most} = {}{set}", item.kind, value(typed))
                }
                Body::Param { value: typed, bounds: None, is_set } => {
                    let set = if *is_set { " (set)" } else { "" };
                    writeln!(f, "param {name}: {} = {}{set}", item.kind, value(typed))
                }
                Body::Import(_) => writeln!(f, "import {name}"),
                Body::Def { params, body } => {
                    let params: Vec<String> = params.iter().map(|(name, kind)| format!("{}: {kind}", name.text)).collect();
                    writeln!(f, "def {name}({}): {} = {}", params.join(", "), item.kind, value(body))
                }
                Body::Bind(typed) => writeln!(f, "{name}: {} = {}", item.kind, value(typed)),
                Body::Require(left, comparison, right) => {
                    writeln!(f, "require {} {} {}", value(left), comparison.symbol(), value(right))
                }
                Body::Bare(typed) => writeln!(f, "{}", value(typed)),
                Body::Unreadable => writeln!(f, "{name} <unreadable>"),
            }
        }
    }

    /// An expression, its references by name.
    struct Shown<'r> {
        recipe: &'r Recipe,
        typed: &'r Typed,
    }

    impl Display for Shown<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            let show = |typed| Shown { recipe: self.recipe, typed };
            match &self.typed.meaning {
                Meaning::Quantity(quantity) => quantity.fmt(f),
                Meaning::Text(text) => write!(f, "{text:?}"),
                Meaning::Flag(flag) => flag.fmt(f),
                Meaning::Name(name) => f.write_str(name),
                Meaning::Item(item) => f.write_str(&self.recipe.name_of(*item)),
                Meaning::Parameter(index) => write!(f, "${index}"),
                Meaning::Call(call) => self.call(f, call),
                Meaning::Apply(def, arguments) => {
                    write!(f, "{}(", self.recipe.name_of(*def))?;
                    separated(f, arguments.iter().map(show))?;
                    f.write_str(")")
                }
                Meaning::Field(base, name) => write!(f, "{}.{}", show(base), name.text),
                Meaning::Override(base, fields) => {
                    write!(f, "{}(", show(base))?;
                    separated(f, fields.iter().map(|(label, value)| format!("{}: {}", label.text, show(value))))?;
                    f.write_str(")")
                }
                Meaning::Negative(inner) => write!(f, "(-{})", show(inner)),
                Meaning::Arithmetic(operator, left, right) | Meaning::Combine(operator, left, right) => {
                    write!(f, "({} {} {})", show(left), operator.symbol(), show(right))
                }
                Meaning::Range(from, to) => write!(f, "{} to {}", show(from), show(to)),
                Meaning::Then(first, next) => write!(f, "({} then {})", show(first), show(next)),
                Meaning::List(elements) => {
                    f.write_str("[")?;
                    separated(f, elements.iter().map(show))?;
                    f.write_str("]")
                }
                Meaning::Record(fields) => {
                    f.write_str("[")?;
                    separated(f, fields.iter().map(|(label, value)| format!("{}: {}", label.text, show(value))))?;
                    f.write_str("]")
                }
                Meaning::Path(path) => path_text(path).fmt(f),
                Meaning::Expect(inner, comparison, count, _) => {
                    write!(f, "({} expect {} {count})", show(inner), comparison.symbol())
                }
                Meaning::Maybe(inner) => write!(f, "({} maybe)", show(inner)),
                Meaning::Unknown => f.write_str("<unknown>"),
            }
        }
    }

    impl Shown<'_> {
        fn call(&self, f: &mut Formatter<'_>, call: &WordCall) -> fmt::Result {
            f.write_str(&call.name)?;
            let show = |typed| Shown { recipe: self.recipe, typed };
            let mut parts: Vec<String> =
                call.arguments.iter().map(|argument| format!("{}: {}", argument.name, show(&argument.value))).collect();
            parts.extend(call.length.iter().map(|length| format!("for: {}", show(length))));
            if parts.is_empty() { Ok(()) } else { write!(f, "({})", parts.join(", ")) }
        }
    }

    fn separated<T: Display>(f: &mut Formatter<'_>, items: impl Iterator<Item = T>) -> fmt::Result {
        for (i, item) in items.enumerate() {
            write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }

    /// A path as it is written.
    pub(crate) fn path_text(path: &[Segment]) -> String {
        let mut text = String::new();
        for segment in path {
            match segment {
                Segment::Name(name) => {
                    text.push_str(if text.is_empty() { "" } else { "." });
                    text.push_str(name);
                }
                Segment::Numbers(first, last) if first == last => text.push_str(&format!("[{first}]")),
                Segment::Numbers(first, last) => text.push_str(&format!("[{first}..{last}]")),
            }
        }
        text
    }
}

pub(crate) use print::path_text;
