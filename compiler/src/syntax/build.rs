//! The pairs that pest yields for a statement, as our own tree; a number too large to be one is reported here.

use std::sync::LazyLock;

use pest::iterators::Pair;
use pest::pratt_parser::{Assoc, Op, PrattParser};

use super::parse::Rule;
use super::{Argument, Expr, KindName, MAX_DEPTH, Name, Node, Operator, StatementKind};
use crate::diagnostic::{Code, Diagnostic};
use crate::requirement::Comparison;
use crate::source::{SourceId, Span};
use crate::vocabulary::Literal;

/// Elements of a list or record, arguments of a call.
const MAX_PARTS: usize = 4096;

/// Loosest first, as pest wants it; language.md gives the same list, tightest first.
static PRECEDENCE: LazyLock<PrattParser<Rule>> = LazyLock::new(|| {
    let left = |rule| Op::infix(rule, Assoc::Left);
    PrattParser::new()
        .op(left(Rule::comparison_operator))
        .op(left(Rule::then))
        .op(left(Rule::except))
        .op(left(Rule::or))
        .op(left(Rule::and))
        .op(left(Rule::within_word))
        .op(left(Rule::to))
        .op(left(Rule::add) | left(Rule::subtract))
        .op(left(Rule::multiply) | left(Rule::divide))
        .op(Op::prefix(Rule::minus))
        .op(Op::postfix(Rule::field) | Op::postfix(Rule::call) | Op::postfix(Rule::index))
});

/// Builds trees from pairs whose text starts at byte `offset` of `source`.
pub(super) struct Builder {
    source: SourceId,
    offset: usize,
    /// Set where the text stands in no source: everything gets this place.
    fixed: Option<Span>,
    pub(super) wrong: Vec<Diagnostic>,
}

impl Builder {
    pub(super) fn new(source: SourceId, offset: usize, fixed: Option<Span>) -> Self {
        Self { source, offset, fixed, wrong: Vec::new() }
    }

    /// `None` only where the grammar and this file disagree.
    pub(super) fn statement(&mut self, rule: Rule, pair: Pair<'_, Rule>) -> Option<StatementKind> {
        let mut parts = pair.into_inner().filter(|pair| !is_punctuation(pair.as_rule()));
        Some(match rule {
            Rule::edition_statement => StatementKind::Edition(self.integer(&parts.next()?)),
            Rule::param_statement => {
                let name = self.name(&parts.next()?);
                let kind = self.kind(parts.next()?)?;
                let next = parts.next()?;
                let (range, default) = match next.as_rule() {
                    Rule::within => (Some(self.primary(next)), parts.next()?),
                    _ => (None, next),
                };
                StatementKind::Param { name, kind, range, default: self.expression(default) }
            }
            Rule::import_statement => {
                let path = parts.next()?;
                let path = Name { text: unescaped(path.clone()), span: self.span(&path) };
                StatementKind::Import { path, name: self.name(&parts.next()?) }
            }
            Rule::def_statement => {
                let name = self.name(&parts.next()?);
                let mut params = Vec::new();
                for parameter in parts.next()?.into_inner().filter(|pair| pair.as_rule() == Rule::parameter) {
                    let mut parts = parameter.into_inner().filter(|pair| !is_punctuation(pair.as_rule()));
                    params.push((self.name(&parts.next()?), self.kind(parts.next()?)?));
                }
                let yields = self.kind(parts.next()?)?;
                StatementKind::Def { name, params, yields, body: self.expression(parts.next()?) }
            }
            Rule::require_statement => StatementKind::Require(self.expression(parts.next()?)),
            _ => {
                let first = parts.next()?;
                match first.as_rule() {
                    Rule::name => StatementKind::Bind { name: self.name(&first), value: self.expression(parts.next()?) },
                    _ => StatementKind::Bare(self.expression(first)),
                }
            }
        })
    }

    pub(super) fn expression(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let whole = self.span(&pair);
        let mut parts = pair.into_inner();
        let Some(operation) = parts.next() else { return Expr::error(whole) };
        let mut expr = self.operation(operation);
        for clause in parts {
            let span = self.span(&clause);
            let node = match clause.as_rule() {
                Rule::expect => {
                    let (comparison, count) = self.expectation(clause);
                    Node::Expect(Box::new(expr), comparison, count, span)
                }
                _ => Node::Maybe(Box::new(expr)),
            };
            expr = self.expr(whole, node);
        }
        expr
    }

    fn expectation(&mut self, clause: Pair<'_, Rule>) -> (Comparison, u32) {
        let mut comparison = Comparison::Equal;
        let mut count = 0;
        for part in clause.into_inner() {
            match part.as_rule() {
                Rule::comparison => comparison = compare(part.as_str()),
                Rule::integer => count = self.integer(&part),
                _ => {}
            }
        }
        (comparison, count)
    }

    fn operation(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let this = std::cell::RefCell::new(self);
        PRECEDENCE
            .map_primary(|primary| this.borrow_mut().primary(primary))
            .map_prefix(|minus, operand: Expr| {
                let mut this = this.borrow_mut();
                let span = this.span(&minus).to(operand.span);
                this.expr(span, Node::Negative(Box::new(operand)))
            })
            .map_postfix(|operand: Expr, postfix| this.borrow_mut().postfix(operand, postfix))
            .map_infix(|left: Expr, operator, right: Expr| {
                let span = left.span.to(right.span);
                let node = Node::Binary(infix(&operator), Box::new(left), Box::new(right));
                this.borrow_mut().expr(span, node)
            })
            .parse(pair.into_inner())
    }

    fn postfix(&mut self, operand: Expr, pair: Pair<'_, Rule>) -> Expr {
        let span = operand.span.to(self.span(&pair));
        let rule = pair.as_rule();
        let mut parts = pair.into_inner().filter(|pair| !is_punctuation(pair.as_rule()));
        let operand = Box::new(operand);
        let node = match rule {
            Rule::call => Node::Call(operand, parts.map(|argument| self.argument(argument)).collect()),
            Rule::field => match parts.next() {
                Some(name) => Node::Field(operand, self.name(&name)),
                None => Node::Error,
            },
            _ => match parts.next() {
                Some(range) if range.as_rule() == Rule::integers => {
                    let ends: Vec<u32> = range.into_inner().map(|end| self.integer(&end)).collect();
                    match ends[..] {
                        [first, last] => Node::Index(operand, first, last),
                        _ => Node::Error,
                    }
                }
                Some(integer) => {
                    let index = self.integer(&integer);
                    Node::Index(operand, index, index)
                }
                None => Node::Error,
            },
        };
        self.expr(span, node)
    }

    fn argument(&mut self, pair: Pair<'_, Rule>) -> Argument {
        let span = self.span(&pair);
        let mut argument = Argument { label: None, value: Expr::error(span) };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::label => argument.label = Some(self.name(&part)),
                Rule::expression => argument.value = self.expression(part),
                _ => {}
            }
        }
        argument
    }

    fn primary(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let node = match pair.as_rule() {
            Rule::group => {
                let inner = pair.into_inner().find(|pair| pair.as_rule() == Rule::expression);
                let mut expr = inner.map_or_else(|| Expr::error(span), |inner| self.expression(inner));
                expr.depth += 1;
                expr.span = span;
                return expr;
            }
            Rule::pair => self.pair(pair.as_str(), span),
            Rule::within => {
                let ends: Vec<Expr> = pair.into_inner().map(|end| self.primary(end)).collect();
                match <[Expr; 2]>::try_from(ends) {
                    Ok([first, last]) => Node::Within(Box::new(first), Box::new(last)),
                    Err(_) => Node::Error,
                }
            }
            Rule::number => {
                let mut parts = pair.into_inner();
                let amount = parts.next().map_or(f64::NAN, |amount| self.amount(&amount));
                Node::Number(amount, parts.next().map(|unit| self.name(&unit)))
            }
            Rule::text => Node::Text(unescaped(pair)),
            Rule::record => {
                let entries = pair.into_inner().filter(|pair| pair.as_rule() == Rule::entry);
                Node::Record(
                    entries
                        .map(|entry| {
                            let argument = self.argument(entry);
                            (argument.label.unwrap_or(Name { text: String::new(), span }), argument.value)
                        })
                        .collect(),
                )
            }
            Rule::list => {
                let elements = pair.into_inner().filter(|pair| pair.as_rule() == Rule::expression);
                Node::List(elements.map(|element| self.expression(element)).collect())
            }
            Rule::name => match pair.as_str() {
                "true" => Node::Flag(true),
                "false" => Node::Flag(false),
                name => Node::Name(name.to_owned()),
            },
            _ => Node::Error,
        };
        self.expr(span, node)
    }

    fn pair(&mut self, text: &str, span: Span) -> Node {
        let (form, ends) = match text.split_once(':') {
            Some(ends) => (Literal::Colon, Some(ends)),
            None => (Literal::Cross, text.split_once('x')),
        };
        match ends.map(|(left, right)| (left.parse(), right.parse())) {
            Some((Ok(left), Ok(right))) => Node::Pair(form, left, right),
            _ => self.too_large(text, span, Node::Error),
        }
    }

    /// A finite number; `M` and its like multiplied in.
    fn amount(&mut self, pair: &Pair<'_, Rule>) -> f64 {
        let text = pair.as_str();
        let (digits, scale) = match text.as_bytes().last() {
            Some(b'k') => (&text[..text.len() - 1], 1e3),
            Some(b'M') => (&text[..text.len() - 1], 1e6),
            Some(b'G') => (&text[..text.len() - 1], 1e9),
            _ => (text, 1.0),
        };
        match digits.parse::<f64>().map(|amount| amount * scale) {
            Ok(amount) if amount.is_finite() => amount,
            _ => self.too_large(text, self.span(pair), 1.0),
        }
    }

    fn integer(&mut self, pair: &Pair<'_, Rule>) -> u32 {
        match pair.as_str().parse() {
            Ok(integer) => integer,
            Err(_) => self.too_large(pair.as_str(), self.span(pair), 0),
        }
    }

    fn too_large<T>(&mut self, text: &str, span: Span, instead: T) -> T {
        let shown: String = text.chars().take(20).collect();
        self.wrong.push(Diagnostic::new(Code::NotANumber, span, format!("`{shown}` is too large a number")));
        instead
    }

    fn kind(&mut self, pair: Pair<'_, Rule>) -> Option<KindName> {
        let inner = pair.into_inner().find(|pair| !is_punctuation(pair.as_rule()))?;
        match inner.as_rule() {
            Rule::name => Some(KindName::Word(self.name(&inner))),
            _ => self.kind(inner).map(|inner| KindName::List(Box::new(inner))),
        }
    }

    fn name(&self, pair: &Pair<'_, Rule>) -> Name {
        Name { text: pair.as_str().to_owned(), span: self.span(pair) }
    }

    /// Makes an expression, or reports that it is nested too deeply.
    fn expr(&mut self, span: Span, node: Node) -> Expr {
        let node = self.counted(span, node);
        Expr::new(span, node).unwrap_or_else(|| {
            if self.wrong.iter().any(|wrong| wrong.code == Code::TooDeep) {
                return Expr::error(span);
            }
            self.wrong.push(
                Diagnostic::new(Code::TooDeep, span, "this is nested or chained too deeply")
                    .note(format!("{MAX_DEPTH} levels are the most that an expression may have"))
                    .help("bind parts of it to names above"),
            );
            Expr::error(span)
        })
    }

    /// The node, unless it has more parts than anybody writes.
    fn counted(&mut self, span: Span, node: Node) -> Node {
        let parts = match &node {
            Node::List(elements) => elements.len(),
            Node::Record(entries) => entries.len(),
            Node::Call(_, arguments) => arguments.len(),
            _ => 0,
        };
        if parts <= MAX_PARTS {
            return node;
        }
        let start = Span { end: span.start + 1, ..span };
        self.wrong.push(Diagnostic::new(Code::TooLarge, start, format!("more than {MAX_PARTS} elements or arguments")));
        Node::Error
    }

    fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let text = pair.as_span();
        // Implicit white space may be taken in at the end of a rule.
        let length = text.as_str().trim_end().len();
        self.fixed.unwrap_or_else(|| Span::new(self.source, self.offset + text.start(), self.offset + text.start() + length))
    }
}

fn is_punctuation(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::comma
            | Rule::colon
            | Rule::equals
            | Rule::arrow
            | Rule::open
            | Rule::close
            | Rule::close_square
            | Rule::in_word
            | Rule::as_word
            | Rule::EOI
    )
}

fn unescaped(text: Pair<'_, Rule>) -> String {
    text.into_inner()
        .map(|part| match part.as_str() {
            "\\n" => "\n",
            "\\t" => "\t",
            escape if part.as_rule() == Rule::escape => &escape[1..],
            plain => plain,
        })
        .collect()
}

fn compare(symbol: &str) -> Comparison {
    match symbol.trim() {
        "<" => Comparison::Less,
        "<=" => Comparison::AtMost,
        ">" => Comparison::Greater,
        ">=" => Comparison::AtLeast,
        _ => Comparison::Equal,
    }
}

fn infix(pair: &Pair<'_, Rule>) -> Operator {
    match pair.as_rule() {
        Rule::multiply => Operator::Multiply,
        Rule::divide => Operator::Divide,
        Rule::add => Operator::Add,
        Rule::subtract => Operator::Subtract,
        Rule::to => Operator::To,
        Rule::within_word => Operator::In,
        Rule::and => Operator::And,
        Rule::or => Operator::Or,
        Rule::except => Operator::Except,
        Rule::then => Operator::Then,
        _ => Operator::Compare(compare(pair.as_str())),
    }
}
