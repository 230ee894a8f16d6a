//! Multi-head attention by blocks of queries: nothing of size `tokens x tokens` outlives a block, in either direction.
//!
//! For one head, a block of queries `Q` and all keys `K` and values `V`: `S = scale Q K^T`, `P = softmax(S)`, `O = P V`. Forward
//! keeps only `log sum exp` of each row of `S` (FlashAttention, arXiv 2205.14135); backward computes `P` again from it, and with
//! `D = rowsum(dO * O)`: `dV = P^T dO`, `dS = P * (dO V^T - D)`, `dQ = scale dS K`, `dK = scale dS^T Q`.
//!
//! Heads are column ranges of `[tokens, width]` that the matrix products read and write where they lie. Each pair of sequence and
//! head is computed by one thread, blocks in order, so that the result does not depend on the number of threads.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{D, DType, Tensor};
use rayon::prelude::*;

use super::matrix::{Matrix, MatrixMut, On, Onto, Shared, product};
use super::{Values, tape, vector};
use crate::Result;

/// Scores of one block: this many fit the second-level cache twice.
const BLOCK_SCORES: usize = 48 * 1024;

/// `softmax(scale Q K^T) V` for each head; `q: [batch, queries, width]`, `k` and `v: [batch, keys, width]`, `width` a multiple of
/// `heads`. With `causal`, the last query sees all keys, the one before all but the last, and so on. Differentiable in all three.
///
/// # Errors
/// When the shapes do not fit each other, or `causal` leaves a query without keys.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, scale: f32, causal: bool) -> Result<Tensor> {
    run(q, k, v, heads, scale, causal, None)
}

/// As [`attention`] without a causal mask, over sequences of different lengths: queries of sequence `b` see its first `lengths[b]`
/// keys.
///
/// # Errors
/// As [`attention`]; when there is not one length for each sequence, or one is zero or longer than `keys`.
pub fn attention_padded(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, scale: f32, lengths: &[usize]) -> Result<Tensor> {
    run(q, k, v, heads, scale, false, Some(lengths))
}

fn run(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, scale: f32, causal: bool, lengths: Option<&[usize]>) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let keys = k.dim(1)?;
    if k.dims() != [batch, keys, width] || v.dims() != k.dims() || heads == 0 || width % heads != 0 {
        return Err(fault(format!("{heads} heads of attention were given {:?}, {:?} and {:?}", q.dims(), k.dims(), v.dims())));
    }
    if keys == 0 || causal && queries > keys {
        return Err(fault(format!("attention of {queries} queries has only {keys} keys")));
    }
    if lengths.is_some_and(|lengths| lengths.len() != batch || lengths.iter().any(|length| !(1..=keys).contains(length))) {
        return Err(fault(format!("attention over {keys} keys was given the lengths {lengths:?} for {batch} sequences")));
    }
    let lengths = lengths.map_or_else(|| vec![keys; batch].into(), Arc::from);
    let shape = Heads { batch, queries, keys, width, heads, scale, causal, lengths };
    if !q.device().is_cpu() {
        return Ok(reference(q, k, v, &shape)?);
    }
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    let (out, log_sums) = forward(&shape, &Values::of(&q)?, &Values::of(&k)?, &Values::of(&v)?);
    let out = tape::output(out, q.shape(), &[&q, &k, &v])?;
    let kept = out.clone();
    tape::record(&out, move |dout, gradients| {
        let given =
            Given { q: &Values::of(&q)?, k: &Values::of(&k)?, v: &Values::of(&v)?, out: &Values::of(&kept)?, dout: &dout };
        let (dq, dk, dv) = backward(&shape, &given, &log_sums);
        gradients.add(&q, || dq);
        gradients.add(&k, || dk);
        gradients.add(&v, || dv);
        Ok(())
    });
    Ok(out)
}

fn fault(message: String) -> crate::Fault {
    candle_core::Error::Msg(message).into()
}

/// The definition.
fn reference(q: &Tensor, k: &Tensor, v: &Tensor, shape: &Heads) -> candle_core::Result<Tensor> {
    let Heads { batch, queries, keys, heads, .. } = *shape;
    let split = |x: &Tensor, tokens: usize| x.reshape((batch, tokens, heads, shape.depth()))?.transpose(1, 2)?.contiguous();
    let hidden: Vec<f32> = (0..batch * queries * keys)
        .map(|at| (at / (queries * keys), at / keys % queries, at % keys))
        .map(|(sequence, query, key)| if key < shape.visible(sequence, query) { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    let hidden = Tensor::from_vec(hidden, (batch, 1, queries, keys), q.device())?;
    let scores = split(q, queries)?.matmul(&split(k, keys)?.t()?)?.affine(f64::from(shape.scale), 0.0)?.broadcast_add(&hidden)?;
    let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    let weights = powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?;
    weights.matmul(&split(v, keys)?)?.transpose(1, 2)?.reshape(q.shape())?.to_dtype(DType::F32)
}

/// The sizes of one attention and what its queries may see.
///
/// *Invariant*: `heads` divides `width`; every query sees at least one key.
struct Heads {
    batch: usize,
    queries: usize,
    keys: usize,
    width: usize,
    heads: usize,
    scale: f32,
    causal: bool,
    lengths: Arc<[usize]>,
}

impl Heads {
    /// Width of one head.
    fn depth(&self) -> usize {
        self.width / self.heads
    }

    /// How many keys, from the first, `query` of `sequence` sees.
    fn visible(&self, sequence: usize, query: usize) -> usize {
        let before = if self.causal { query + 1 + self.keys - self.queries } else { self.keys };
        before.min(self.lengths[sequence])
    }

    /// The blocks of queries.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let size = (BLOCK_SCORES / self.keys).clamp(8, 128);
        let queries = self.queries;
        (0..queries).step_by(size).map(move |first| first..queries.min(first + size))
    }

    /// Room for the scores of any block.
    fn scores(&self) -> Vec<f32> {
        vec![0.0; self.blocks().next().map_or(0, |block| block.len()) * self.keys]
    }

    /// Columns of `head` of `rows` of `sequence`, in a tensor of `tokens` per sequence.
    fn head<'a>(&self, values: &'a [f32], tokens: usize, sequence: usize, head: usize, rows: Range<usize>) -> Matrix<'a> {
        let offset = self.offset(tokens, sequence, head, rows.start);
        Matrix::strided(&values[offset..], rows.len(), self.depth(), self.width)
    }

    /// Where `row` of `head` of `sequence` starts.
    fn offset(&self, tokens: usize, sequence: usize, head: usize, row: usize) -> usize {
        (sequence * tokens + row) * self.width + head * self.depth()
    }
}

/// The values of the result, and `log sum exp` of each row of scores, `[batch, heads, queries]`.
fn forward(shape: &Heads, q: &[f32], k: &[f32], v: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut out = vec![0.0; q.len()];
    let mut log_sums = vec![0.0; shape.batch * shape.heads * shape.queries];
    let shared = Shared::new(&mut out);
    log_sums.par_chunks_mut(shape.queries.max(1)).enumerate().for_each_init(
        || shape.scores(),
        |scores, (at, log_sums)| forward_head(shape, at / shape.heads, at % shape.heads, (q, k, v), &shared, log_sums, scores),
    );
    (out, log_sums)
}

/// The gradients of queries, keys and values.
fn backward(shape: &Heads, given: &Given<'_>, log_sums: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (mut dq, mut dk, mut dv) = (vec![0.0; given.q.len()], vec![0.0; given.k.len()], vec![0.0; given.v.len()]);
    let wanted = Wanted { dq: Shared::new(&mut dq), dk: Shared::new(&mut dk), dv: Shared::new(&mut dv) };
    log_sums.par_chunks(shape.queries.max(1)).enumerate().for_each_init(
        || (shape.scores(), shape.scores()),
        |tiles, (at, log_sums)| backward_head(shape, at / shape.heads, at % shape.heads, given, &wanted, log_sums, tiles),
    );
    (dq, dk, dv)
}

/// What the backward pass reads.
struct Given<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    out: &'a [f32],
    dout: &'a [f32],
}

/// What it writes.
struct Wanted<'a> {
    dq: Shared<'a>,
    dk: Shared<'a>,
    dv: Shared<'a>,
}

fn forward_head(
    shape: &Heads,
    sequence: usize,
    head: usize,
    (q, k, v): (&[f32], &[f32], &[f32]),
    out: &Shared<'_>,
    log_sums: &mut [f32],
    scores: &mut [f32],
) {
    for block in shape.blocks() {
        let seen = shape.visible(sequence, block.end - 1);
        let scores = &mut scores[..block.len() * seen];
        let queries = shape.head(q, shape.queries, sequence, head, block.clone());
        let keys = shape.head(k, shape.keys, sequence, head, 0..seen);
        product(
            MatrixMut::row_major(scores, block.len(), seen),
            Onto::Nothing,
            shape.scale,
            queries,
            keys.transposed(),
            On::Thread,
        );
        for (query, row) in block.clone().zip(scores.chunks_exact_mut(seen)) {
            let (seen, hidden) = row.split_at_mut(shape.visible(sequence, query));
            log_sums[query] = vector::softmax(seen);
            hidden.fill(0.0);
        }
        let offset = shape.offset(shape.queries, sequence, head, block.start);
        // SAFETY: no other thread has this sequence and head, and this one view of its rows is gone before the next block.
        let out = unsafe { out.part(offset, block.len(), shape.depth(), shape.width) };
        let values = shape.head(v, shape.keys, sequence, head, 0..seen);
        product(out, Onto::Nothing, 1.0, Matrix::row_major(scores, block.len(), seen), values, On::Thread);
    }
}

fn backward_head(
    shape: &Heads,
    sequence: usize,
    head: usize,
    given: &Given<'_>,
    wanted: &Wanted<'_>,
    log_sums: &[f32],
    (weights, slopes): &mut (Vec<f32>, Vec<f32>),
) {
    let depth = shape.depth();
    for block in shape.blocks() {
        let seen = shape.visible(sequence, block.end - 1);
        let (weights, slopes) = (&mut weights[..block.len() * seen], &mut slopes[..block.len() * seen]);
        let queries = shape.head(given.q, shape.queries, sequence, head, block.clone());
        let dout = shape.head(given.dout, shape.queries, sequence, head, block.clone());
        let keys = shape.head(given.k, shape.keys, sequence, head, 0..seen);
        let values = shape.head(given.v, shape.keys, sequence, head, 0..seen);
        let tile = |values| MatrixMut::row_major(values, block.len(), seen);
        product(tile(weights), Onto::Nothing, shape.scale, queries, keys.transposed(), On::Thread);
        product(tile(slopes), Onto::Nothing, 1.0, dout, values.transposed(), On::Thread);
        for ((query, weights), slopes) in block.clone().zip(weights.chunks_exact_mut(seen)).zip(slopes.chunks_exact_mut(seen)) {
            let offset = shape.offset(shape.queries, sequence, head, query);
            let projection = vector::dot(&given.dout[offset..offset + depth], &given.out[offset..offset + depth]);
            let visible = shape.visible(sequence, query);
            vector::softmax_slopes(&mut weights[..visible], &mut slopes[..visible], log_sums[query], projection);
            weights[visible..].fill(0.0);
            slopes[visible..].fill(0.0);
        }
        let (weights, slopes) = (Matrix::row_major(weights, block.len(), seen), Matrix::row_major(slopes, block.len(), seen));
        let of_queries = shape.offset(shape.queries, sequence, head, block.start);
        let of_keys = shape.offset(shape.keys, sequence, head, 0);
        // SAFETY: no other thread has this sequence and head, and these views are gone before the next block.
        let (dq, dk, dv) = unsafe {
            (
                wanted.dq.part(of_queries, block.len(), depth, shape.width),
                wanted.dk.part(of_keys, seen, depth, shape.width),
                wanted.dv.part(of_keys, seen, depth, shape.width),
            )
        };
        product(dq, Onto::Nothing, shape.scale, slopes, keys, On::Thread);
        product(dk, Onto::Sum, shape.scale, slopes.transposed(), queries, On::Thread);
        product(dv, Onto::Sum, 1.0, weights.transposed(), dout, On::Thread);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    /// Heads of 8 in 3 heads; the shape as `run` makes it.
    fn heads(queries: usize, keys: usize, causal: bool, lengths: [usize; 2]) -> Heads {
        Heads { batch: 2, queries, keys, width: 24, heads: 3, scale: 0.3, causal, lengths: lengths.into() }
    }

    #[test]
    fn attention_is_its_reference() {
        for (queries, keys, causal) in
            [(5, 7, false), (7, 7, true), (3, 7, true), (1, 4, true), (200, 301, false), (301, 301, true)]
        {
            let (q, k, v) = (variable(&[2, queries, 24], 1), variable(&[2, keys, 24], 2), variable(&[2, keys, 24], 3));
            let shape = heads(queries, keys, causal, [keys; 2]);
            let fused = || Ok(attention(&q, &k, &v, 3, 0.3, causal)?);
            assert_operation(&[&q, &k, &v], fused, || reference(&q, &k, &v, &shape));
        }
    }

    #[test]
    fn queries_see_no_padding() {
        let (q, k, v) = (variable(&[2, 5, 24], 4), variable(&[2, 9, 24], 5), variable(&[2, 9, 24], 6));
        let shape = heads(5, 9, false, [9, 4]);
        let fused = || Ok(attention_padded(&q, &k, &v, 3, 0.3, &[9, 4])?);
        assert_operation(&[&q, &k, &v], fused, || reference(&q, &k, &v, &shape));
    }

    #[test]
    fn nonsense_is_an_error() {
        let (q, k) = (variable(&[2, 5, 24], 7), variable(&[2, 4, 24], 8));
        assert!(attention(&q, &k, &k, 5, 1.0, false).is_err(), "24 is no multiple of 5");
        assert!(attention(&q, &k, &k, 3, 1.0, true).is_err(), "the first query sees nothing");
        assert!(attention_padded(&q, &k, &k, 3, 1.0, &[4, 0]).is_err(), "an empty sequence");
        assert!(attention(&q, &k, &q, 3, 1.0, false).is_err(), "more values than keys");
    }
}
