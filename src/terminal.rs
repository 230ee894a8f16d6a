//! What a person reads on the terminal: faults on stderr, the report of a run on stdout.

use comfy_table::{CellAlignment, Table, presets};
use sparsec_compiler::{Color, Severity, SourceSet, Span, render_failure};
use sparsec_runtime::report::text::{bytes, count, percent, rate, seconds};
use sparsec_runtime::report::{Bar, ModelRecord, Report, Timing};
use sparsec_runtime::{Fault, FaultKind, Result};
use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;

use crate::exit::Exit;

/// Prints a line on stdout; see [`print`].
macro_rules! outln {
    ($($text:tt)*) => { $crate::terminal::print(format_args!($($text)*)) };
}

/// Prints a line on stderr; see [`note`].
macro_rules! errln {
    ($($text:tt)*) => { $crate::terminal::note(format_args!($($text)*)) };
}

/// The first failure of stdout.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// Prints a line on stdout. What cannot be written is remembered for [`lost`].
pub fn print(line: Arguments<'_>) {
    print_part(&format!("{line}\n"));
}

/// Prints text on stdout as it is, at once; see [`print`].
pub fn print_part(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads may have read enough, as in `sparsec words | head -1`.
        if error.kind() != ErrorKind::BrokenPipe {
            LOST.get_or_init(|| error);
        }
    }
}

/// Prints a line on stderr. A run of hours does not end because a log is full, and there is no place left to say so.
pub fn note(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The fault for results that never arrived on stdout.
pub fn lost() -> Option<Fault> {
    let fault = |error| Fault::environment(format!("standard output cannot be written: {error}"));
    LOST.get().map(|error| fault(error).help("free some space, or print to another place"))
}

/// Whether to colour what goes to stderr: a terminal, and no wish against it (<https://no-color.org>).
pub fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints a fault with its file and its advice.
pub fn print_fault(fault: &Fault) {
    let (red, bold, plain) = if colour() { ("\x1b[1;31m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    let head = match fault.kind {
        FaultKind::Interrupted => "stopped",
        FaultKind::Internal => "internal error",
        FaultKind::Input | FaultKind::Running | FaultKind::Environment => "error",
    };
    errln!("{red}{head}{plain}{bold}: {}{plain}", fault.message);
    if let Some(path) = &fault.path {
        errln!("  --> {}", path.display());
    }
    if let Some(help) = &fault.help {
        errln!("  = help: {help}");
    }
    if fault.kind == FaultKind::Internal {
        errln!("  = note: {BUG}");
    }
}

/// What is said below an internal fault.
const BUG: &str = "this is a bug in sparsec, not in your recipe; please report it with the command that you ran";

/// Ends a run by `fault`, which is printed with its call underlined in the recipe.
pub fn end(fault: Fault, span: Option<Span>, sources: &SourceSet) -> Result<Exit> {
    let Some(span) = span else { return Err(fault) };
    print_failure(&fault, span, sources);
    Ok(Exit::of(&fault))
}

/// Prints a fault of a stage, its call underlined in the recipe as a diagnostic would.
fn print_failure(fault: &Fault, span: Span, sources: &SourceSet) {
    let file = fault.path.as_ref().map(|path| format!("file: {}", path.display()));
    let help = fault.help.as_ref().map(|help| format!("help: {help}"));
    let bug = (fault.kind == FaultKind::Internal).then(|| BUG.to_owned());
    let color = if colour() { Color::On } else { Color::Off };
    let notes = file.into_iter().chain(help).chain(bug).collect();
    let severity = if fault.kind == FaultKind::Interrupted { Severity::Note } else { Severity::Error };
    errln!("{}", render_failure(severity, &fault.message, span, notes, sources, color).trim_end());
}

/// A table in the house style; every column but the first is aligned to the right.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(header.iter().copied());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Prints dense against result, every verdict, and where things were written.
pub fn print_report(report: &Report) {
    let names: Vec<&str> = std::iter::once("").chain(report.models.iter().map(|model| model.name.as_str())).collect();
    let mut figures = table(&names);
    for row in figure_rows(&report.models) {
        figures.add_row(row);
    }
    outln!("{figures}");
    for verdict in &report.requires {
        let word = match verdict.outcome {
            Bar::Met => "met",
            Bar::Missed => "MISSED",
            Bar::Undecided => "undecided",
        };
        let interval = verdict.difference.map(|(low, high)| format!(", difference {low:+.4} … {high:+.4}")).unwrap_or_default();
        outln!("{word:<10} require {}   (measured {:.4}, bar {:.4}{interval})", verdict.text, verdict.measured, verdict.bar);
    }
    for export in &report.exports {
        match &export.held_back {
            None => outln!("wrote      {}   ({}, read back and compared)", export.to, bytes(export.bytes)),
            Some(reason) => outln!("held back  {}   ({reason})", export.to),
        }
    }
    for note in &report.notes {
        outln!("note       {note}");
    }
    outln!("took       {}", seconds(report.stages.iter().filter(|stage| !stage.reused).map(|stage| stage.seconds).sum()));
}

/// A row per quantity: its name, then a cell per model.
fn figure_rows(models: &[ModelRecord]) -> Vec<Vec<String>> {
    let row = |name: &str, cell: &dyn Fn(&ModelRecord) -> String| {
        std::iter::once(name.to_owned()).chain(models.iter().map(cell)).collect::<Vec<String>>()
    };
    let mut scored: Vec<(&str, &str)> = Vec::new();
    for score in models.iter().flat_map(|model| &model.scores) {
        if !scored.contains(&(&score.metric, &score.data)) {
            scored.push((&score.metric, &score.data));
        }
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (metric, data) in scored {
        rows.push(row(&format!("{metric}, {data}"), &|model| match model.score(metric, data) {
            Some(score) => score.text(),
            None => "not scored".into(),
        }));
    }
    let timed = |timing: Option<Timing>, unit: &str| {
        timing.map_or("not measured".into(), |t| format!("{} {unit} ({} … {})", rate(t.median), rate(t.min), rate(t.max)))
    };
    rows.push(row("parameters", &|model| count(model.parameters)));
    rows.push(row("sparsity of pruned layers", &|model| percent(model.sparsity)));
    rows.push(row("bytes on disk", &|model| bytes(model.bytes_on_disk)));
    rows.push(row("peak resident memory", &|model| model.peak_resident_bytes.map_or("not measured".into(), bytes)));
    rows.push(row("encoder latency", &|model| timed(model.encoder_ms, "ms")));
    rows.push(row("decoding", &|model| timed(model.decode_tokens_per_second, "tokens/s")));
    rows
}
