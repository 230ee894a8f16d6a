//! What pest says about a statement, in the words of somebody who writes recipes.

use std::collections::BTreeSet;

use pest::error::{Error, ErrorVariant, InputLocation};

use super::parse::{Rule, is_reserved};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;

/// The diagnostic for a statement `body` that stands at `whole` and could not be parsed.
pub(super) fn of(error: &Error<Rule>, body: &str, whole: Span) -> Diagnostic {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at.min(body.len()),
    };
    let found = token(&body[at..]);
    let start = whole.start as usize + at;
    let span = Span::new(whole.source, start, start + found.len());
    let expected: BTreeSet<&str> = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives.iter().map(|rule| describe(*rule)).collect(),
        ErrorVariant::CustomError { .. } => BTreeSet::new(),
    };
    if is_reserved(found) && (expected.contains("a name") || expected.contains("a value")) {
        return Diagnostic::new(Code::ReservedWord, span, format!("`{found}` is a word of the language and cannot be a name"))
            .help(format!("choose another name, such as `{found}_`"));
    }
    let message = match found {
        "" => "this statement ends too early".to_owned(),
        found => format!("`{found}` cannot stand here"),
    };
    Diagnostic::new(Code::Syntax, span, message).label(format!("expected {}", alternatives(&expected))).maybe_help(hint(
        found,
        &body[at..],
        &body[..at],
        &expected,
    ))
}

/// The word, number or character that stands first; empty at the end.
fn token(rest: &str) -> &str {
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let first = rest.chars().next().map_or(0, char::len_utf8);
    &rest[..word.max(first)]
}

fn describe(rule: Rule) -> &'static str {
    match rule {
        Rule::name => "a name",
        Rule::label => "a label",
        Rule::text | Rule::plain | Rule::escape => "a text in double quotes",
        Rule::integer | Rule::integers => "a whole number",
        Rule::within => "a range such as `0%..95%`",
        Rule::kind => "a kind",
        Rule::colon => "`:`",
        Rule::comma => "`,`",
        Rule::equals => "`=`",
        Rule::arrow => "`->`",
        Rule::open => "`(`",
        Rule::close => "`)`",
        Rule::close_square => "`]`",
        Rule::as_word => "`as` and a name",
        Rule::in_word => "`in` and a range",
        Rule::EOI => "the end of the statement",
        Rule::add
        | Rule::subtract
        | Rule::multiply
        | Rule::divide
        | Rule::to
        | Rule::within_word
        | Rule::and
        | Rule::or
        | Rule::except
        | Rule::then
        | Rule::comparison
        | Rule::comparison_operator
        | Rule::expect_word
        | Rule::expect
        | Rule::maybe
        | Rule::field
        | Rule::call
        | Rule::index
        | Rule::unit => "an operator",
        _ => "a value",
    }
}

/// `a`, `b` or `c`; where a value fits, what a value can start with goes unsaid.
fn alternatives(expected: &BTreeSet<&str>) -> String {
    let value = expected.contains("a value");
    let mut list: Vec<&str> = expected
        .iter()
        .copied()
        .filter(|what| !value || !["a name", "a label", "a text in double quotes", "a range such as `0%..95%`"].contains(what))
        .collect();
    let last = list.pop().unwrap_or("something else");
    if list.is_empty() { last.to_owned() } else { format!("{} or {last}", list.join(", ")) }
}

/// Advice for mistakes that people coming from other languages make.
fn hint(found: &str, rest: &str, before: &str, expected: &BTreeSet<&str>) -> Option<String> {
    let advice = match found {
        "=" if rest.starts_with("==") => "two values are compared in a `require` only",
        "=" if before.contains('(') => "arguments are written `name: value`",
        ":" if before.contains('(') => "is a `,` missing before the label?",
        ":" => "a binding is written `name = value`",
        "'" => "texts stand in double quotes",
        "#" => "comments start with `//`",
        ";" => "a statement ends with its line",
        "" if expected.contains("a value") => "write a value behind it, or indent the next line",
        ")" | "," if before.ends_with('.') => "a number needs a digit behind its point",
        "-" if before.trim_end().ends_with('-') => "one minus is enough",
        _ if found.starts_with(|c: char| c.is_alphabetic() && !c.is_ascii()) => "names are made of `a` to `z`, digits and `_`",
        _ if expected.contains("`,`") => "arguments and elements are separated by `,`",
        _ => return None,
    };
    Some(advice.to_owned())
}
