//! A model as one file, exactly: between stages, and in the middle of one.
//!
//! A safetensors file whose names begin with what they are: `tensor/`, `mask/` (a word of 64 weights each), `values/` and `scales/`
//! of quantized layers, `file/` for companions, `extra/` for whatever else an unfinished stage needs. Reading gives back what was
//! written, bit by bit.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo, TensorView};
use serde_json::Value;

use crate::checkpoint::{Parameter, QuantizedWeight};
use crate::{Checkpoint, Fault, Mask, Result, disk};

/// A model, and what else an unfinished stage needs to go on.
#[derive(Clone)]
pub struct Snapshot {
    /// The model.
    pub checkpoint: Checkpoint,
    /// Tensors of an optimizer.
    pub extra: BTreeMap<String, Tensor>,
    /// How far the stage came.
    pub progress: Value,
}

impl Snapshot {
    /// A finished model.
    pub fn of(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, extra: BTreeMap::new(), progress: Value::Null }
    }

    /// Writes the file at `path`, whole or not at all.
    ///
    /// # Errors
    /// A disk that is full or cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let Checkpoint { tensors, masks, quantized, companions, config } = &self.checkpoint;
        let mut entries = Vec::new();
        for (name, parameter) in tensors {
            entries.push(Entry::of(
                format!("tensor/{name}"),
                Dtype::F32,
                parameter.dims(),
                Content::Parameter(parameter.clone()),
            ));
        }
        for (name, tensor) in &self.extra {
            entries.push(Entry::of(
                format!("extra/{name}"),
                Dtype::F32,
                tensor.dims(),
                Content::Parameter(tensor.clone().into()),
            ));
        }
        for (path, mask) in masks {
            let shape = [mask.rows(), mask.cols().div_ceil(64)];
            entries.push(Entry::of(format!("mask/{path}"), Dtype::U64, &shape, Content::Mask(mask)));
        }
        for (path, weight) in quantized {
            let (values, scales) = (Content::Integers(&weight.values), Content::Floats(&weight.scales));
            entries.push(Entry::of(format!("values/{path}"), Dtype::I8, &[weight.out, weight.inputs], values));
            entries.push(Entry::of(format!("scales/{path}"), Dtype::F32, &[weight.out], scales));
        }
        for (name, bytes) in companions.iter() {
            entries.push(Entry::of(format!("file/{name}"), Dtype::U8, &[bytes.len()], Content::Bytes(bytes)));
        }
        let masked: Vec<_> = masks.iter().map(|(path, mask)| (path, mask.cols())).collect();
        let metadata = HashMap::from([
            ("config".to_owned(), config.to_string()),
            ("progress".to_owned(), self.progress.to_string()),
            ("columns".to_owned(), serde_json::json!(BTreeMap::from_iter(masked)).to_string()),
        ]);
        let header = header(&entries, metadata)?;
        let mut lost = None;
        let written = disk::write_file(path, |file| {
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(&header)?;
            for entry in &entries {
                let bytes = entry.bytes().map_err(|fault| std::io::Error::other(lost.insert(fault).to_string()))?;
                file.write_all(&bytes)?;
            }
            Ok(())
        });
        lost.map_or(written, Err)
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// A file that is missing, or was not written by [`Snapshot::write`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Fault::reading(path, &error))?;
        Self::parse(&bytes).map_err(|fault| fault.at(path).help("delete this file; what it held is computed again"))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let broken = |error: &dyn std::fmt::Display| Fault::input(format!("this state of a stage is damaged: {error}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| broken(&error))?;
        let stored = SafeTensors::deserialize(bytes).map_err(|error| broken(&error))?;
        let json = |key: &str| -> Result<Value> {
            let text =
                header.metadata().as_ref().and_then(|metadata| metadata.get(key)).ok_or_else(|| broken(&format!("no {key}")))?;
            serde_json::from_str(text).map_err(|error| broken(&error))
        };
        let columns: BTreeMap<String, usize> = serde_json::from_value(json("columns")?).map_err(|error| broken(&error))?;
        let (mut tensors, mut extra, mut masks) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (mut values, mut scales, mut companions) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (name, view) in stored.iter() {
            let (kind, name) = name.split_once('/').ok_or_else(|| broken(&name))?;
            match kind {
                "tensor" => drop(tensors.insert(name.to_owned(), floats(&view)?.into())),
                "extra" => drop(extra.insert(name.to_owned(), floats(&view)?)),
                "mask" => drop(masks.insert(name.to_owned(), mask(&view, columns.get(name).copied().unwrap_or(0)))),
                "values" => drop(values.insert(name.to_owned(), (view.shape().to_vec(), view.data()))),
                "scales" => drop(scales.insert(name.to_owned(), floats(&view)?.to_vec1::<f32>()?)),
                "file" => drop(companions.insert(name.to_owned(), view.data().to_vec())),
                _ => return Err(broken(&format!("`{kind}` is unknown"))),
            }
        }
        let mut quantized = BTreeMap::new();
        for (path, (shape, bytes)) in values {
            let (&[out, inputs], Some(scales)) = (shape.as_slice(), scales.remove(&path)) else {
                return Err(broken(&format!("`{path}` is not a quantized matrix")));
            };
            let values = bytes.iter().map(|value| value.cast_signed()).collect();
            quantized.insert(path, QuantizedWeight { values, scales: scales.into(), out, inputs });
        }
        let checkpoint = Checkpoint { config: json("config")?, tensors, masks, quantized, companions: Arc::new(companions) };
        Ok(Self { checkpoint, extra, progress: json("progress")? })
    }
}

/// One tensor of the file. Its bytes are made when their turn comes: those of all at once would take the memory of the model again.
struct Entry<'a> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    content: Content<'a>,
}

enum Content<'a> {
    Parameter(Parameter),
    Floats(&'a [f32]),
    Mask(&'a Mask),
    Integers(&'a [i8]),
    Bytes(&'a [u8]),
}

impl<'a> Entry<'a> {
    fn of(name: String, dtype: Dtype, shape: &[usize], content: Content<'a>) -> Self {
        Self { name, dtype, shape: shape.to_vec(), content }
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(match &self.content {
            Content::Parameter(parameter) => Cow::Owned(floats(&parameter.values()?)),
            Content::Floats(values) => Cow::Owned(floats(values)),
            Content::Mask(mask) => {
                Cow::Owned((0..mask.rows()).flat_map(|row| mask.row(row).iter().flat_map(|word| word.to_le_bytes())).collect())
            }
            Content::Integers(values) => Cow::Owned(values.iter().map(|value| value.cast_unsigned()).collect()),
            Content::Bytes(bytes) => Cow::Borrowed(bytes),
        })
    }
}

/// The header of a safetensors file that holds `entries` in this order, padded to whole words.
fn header(entries: &[Entry<'_>], metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    let mut end = 0;
    let infos = entries.iter().map(|entry| {
        let start = end;
        end += entry.shape.iter().product::<usize>() * entry.dtype.bitsize() / 8;
        (entry.name.clone(), TensorInfo { dtype: entry.dtype, shape: entry.shape.clone(), data_offsets: (start, end) })
    });
    let unwritable = |error: &dyn std::fmt::Display| Fault::internal(format!("this model cannot be written down: {error}"));
    let metadata = Metadata::new(Some(metadata), infos.collect()).map_err(|error| unwritable(&error))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| unwritable(&error))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

fn floats(view: &TensorView<'_>) -> Result<Tensor> {
    let values = view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect::<Vec<f32>>();
    Ok(Tensor::from_vec(values, view.shape(), &Device::Cpu)?)
}

fn mask(view: &TensorView<'_>, columns: usize) -> Mask {
    let words: Vec<u64> = view.data().as_chunks::<8>().0.iter().map(|&bytes| u64::from_le_bytes(bytes)).collect();
    let (rows, per_row) = (view.shape().first().copied().unwrap_or(0), columns.div_ceil(64));
    let bit = |row: usize, col: usize| words.get(row * per_row + col / 64).is_some_and(|word| word >> (col % 64) & 1 == 1);
    Mask::from_fn(rows, columns, bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_bit_by_bit() {
        let weight = Tensor::from_slice(&[1.0f32, f32::MIN_POSITIVE / 4.0, -0.0, 3.5, 1e-30, 7.0], (2, 3), &Device::Cpu).unwrap();
        let quantized = QuantizedWeight { values: [-127i8, 0, 5, 127].into(), scales: [0.5f32, 0.25].into(), out: 2, inputs: 2 };
        let snapshot = Snapshot {
            checkpoint: Checkpoint {
                config: serde_json::json!({"d_model": 3}),
                tensors: BTreeMap::from([("a.weight".to_owned(), weight.clone().into())]),
                masks: BTreeMap::from([("a".to_owned(), Mask::from_fn(3, 70, |row, col| (row + col) % 3 == 0))]),
                quantized: BTreeMap::from([("b".to_owned(), quantized)]),
                companions: Arc::new(BTreeMap::from([("tokenizer.json".to_owned(), b"{}".to_vec())])),
            },
            extra: BTreeMap::from([("moment".to_owned(), weight)]),
            progress: serde_json::json!({"step": 7}),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stage.safetensors");
        snapshot.write(&path).unwrap();
        let back = Snapshot::read(&path).unwrap();
        let bits = |snapshot: &Snapshot| -> Vec<u32> {
            let tensors = snapshot.checkpoint.tensors.values().cloned().chain(snapshot.extra.values().cloned().map(Into::into));
            tensors.flat_map(|parameter| parameter.values().unwrap()).map(f32::to_bits).collect()
        };
        assert_eq!(bits(&back), bits(&snapshot));
        assert_eq!(back.checkpoint.masks, snapshot.checkpoint.masks);
        assert_eq!(back.checkpoint.quantized, snapshot.checkpoint.quantized);
        assert_eq!(back.checkpoint.companions, snapshot.checkpoint.companions);
        assert_eq!((back.checkpoint.config, back.progress), (snapshot.checkpoint.config, snapshot.progress));

        std::fs::write(&path, &std::fs::read(&path).unwrap()[..100]).unwrap();
        let fault = Snapshot::read(&path).map(|_| ()).unwrap_err();
        assert!(fault.path.is_some() && fault.message.contains("damaged"), "{fault}");
    }
}
