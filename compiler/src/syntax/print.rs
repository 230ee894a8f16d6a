//! The tree as text again, every operation in brackets: what the snapshots compare.

use std::fmt::{self, Display, Formatter};

use super::{Argument, Expr, KindName, Node, Operator, Statement, StatementKind, Syntax};
use crate::unit::Amount;
use crate::vocabulary::Literal;

impl Display for Syntax {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.statements.iter().try_for_each(|statement| writeln!(f, "{statement}"))
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.doc.lines().try_for_each(|line| writeln!(f, "/// {line}"))?;
        match &self.kind {
            StatementKind::Edition(year) => write!(f, "edition {year}"),
            StatementKind::Param { name, kind, range: Some(range), default } => {
                write!(f, "param {}: {kind} in {range} = {default}", name.text)
            }
            StatementKind::Param { name, kind, range: None, default } => write!(f, "param {}: {kind} = {default}", name.text),
            StatementKind::Import { path, name } => write!(f, "import {:?} as {}", path.text, name.text),
            StatementKind::Def { name, params, yields, body } => {
                let params: Vec<String> = params.iter().map(|(name, kind)| format!("{}: {kind}", name.text)).collect();
                write!(f, "def {}({}) -> {yields} = {body}", name.text, params.join(", "))
            }
            StatementKind::Bind { name, value } => write!(f, "{} = {value}", name.text),
            StatementKind::Require(condition) => write!(f, "require {condition}"),
            StatementKind::Bare(value) => value.fmt(f),
            StatementKind::Error(Some(name)) => write!(f, "{} = <unreadable>", name.text),
            StatementKind::Error(None) => f.write_str("<unreadable>"),
        }
    }
}

impl Display for KindName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            KindName::Word(name) => f.write_str(&name.text),
            KindName::List(inner) => write!(f, "[{inner}]"),
        }
    }
}

impl Operator {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::To => "to",
            Operator::In => "in",
            Operator::And => "&",
            Operator::Or => "|",
            Operator::Except => "except",
            Operator::Then => "then",
            Operator::Compare(comparison) => comparison.symbol(),
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Number(amount, None) => Amount(*amount).fmt(f),
            Node::Number(amount, Some(unit)) if unit.text == "%" => write!(f, "{}%", Amount(*amount)),
            Node::Number(amount, Some(unit)) => write!(f, "{} {}", Amount(*amount), unit.text),
            Node::Pair(Literal::Colon, left, right) => write!(f, "{left}:{right}"),
            Node::Pair(Literal::Cross, left, right) => write!(f, "{left}x{right}"),
            Node::Within(first, last) => write!(f, "{first}..{last}"),
            Node::Text(text) => write!(f, "{text:?}"),
            Node::Flag(flag) => flag.fmt(f),
            Node::Name(name) => f.write_str(name),
            Node::Field(base, name) => write!(f, "{base}.{}", name.text),
            Node::Index(base, first, last) if first == last => write!(f, "{base}[{first}]"),
            Node::Index(base, first, last) => write!(f, "{base}[{first}..{last}]"),
            Node::Call(callee, arguments) => {
                write!(f, "{callee}(")?;
                separated(f, arguments)?;
                f.write_str(")")
            }
            Node::Negative(inner) => write!(f, "(-{inner})"),
            Node::Binary(operator, left, right) => write!(f, "({left} {} {right})", operator.symbol()),
            Node::List(elements) => {
                f.write_str("[")?;
                separated(f, elements)?;
                f.write_str("]")
            }
            Node::Record(entries) => {
                let entries: Vec<String> = entries.iter().map(|(label, value)| format!("{}: {value}", label.text)).collect();
                write!(f, "[{}]", entries.join(", "))
            }
            Node::Expect(inner, comparison, count, _) => write!(f, "({inner} expect {} {count})", comparison.symbol()),
            Node::Maybe(inner) => write!(f, "({inner} maybe)"),
            Node::Error => f.write_str("<unreadable>"),
        }
    }
}

impl Display for Argument {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.label {
            Some(label) => write!(f, "{}: {}", label.text, self.value),
            None => self.value.fmt(f),
        }
    }
}

fn separated<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> fmt::Result {
    items.iter().enumerate().try_for_each(|(i, item)| write!(f, "{}{item}", if i == 0 { "" } else { ", " }))
}
