//! Multi-head attention by blocks of queries: nothing of size `tokens x tokens` outlives a block, in either direction.
//!
//! For one head, a block of queries `Q` and all keys `K` and values `V`: `S = scale Q K^T + B`, `P = softmax(S)`, `O = P V`. Forward
//! keeps only `log sum exp` of each row of `S` (FlashAttention, arXiv 2205.14135); backward computes `P` again from it, and with
//! `D = rowsum(dO * O)`: `dV = P^T dO`, `dS = P * (dO V^T - D)`, `dQ = scale dS K`, `dK = scale dS^T Q`, `dB = sum of dS` over sequences.
//!
//! Heads are column ranges of `[tokens, width]` that the matrix products read and write where they lie. Each pair of sequence and
//! head is computed by one thread, blocks in order; of one query, threads share the keys, in parts that follow from the number of keys.
//! So the result does not depend on the number of threads.

mod forward;

use std::ops::Range;

use candle_core::{D, DType, Tensor};
use rayon::prelude::*;

use super::matrix::{Matrix, MatrixMut, On, Onto, Shared, product};
use super::{Values, tape, vector};
use crate::Result;
use crate::profile::{self, Part};

/// Scores of one block: this many fit the second-level cache twice.
const BLOCK_SCORES: usize = 48 * 1024;

/// Queries that the kernels multiply at once.
const TILE: usize = 12;

/// Which keys queries see, and what is added to their scores.
#[derive(Clone, Copy, Default)]
pub struct Scope<'a> {
    /// The last query sees no key behind the last, the one before it none behind the last but one, and so on.
    pub causal: bool,
    /// Where each sequence lies among its keys, the rest being padding, `[batch]`; everywhere, where there are none. A query that
    /// is itself padding sees what no other one does, and its output means nothing.
    pub places: Option<&'a [Range<usize>]>,
    /// How many rows of keys and values there are, the rest being room for more; all, where it is not said. Room is for inference alone.
    pub keys: Option<usize>,
    /// Added to the scaled scores, `[heads, queries, keys]`, or `[heads, 1, keys]` where it is the same for all queries. The latter may
    /// have more columns, of which the last belong to the keys: what depends on the distance from the newest key alone holds for any
    /// number of them. Gradients know no such bias.
    pub bias: Option<&'a Tensor>,
}

impl Scope<'_> {
    /// Every query sees all keys up to its own place.
    pub const CAUSAL: Self = Self { causal: true, places: None, keys: None, bias: None };
}

/// `softmax(scale Q K^T + bias) V` for each head; `q: [batch, queries, width]`, `k` and `v: [batch, keys, width]`, `width` a multiple
/// of `heads`. Differentiable in all three and in the bias.
///
/// # Errors
/// When the shapes do not fit each other, a sequence has no keys, or a causal query has none.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, scale: f32, scope: Scope<'_>) -> Result<Tensor> {
    let shape = Heads::new(q, k, v, heads, scale, scope)?;
    if !q.device().is_cpu() {
        let [k, v] = [k, v].map(|filled| filled.narrow(1, 0, shape.keys));
        return Ok(reference(q, &k?, &v?, scope.bias, &shape)?);
    }
    let read = 2 * size_of::<f32>() * (q.elem_count() + shape.batch * shape.keys * shape.width);
    let _span = profile::span(Part::Attention, || read);
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    let bias = scope.bias.map(Tensor::contiguous).transpose()?;
    let inputs = [&q, &k, &v, bias.as_ref().unwrap_or(&q)];
    let is_watched = tape::is_watched(&inputs);
    if is_watched && shape.room > shape.keys {
        return Err(fault(format!("{} of {} keys are room, and gradients know none", shape.room - shape.keys, shape.room)));
    }
    if is_watched && shape.bias_columns > shape.keys && bias.as_ref().is_some_and(Tensor::track_op) {
        return Err(fault(format!("a bias of {} columns for {} keys, and gradients know none", shape.bias_columns, shape.keys)));
    }
    let mut log_sums = Vec::new();
    let out = {
        let bias = bias.as_ref().map(Values::of).transpose()?;
        let (q_values, k, v) = (&Values::of(&q)?, &Values::of(&k)?, &Values::of(&v)?);
        let operands = Operands { q: q_values, k, v, bias: bias.as_deref() };
        tape::filled(&q.dims()[..2], shape.width, &inputs, |out| {
            if shape.queries == 1 && !is_watched {
                forward::one_query(&shape, operands, out);
                return Ok(());
            }
            log_sums = vec![0.0; shape.batch * shape.heads * shape.queries];
            forward::many_queries(&shape, operands, out, &mut log_sums)
        })?
    };
    let kept = out.clone();
    tape::record(&out, move |dout, gradients| {
        let slopes = {
            let is_bias_learned = bias.as_ref().is_some_and(Tensor::track_op);
            let bias = bias.as_ref().map(Values::of).transpose()?;
            let (q, k, v, out) = (&Values::of(&q)?, &Values::of(&k)?, &Values::of(&v)?, &Values::of(&kept)?);
            let operands = Operands { q, k, v, bias: bias.as_deref() };
            backward(&shape, &Given { operands, is_bias_learned, out, dout: &dout }, &log_sums)
        };
        gradients.add(&q, || slopes.dq);
        gradients.add(&k, || slopes.dk);
        gradients.add(&v, || slopes.dv);
        if let Some(bias) = &bias {
            gradients.add(bias, || slopes.dbias);
        }
        Ok(())
    });
    Ok(out)
}

/// A fault of the kernels, which were given what they cannot refuse.
fn broken(error: sparsec_kernels::KernelError) -> crate::Fault {
    crate::Fault::internal(format!("a product of attention failed: {error}"))
}

fn fault(message: String) -> crate::Fault {
    candle_core::Error::Msg(message).into()
}

/// The definition.
fn reference(q: &Tensor, k: &Tensor, v: &Tensor, bias: Option<&Tensor>, shape: &Heads) -> candle_core::Result<Tensor> {
    let Heads { batch, queries, keys, heads, .. } = *shape;
    let split = |x: &Tensor, tokens: usize| x.reshape((batch, tokens, heads, shape.depth()))?.transpose(1, 2)?.contiguous();
    let hidden: Vec<f32> = (0..batch * queries * keys)
        .map(|at| (at / (queries * keys), at / keys % queries, at % keys))
        .map(|(sequence, query, key)| if shape.visible(sequence, query).contains(&key) { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    let hidden = Tensor::from_vec(hidden, (batch, 1, queries, keys), q.device())?;
    let scores = split(q, queries)?.matmul(&split(k, keys)?.t()?)?.affine(f64::from(shape.scale), 0.0)?;
    let bias = bias.map(|bias| bias.narrow(2, shape.bias_columns - keys, keys)?.unsqueeze(0)).transpose()?;
    let scores = bias.map_or(Ok(scores.clone()), |bias| scores.broadcast_add(&bias))?.broadcast_add(&hidden)?;
    let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    let weights = powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?;
    weights.matmul(&split(v, keys)?)?.transpose(1, 2)?.reshape(q.shape())?.to_dtype(DType::F32)
}

/// The sizes of one attention and what its queries may see.
///
/// *Invariant*: `heads` divides `width`; every query sees at least one key; a place is not empty and ends within the keys.
struct Heads {
    batch: usize,
    queries: usize,
    keys: usize,
    /// Rows of keys and values, the last of them without meaning where there are more than `keys`.
    room: usize,
    width: usize,
    heads: usize,
    scale: f32,
    causal: bool,
    places: Option<Box<[Range<usize>]>>,
    /// Rows of the bias for each head: one for each query, or one for all.
    bias_rows: usize,
    /// Columns of the bias, of which the last belong to the keys.
    bias_columns: usize,
}

impl Heads {
    /// Checks what attention was given.
    fn new(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, scale: f32, scope: Scope<'_>) -> Result<Self> {
        let (batch, queries, width) = q.dims3()?;
        let room = k.dim(1)?;
        let keys = scope.keys.unwrap_or(room);
        if k.dims() != [batch, room, width] || keys > room || v.dims() != k.dims() || heads == 0 || width % heads != 0 {
            return Err(fault(format!(
                "{heads} heads of attention were given {:?}, {:?} and {:?}",
                q.dims(),
                k.dims(),
                v.dims()
            )));
        }
        if keys == 0 || scope.causal && queries > keys {
            return Err(fault(format!("attention of {queries} queries has only {keys} keys")));
        }
        let is_wrong = |place: &Range<usize>| place.is_empty() || place.end > keys;
        if let Some(places) = scope.places.filter(|places| places.len() != batch || places.iter().any(is_wrong)) {
            return Err(fault(format!("attention over {keys} keys was given the places {places:?} for {batch} sequences")));
        }
        let (bias_rows, bias_columns) = match scope.bias.map(Tensor::dims) {
            None => (1, keys),
            Some(&[_, rows, columns]) => (rows, columns),
            Some(_) => (0, 0),
        };
        let is_wide_enough = bias_columns == keys || bias_rows == 1 && bias_columns > keys;
        if let Some(bias) =
            scope.bias.filter(|bias| bias.dims()[0] != heads || ![1, queries].contains(&bias_rows) || !is_wide_enough)
        {
            return Err(fault(format!("{heads} heads, {queries} queries and {keys} keys were given the bias {:?}", bias.dims())));
        }
        let places = scope.places.map(Box::from);
        Ok(Self { batch, queries, keys, room, width, heads, scale, causal: scope.causal, places, bias_rows, bias_columns })
    }

    /// Width of one head.
    fn depth(&self) -> usize {
        self.width / self.heads
    }

    /// The keys that `query` of `sequence` sees.
    fn visible(&self, sequence: usize, query: usize) -> Range<usize> {
        let before = if self.causal { query + 1 + self.keys - self.queries } else { self.keys };
        match &self.places {
            None => 0..before,
            Some(places) => {
                let end = before.min(places[sequence].end);
                places[sequence].start.min(end - 1)..end
            }
        }
    }

    /// The bias of the keys of `query` of `head`.
    fn bias<'a>(&self, bias: &'a [f32], head: usize, query: usize) -> &'a [f32] {
        let row = head * self.bias_rows + query.min(self.bias_rows - 1);
        &bias[(row + 1) * self.bias_columns - self.keys..][..self.keys]
    }

    /// The blocks of queries.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let size = (BLOCK_SCORES / self.keys).clamp(TILE, 10 * TILE) / TILE * TILE;
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

/// The gradients of queries, keys, values and bias. The bias is shared by all sequences, which therefore add to its gradient in order:
/// one thread has a head of all of them.
fn backward(shape: &Heads, given: &Given<'_>, log_sums: &[f32]) -> Slopes {
    let Operands { q, k, v, bias } = given.operands;
    let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
    let mut dbias = vec![0.0; bias.filter(|_| given.is_bias_learned).map_or(0, <[f32]>::len)];
    let wanted = Wanted { dq: Shared::new(&mut dq), dk: Shared::new(&mut dk), dv: Shared::new(&mut dv) };
    let tiles = || (shape.scores(), shape.scores());
    let pair = |sequence: usize, head: usize, dbias: &mut [f32], tiles: &mut (Vec<f32>, Vec<f32>)| {
        let log_sums = &log_sums[(sequence * shape.heads + head) * shape.queries..][..shape.queries];
        backward_head(shape, (sequence, head), given, &wanted, log_sums, dbias, tiles);
    };
    match dbias.is_empty() {
        true => (0..shape.batch * shape.heads)
            .into_par_iter()
            .for_each_init(tiles, |tiles, at| pair(at / shape.heads, at % shape.heads, &mut [], tiles)),
        false => dbias.par_chunks_mut(shape.bias_rows * shape.keys).enumerate().for_each_init(tiles, |tiles, (head, dbias)| {
            (0..shape.batch).for_each(|sequence| pair(sequence, head, dbias, tiles));
        }),
    }
    Slopes { dq, dk, dv, dbias }
}

/// What both passes read.
#[derive(Clone, Copy)]
struct Operands<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    bias: Option<&'a [f32]>,
}

/// What the backward pass reads.
struct Given<'a> {
    operands: Operands<'a>,
    is_bias_learned: bool,
    out: &'a [f32],
    dout: &'a [f32],
}

/// What it yields; `dbias` is empty where nobody learns a bias.
struct Slopes {
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
    dbias: Vec<f32>,
}

/// Where it writes.
struct Wanted<'a> {
    dq: Shared<'a>,
    dk: Shared<'a>,
    dv: Shared<'a>,
}

fn backward_head(
    shape: &Heads,
    (sequence, head): (usize, usize),
    given: &Given<'_>,
    wanted: &Wanted<'_>,
    log_sums: &[f32],
    dbias: &mut [f32],
    (weights, slopes): &mut (Vec<f32>, Vec<f32>),
) {
    let depth = shape.depth();
    let Operands { q, k, v, bias } = given.operands;
    for block in shape.blocks() {
        let seen = shape.visible(sequence, block.end - 1).end;
        let (weights, slopes) = (&mut weights[..block.len() * seen], &mut slopes[..block.len() * seen]);
        let queries = shape.head(q, shape.queries, sequence, head, block.clone());
        let dout = shape.head(given.dout, shape.queries, sequence, head, block.clone());
        let keys = shape.head(k, shape.keys, sequence, head, 0..seen);
        let values = shape.head(v, shape.keys, sequence, head, 0..seen);
        let tile = |values| MatrixMut::row_major(values, block.len(), seen);
        product(tile(weights), Onto::Nothing, shape.scale, queries, keys.transposed(), On::Thread);
        product(tile(slopes), Onto::Nothing, 1.0, dout, values.transposed(), On::Thread);
        for ((query, weights), slopes) in block.clone().zip(weights.chunks_exact_mut(seen)).zip(slopes.chunks_exact_mut(seen)) {
            let offset = shape.offset(shape.queries, sequence, head, query);
            let projection = vector::dot(&given.dout[offset..offset + depth], &given.out[offset..offset + depth]);
            let visible = shape.visible(sequence, query);
            if let Some(bias) = bias {
                vector::add(weights, shape.bias(bias, head, query));
            }
            vector::softmax_slopes(&mut weights[visible.clone()], &mut slopes[visible.clone()], log_sums[query], projection);
            for values in [&mut *weights, &mut *slopes] {
                values[..visible.start].fill(0.0);
                values[visible.end..].fill(0.0);
            }
            if !dbias.is_empty() {
                vector::add(&mut dbias[query.min(shape.bias_rows - 1) * shape.keys..][..shape.keys], slopes);
            }
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
    use super::super::check::{assert_operation, flat, variable};
    use super::super::differentiate;
    use super::*;

    /// The fused operation and its reference, with three heads of 8.
    fn assert_attention(queries: usize, keys: usize, scope: Scope<'_>, bias: Option<&candle_core::Var>) {
        let (q, k, v) = (variable(&[2, queries, 24], 1), variable(&[2, keys, 24], 2), variable(&[2, keys, 24], 3));
        let scope = Scope { bias: bias.map(|bias| bias.as_tensor()), ..scope };
        let shape = Heads::new(&q, &k, &v, 3, 0.3, scope).unwrap();
        let variables: Vec<_> = [&q, &k, &v].into_iter().chain(bias).collect();
        let fused = || Ok(attention(&q, &k, &v, 3, 0.3, scope)?);
        assert_operation(&variables, fused, || reference(&q, &k, &v, scope.bias, &shape));
    }

    #[test]
    fn attention_is_its_reference() {
        for (queries, keys, causal) in
            [(5, 7, false), (7, 7, true), (3, 7, true), (1, 4, true), (200, 301, false), (301, 301, true)]
        {
            assert_attention(queries, keys, Scope { causal, ..Scope::default() }, None);
        }
    }

    #[test]
    fn a_bias_is_added_to_the_scores_of_every_sequence() {
        for (queries, keys, rows, causal) in
            [(5, 7, 5, false), (7, 7, 7, true), (3, 7, 1, true), (1, 4, 1, true), (200, 301, 200, false), (301, 301, 1, true)]
        {
            let bias = variable(&[3, rows, keys], 4);
            assert_attention(queries, keys, Scope { causal, ..Scope::default() }, Some(&bias));
        }
    }

    #[test]
    fn queries_see_no_padding_on_either_side() {
        let bias = variable(&[3, 5, 9], 5);
        for places in [[0..9, 0..4], [2..9, 0..9], [3..7, 8..9]] {
            for causal in [false, true] {
                let scope = Scope { causal, places: Some(&places), ..Scope::default() };
                assert_attention(5, 9, scope, None);
                assert_attention(5, 9, scope, Some(&bias));
            }
        }
    }

    #[test]
    fn padding_before_a_sequence_changes_nothing_of_it() {
        let (q, k, v) = (variable(&[1, 6, 24], 6), variable(&[1, 6, 24], 7), variable(&[1, 6, 24], 8));
        let inside = |x: &Tensor| x.narrow(1, 2, 4).unwrap();
        let places = std::slice::from_ref(&(2..6));
        let scope = Scope { places: Some(places), ..Scope::CAUSAL };
        let padded = attention(&q, &k, &v, 3, 0.3, scope).unwrap();
        let alone = attention(&inside(&q), &inside(&k), &inside(&v), 3, 0.3, Scope::CAUSAL).unwrap();
        for (padded, alone) in flat(&inside(&padded)).iter().zip(flat(&alone)) {
            assert!((padded - alone).abs() < 1e-6);
        }
    }

    #[test]
    fn rows_that_are_room_are_not_seen() {
        for queries in [1, 3] {
            let (q, k, v) = (variable(&[2, queries, 24], 9), variable(&[2, 11, 24], 10), variable(&[2, 11, 24], 11));
            let bias = variable(&[3, 1, 7], 12);
            for (causal, bias) in [(false, None), (true, Some(bias.as_tensor()))] {
                let scope = Scope { causal, bias, ..Scope::default() };
                let [keys, values] = [&k, &v].map(|x| x.narrow(1, 0, 7).unwrap());
                let exact = attention(&q, &keys, &values, 3, 0.3, scope).unwrap();
                let roomy = attention(&q, &k, &v, 3, 0.3, Scope { keys: Some(7), ..scope }).unwrap();
                assert_eq!(flat(&roomy), flat(&exact));
            }
        }
        let (q, k) = (variable(&[1, 1, 24], 9), variable(&[1, 4, 24], 10));
        assert!(attention(&q, &k, &k, 3, 0.3, Scope { keys: Some(5), ..Scope::default() }).is_err());
        let roomy = || attention(&q, &k, &k, 3, 0.3, Scope { keys: Some(3), ..Scope::default() });
        assert!(differentiate(|| Ok((roomy()?, ()))).is_err(), "gradients know no room");
    }

    #[test]
    fn a_bias_of_more_columns_ends_at_the_newest_key() {
        let wide = variable(&[3, 1, 11], 13);
        let fixed = wide.detach();
        let narrow = fixed.narrow(2, 4, 7).unwrap().contiguous().unwrap();
        for queries in [1, 3, 7] {
            let (q, k) = (variable(&[2, queries, 24], 9), variable(&[2, 7, 24], 10));
            let with = |bias| attention(&q, &k, &k, 3, 0.3, Scope { bias: Some(bias), ..Scope::CAUSAL });
            assert_eq!(flat(&with(&fixed).unwrap()), flat(&with(&narrow).unwrap()));
            let shape = Heads::new(&q, &k, &k, 3, 0.3, Scope { bias: Some(&fixed), ..Scope::CAUSAL }).unwrap();
            assert_operation(&[&q, &k], || Ok(with(&fixed)?), || reference(&q, &k, &k, Some(&fixed), &shape));
            assert!(differentiate(|| Ok((with(&wide)?, ()))).is_err(), "nobody learns it");
        }
    }

    #[test]
    fn one_query_of_each_sequence_is_one_of_many() {
        for keys in [70, 300, 1100] {
            let q = variable(&[2, 1, 40], 1).detach();
            let (k, v) = (variable(&[2, keys, 40], 2).detach(), variable(&[2, keys, 40], 3).detach());
            let bias = variable(&[5, 1, keys], 4).detach();
            let hiding = (0..5 * keys).map(|at| if at % keys < keys / 2 { f32::NEG_INFINITY } else { 0.5 }).collect();
            let hiding = Tensor::from_vec(hiding, (5, 1, keys), q.device()).unwrap();
            let (places, few) = ([3..keys, 0..9], [keys - 3..keys, 0..1]);
            for scope in [
                Scope { bias: Some(&hiding), ..Scope::default() },
                Scope { places: Some(&few), ..Scope::default() },
                Scope::default(),
                Scope { bias: Some(&bias), ..Scope::CAUSAL },
                Scope { places: Some(&places), bias: Some(&bias), ..Scope::default() },
            ] {
                let shape = Heads::new(&q, &k, &v, 5, 0.3, scope).unwrap();
                let expected = flat(&reference(&q, &k, &v, scope.bias, &shape).unwrap());
                let found = [1, 2, 3, 7].map(|threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    flat(&pool.install(|| attention(&q, &k, &v, 5, 0.3, scope)).unwrap())
                });
                assert!(found[0].iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-5), "{keys} keys");
                assert!(found.iter().all(|other| *other == found[0]), "the number of threads changes nothing");
            }
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        let (q, k) = (variable(&[2, 5, 24], 7), variable(&[2, 4, 24], 8));
        let fails = |heads, k: &Tensor, v: &Tensor, scope: Scope<'_>| attention(&q, k, v, heads, 1.0, scope).is_err();
        assert!(fails(5, &k, &k, Scope::default()), "24 is no multiple of 5");
        assert!(fails(3, &k, &k, Scope::CAUSAL), "the first query sees nothing");
        assert!(fails(3, &k, &k, Scope { places: Some(&[0..4, 2..2]), ..Scope::default() }), "an empty sequence");
        assert!(fails(3, &k, &k, Scope { places: Some(&[0..4, 2..5]), ..Scope::default() }), "more than there is");
        assert!(fails(3, &k, &q, Scope::default()), "more values than keys");
        for shape in [[3, 5, 5], [2, 5, 4], [3, 2, 4]] {
            assert!(fails(3, &k, &k, Scope { bias: Some(&variable(&shape, 9)), ..Scope::default() }), "a bias of {shape:?}");
        }
    }
}
