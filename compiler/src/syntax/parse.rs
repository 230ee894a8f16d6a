//! Text to tree. Never gives up: a statement that cannot be read becomes an error node, and the next one is read.

use pest::Parser as _;
use pest::iterators::Pair;

use super::build::Builder;
use super::statements::{self, Piece};
use super::{Expr, Name, RESERVED, Statement, StatementKind, Syntax, message};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{MAX_SOURCE_BYTES, SourceId, SourceSet, Span};

/// The generated parser of one statement.
#[derive(pest_derive::Parser)]
#[grammar = "syntax/grammar.pest"]
pub(super) struct Grammar;

/// A line that nobody reads any more; longer ones would also make diagnostics unreadable.
pub(crate) const MAX_LINE_BYTES: usize = 4000;

/// Reads a whole text of `sources`.
pub fn parse(sources: &SourceSet, source: SourceId) -> (Syntax, Vec<Diagnostic>) {
    let mut diagnostics = Diagnostics::default();
    let statements = parse_source(sources.text(source), source, &mut diagnostics);
    (Syntax { source, statements }, diagnostics.into_sorted())
}

fn parse_source(text: &str, source: SourceId, diagnostics: &mut Diagnostics) -> Vec<Statement> {
    if let Some(too_large) = too_large(text, source) {
        let span = too_large.primary.span;
        diagnostics.push(too_large);
        return vec![Statement { span, doc: String::new(), kind: StatementKind::Error(None) }];
    }
    statements::cut(source, text).into_iter().map(|piece| statement(text, source, piece, diagnostics)).collect()
}

fn too_large(text: &str, source: SourceId) -> Option<Diagnostic> {
    let at = |start: usize| Span::new(source, start, start);
    if text.len() > MAX_SOURCE_BYTES {
        let message = format!("a recipe has at most {} KiB, this one has {}", MAX_SOURCE_BYTES / 1024, text.len() / 1024);
        return Some(Diagnostic::new(Code::TooLarge, at(0), message).help("move parts of it to files and import them"));
    }
    let long = text.split('\n').find(|line| line.len() > MAX_LINE_BYTES)?;
    let start = long.as_ptr() as usize - text.as_ptr() as usize;
    let message = format!("a line has at most {MAX_LINE_BYTES} bytes, this one has {}", long.len());
    Some(Diagnostic::new(Code::TooLarge, at(start), message).help("break it inside brackets"))
}

fn statement(text: &str, source: SourceId, piece: Piece, diagnostics: &mut Diagnostics) -> Statement {
    let Piece { start, end, doc, wrong } = piece;
    let span = Span::new(source, start, end);
    let body = &text[start..end];
    let kind = if wrong.is_empty() {
        let mut builder = Builder::new(source, start, None);
        let kind = match parse_statement(body) {
            Ok((rule, pair)) => builder.statement(rule, pair),
            Err(error) => {
                diagnostics.push(message::of(&error, body, span));
                None
            }
        };
        builder.wrong.into_iter().for_each(|wrong| diagnostics.push(wrong));
        kind
    } else {
        wrong.into_iter().for_each(|wrong| diagnostics.push(wrong));
        None
    };
    let kind = kind.unwrap_or_else(|| {
        StatementKind::Error(
            statements::bound_name(body)
                .map(|(at, name)| Name { text: name.to_owned(), span: Span::new(source, start + at, start + at + name.len()) }),
        )
    });
    Statement { span, doc, kind }
}

type PestError = Box<pest::error::Error<Rule>>;

/// Parses a statement by the rule that its first word asks for.
fn parse_statement(text: &str) -> Result<(Rule, Pair<'_, Rule>), PestError> {
    let first = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("");
    let rule = match first {
        "edition" => Rule::edition_statement,
        "param" => Rule::param_statement,
        "import" => Rule::import_statement,
        "def" => Rule::def_statement,
        "require" => Rule::require_statement,
        _ => Rule::other_statement,
    };
    parse_rule(rule, text).map(|pair| (rule, pair))
}

fn parse_rule(rule: Rule, text: &str) -> Result<Pair<'_, Rule>, PestError> {
    let mut pairs = Grammar::parse(rule, text).map_err(Box::new)?;
    // A rule that matched yields exactly one pair.
    pairs.next().ok_or_else(|| {
        let variant = pest::error::ErrorVariant::CustomError { message: String::new() };
        Box::new(pest::error::Error::new_from_pos(variant, pest::Position::from_start(text)))
    })
}

/// Reads a whole text of `sources` as one value.
pub(crate) fn parse_value(sources: &SourceSet, source: SourceId, diagnostics: &mut Diagnostics) -> Option<Expr> {
    let text = sources.text(source);
    let mut found = Diagnostics::default();
    let expr = value(text, source, None, &mut found);
    let failed = found.has_errors();
    found.into_sorted().into_iter().for_each(|diagnostic| diagnostics.push(diagnostic));
    expr.filter(|_| !failed)
}

/// Reads a default of the vocabulary, which stands in no source; every part of it gets the place `span`.
pub(crate) fn parse_value_at(text: &str, span: Span) -> Option<Expr> {
    let mut found = Diagnostics::default();
    let expr = value(text, span.source, Some(span), &mut found);
    expr.filter(|_| !found.has_errors())
}

fn value(text: &str, source: SourceId, fixed: Option<Span>, diagnostics: &mut Diagnostics) -> Option<Expr> {
    if let Some(too_large) = too_large(text, source) {
        diagnostics.push(too_large);
        return None;
    }
    let trimmed = text.trim();
    let start = text.len() - text.trim_start().len();
    // A newline in a value given from outside is as good as a space, so brackets alone matter here.
    let bracketed = format!("({trimmed})");
    if let Some(piece) = statements::cut(source, &bracketed).into_iter().find(|piece| !piece.wrong.is_empty()) {
        let whole = Span::new(source, start, start + trimmed.len());
        diagnostics.push(piece.wrong.into_iter().next().map_or_else(
            || Diagnostic::new(Code::Syntax, whole, "this is not a value"),
            |wrong| Diagnostic::new(wrong.code, whole, "the brackets or quotes of this value do not match"),
        ));
        return None;
    }
    match parse_rule(Rule::value_only, trimmed) {
        Ok(pair) => {
            let mut builder = Builder::new(source, start, fixed);
            let expr = pair.into_inner().next().map(|expression| builder.expression(expression));
            builder.wrong.into_iter().for_each(|wrong| diagnostics.push(wrong));
            expr
        }
        Err(error) => {
            diagnostics.push(message::of(&error, trimmed, Span::new(source, start, start + trimmed.len())));
            None
        }
    }
}

/// Whether `word` may not be a name.
pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}
