//! From the blocks of a mask to code that can be run, on every thread of the pool.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::block::{Block, Cut};
use super::cache::Key;
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
pub(super) fn width(tier: Tier) -> Result<Width> {
    match tier {
        _ if !tier.is_available() => Err(KernelError::Refused(format!("this CPU lacks {tier}"))),
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

/// The texts that decide what code is made of a mask.
const SOURCES: [&str; 5] = [
    cranelift_codegen::VERSION,
    include_str!("block.rs"),
    include_str!("compile.rs"),
    include_str!("emit.rs"),
    include_str!("widen.rs"),
];

/// The code of `blocks` for the format called `word`, and what `accept` makes of it after it checked it: from the cache, if it is there
/// and is accepted; else made on every thread of the current pool, mapped, and kept.
///
/// # Errors
/// When a function is refused on its way, the system grants no executable memory, or new code is not accepted.
pub(crate) fn compile<T>(
    word: &str,
    mask: &Mask,
    blocks: &[Block],
    target: &Target,
    accept: impl Fn(Code) -> Result<T>,
) -> Result<T> {
    let width = width(target.tier)?;
    let extents: Vec<_> = blocks.par_iter().map(|block| extents(mask, block, target.tier)).collect();
    let load = |functions: &mut dyn Iterator<Item = &[u8]>| {
        Code::map(&functions.zip(extents.iter().copied()).collect::<Vec<_>>()).and_then(&accept)
    };
    let Some(cache) = target.code_cache else { return load(&mut make(mask, blocks, width, target)?.iter().map(Vec::as_slice)) };
    let key = key(word, mask, blocks, target.tier);
    if let Some(known) = cache.find(key).filter(|known| known.len() == blocks.len()) {
        (target.progress)(Progress { done: blocks.len(), total: blocks.len() });
        match load(&mut known.iter()) {
            Ok(accepted) => return Ok(accepted),
            Err(_) => cache.forget(key),
        }
    }
    let functions = make(mask, blocks, width, target)?;
    let accepted = load(&mut functions.iter().map(Vec::as_slice))?;
    cache.keep(key, &functions);
    Ok(accepted)
}

/// The code of each block.
pub(super) fn make(mask: &Mask, blocks: &[Block], width: Width, target: &Target) -> Result<Vec<Vec<u8>>> {
    let (isa, done) = (emit::target()?, AtomicUsize::new(0));
    let functions = blocks.par_iter().map_init(
        || emit::Emitter::new(&isa),
        |emitter, block| {
            let narrow = emitter.emit(mask, block, target.tier.lanes())?;
            let wide = widen(&narrow, width).map_err(KernelError::Refused)?;
            (target.progress)(Progress { done: done.fetch_add(1, Ordering::Relaxed) + 1, total: blocks.len() });
            Ok(wide)
        },
    );
    functions.collect()
}

/// The name under which the code of `blocks` is kept.
fn key(word: &str, mask: &Mask, blocks: &[Block], tier: Tier) -> blake3::Hash {
    let mut key = Key::new(word, &SOURCES);
    key.add(tier.to_string().as_bytes()).add_numbers(&[mask.rows() as u64, mask.cols() as u64]);
    for row in 0..mask.rows() {
        key.add_numbers(mask.row(row));
    }
    for Block { rows, cols } in blocks {
        key.add_numbers(&[rows.start, rows.end, cols.start, cols.end].map(|place| place as u64));
    }
    key.finish()
}

/// What the function of a block may use.
pub(super) fn extents(mask: &Mask, block: &Block, tier: Tier) -> Extents {
    let vector_bytes = tier.lanes() * size_of::<f32>();
    Extents {
        tier,
        x_bytes: block.cols.len() * vector_bytes,
        values_bytes: block.value_count(mask) * size_of::<f32>(),
        sums_bytes: block.rows.len() * vector_bytes,
    }
}
