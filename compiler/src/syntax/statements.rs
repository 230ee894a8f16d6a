//! Cuts a text into statements, so that a mistake in one leaves the others readable.
//!
//! A newline ends a statement unless a bracket is open, or the line ends in an operator and the next one is indented. If a
//! bracket is never closed, the statement ends where a line at the left margin begins another one. Texts and comments are
//! passed over; brackets are counted here, so that whatever parses a statement later meets no deep nesting.

use super::{MAX_DEPTH, RESERVED};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{SourceId, Span};

/// One statement's text.
pub(super) struct Piece {
    /// Bytes of the source.
    pub(super) start: usize,
    pub(super) end: usize,
    /// The `///` lines above it.
    pub(super) doc: String,
    /// Why it cannot be parsed; empty if it can.
    pub(super) wrong: Vec<Diagnostic>,
}

/// Cuts `text` into statements.
pub(super) fn cut(source: SourceId, text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut doc = String::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let line = rest.lines().next().unwrap_or("");
        let trimmed = line.trim();
        if trimmed.is_empty() {
            doc.clear();
            at += line_length(rest);
        } else if let Some(comment) = trimmed.strip_prefix("///") {
            doc.push_str(if doc.is_empty() { "" } else { "\n" });
            doc.push_str(comment.trim());
            at += line_length(rest);
        } else if trimmed.starts_with("//") {
            at += line_length(rest);
        } else {
            let start = at + (line.len() - line.trim_start().len());
            let mut scanner = Scanner { source, text, at: start, open: Vec::new(), wrong: Vec::new(), last: start };
            scanner.run();
            at = scanner.at;
            pieces.push(Piece { start, end: scanner.last, doc: std::mem::take(&mut doc), wrong: scanner.wrong });
        }
    }
    pieces
}

fn line_length(rest: &str) -> usize {
    rest.find('\n').map_or(rest.len(), |newline| newline + 1)
}

/// Walks over one statement.
struct Scanner<'t> {
    source: SourceId,
    text: &'t str,
    at: usize,
    /// Brackets that are open, and where.
    open: Vec<(char, usize)>,
    wrong: Vec<Diagnostic>,
    /// One past the last character that is neither space nor comment.
    last: usize,
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some(c) = self.text[self.at..].chars().next() {
            match c {
                '\n' if self.ends_here() => return,
                '"' => self.text_literal(),
                '/' if self.text[self.at..].starts_with("//") => {
                    self.at += self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at);
                    continue;
                }
                '(' | '[' | '{' => self.opens(c),
                ')' | ']' | '}' => self.closes(c),
                _ => {}
            }
            if let Some(c) = self.text[self.at..].chars().next() {
                self.at += c.len_utf8();
                if !c.is_whitespace() {
                    self.last = self.at;
                }
            }
        }
        self.unclosed();
    }

    /// Whether the newline here ends the statement; if so, it is passed.
    fn ends_here(&mut self) -> bool {
        let next = &self.text[self.at + 1..];
        let ends = if self.open.is_empty() {
            !(self.dangles() && next.starts_with([' ', '\t']) && !next.lines().next().unwrap_or("").trim().is_empty())
        } else {
            starts_statement(next)
        };
        if ends {
            self.unclosed();
            self.at += 1;
        }
        ends
    }

    /// Whether what was read ends in an operator that waits for its right side.
    fn dangles(&self) -> bool {
        let read = &self.text[..self.last];
        let word = read.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("");
        read.ends_with(['=', '+', '-', '*', '/', '|', '&', '<', '>', ':']) || ["to", "in", "except", "then"].contains(&word)
    }

    /// Stops before the closing quote, or reports that there is none and stops before the end of the line.
    fn text_literal(&mut self) {
        let start = self.at;
        let mut escaped = false;
        for (offset, c) in self.text[start + 1..].char_indices() {
            let at = start + 1 + offset;
            match c {
                '\n' => break,
                '"' if !escaped => {
                    self.at = at;
                    return;
                }
                _ => escaped = c == '\\' && !escaped,
            }
            self.at = at;
        }
        let end = self.at + self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        self.wrong.push(
            Diagnostic::new(Code::UnclosedText, self.span(start, end), "this text is never closed")
                .help("close it with `\"` on the same line"),
        );
    }

    fn opens(&mut self, bracket: char) {
        if bracket == '{' {
            self.wrong.push(
                Diagnostic::new(Code::StrayBracket, self.span(self.at, self.at + 1), "recipes have no `{`")
                    .help("records and lists stand in `[` `]`, arguments in `(` `)`"),
            );
        }
        if self.open.len() == MAX_DEPTH / 2 {
            self.wrong.push(
                Diagnostic::new(Code::TooDeep, self.span(self.at, self.at + 1), "brackets are nested too deeply")
                    .note(format!("{} open brackets are the most that a statement may have", MAX_DEPTH / 2))
                    .help("bind the inner part to a name above"),
            );
        }
        self.open.push((bracket, self.at));
    }

    fn closes(&mut self, bracket: char) {
        let here = self.span(self.at, self.at + 1);
        match self.open.pop() {
            Some((opened, _)) if closing(opened) == bracket => {}
            Some((opened, at)) => self.wrong.push(
                Diagnostic::new(Code::StrayBracket, here, format!("`{bracket}` closes a `{opened}`"))
                    .also(self.span(at, at + 1), "opened here")
                    .help(format!("close it with `{}`", closing(opened))),
            ),
            None => self.wrong.push(
                Diagnostic::new(Code::StrayBracket, here, format!("nothing is open that `{bracket}` could close"))
                    .help("remove it, or open its pair before"),
            ),
        }
    }

    fn unclosed(&mut self) {
        if let Some((bracket, at)) = self.open.pop()
            && self.wrong.is_empty()
        {
            self.wrong.push(
                Diagnostic::new(Code::UnclosedBracket, self.span(at, at + 1), format!("this `{bracket}` is never closed"))
                    .also(self.span(self.last, self.last), "the statement ends here")
                    .help(format!("close it with `{}`", closing(bracket))),
            );
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.source, start, end)
    }
}

fn closing(bracket: char) -> char {
    match bracket {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}

/// Whether a line begins a statement beyond doubt: at the left margin, `name =` or a word that only starts statements.
fn starts_statement(line: &str) -> bool {
    let word_end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(line.len());
    let (word, rest) = line.split_at(word_end);
    let rest = rest.trim_start_matches([' ', '\t']);
    if ["edition", "param", "import", "def", "require"].contains(&word) {
        return !rest.starts_with(':');
    }
    !word.is_empty() && rest.starts_with('=') && !rest.starts_with("==")
}

/// The name that a statement would bind, and the byte where it starts, as far as that can be seen without parsing it.
pub(super) fn bound_name(statement: &str) -> Option<(usize, &str)> {
    let mut words = statement
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - statement.as_ptr() as usize, word));
    let first = words.next()?;
    let name = match first.1 {
        "param" | "def" => words.next()?,
        "import" => statement.rfind(" as ").and_then(|at| words.find(|(start, _)| *start >= at + 4))?,
        _ if statement[first.0 + first.1.len()..].trim_start().starts_with('=') => first,
        _ => return None,
    };
    (!RESERVED.contains(&name.1) && !name.1.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceSet;

    fn pieces(text: &str) -> Vec<(String, Vec<Code>)> {
        cut(SourceSet::new("a.sq", text).root(), text)
            .into_iter()
            .map(|piece| (text[piece.start..piece.end].to_owned(), piece.wrong.iter().map(|wrong| wrong.code).collect()))
            .collect()
    }

    fn texts(text: &str) -> Vec<String> {
        pieces(text).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn newlines_end_statements_outside_brackets() {
        assert_eq!(texts("a = 1\nb = f(\n  2,\n)\n"), ["a = 1", "b = f(\n  2,\n)"]);
        assert_eq!(texts("a =\n  1 +\n  2\nb = 3"), ["a =\n  1 +\n  2", "b = 3"]);
        assert_eq!(texts("a =\nb = 3"), ["a =", "b = 3"]);
    }

    #[test]
    fn comments_and_texts_hide_brackets() {
        assert_eq!(texts("a = \"(\" // (\nb = 2"), ["a = \"(\"", "b = 2"]);
        assert_eq!(texts("a = \"\\\"(\"\r\nb = 2\r\n"), ["a = \"\\\"(\"", "b = 2"]);
    }

    #[test]
    fn an_open_bracket_ends_where_another_statement_begins() {
        assert_eq!(
            pieces("a = f(1,\n  2\nb = 3"),
            [("a = f(1,\n  2".to_owned(), vec![Code::UnclosedBracket]), ("b = 3".to_owned(), vec![])]
        );
    }

    #[test]
    fn the_name_of_a_broken_statement_is_found() {
        assert_eq!(bound_name("a = ((").map(|(_, name)| name), Some("a"));
        assert_eq!(bound_name("param a: )"), Some((6, "a")));
        assert_eq!(bound_name("import \"a as b\" as c ]").map(|(_, name)| name), Some("c"));
        assert_eq!(bound_name("f(a = 2"), None);
    }
}
