//! A bias of attention that is looked up by how far a key is from a query, and the sum of its gradients into the table.

use candle_core::Tensor;

use super::{Values, tape};
use crate::Result;

/// `bias[h, i] = table[buckets[i], h]`: `table: [buckets, heads]` and one bucket for each of `queries * keys` pairs, row-major, give
/// `[heads, queries, keys]`. Differentiable in `table`.
///
/// # Errors
/// When a bucket is not in the table, or there is not one for each pair.
pub fn relative_bias(table: &Tensor, buckets: &[u32], queries: usize, keys: usize) -> Result<Tensor> {
    let (rows, heads) = table.dims2()?;
    if buckets.len() != queries * keys || buckets.iter().any(|&bucket| bucket as usize >= rows) {
        let message = format!("{} buckets of {rows} for {queries} queries and {keys} keys", buckets.len());
        return Err(candle_core::Error::Msg(message).into());
    }
    if !table.device().is_cpu() {
        return Ok(reference(table, buckets, queries, keys)?);
    }
    let table = table.contiguous()?;
    let bias = {
        let table = Values::of(&table)?;
        (0..heads)
            .flat_map(|head| buckets.iter().map(move |&bucket| (bucket, head)))
            .map(|(b, h)| table[b as usize * heads + h])
            .collect()
    };
    let bias = tape::output(bias, (heads, queries, keys), &[&table])?;
    let buckets: Box<[u32]> = buckets.into();
    tape::record(&bias, move |slopes, gradients| {
        gradients.add(&table, || {
            let mut gradient = vec![0.0; rows * heads];
            for (head, slopes) in slopes.chunks_exact(buckets.len().max(1)).enumerate() {
                for (&bucket, slope) in buckets.iter().zip(slopes) {
                    gradient[bucket as usize * heads + head] += slope;
                }
            }
            gradient
        });
        Ok(())
    });
    Ok(bias)
}

/// The definition.
fn reference(table: &Tensor, buckets: &[u32], queries: usize, keys: usize) -> candle_core::Result<Tensor> {
    let buckets = Tensor::from_slice(buckets, buckets.len(), table.device())?;
    table.index_select(&buckets, 0)?.reshape((queries, keys, ()))?.permute((2, 0, 1))?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn a_relative_bias_is_its_reference() {
        let table = variable(&[5, 3], 1);
        let buckets = [0, 1, 4, 1, 1, 0];
        assert_operation(&[&table], || Ok(relative_bias(&table, &buckets, 2, 3)?), || reference(&table, &buckets, 2, 3));
    }

    #[test]
    fn buckets_that_do_not_fit_are_errors() {
        let table = variable(&[5, 3], 2);
        assert!(relative_bias(&table, &[0, 5], 1, 2).is_err());
        assert!(relative_bias(&table, &[0, 1, 2], 1, 2).is_err());
    }
}
