//! Which kernels run in pruned layers: decided here, the same way for every subcommand that runs an artifact.

use etcetera::BaseStrategy;
use sparsec_kernels::{CodeCache, Options};
use sparsec_runtime::engine::{self, Engine};
use sparsec_runtime::report::miscompilation;
use sparsec_runtime::run::State;
use sparsec_runtime::{Checkpoint, Result};
use std::path::{Path, PathBuf};

use crate::progress::Progress;

/// Where the measured times come from that decide which kernels run.
#[derive(clap::Args)]
pub struct Kernels {
    /// Choose kernels by this tuning file alone, and measure nothing [default: the times in `.sparsec/tuning.json` where a run left
    /// it, measuring what it lacks]
    #[arg(long, value_name = "FILE")]
    tuning: Option<PathBuf>,
}

impl Kernels {
    /// How layers are to be prepared.
    pub fn options(&self, progress: &mut Progress) -> Result<Options> {
        let options = match &self.tuning {
            Some(path) => engine::frozen(engine::read_tuning(path)?),
            None => engine::measured(State::look(Path::new(".")).known_times(progress)?),
        };
        Ok(Options { code_cache: code_cache(), ..options })
    }

    /// The model of `checkpoint` with its pruned layers compiled, which `progress` shows.
    pub fn engine(&self, checkpoint: &Checkpoint, progress: &mut Progress) -> Result<Engine> {
        let options = self.options(progress)?;
        let engine =
            checkpoint.compiled_telling(&options, &mut |done, total| super::tell(progress, done, total, "layers compiled"))?;
        if let Some(warning) = miscompilation(&engine.kernels) {
            errln!("warning: {warning}");
        }
        Ok(engine)
    }
}

/// Bytes of machine code that are kept for later runs.
const CODE_BYTES: u64 = 4 << 30;

/// Where machine code is kept: `sparsec/code` in the user's own cache folder, such as `~/.cache` or `$XDG_CACHE_HOME`. None, with a note,
/// where others could write to it; then code is made at every start.
pub fn code_cache() -> Option<CodeCache> {
    let folder = etcetera::choose_base_strategy().ok()?.cache_dir().join("sparsec").join("code");
    CodeCache::open(&folder, CODE_BYTES).inspect_err(|error| errln!("note: machine code is not kept: {error}")).ok()
}
