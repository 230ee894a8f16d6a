//! `sparsec bench kernels --compile`: how long making machine code takes, and finding it in the cache.

use sparsec_kernels::bench::{Case, Compilation, compile};
use sparsec_kernels::format::Format;
use sparsec_kernels::{CodeCache, KernelError};
use sparsec_runtime::report::text::{bytes, count, seconds};
use sparsec_runtime::{Fault, Result};

use crate::command::{print_json, tell};
use crate::exit::Exit;
use crate::progress::Progress;
use crate::terminal;

/// What ends the work: the kernels refuse, or the user wants so.
enum End {
    Refused(KernelError),
    Fault(Fault),
}

impl From<KernelError> for End {
    fn from(error: KernelError) -> Self {
        Self::Refused(error)
    }
}

/// Compresses a layer of each case in every format, new and with the code from a cache of its own.
pub fn run(cases: &[Case], formats: &[&dyn Format], json: bool) -> Result<Exit> {
    let mut progress = Progress::of("compiling");
    let mut compilations: Vec<Compilation> = Vec::new();
    for format in formats {
        // A folder for each format, so that none finds what another kept, and gone afterwards.
        let folder = tempfile::tempdir().map_err(|error| Fault::environment(format!("no temporary folder: {error}")))?;
        let refused = |error: KernelError| Fault::environment(error.to_string());
        let cache = CodeCache::open(&folder.path().join("code"), u64::MAX).map_err(refused)?;
        let mut told = |done: usize, total: usize| tell(&mut progress, done, total, "layers").map_err(End::Fault);
        match compile(*format, cases, &cache, &mut told) {
            Ok(compilation) => compilations.push(compilation),
            Err(End::Refused(KernelError::Refused(reason))) => errln!("no {}: {reason}", format.word()),
            Err(End::Refused(error)) => return Err(Fault::internal(error.to_string())),
            Err(End::Fault(fault)) => return Err(fault),
        }
    }
    drop(progress);
    if json {
        print_json(&compilations)?;
        return Ok(Exit::Done);
    }
    let mut table = terminal::table(&["format", "layers", "weights", "kept", "code", "first time", "from the cache"]);
    for compilation in &compilations {
        table.add_row([
            &compilation.format,
            &compilation.layers.to_string(),
            &count(compilation.weights),
            &count(compilation.kept),
            &bytes(compilation.code_bytes as u64),
            &seconds(compilation.first_seconds),
            &seconds(compilation.cached_seconds),
        ]);
    }
    outln!("{table}");
    outln!("threads    {}; self-checks included", rayon::current_num_threads());
    Ok(Exit::Done)
}
