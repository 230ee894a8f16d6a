//! Rows of a table by token id, and the sum of gradients into the rows that were taken.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor, bail};

use super::{Values, values, vector};
use crate::Result;

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
    let shape = [shape, &[width]].concat();
    if !table.device().is_cpu() {
        let ids = Tensor::from_slice(ids, ids.len(), table.device())?;
        return Ok(table.index_select(&ids, 0)?.reshape(shape)?);
    }
    Ok(table.contiguous()?.apply_op1(Embedding { ids: ids.into(), shape })?)
}

/// *Invariant*: every id is below the number of rows of the table that the operation is applied to.
struct Embedding {
    ids: Box<[u32]>,
    shape: Vec<usize>,
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let table = values(table, layout)?;
        let shape = Shape::from(self.shape.as_slice());
        if shape.elem_count() != self.ids.len() * width {
            bail!("{} tokens of width {width} do not fill {:?}", self.ids.len(), self.shape);
        }
        let rows = self.ids.iter().flat_map(|id| &table[*id as usize * width..][..width]);
        Ok((CpuStorage::F32(rows.copied().collect()), shape))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let (vocab, width) = table.dims2()?;
        let dy = dy.contiguous()?;
        let dy = Values::of(&dy)?;
        let mut gradient = vec![0.0; vocab * width];
        for (id, dy) in self.ids.iter().zip(dy.chunks_exact(width.max(1))) {
            vector::add(&mut gradient[*id as usize * width..][..width], dy);
        }
        Ok(Some(Tensor::from_vec(gradient, table.shape(), table.device())?))
    }
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
