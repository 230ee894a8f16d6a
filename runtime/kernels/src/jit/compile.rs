//! From the blocks of a mask to code that can be run, on every thread of the pool.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::block::{Block, Cut};
use super::emit;
use super::memory::Code;
use super::verify::Extents;
use super::widen::{Width, widen};
use crate::error::Result;
use crate::format::{Progress, Target};
use crate::{KernelError, Mask, Tier};

/// The registers that code of `tier` uses.
///
/// # Errors
/// When no code is made for the tier.
fn width(tier: Tier) -> Result<Width> {
    match tier {
        Tier::Portable => Err(KernelError::Refused("machine code needs AVX2 and fused multiply-add".into())),
        Tier::Avx2 => Ok(Width::Ymm),
        Tier::Avx512 => Ok(Width::Zmm),
    }
}

/// How many sums code of `tier` may keep in registers beside an activation and a weight, best first: Cranelift spills now and then,
/// and only AVX-512 has registers to spill to.
pub(crate) fn accumulators(tier: Tier) -> &'static [usize] {
    if tier == Tier::Avx512 { &[16, 12, 8] } else { &[10, 8, 4] }
}

/// About how many bytes of code `blocks` need.
pub(crate) fn estimate_bytes(mask: &Mask, blocks: usize, cut: Cut, tier: Tier) -> usize {
    let (per_weight, per_load) = if tier == Tier::Avx512 { (8, 8) } else { (14, 9) };
    mask.kept() * per_weight + blocks * (mask.cols() / cut.pieces * per_load + cut.height * 16 + 128)
}

/// Makes the code of `blocks` on every thread of the current pool, and maps it.
///
/// # Errors
/// When a function is refused on its way, or the system grants no executable memory.
pub(crate) fn compile(mask: &Mask, blocks: &[Block], target: &Target) -> Result<Code> {
    let (width, lanes) = (width(target.tier)?, target.tier.lanes());
    let isa = emit::target()?;
    let done = AtomicUsize::new(0);
    let functions: Vec<_> = blocks
        .par_iter()
        .map_init(
            || emit::Emitter::new(&isa),
            |emitter, block| {
                let narrow = emitter.emit(mask, block, lanes)?;
                let wide = widen(&narrow, width).map_err(KernelError::Refused)?;
                (target.progress)(Progress { done: done.fetch_add(1, Ordering::Relaxed) + 1, total: blocks.len() });
                Ok((wide, extents(mask, block, lanes)))
            },
        )
        .collect::<Result<_>>()?;
    Code::map(&functions)
}

/// What the function of a block may touch.
pub(super) fn extents(mask: &Mask, block: &Block, lanes: usize) -> Extents {
    let vector_bytes = lanes * size_of::<f32>();
    Extents {
        x_bytes: block.cols.len() * vector_bytes,
        values_bytes: block.value_count(mask) * size_of::<f32>(),
        sums_bytes: block.rows.len() * vector_bytes,
    }
}
