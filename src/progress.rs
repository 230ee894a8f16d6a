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
    clock: Clock,
    losses: String,
}

/// How the running stage is shown.
enum Shown {
    Nothing,
    Bar(ProgressBar),
    /// As text lines, for logs; when the last one was written.
    Lines(Instant),
}

impl Progress {
    /// Nothing is shown yet.
    pub fn new() -> Self {
        Self { stages: 0, title: String::new(), shown: Shown::Nothing, clock: Clock::default(), losses: String::new() }
    }

    /// Shows work that is no stage of a run.
    pub fn of(title: &str) -> Self {
        let mut progress = Self::new();
        progress.start(title.to_owned());
        progress
    }

    fn start(&mut self, title: String) {
        self.title = title;
        self.losses.clear();
        self.clock = Clock::default();
        self.shown = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::no_length().with_message(self.title.clone());
            bar.set_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            Shown::Bar(bar)
        } else {
            errln!("{}", self.title);
            Shown::Lines(Instant::now())
        };
    }

    fn advance(&mut self, done: u64, total: u64, unit: &str) {
        let is_new = self.clock.tell(Instant::now(), done, total, unit);
        let left = self.clock.left(Instant::now()).map_or_else(String::new, |left| format!(", {} left", text::seconds(left)));
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                if is_new {
                    bar.reset();
                    bar.set_length(total);
                    let template = format!("{{spinner}} {{msg}} {{bar:24}} {{pos}}/{{len}} {unit}{{prefix}}");
                    bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
                }
                bar.set_prefix(format!("{left} {}", self.losses));
                bar.set_position(done);
            }
            Shown::Lines(last) => {
                if done < total && last.elapsed() < QUIET {
                    return;
                }
                *last = Instant::now();
                errln!("{} {done}/{total} {unit}{left} {}", self.title, self.losses);
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
            Event::Stage { index, name, word } => self.start(format!("[{}/{}] {name} ({word})", index + 1, self.stages)),
            Event::Progress { done, total, unit } => self.advance(done, total, unit),
            Event::Losses { total, rate, .. } => self.losses = format!("(loss {total:.3}, rate {rate:.1e})"),
            Event::Note(note) => self.note(note),
            Event::Done { index, record } => {
                let how = if record.reused { "reused".to_owned() } else { text::seconds(record.seconds) };
                self.finish(&format!("[{}/{}] {} ({}) {how}", index + 1, self.stages, record.name, record.word));
            }
            Event::Fetching => self.start("fetching".to_owned()),
            Event::Fetched { folder } => self.finish(&format!("fetched into {}", folder.display())),
            Event::Measuring => self.start("measuring size, memory and speed".to_owned()),
            Event::Measured { seconds } => self.finish(&format!("measuring took {}", text::seconds(seconds))),
        }
    }
}

/// Tells how long a piece of work will still take. A stage may count several things, one after the other.
#[derive(Default)]
struct Clock {
    unit: String,
    total: u64,
    done: u64,
    /// When the first progress was told, and how far the work was then: a resumed stage does not begin at nothing.
    began: Option<(Instant, u64)>,
}

impl Clock {
    /// Takes in that `done` of `total` units are done; whether this is another piece of work than before.
    fn tell(&mut self, now: Instant, done: u64, total: u64, unit: &str) -> bool {
        let is_new = self.began.is_none() || self.unit != unit || self.total != total || done < self.done;
        if is_new {
            self.began = Some((now, done));
            self.unit = unit.to_owned();
        }
        (self.done, self.total) = (done, total);
        is_new
    }

    /// Seconds left, at the pace so far; none before anything was done since the first progress.
    fn left(&self, now: Instant) -> Option<f64> {
        let (began, first) = self.began?;
        let pace = now.duration_since(began).as_secs_f64() / self.done.checked_sub(first).filter(|&done| done > 0)? as f64;
        Some(pace * self.total.saturating_sub(self.done) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_work_at_hand() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut clock = Clock::default();
        assert!(clock.tell(at(0), 16, 64, "rows"));
        assert_eq!(clock.left(at(0)), None);
        assert!(!clock.tell(at(8), 32, 64, "rows"));
        assert_eq!(clock.left(at(8)), Some(16.0));
        clock.tell(at(24), 64, 64, "rows");
        assert_eq!(clock.left(at(24)), Some(0.0));
        // A second model is scored on the same rows: its pace counts, not the time since the first began.
        assert!(clock.tell(at(100), 16, 64, "rows"));
        assert_eq!(clock.left(at(100)), None);
        clock.tell(at(102), 32, 64, "rows");
        assert_eq!(clock.left(at(102)), Some(4.0));
        assert!(clock.tell(at(103), 32, 64, "files") && clock.tell(at(104), 32, 65, "files"));
    }
}
