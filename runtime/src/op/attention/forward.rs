//! The forward pass of attention: many queries by blocks, or one query of each sequence.

use std::ops::Range;

use rayon::prelude::*;
use sparsec_kernels::Panels;

use super::{Heads, Operands};
use crate::op::matrix::Shared;
use crate::op::parallel::with_room;
use crate::op::vector;
use crate::profile::{self, Part};
use crate::{Fault, Result};

/// Writes the result to `out`, and `log sum exp` of each row of scores to `log_sums`, `[batch, heads, queries]`.
pub(super) fn many_queries(shape: &Heads, operands: Operands<'_>, out: &mut [f32], log_sums: &mut [f32]) -> Result<()> {
    let shared = Shared::new(out);
    log_sums
        .par_chunks_mut(shape.queries.max(1))
        .enumerate()
        .try_for_each(|(at, log_sums)| one_head(shape, (at / shape.heads, at % shape.heads), operands, &shared, log_sums))
}

fn one_head(
    shape: &Heads,
    (sequence, head): (usize, usize),
    Operands { q, k, v, bias }: Operands<'_>,
    out: &Shared<'_>,
    log_sums: &mut [f32],
) -> Result<()> {
    let (depth, most) = (shape.depth(), shape.visible(sequence, shape.queries - 1).end);
    let first = shape.offset(shape.room, sequence, head, 0);
    let keys = Panels::of_rows(&k[first..], most, depth, shape.width).map_err(super::broken)?;
    let values = Panels::of_cols(&v[first..], depth, most, shape.width).map_err(super::broken)?;
    for block in shape.blocks() {
        let (queries, seen) = (block.len(), shape.visible(sequence, block.end - 1).end);
        let (width, found) = (keys.results(seen), values.results(depth));
        with_room([queries * depth, queries * width, queries * found], |[scaled, scores, products]| {
            for (query, scaled) in block.clone().zip(scaled.chunks_exact_mut(depth)) {
                let offset = shape.offset(shape.queries, sequence, head, query);
                vector::write_scaled(&q[offset..offset + depth], shape.scale, scaled);
            }
            keys.multiply((seen, depth), scaled, depth, queries, scores).map_err(super::broken)?;
            let span = profile::span(Part::Softmax, || 0);
            for (query, row) in block.clone().zip(scores.chunks_exact_mut(width)) {
                let visible = shape.visible(sequence, query);
                if let Some(bias) = bias {
                    vector::add(&mut row[..seen], &shape.bias(bias, head, query)[..seen]);
                }
                log_sums[query] = vector::softmax(&mut row[visible.clone()]);
                row[..visible.start].fill(0.0);
                row[visible.end..].fill(0.0);
            }
            drop(span);
            values.multiply((depth, seen), scores, width, queries, products).map_err(super::broken)?;
            let offset = shape.offset(shape.queries, sequence, head, block.start);
            // SAFETY: no other thread has this sequence and head, and this one view of its rows is gone before the next block.
            let mut out = unsafe { out.part(offset, queries, depth, shape.width) };
            for (row, products) in products.chunks_exact(found).enumerate() {
                out.row_mut(row).copy_from_slice(&products[..depth]);
            }
            Ok::<(), Fault>(())
        })?;
    }
    Ok(())
}

/// Keys of a part at least, where there are several and each is visible.
const PART: usize = 128;

/// Writes the result of one query of each sequence to `out`: keys and values are read once, from front to back, and nothing is packed.
///
/// Threads share the keys in parts of whole rows, for all heads, so that each of them reads from front to back too: two that read half of
/// every row take twice as long as one that reads them whole. Parts of a softmax are put together by their `log sum exp`
/// (Flash-Decoding, Dao et al. 2023); how many there are depends on the number of keys alone.
pub(super) fn one_query(shape: &Heads, operands: Operands<'_>, out: &mut [f32]) {
    let (width, heads) = (shape.width, shape.heads);
    // A power of two, which most numbers of threads divide evenly.
    let parts = 1 << (shape.keys / PART).checked_ilog2().unwrap_or(0);
    let found = shape.batch * parts;
    with_room([found * width, found * heads, 0], |[results, log_sums, _]| {
        let of_parts = if parts == 1 { &mut *out } else { &mut *results };
        of_parts.par_chunks_exact_mut(width).zip(log_sums.par_chunks_exact_mut(heads)).enumerate().for_each(
            |(at, (out, log_sums))| {
                let (sequence, part) = (at / parts, at % parts);
                let visible = shape.visible(sequence, 0);
                let bound = |part: usize| visible.start + visible.len() * part / parts;
                some_keys(shape, sequence, bound(part)..bound(part + 1), operands, out, log_sums);
            },
        );
        if parts > 1 {
            for (sequence, out) in out.chunks_exact_mut(width).enumerate() {
                let parts = sequence * parts..(sequence + 1) * parts;
                join(
                    &results[parts.start * width..parts.end * width],
                    &mut log_sums[parts.start * heads..parts.end * heads],
                    out,
                    heads,
                );
            }
        }
    });
}

/// The results `out` of one query of a sequence for some of the keys, `[heads, depth]`, and the `log sum exp` of each head's scores.
fn some_keys(
    shape: &Heads,
    sequence: usize,
    keys: Range<usize>,
    Operands { q, k, v, bias }: Operands<'_>,
    out: &mut [f32],
    log_sums: &mut [f32],
) {
    let (count, first) = (keys.len(), shape.offset(shape.room, sequence, 0, keys.start));
    let is_part = keys != shape.visible(sequence, 0);
    if count == 0 {
        out.fill(0.0);
        return log_sums.fill(f32::NEG_INFINITY);
    }
    let query = &q[shape.offset(1, sequence, 0, 0)..][..out.len()];
    // As much as there will be keys in the end, so that a growing cache asks for more as seldom as it grows.
    with_room([out.len(), shape.heads * shape.room, 0], |[scaled, scores, _]| {
        let scores = &mut scores[..shape.heads * count];
        vector::write_scaled(query, shape.scale, scaled);
        vector::dots(scaled, shape.depth(), &k[first..], shape.width, count, scores);
        let span = profile::span(Part::Softmax, || 0);
        for ((head, row), log_sum) in scores.chunks_exact_mut(count).enumerate().zip(log_sums) {
            if let Some(bias) = bias {
                vector::add(row, &shape.bias(bias, head, 0)[keys.clone()]);
            }
            // A bias may hide a whole part, which then has no share; one that hides every key leaves nothing to share.
            if is_part && row.iter().all(|&score| score == f32::NEG_INFINITY) {
                row.fill(0.0);
                *log_sum = f32::NEG_INFINITY;
            } else {
                *log_sum = vector::softmax(row);
            }
        }
        drop(span);
        vector::weighted_sums(scores, shape.depth(), &v[first..], shape.width, count, out);
    });
}

/// The sum `out` of the results of all parts, `[parts, heads, depth]`, each times its share of the softmax, where `log_sums`,
/// `[parts, heads]`, are those of the parts and become the shares.
fn join(results: &[f32], log_sums: &mut [f32], out: &mut [f32], heads: usize) {
    let (width, depth) = (out.len(), out.len() / heads);
    for head in 0..heads {
        let of_head = |log_sums: &[f32]| log_sums.iter().skip(head).step_by(heads).copied().fold(f32::NEG_INFINITY, f32::max);
        let largest = of_head(log_sums);
        let shares = log_sums.iter_mut().skip(head).step_by(heads);
        let sum = shares.fold(0.0, |sum, share| {
            *share = (*share - largest).exp();
            sum + *share
        });
        log_sums.iter_mut().skip(head).step_by(heads).for_each(|share| *share /= sum);
    }
    out.fill(0.0);
    for (results, shares) in results.chunks_exact(width).zip(log_sums.chunks_exact(heads)) {
        for ((out, results), share) in out.chunks_exact_mut(depth).zip(results.chunks_exact(depth)).zip(shares) {
            out.iter_mut().zip(results).for_each(|(out, result)| *out += share * result);
        }
    }
}
