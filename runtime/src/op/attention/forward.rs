//! The forward pass of attention: many queries by blocks, or one query of each sequence.

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

/// Writes the result of one query of each sequence to `out`: keys and values are read once, from front to back, and nothing is packed.
pub(super) fn one_query(shape: &Heads, operands: Operands<'_>, out: &mut [f32]) {
    let share = shape.heads.div_ceil(rayon::current_num_threads()) * shape.depth();
    out.par_chunks_exact_mut(shape.width).enumerate().for_each(|(sequence, out)| {
        out.par_chunks_mut(share)
            .enumerate()
            .for_each(|(part, out)| some_heads(shape, sequence, part * share / shape.depth(), operands, out));
    });
}

/// The results `out` of one query for as many heads as there is room for, from `first_head` on.
fn some_heads(shape: &Heads, sequence: usize, first_head: usize, Operands { q, k, v, bias }: Operands<'_>, out: &mut [f32]) {
    let (depth, visible) = (shape.depth(), shape.visible(sequence, 0));
    let (count, first) = (visible.len(), shape.offset(shape.room, sequence, first_head, visible.start));
    let query = &q[shape.offset(1, sequence, first_head, 0)..][..out.len()];
    // As much as there will be keys in the end, so that a growing cache asks for more as seldom as it grows.
    with_room([out.len(), out.len() / depth * shape.room, 0], |[scaled, scores, _]| {
        let scores = &mut scores[..out.len() / depth * count];
        vector::write_scaled(query, shape.scale, scaled);
        vector::dots(scaled, depth, &k[first..], shape.width, count, scores);
        let span = profile::span(Part::Softmax, || 0);
        for (head, row) in scores.chunks_exact_mut(count).enumerate() {
            if let Some(bias) = bias {
                vector::add(row, &shape.bias(bias, first_head + head, 0)[visible.clone()]);
            }
            vector::softmax(row);
        }
        drop(span);
        vector::weighted_sums(scores, depth, &v[first..], shape.width, count, out);
    });
}
