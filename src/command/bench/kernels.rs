//! `sparsec bench kernels`: every format against the best dense one, on generated masks and without a model.

use sparsec_kernels::bench::{Case, Masks, Prepared, Report, Summary, summaries};
use sparsec_kernels::cpu::Peak;
use sparsec_kernels::format::{FORMATS, Format, by_word};
use sparsec_kernels::{Cpu, Element, KernelError};
use sparsec_runtime::report::text::{percent, rate};
use sparsec_runtime::{Fault, Result};
use std::collections::BTreeSet;

use super::compile;
use super::shapes::{Layers, Shapes};
use crate::command::{go_on, print_json};
use crate::exit::Exit;
use crate::terminal;

/// Time every kernel against the best dense one, on generated masks, in turns
///
/// GFLOP/s count the work of the dense product, whatever is skipped; the shares are those of the most multiply-adds and of the fastest
/// reading of main memory that the same threads reach, which are measured first. A share of memory above 100 % means that caches serve.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  sparsec bench kernels --shapes whisper-small,512x512 --tokens 1,64,384 --sparsity 50,75,90 --elements fp32,int8 --threads 1"
)]
pub struct Arguments {
    /// Shapes, outputs by inputs, or models whose linear layers are meant: t5-small, whisper-small, mpt-7b
    #[arg(long, value_delimiter = ',', value_name = "ROWSxCOLS|MODEL", default_value = "3072x768")]
    shapes: Vec<Shapes>,
    /// Rows of the activations
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "1,8,64,384")]
    tokens: Vec<usize>,
    /// Percent of weights that are pruned
    #[arg(long, value_delimiter = ',', value_name = "PERCENT", default_value = "75", value_parser = share)]
    sparsity: Vec<f64>,
    /// How weights are stored: fp32, bf16, int8, int4
    #[arg(long, value_delimiter = ',', value_name = "ELEMENT", default_value = "fp32", value_parser = Element::by_word)]
    elements: Vec<Element>,
    /// Formats to time [default: all]
    #[arg(long, value_delimiter = ',', value_name = "FORMAT", value_parser = by_word)]
    formats: Vec<&'static dyn Format>,
    /// Where kept weights lie: uniform, row-skewed, column-skewed, blocks such as 1x4, groups such as 2:4
    #[arg(long, value_delimiter = ',', value_name = "PATTERN", default_value = "uniform")]
    pattern: Vec<Masks>,
    /// MiB of weights that each format goes over after the caches were emptied, so that they come from memory [default: one matrix,
    /// which may stay in the caches]
    #[arg(long, value_name = "MIB", default_value_t = 0, hide_default_value = true)]
    chain_mib: usize,
    /// Fewest rounds in which all formats are timed in turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Shortest time for all rounds
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Time making the code of every layer of the shapes instead, and loading it again in a later run
    #[arg(long)]
    compile: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A share from its percentage.
pub fn share(text: &str) -> std::result::Result<f64, String> {
    match text.trim_end_matches(['%', ' ']).parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("not a percentage".into()),
    }
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    if arguments.compile {
        return compile::run(&cases(arguments, |layers| layers.count), formats(arguments), arguments.json);
    }
    let limits = limits()?;
    if !arguments.json {
        print_machine(&limits);
    }
    let mut reports = Vec::new();
    let ended = measure(arguments, &limits[limits.len() - 1], &mut reports);
    let summary = summaries(&reports);
    if arguments.json {
        let cpu = Cpu::this();
        print_json(&serde_json::json!({ "cpu": cpu, "limits": limits, "reports": reports, "summary": summary }))?;
    } else {
        print_summary(&summary);
    }
    ended.map(|()| Exit::Done)
}

/// Measures all that is asked for into `reports`, which hold what was measured also where the user ends it.
fn measure(arguments: &Arguments, peak: &Peak, reports: &mut Vec<Report>) -> Result<()> {
    for case in cases(arguments, |_| 1) {
        go_on()?;
        let fault = |error: KernelError| Fault::internal(error.to_string());
        let prepared = Prepared::new(case, formats(arguments)).map_err(fault)?;
        for &tokens in &arguments.tokens {
            go_on()?;
            let report = prepared.measure(tokens, arguments.rounds, arguments.seconds, peak).map_err(fault)?;
            if !arguments.json {
                print_case(&report);
            }
            reports.push(report);
        }
    }
    Ok(())
}

/// What this machine reaches at most with one thread and, last, with those that are measured.
fn limits() -> Result<Vec<Peak>> {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let one = one.map_err(|error| Fault::environment(format!("cannot start a thread: {error}")))?;
    let all = (rayon::current_num_threads() > 1).then(Peak::measure);
    Ok(std::iter::once(one.install(Peak::measure)).chain(all).collect())
}

/// The formats that are asked for.
fn formats(arguments: &Arguments) -> &[&'static dyn Format] {
    if arguments.formats.is_empty() { FORMATS } else { &arguments.formats }
}

/// Everything that is asked for, shapes innermost, `times` each.
fn cases(arguments: &Arguments, times: impl Fn(&Layers) -> usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for &element in &arguments.elements {
        for &masks in &arguments.pattern {
            for &sparsity in &arguments.sparsity {
                for shape in arguments.shapes.iter().flat_map(|Shapes(shapes)| shapes) {
                    let (rows, cols, chain_bytes) = (shape.rows, shape.cols, arguments.chain_mib << 20);
                    let case = Case { rows, cols, element, sparsity: masks.sparsity(sparsity), masks, chain_bytes };
                    cases.extend(std::iter::repeat_n(case, times(shape)));
                }
            }
        }
    }
    cases
}

fn print_machine(limits: &[Peak]) {
    let cpu = Cpu::this();
    outln!("{}, {}", cpu.model, cpu.tier);
    for peak in limits {
        let int8 = peak.int8_gops.map_or_else(String::new, |gops| format!("{gops:.0} Gop/s INT8, "));
        outln!("at most {:.0} GFLOP/s FP32, {int8}{:.1} GB/s read, {} threads", peak.gflops, peak.read_gbps, peak.threads);
    }
}

fn print_case(report: &Report) {
    let case = &report.case;
    outln!("\n{}x{}, {} tokens, {} sparse, {}", case.rows, case.cols, report.tokens, percent(case.sparsity), case.masks);
    let mut table = terminal::table(&[
        "format",
        "ms",
        "min … max",
        "GFLOP/s",
        "of compute",
        "GB/s",
        "of memory",
        "x dense",
        "MiB",
        "code MiB",
        "compile s",
        "chain",
    ]);
    let whole = |share: f64| format!("{:.0} %", 100.0 * share);
    let mebibytes = |bytes: usize| format!("{:.2}", bytes as f64 / f64::from(1 << 20));
    for format in &report.formats {
        table.add_row([
            format!("{} {}", format.element, format.format),
            format!("{:.4}", format.median_ms),
            format!("{:.4} … {:.4}", format.min_ms, format.max_ms),
            rate(format.effective_gflops),
            format.share_of_compute.map_or_else(|| "?".into(), whole),
            rate(format.gbps),
            whole(format.share_of_memory),
            format!("{:.2}", format.times_best_dense),
            mebibytes(format.footprint.data_bytes),
            mebibytes(format.footprint.code_bytes),
            format!("{:.2}", format.footprint.compile_seconds),
            format.chain.to_string(),
        ]);
    }
    outln!("{table}");
    for (word, reason) in &report.refused {
        outln!("no {word}: {reason}");
    }
}

fn print_summary(summary: &[Summary]) {
    let words: BTreeSet<&str> = summary.iter().flat_map(|row| row.formats.keys().map(String::as_str)).collect();
    let header = ["element", "pattern", "sparsity", "tokens", "shapes", "fastest", "its worst shape"];
    let mut table = terminal::table(&header.into_iter().chain(words.iter().copied()).collect::<Vec<_>>());
    for row in summary {
        let means = words.iter().map(|word| row.formats.get(*word).map_or_else(String::new, |mean| format!("{mean:.2}")));
        let head = [
            row.element.to_string(),
            row.masks.to_string(),
            percent(row.sparsity),
            row.tokens.to_string(),
            row.shapes.to_string(),
            format!("{:.2}", row.best),
            format!("{:.2} {}", row.worst.0, row.worst.1),
        ];
        table.add_row(head.into_iter().chain(means));
    }
    outln!("\ntimes faster than the best dense FP32 kernel, geometric means over shapes");
    outln!("{table}");
    outln!("threads    {}; medians of runs in turns", rayon::current_num_threads());
}
