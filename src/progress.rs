//! Live progress on stderr: a bar with the time left on a terminal, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use sparsec_runtime::report::text;
use sparsec_runtime::run::{Event, Events};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Between two lines where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// Shows the events of a run.
pub struct Progress {
    stages: usize,
    title: String,
    shown: Shown,
    losses: String,
}

/// How the running stage is shown.
enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Lines),
}

/// Progress as text lines, for logs.
struct Lines {
    /// When the first progress was told, and how far the work was then: a resumed stage does not begin at nothing.
    began: Option<(Instant, u64)>,
    last: Instant,
}

impl Progress {
    /// Nothing is shown yet.
    pub fn new() -> Self {
        Self { stages: 0, title: String::new(), shown: Shown::Nothing, losses: String::new() }
    }

    fn start(&mut self, index: usize, name: &str, word: &str) {
        self.title = format!("[{}/{}] {name} ({word})", index + 1, self.stages);
        self.losses.clear();
        self.shown = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::no_length().with_message(self.title.clone());
            bar.set_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            Shown::Bar(bar)
        } else {
            errln!("{}", self.title);
            Shown::Lines(Lines { began: None, last: Instant::now() })
        };
    }

    fn advance(&mut self, done: u64, total: u64, unit: &str) {
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                if bar.length() != Some(total) || bar.position() > done {
                    bar.reset();
                    bar.set_length(total);
                    let template = format!("{{spinner}} {{msg}} {{bar:24}} {{pos}}/{{len}} {unit}, {{eta}} left {{prefix}}");
                    bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
                }
                bar.set_prefix(self.losses.clone());
                bar.set_position(done);
            }
            Shown::Lines(lines) => {
                let (began, first) = match lines.began {
                    Some((began, first)) if first <= done => (began, first),
                    _ => *lines.began.insert((Instant::now(), done)),
                };
                if done < total && lines.last.elapsed() < QUIET {
                    return;
                }
                lines.last = Instant::now();
                let left = began.elapsed().as_secs_f64() / (done - first).max(1) as f64 * total.saturating_sub(done) as f64;
                errln!("{} {done}/{total} {unit}, {} left {}", self.title, text::seconds(left), self.losses);
            }
        }
    }

    fn finish(&mut self, line: &str) {
        if let Shown::Bar(bar) = std::mem::replace(&mut self.shown, Shown::Nothing) {
            bar.finish_and_clear();
        }
        errln!("{line}");
    }

    fn note(&self, note: &str) {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(|| errln!("  note: {note}")),
            Shown::Lines(_) | Shown::Nothing => errln!("  note: {note}"),
        }
    }
}

impl Events for Progress {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Started { stages, state } => {
                self.stages = stages;
                errln!("{stages} stages; finished work is kept in {}", state.display());
            }
            Event::Stage { index, name, word } => self.start(index, name, word),
            Event::Progress { done, total, unit } => self.advance(done, total, unit),
            Event::Losses { total, rate, .. } => self.losses = format!("(loss {total:.3}, rate {rate:.1e})"),
            Event::Note(note) => self.note(note),
            Event::Done { index, record } => {
                let how = if record.reused { "reused".to_owned() } else { text::seconds(record.seconds) };
                self.finish(&format!("[{}/{}] {} ({}) {how}", index + 1, self.stages, record.name, record.word));
            }
        }
    }
}
