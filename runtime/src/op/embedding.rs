//! Rows of a table by token id, and the sum of gradients into the rows that were taken.

use candle_core::Tensor;

use super::{Values, tape, vector};
use crate::Result;
use crate::profile::{self, Part};

/// Row `ids[i]` of `table`, `[vocab, width]`, for every `i`; the result is `[shape.., width]`, where `shape` holds as many elements
/// as there are ids. Differentiable in `table`; an id that occurs twice gets both gradients.
///
/// # Errors
/// When an id is not below `vocab`, or `shape` does not fit the ids.
pub fn embedding(table: &Tensor, ids: &[u32], shape: &[usize]) -> Result<Tensor> {
    let (vocab, width) = table.dims2()?;
    if let Some(id) = ids.iter().find(|id| **id as usize >= vocab) {
        return Err(candle_core::Error::Msg(format!("token {id} is not among the {vocab} of the embedding")).into());
    }
    if shape.iter().product::<usize>() != ids.len() {
        return Err(candle_core::Error::Msg(format!("{} tokens in the shape {shape:?}", ids.len())).into());
    }
    if !table.device().is_cpu() {
        let ids = Tensor::from_slice(ids, ids.len(), table.device())?;
        return Ok(table.index_select(&ids, 0)?.reshape([shape, &[width]].concat())?);
    }
    let _span = profile::span(Part::Embedding, || size_of::<f32>() * 2 * ids.len() * width);
    let table = table.contiguous()?;
    let vectors = {
        let values = Values::of(&table)?;
        tape::filled(shape, width, &[&table], |vectors| {
            for (vector, id) in vectors.chunks_exact_mut(width.max(1)).zip(ids) {
                vector.copy_from_slice(&values[*id as usize * width..][..width]);
            }
            Ok(())
        })?
    };
    if !vectors.is_variable() {
        return Ok(vectors);
    }
    let ids: Box<[u32]> = ids.into();
    tape::record(&vectors, move |dy, gradients| {
        gradients.add(&table, || backward(&ids, width, table.elem_count(), &dy));
        Ok(())
    });
    Ok(vectors)
}

/// The gradient of a table of `len` values: `dy` summed into the rows that were taken.
fn backward(ids: &[u32], width: usize, len: usize, dy: &[f32]) -> Vec<f32> {
    let mut gradient = vec![0.0; len];
    for (id, dy) in ids.iter().zip(dy.chunks_exact(width.max(1))) {
        vector::add(&mut gradient[*id as usize * width..][..width], dy);
    }
    gradient
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn embedding_is_its_reference() {
        let table = variable(&[7, 5], 1);
        let ids = [3u32, 0, 3, 6, 1, 3];
        let reference = || {
            let ids = Tensor::from_slice(&ids, 6, table.device())?;
            table.index_select(&ids, 0)?.reshape((2, 3, 5))
        };
        assert_operation(&[&table], || Ok(embedding(&table, &ids, &[2, 3])?), reference);
    }

    #[test]
    fn unknown_tokens_and_wrong_shapes_are_errors() {
        let table = variable(&[7, 5], 2);
        assert!(embedding(&table, &[7], &[1]).is_err());
        assert!(embedding(&table, &[1, 2, 3], &[2]).is_err());
    }
}
