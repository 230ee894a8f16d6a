//! Diagnostics as text: the place underlined, the other places beside it, notes and help below.
//!
//! codespan-reporting is named in this file alone.

use codespan_reporting::diagnostic as codespan;
use codespan_reporting::files::SimpleFiles;
use codespan_reporting::term::{self, Config};

use super::{Diagnostic, Severity};
use crate::source::{SourceSet, Span};
use crate::syntax::MAX_LINE_BYTES;

/// Whether text for a terminal carries colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    Off,
    /// ANSI escape sequences.
    On,
}

/// Renders diagnostics one after the other, each with an empty line behind it.
pub fn render(diagnostics: &[Diagnostic], sources: &SourceSet, color: Color) -> String {
    let files = files(sources);
    let mut text = String::new();
    for diagnostic in diagnostics {
        if emit(&mut text, &files, &shown(diagnostic), color).is_err() {
            // Only a span outside its source can bring us here; the message is worth more than its place.
            text.push_str(&format!("{}[{}]: {}\n\n", label(diagnostic.severity), diagnostic.code, diagnostic.message));
        }
    }
    text
}

/// Renders what happened while the call at `span` was executed in the way of [`render`]: the call underlined, notes below.
pub fn render_failure(
    severity: Severity,
    message: &str,
    span: Span,
    notes: Vec<String>,
    sources: &SourceSet,
    color: Color,
) -> String {
    let failure = codespan::Diagnostic::new(shown_severity(severity))
        .with_message(message)
        .with_label(codespan::Label::primary(span.source.index(), span.range()).with_message("while this was executed"))
        .with_notes(notes);
    let mut text = String::new();
    if emit(&mut text, &files(sources), &failure, color).is_err() {
        text.push_str(&format!("{}: {message}\n\n", label(severity)));
    }
    text
}

type Files<'s> = SimpleFiles<&'s str, &'s str>;

fn files(sources: &SourceSet) -> Files<'_> {
    let mut files = SimpleFiles::new();
    for (_, source) in sources.iter() {
        files.add(source.name.as_str(), shortened(&source.text));
    }
    files
}

fn emit<'f>(
    text: &mut String,
    files: &'f Files<'f>,
    shown: &codespan::Diagnostic<usize>,
    color: Color,
) -> Result<(), codespan_reporting::files::Error> {
    let config = Config { tab_width: 4, ..Config::default() };
    match color {
        Color::Off => term::emit_to_string(text, &config, files, shown),
        Color::On => {
            let mut buffer = term::termcolor::Buffer::ansi();
            term::emit_to_write_style(&mut buffer, &config, files, shown)?;
            text.push_str(&String::from_utf8_lossy(buffer.as_slice()));
            Ok(())
        }
    }
}

fn shown_severity(severity: Severity) -> codespan::Severity {
    match severity {
        Severity::Error => codespan::Severity::Error,
        Severity::Warning => codespan::Severity::Warning,
        Severity::Note => codespan::Severity::Note,
    }
}

fn shown(diagnostic: &Diagnostic) -> codespan::Diagnostic<usize> {
    let primary = codespan::Label::primary(diagnostic.primary.span.source.index(), diagnostic.primary.span.range())
        .with_message(&diagnostic.primary.message);
    let secondary = diagnostic
        .secondary
        .iter()
        .map(|label| codespan::Label::secondary(label.span.source.index(), label.span.range()).with_message(&label.message));
    let mut notes = diagnostic.notes.clone();
    notes.extend(diagnostic.help.iter().map(|help| format!("help: {help}")));
    codespan::Diagnostic::new(shown_severity(diagnostic.severity))
        .with_code(diagnostic.code.as_str())
        .with_message(&diagnostic.message)
        .with_labels(std::iter::once(primary).chain(secondary).collect())
        .with_notes(notes)
}

/// The text up to a line so long that showing it would hide everything else, and the start of that line. A source with such
/// a line has one diagnostic, at that line's start.
fn shortened(text: &str) -> &str {
    let Some(long) = text.split('\n').find(|line| line.len() > MAX_LINE_BYTES) else { return text };
    let start = long.as_ptr() as usize - text.as_ptr() as usize;
    let end = (start..=start + 60).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(start)]
}

fn label(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}
