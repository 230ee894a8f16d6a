//! The tree of a recipe's text: what stands where, before any name is looked up.
//!
//! Invariant: no expression is nested deeper than [`MAX_DEPTH`], so that the recursive functions over it need little stack.

mod build;
mod message;
mod parse;
mod print;
mod statements;

pub use parse::parse;
pub(crate) use parse::{MAX_LINE_BYTES, parse_value, parse_value_at};

use crate::requirement::Comparison;
use crate::source::{SourceId, Span};
use crate::vocabulary::Literal;

/// How deep expressions may be nested, brackets and chains of operators together.
pub(crate) const MAX_DEPTH: usize = 96;

/// Words that cannot be names; they may be labels of arguments.
pub(crate) const RESERVED: [&str; 12] =
    ["to", "in", "except", "then", "expect", "maybe", "for", "def", "param", "import", "require", "edition"];

/// One file, statement by statement.
#[derive(Clone, Debug)]
pub struct Syntax {
    /// The text that it was read from.
    pub source: SourceId,
    /// Its statements; one that could not be read is [`StatementKind::Error`].
    pub statements: Vec<Statement>,
}

/// One statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Where it stands, without comments around it.
    pub span: Span,
    /// The `///` lines above it, joined.
    pub doc: String,
    /// What it is.
    pub kind: StatementKind,
}

/// What a statement is.
#[derive(Clone, Debug)]
pub enum StatementKind {
    /// `edition 2026`
    Edition(u32),
    /// `param name: kind in range = default`
    Param {
        /// The name that it binds.
        name: Name,
        /// Its kind.
        kind: KindName,
        /// The values allowed.
        range: Option<Expr>,
        /// Its value unless set from outside.
        default: Expr,
    },
    /// `import "path" as name`
    Import {
        /// The path and where it stands.
        path: Name,
        /// The name that it binds.
        name: Name,
    },
    /// `def name(parameters) -> kind = body`
    Def {
        /// The name that it binds.
        name: Name,
        /// Its parameters.
        params: Vec<(Name, KindName)>,
        /// What it yields.
        yields: KindName,
        /// What it stands for.
        body: Expr,
    },
    /// `name = value`
    Bind {
        /// The name that it binds.
        name: Name,
        /// Its value.
        value: Expr,
    },
    /// `require condition`
    Require(Expr),
    /// A call whose value gets no name.
    Bare(Expr),
    /// Not readable; the diagnostic says why. Uses of the name that it would have bound are not reported.
    Error(Option<Name>),
}

/// A name and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Its place.
    pub span: Span,
}

/// A kind as it is written.
#[derive(Clone, Debug)]
pub enum KindName {
    /// One word.
    Word(Name),
    /// `[kind]`
    List(Box<KindName>),
}

/// An operator between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `to`
    To,
    /// `in`
    In,
    /// `&`
    And,
    /// `|`
    Or,
    /// `except`
    Except,
    /// `then`
    Then,
    /// A comparison.
    Compare(Comparison),
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Its label, if it has one.
    pub label: Option<Name>,
    /// Its value.
    pub value: Expr,
}

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub node: Node,
    depth: usize,
}

/// What an expression is.
#[derive(Clone, Debug)]
pub enum Node {
    /// A number and the unit behind it, as written.
    Number(f64, Option<Name>),
    /// `2:4` or `4x1`.
    Pair(Literal, u32, u32),
    /// `0%..95%`
    Within(Box<Expr>, Box<Expr>),
    /// A text, escapes resolved.
    Text(String),
    /// `true` or `false`.
    Flag(bool),
    /// A name.
    Name(String),
    /// `a.b`
    Field(Box<Expr>, Name),
    /// `a[0..3]`, both ends included; `a[2]` has two equal ends.
    Index(Box<Expr>, u32, u32),
    /// `a(…)`
    Call(Box<Expr>, Vec<Argument>),
    /// `-a`
    Negative(Box<Expr>),
    /// `a + b`
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `[a: 1, b: 2]`
    Record(Vec<(Name, Expr)>),
    /// `a expect >= 20`; the span is that of the clause.
    Expect(Box<Expr>, Comparison, u32, Span),
    /// `a maybe`
    Maybe(Box<Expr>),
    /// Not readable; the diagnostic says why.
    Error,
}

impl Expr {
    /// Makes an expression; `None` where it would be nested too deeply.
    fn new(span: Span, node: Node) -> Option<Self> {
        let depth = 1 + node.children().map(|child| child.depth).max().unwrap_or(0);
        (depth <= MAX_DEPTH).then_some(Self { span, node, depth })
    }

    /// A number that is not written as one, such as either side of `2:4`.
    pub(crate) fn number(span: Span, amount: f64) -> Self {
        Self { span, node: Node::Number(amount, None), depth: 1 }
    }

    /// What stands for an expression that cannot be read.
    fn error(span: Span) -> Self {
        Self { span, node: Node::Error, depth: 1 }
    }
}

impl Node {
    /// The expressions right below.
    fn children(&self) -> Box<dyn Iterator<Item = &Expr> + '_> {
        match self {
            Node::Number(..) | Node::Pair(..) | Node::Text(_) | Node::Flag(_) | Node::Name(_) | Node::Error => {
                Box::new(std::iter::empty())
            }
            Node::Field(a, _) | Node::Index(a, ..) | Node::Negative(a) | Node::Expect(a, ..) | Node::Maybe(a) => {
                Box::new(std::iter::once(&**a))
            }
            Node::Within(a, b) | Node::Binary(_, a, b) => Box::new([&**a, &**b].into_iter()),
            Node::Call(callee, arguments) => {
                Box::new(std::iter::once(&**callee).chain(arguments.iter().map(|argument| &argument.value)))
            }
            Node::List(elements) => Box::new(elements.iter()),
            Node::Record(entries) => Box::new(entries.iter().map(|(_, value)| value)),
        }
    }
}
