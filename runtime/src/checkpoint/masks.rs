//! Masks on disk: `sparsec.masks.safetensors`, beside the weights of any checkpoint that was pruned.
//!
//! For the layer at module path `P`: `P.bitmask`, U8 `[out, ceil(in / 8)]`, bit `j` of byte `k` set where the weight of input
//! `8 k + j` is kept, and `P.shape`, I64 `[2]`, out and in. The names are those of compressed-tensors' bitmask files. Other readers
//! of a checkpoint ignore the file: to them a pruned weight is a plain zero.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, View};
use sparsec_kernels::Mask;

use super::{Parameter, QuantizedWeight};
use crate::model::{Module, ModuleKind};
use crate::{Fault, Result, weight};

/// The file's name in the folder of a checkpoint.
pub const FILE: &str = "sparsec.masks.safetensors";

/// The share of zeros from which on a weight counts as pruned: training and rounding leave far fewer.
const SPARSE: f64 = 0.1;

/// The masks of sparse weights that came without this file, as other programs write them: where at least 10 % of a linear layer's
/// weights are exactly zero, these are taken as pruned (the rule by which the fine-tuning of arXiv 2310.06927 finds its masks).
pub fn derived(
    modules: &[Module],
    tensors: &BTreeMap<String, Parameter>,
    quantized: &BTreeMap<String, QuantizedWeight>,
) -> Result<BTreeMap<String, Mask>> {
    let linears = modules.par_iter().filter(|module| module.kind == ModuleKind::Linear);
    let masks = linears.map(|module| {
        let values = match (quantized.get(&module.path), tensors.get(&weight::name(&module.path))) {
            (Some(weight), _) => weight.values.iter().map(|&value| f32::from(value)).collect(),
            (None, Some(parameter)) => parameter.values()?,
            (None, None) => return Ok(None),
        };
        let &[rows, cols] = module.shape.as_slice() else { return Ok(None) };
        let mask = Mask::of_nonzeros(&values, rows, cols);
        Ok((mask.sparsity() >= SPARSE).then(|| (module.path.clone(), mask)))
    });
    Ok(masks.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// BLAKE3 over every layer's path, shape and bits: the identity of a set of masks, wherever it is stored.
pub fn hash(masks: &BTreeMap<String, Mask>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for (path, mask) in masks {
        for size in [path.len(), mask.rows(), mask.cols()] {
            hasher.update(&(size as u64).to_le_bytes());
        }
        hasher.update(path.as_bytes());
        hasher.update(&bytes(mask));
    }
    hasher.finalize()
}

/// Writes `masks` as the file `path`.
pub fn write(masks: &BTreeMap<String, Mask>, path: &Path) -> Result<()> {
    let parts = masks.iter().flat_map(|(layer, mask)| {
        let bits = Part { dtype: Dtype::U8, shape: vec![mask.rows(), mask.cols().div_ceil(8)], data: bytes(mask) };
        let sizes = [mask.rows(), mask.cols()].iter().flat_map(|&size| (size as i64).to_le_bytes()).collect();
        let shape = Part { dtype: Dtype::I64, shape: vec![2], data: sizes };
        [(format!("{layer}.bitmask"), bits), (format!("{layer}.shape"), shape)]
    });
    safetensors::serialize_to_file(parts, None, path)
        .map_err(|error| Fault::environment(format!("cannot write this: {error}")).at(path))
}

/// Reads the file `path`.
///
/// # Errors
/// When it is no such file, or a mask's bits do not fit its shape.
pub fn read(path: &Path) -> Result<BTreeMap<String, Mask>> {
    let file = std::fs::read(path).map_err(|error| Fault::reading(path, &error))?;
    let tensors =
        SafeTensors::deserialize(&file).map_err(|error| Fault::input(format!("these are no masks: {error}")).at(path))?;
    let mut masks = BTreeMap::new();
    for name in tensors.names() {
        let Some(layer) = name.strip_suffix(".bitmask") else { continue };
        let mask = read_one(&tensors, layer).ok_or_else(|| Fault::input(format!("the mask of `{layer}` is damaged")).at(path))?;
        masks.insert(layer.to_owned(), mask);
    }
    Ok(masks)
}

/// The mask of one layer; nothing where its parts do not fit together.
fn read_one(tensors: &SafeTensors<'_>, layer: &str) -> Option<Mask> {
    let shape = tensors.tensor(&format!("{layer}.shape")).ok().filter(|shape| shape.dtype() == Dtype::I64)?;
    let (sizes, []) = shape.data().as_chunks::<8>() else { return None };
    let &[rows, cols] = sizes else { return None };
    let (rows, cols) = (usize::try_from(i64::from_le_bytes(rows)).ok()?, usize::try_from(i64::from_le_bytes(cols)).ok()?);
    let bits = tensors.tensor(&format!("{layer}.bitmask")).ok().filter(|bits| bits.dtype() == Dtype::U8)?;
    let per_row = cols.div_ceil(8);
    if bits.shape() != [rows, per_row] {
        return None;
    }
    let mask = Mask::from_fn(rows, cols, |row, col| bits.data()[row * per_row + col / 8] >> (col % 8) & 1 == 1);
    (bytes(&mask) == bits.data()).then_some(mask)
}

/// The bits of a mask, rows padded to whole bytes.
fn bytes(mask: &Mask) -> Vec<u8> {
    let per_row = mask.cols().div_ceil(8);
    (0..mask.rows()).flat_map(|row| mask.row(row).iter().flat_map(|word| word.to_le_bytes()).take(per_row)).collect()
}

/// One tensor of the file.
struct Part {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl View for Part {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]

        #[test]
        fn what_is_written_is_read(rows in 0usize..5, cols in 0usize..140, seed in any::<u64>()) {
            let mask = |shift: u32| Mask::from_fn(rows, cols, |row, col| seed.rotate_left((row * 7 + col * 3) as u32 + shift) & 1 == 1);
            let masks = BTreeMap::from([("a.fc1".to_owned(), mask(0)), ("a.fc2".to_owned(), mask(5))]);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(FILE);
            write(&masks, &path).unwrap();
            prop_assert_eq!(&read(&path).unwrap(), &masks);
            prop_assert_eq!(hash(&read(&path).unwrap()), hash(&masks));
        }
    }

    #[test]
    fn damaged_files_are_faults_that_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert!(read(&path).is_err());
        let masks = BTreeMap::from([("fc".to_owned(), Mask::from_fn(2, 12, |row, col| row == col))]);
        write(&masks, &path).unwrap();
        let mut file = std::fs::read(&path).unwrap();
        *file.last_mut().unwrap() |= 0x80;
        std::fs::write(&path, &file).unwrap();
        assert_eq!(read(&path).unwrap_err().message, "the mask of `fc` is damaged", "a bit past the last column");
        std::fs::write(&path, &file[..file.len() - 1]).unwrap();
        assert_eq!(read(&path).unwrap_err().path.as_deref(), Some(path.as_path()));
    }

    #[test]
    fn the_hash_tells_masks_apart() {
        let masks = |path: &str, rows, cols| BTreeMap::from([(path.to_owned(), Mask::from_fn(rows, cols, |_, _| false))]);
        let hashes = [masks("a", 2, 8), masks("b", 2, 8), masks("a", 1, 16), masks("a", 2, 9)].map(|masks| hash(&masks));
        assert!((0..4).all(|i| (0..i).all(|j| hashes[i] != hashes[j])));
    }
}
