//! `sparsec doctor`: this machine.

use sparsec_kernels::Cpu;
use sparsec_kernels::cpu::Peak;
use sparsec_runtime::Result;
use sparsec_runtime::report::text::bytes;

use crate::exit::Exit;

/// Show what this machine offers and which instructions are used, and why
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sparsec doctor")]
pub struct Arguments {
    /// Also measure the peak of multiply-adds and the read bandwidth (takes some seconds)
    #[arg(long)]
    measure: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let cpu = Cpu::this();
    let code = super::kernels::code_cache();
    let limits = arguments.measure.then(Peak::measure);
    if arguments.json {
        let code = code.map(|cache| serde_json::json!({ "folder": cache.folder(), "bytes": cache.bytes() }));
        super::print_json(
            &serde_json::json!({ "cpu": cpu, "limits": limits, "code_cache": code, "version": env!("CARGO_PKG_VERSION") }),
        )?;
        return Ok(Exit::Done);
    }
    outln!(
        "sparsec    {} ({})",
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) { "dev build: slow" } else { "release build" }
    );
    outln!("processor  {}, {} cores", cpu.model, cpu.cores);
    outln!("kernels    {} ({})", cpu.tier, cpu.why);
    outln!("features   {}", cpu.features.join(" "));
    let level = |name: &str, size: Option<usize>| format!("{name} {}", size.map_or("unknown".into(), |size| bytes(size as u64)));
    let caches = [level("L1", cpu.caches.l1_bytes), level("L2", cpu.caches.l2_bytes), level("L3", cpu.caches.l3_bytes)];
    outln!("caches     {}", caches.join(", "));
    outln!("threads    {} (change with --threads)", rayon::current_num_threads());
    if let Some(code) = code {
        outln!("code       {}, {}", code.folder().display(), bytes(code.bytes()));
    }
    if let Some(limits) = limits {
        outln!("peak       {:.0} GFLOP/s FP32, {:.1} GB/s read, {} threads", limits.gflops, limits.read_gbps, limits.threads);
    }
    Ok(Exit::Done)
}
