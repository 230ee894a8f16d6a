//! `report.html`: one self-contained page, no script, nothing fetched.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart;
use super::{Bar, Curve, ExportRecord, KernelRecord, LayerRecord, ModelRecord, Report, Score, StageRecord, Timing, Verdict};
use crate::Result;
use crate::report::text::{bytes, count, percent, rate, seconds};

const STYLE: &str = include_str!("report.css");

impl Report {
    /// The report as a page.
    ///
    /// # Errors
    /// An internal fault when a chart cannot be drawn.
    pub fn to_html(&self) -> Result<String> {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { "sparsec: " (self.recipe) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        h1 { (self.recipe) }
                        p.machine {
                            (self.environment.cpu) ", " (counted(self.environment.threads, "thread")) ", " (self.environment.tier) ", sparsec "
                            (self.environment.version) " (" (self.environment.build) ")"
                        }
                        (verdicts(&self.requires))
                        (models(&self.models))
                        @for note in &self.notes { p.note { (prose(note)) } }
                        (exports(&self.exports))
                        @for stage in &self.stages { (stage_section(stage, self.is_first_pruned(stage))?) }
                        @for model in self.models.iter().filter(|model| !model.kernels.is_empty()) { (kernels(model)) }
                        (params(self))
                    }
                }
            }
        };
        Ok(page.into_string())
    }

    /// Whether `stage` is the first that says what became of layers; those that come later say much the same.
    fn is_first_pruned(&self, stage: &StageRecord) -> bool {
        self.stages.iter().find(|stage| !stage.layers.is_empty()).is_some_and(|first| first.name == stage.name)
    }
}

/// So many of something, `1 thread` or `2 threads`.
fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A sentence whose parts between backticks are code.
fn prose(text: &str) -> Markup {
    html! { @for (index, part) in text.split('`').enumerate() { @if index % 2 == 1 { code { (part) } } @else { (part) } } }
}

fn verdicts(verdicts: &[Verdict]) -> Markup {
    html! {
        @for verdict in verdicts {
            @let (class, word) = match verdict.outcome {
                Bar::Met => ("met", "met"),
                Bar::Missed => ("missed", "missed"),
                Bar::Undecided => ("undecided", "undecided"),
            };
            p.verdict.(class) {
                strong { (word) } " " code { (verdict.text) }
                span.detail {
                    "measured " (format!("{:.4}", verdict.measured)) ", bar " (format!("{:.4}", verdict.bar))
                    @if let Some((low, high)) = verdict.difference { ", difference 95 % " (format!("{low:+.4} … {high:+.4}")) }
                }
            }
        }
    }
}

/// The comparison: a row per quantity, a column per model.
fn models(models: &[ModelRecord]) -> Markup {
    let row = |name: &str, cell: &dyn Fn(&ModelRecord) -> String| {
        html! { tr { th scope="row" { (name) } @for model in models { td { (cell(model)) } } } }
    };
    let mut measured: Vec<(&str, &str)> = Vec::new();
    for score in models.iter().flat_map(|model| &model.scores) {
        if !measured.contains(&(&score.metric, &score.data)) {
            measured.push((&score.metric, &score.data));
        }
    }
    html! {
        h2 { "Dense against result" }
        table.figures {
            thead { tr { th {} @for model in models { th scope="col" { (model.name) } } } }
            tbody {
                @for (metric, data) in &measured {
                    @let scores: Vec<Option<&Score>> = models.iter().map(|model| model.score(metric, data)).collect();
                    @let most = scores.iter().flatten().map(|score| score.high).fold(f64::MIN_POSITIVE, f64::max);
                    tr {
                        th scope="row" { (metric) " on " (data) }
                        @for score in &scores { td { @match score { Some(score) => { (interval(score, most)) } None => { "not scored" } } } }
                    }
                }
                (row("parameters", &|model| count(model.parameters)))
                (row("sparsity of pruned layers", &|model| percent(model.sparsity)))
                (row("bytes on disk", &|model| bytes(model.bytes_on_disk)))
                (row("peak resident memory", &|model| model.peak_resident_bytes.map_or("not measured".into(), bytes)))
                (row("encoder latency", &|model| model.encoder_ms.map_or("not measured".into(), |t| timing(t, "ms"))))
                (row("decoding", &|model| model.decode_tokens_per_second.map_or("not measured".into(), |t| timing(t, "tokens/s"))))
            }
        }
    }
}

fn timing(timing: Timing, unit: &str) -> String {
    format!("{} {unit} ({} … {})", rate(timing.median), rate(timing.min), rate(timing.max))
}

/// A score, its interval, and the interval drawn on a scale from zero to `most`, which all models share.
fn interval(score: &Score, most: f64) -> Markup {
    let scale = |value: f64| (100.0 * value / most).clamp(0.0, 100.0);
    html! {
        (score.text())
        span.interval title="95 % bootstrap interval" {
            span style=(format!("left:{:.1}%;width:{:.1}%", scale(score.low), scale(score.high) - scale(score.low))) {}
        }
    }
}

fn stage_section(stage: &StageRecord, opens_layers: bool) -> Result<Markup> {
    let losses =
        stage.losses.iter().any(|curve| curve.points.len() > 1).then(|| chart::lines(&stage.losses, "loss")).transpose()?;
    let mut schedules = Vec::new();
    for curve in stage.schedules.iter().filter(|curve| changes(curve)) {
        schedules.push(chart::lines(std::slice::from_ref(curve), &curve.name)?);
    }
    Ok(html! {
        @if losses.is_some() || !schedules.is_empty() || !stage.layers.is_empty() || !stage.notes.is_empty() {
            h2 { (stage.name) " " span.word { (stage.word) } }
            p.machine { (seconds(stage.seconds)) @if stage.reused { ", result of an earlier run" } }
            @for note in &stage.notes { p.note { (prose(note)) } }
            @if let Some(svg) = losses { figure { (PreEscaped(svg)) } }
            @for svg in schedules { figure { (PreEscaped(svg)) } }
            @if !stage.layers.is_empty() { (layers(&stage.layers, opens_layers)) }
        }
    })
}

/// Whether there is something to see.
fn changes(curve: &Curve) -> bool {
    curve.points.windows(2).any(|pair| pair[0].1 != pair[1].1)
}

fn layers(layers: &[LayerRecord], open: bool) -> Markup {
    let sparsities = || layers.iter().map(|layer| layer.sparsity);
    let (least, most) = (sparsities().fold(1.0, f64::min), sparsities().fold(0.0, f64::max));
    let removed = if least < most { format!("{} to {}", percent(least), percent(most)) } else { percent(most) };
    html! {
        details open[open] {
            summary { (counted(layers.len(), "layer")) ", " (removed) " of the weights removed" }
            table.layers {
                thead { tr { th { "layer" } th { "shape" } th { "sparsity" } th { "relative error" } } }
                tbody {
                    @for layer in layers {
                        tr {
                            td { code { (layer.path) } }
                            td { (layer.shape[0]) "×" (layer.shape[1]) }
                            td { span.meter { span style=(format!("width:{:.1}%", 100.0 * layer.sparsity)) {} } " " (percent(layer.sparsity)) }
                            td { (layer.relative_error.map_or(String::new(), |error| format!("{error:.2e}"))) }
                        }
                    }
                }
            }
        }
    }
}

fn kernels(model: &ModelRecord) -> Markup {
    html! {
        h2 { "Kernels of " (model.name) }
        details {
            summary { (counted(model.kernels.len(), "timed product")) }
            table.layers {
                thead { tr { th { "layer" } th { "tokens" } th { "kernel" } th { "times, µs" } th { "why" } } }
                tbody { @for kernel in &model.kernels { (kernel_row(kernel)) } }
            }
        }
    }
}

fn kernel_row(kernel: &KernelRecord) -> Markup {
    let times: Vec<String> = kernel.micros.iter().map(|(name, micros)| format!("{name} {}", rate(*micros))).collect();
    html! {
        tr {
            td { code { (kernel.path) } }
            td { (kernel.tokens) }
            td { (kernel.kernel) }
            td { (times.join(", ")) }
            td { (kernel.why()) }
        }
    }
}

fn exports(exports: &[ExportRecord]) -> Markup {
    html! {
        @for export in exports {
            @match &export.held_back {
                None => p.note { "Wrote " code { (export.to) } " (" (bytes(export.bytes)) "), read back and compared." },
                Some(reason) => p.note { "Held back " code { (export.to) } ": " (prose(reason)) },
            }
        }
    }
}

fn params(report: &Report) -> Markup {
    html! {
        @if !report.params.is_empty() {
            h2 { "Parameters" }
            table.layers {
                thead { tr { th { "name" } th { "value" } th { "from" } } }
                tbody { @for param in &report.params { tr { td { code { (param.name) } } td { (param.value) } td { (param.origin) } } } }
            }
        }
    }
}

impl ModelRecord {
    /// The score of `metric` on `data`, if it was taken.
    pub fn score(&self, metric: &str, data: &str) -> Option<&Score> {
        self.scores.iter().find(|score| score.metric == metric && score.data == data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_a_layer_refused_are_shown() {
        let record = KernelRecord {
            path: "fc1".to_owned(),
            shape: [4, 8],
            sparsity: 0.5,
            tokens: 1,
            kernel: "dense".to_owned(),
            reason: "fastest when measured".to_owned(),
            micros: [("dense".to_owned(), 1.0)].into(),
            refused: [("rowblock".to_owned(), "its code < 1 byte".to_owned())].into(),
            miscompiled: Default::default(),
        };
        let row = kernel_row(&record).into_string();
        assert!(row.contains("fastest when measured; no rowblock: its code &lt; 1 byte"), "{row}");
    }
}
