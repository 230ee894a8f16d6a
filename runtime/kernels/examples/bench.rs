//! Times every format against the best dense one, on generated masks.
//!
//! `cargo run --release -p sparsec-kernels --example bench -- --shapes 3072x768 --tokens 1,384 --sparsity 75 --threads 1 [--json]`

use std::error::Error;
use std::str::FromStr;

use sparsec_kernels::bench::{Case, Prepared, Report};
use sparsec_kernels::cpu::Peak;
use sparsec_kernels::format::{FORMATS, Format, by_word};
use sparsec_kernels::{Cpu, Element, Pattern};

struct Arguments {
    shapes: Vec<(usize, usize)>,
    tokens: Vec<usize>,
    pattern: Pattern,
    sparsity_percent: Vec<f64>,
    elements: Vec<Element>,
    formats: Vec<&'static dyn Format>,
    threads: usize,
    seconds: f64,
    chain_mib: usize,
    json: bool,
    peak: bool,
}

impl Arguments {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut parsed = Self {
            shapes: vec![(3072, 768)],
            tokens: vec![1, 8, 64, 384],
            pattern: Pattern::Uniform,
            sparsity_percent: vec![75.0],
            elements: vec![Element::Fp32],
            formats: FORMATS.to_vec(),
            threads: 1,
            seconds: 0.5,
            chain_mib: 0,
            json: false,
            peak: false,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--shapes" => parsed.shapes = value()?.split(',').map(shape).collect::<Result<_, _>>()?,
                "--tokens" => parsed.tokens = list(&value()?)?,
                "--pattern" => parsed.pattern = value()?.parse()?,
                "--sparsity" => parsed.sparsity_percent = list(&value()?)?,
                "--elements" => parsed.elements = value()?.split(',').map(Element::by_word).collect::<Result<_, _>>()?,
                "--formats" => parsed.formats = value()?.split(',').map(by_word).collect::<Result<_, _>>()?,
                "--threads" => parsed.threads = value()?.parse()?,
                "--seconds" => parsed.seconds = value()?.parse()?,
                "--chain-mib" => parsed.chain_mib = value()?.parse()?,
                "--json" => parsed.json = true,
                "--peak" => parsed.peak = true,
                _ => return Err(format!("{word} is not a flag; there are --shapes, --tokens, --pattern, --sparsity, --elements, --formats, --threads, --seconds, --chain-mib, --peak and --json").into()),
            }
        }
        Ok(parsed)
    }
}

fn list<T: FromStr>(text: &str) -> Result<Vec<T>, T::Err> {
    text.split(',').map(str::parse).collect()
}

fn shape(text: &str) -> Result<(usize, usize), Box<dyn Error>> {
    let (rows, cols) = text.split_once('x').ok_or(format!("{text} is not ROWSxCOLS"))?;
    Ok((rows.parse()?, cols.parse()?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse()?;
    rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build_global()?;
    let cpu = Cpu::this();
    let peak = arguments.peak.then(Peak::measure);
    match (arguments.json, &peak) {
        (true, peak) => println!("{}", serde_json::json!({ "cpu": cpu, "peak": peak })),
        (false, Some(peak)) => println!(
            "{}, {}: {:.0} GFLOP/s, {:.1} GB/s with {} threads",
            cpu.model, cpu.tier, peak.gflops, peak.read_gbps, peak.threads
        ),
        (false, None) => println!("{}, {}, {} threads", cpu.model, cpu.tier, arguments.threads),
    }
    for &(rows, cols) in &arguments.shapes {
        for &percent in &arguments.sparsity_percent {
            let chain = (arguments.chain_mib << 20).div_ceil(rows * cols * size_of::<f32>()).max(1);
            for &element in &arguments.elements {
                let (pattern, sparsity) = (arguments.pattern, 1.0 - arguments.pattern.density(1.0 - percent / 100.0));
                let case = Case { rows, cols, element, pattern, sparsity, chain };
                let prepared = Prepared::new(case, &arguments.formats)?;
                for &tokens in &arguments.tokens {
                    let report = prepared.measure(tokens, arguments.seconds)?;
                    if arguments.json { println!("{}", serde_json::to_string(&report)?) } else { print(&report) }
                }
            }
        }
    }
    Ok(())
}

fn print(report: &Report) {
    let case = &report.case;
    println!(
        "\n{}x{}, {} tokens, {} {:.0} % sparse, chain of {}",
        case.rows,
        case.cols,
        report.tokens,
        case.pattern,
        case.sparsity * 100.0,
        case.chain
    );
    println!(
        "{:>15} {:>10} {:>21} {:>9} {:>8} {:>7} {:>8} {:>9} {:>9}",
        "format", "ms", "min-max", "GFLOP/s", "kept", "GB/s", "x dense", "code MiB", "compile s"
    );
    for format in &report.formats {
        println!(
            "{:>15} {:>10.4} {:>10.4}-{:<10.4} {:>9.1} {:>8.1} {:>7.1} {:>8.2} {:>9.2} {:>9.2}",
            format!("{} {}", format.element, format.format),
            format.median_ms,
            format.min_ms,
            format.max_ms,
            format.effective_gflops,
            format.kept_gflops,
            format.gbps,
            format.times_best_dense,
            format.footprint.code_bytes as f64 / f64::from(1 << 20),
            format.footprint.compile_seconds
        );
    }
    for (word, reason) in &report.refused {
        println!("{word:>15} {reason}");
    }
}
