//! One safetensors file: its header, and single tensors read from it.
//!
//! The header is read without the data, so that checking a recipe takes milliseconds. Data is read, not mapped: every value is
//! converted or copied on its way to FP32 anyway, and a mapped file that somebody cuts short while it is in use kills the process. The
//! file stays open, so that what is read later is of the same file, whatever lies at its path by then.
//! Format: 8 bytes of header length, little-endian, JSON, then the data; offsets in the header count from the start of the data.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::{Fault, Result};

/// No header of a real model comes near this; a file that asks for more lies.
const HEADER_LIMIT_BYTES: u64 = 100_000_000;
const HELP: &str = "the file is damaged or was not downloaded to its end; fetch or export it again";

/// A safetensors file whose header was read and found to fit the file.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    file: File,
    /// Where the data starts, bytes from the start of the file.
    data_start: u64,
    metadata: Metadata,
}

impl Shard {
    /// Reads the header of the file at `path`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let damaged = |what: String| Fault::input(format!("this is not a whole safetensors file: {what}")).at(path).help(HELP);
        let mut file = File::open(path).map_err(|error| Fault::reading(path, &error))?;
        let size = file.metadata().map_err(|error| Fault::reading(path, &error))?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| damaged(format!("it has {size} bytes")))?;
        let length = u64::from_le_bytes(length);
        let data_start = length
            .checked_add(8)
            .filter(|&start| length <= HEADER_LIMIT_BYTES && start <= size)
            .ok_or_else(|| damaged(format!("it claims a header of {length} bytes and has {size} bytes in all")))?;
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(|error| Fault::reading(path, &error))?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| damaged(format!("its header does not parse: {error}")))?;
        if data_start.checked_add(metadata.data_len() as u64) != Some(size) {
            return Err(damaged(format!(
                "its header describes {} bytes of data, and {} follow",
                metadata.data_len(),
                size - data_start
            )));
        }
        Ok(Self { path: path.to_owned(), file, data_start, metadata })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors.
    pub(super) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// Type and shape of the tensor `name`.
    pub(super) fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.metadata.info(name)
    }

    /// The bytes of the tensor `name`, little-endian, row-major.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let info = self.info(name).ok_or_else(|| Fault::internal(format!("no tensor `{name}`")).at(&self.path))?;
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        let read = self.file.read_exact_at(&mut bytes, self.data_start + start as u64);
        read.map_err(|error| Fault::reading(&self.path, &error).help(HELP))?;
        Ok(bytes)
    }

    /// The tensor `name` as FP32, row-major, every value finite.
    pub(super) fn floats(&self, name: &str) -> Result<Vec<f32>> {
        let bytes = self.bytes(name)?;
        let dtype = self.info(name).map(|info| info.dtype);
        let values: Vec<f32> = match dtype {
            Some(Dtype::F32) => values(&bytes, f32::from_le_bytes),
            Some(Dtype::F16) => values(&bytes, |b| f16::from_le_bytes(b).to_f32()),
            Some(Dtype::BF16) => values(&bytes, |b| bf16::from_le_bytes(b).to_f32()),
            _ => return Err(Fault::internal(format!("`{name}` is not floating point")).at(&self.path)),
        };
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => Err(Fault::input(format!("`{name}` holds {} as its value {at}", values[at]))
                .at(&self.path)
                .help("train or download the checkpoint again; a model with values that are not finite cannot be used")),
        }
    }
}

/// Whether parameters of this type can be read.
pub(super) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// Every `N` bytes as one value.
fn values<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&chunk| value(chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn sample() -> Vec<u8> {
        let floats: Vec<u8> = [1.0f32, -2.5, 3.25, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let halves: Vec<u8> = [f16::from_f32(0.5), f16::from_f32(-8.0)].iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensors = [
            ("a", TensorView::new(Dtype::F32, vec![2, 2], &floats).unwrap()),
            ("b", TensorView::new(Dtype::F16, vec![2], &halves).unwrap()),
            ("c", TensorView::new(Dtype::BF16, vec![2], &[0x80, 0x3f, 0x00, 0xc0]).unwrap()),
        ];
        safetensors::serialize(tensors, None).unwrap()
    }

    #[test]
    fn every_float_type_is_widened() {
        let file = file(&sample());
        let shard = Shard::open(file.path()).unwrap();
        assert_eq!(shard.floats("a").unwrap(), [1.0, -2.5, 3.25, 0.0]);
        assert_eq!(shard.floats("b").unwrap(), [0.5, -8.0]);
        assert_eq!(shard.floats("c").unwrap(), [1.0, -2.0]);
    }

    #[test]
    fn damage_is_named_and_blamed_on_the_file() {
        let whole = sample();
        let cases: [(&str, Vec<u8>); 6] = [
            ("it has 0 bytes", Vec::new()),
            ("it has 5 bytes", whole[..5].to_vec()),
            ("and 7 follow", {
                let start = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
                whole[..start + 7].to_vec()
            }),
            ("claims a header of", [&u64::MAX.to_le_bytes(), &whole[8..]].concat()),
            ("claims a header of", [&4096u64.to_le_bytes(), &whole[8..]].concat()),
            ("does not parse", [&whole[..8], b"]", &whole[9..]].concat()),
        ];
        for (expected, bytes) in cases {
            let file = file(&bytes);
            let fault = Shard::open(file.path()).unwrap_err();
            assert!(fault.message.contains(expected), "{} / {expected}", fault.message);
            assert_eq!(fault.path.as_deref(), Some(file.path()));
        }
    }

    #[test]
    fn a_value_that_is_not_finite_is_named() {
        let floats: Vec<u8> = [1.0f32, f32::NEG_INFINITY].iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensors = [("decoder.fc1.weight", TensorView::new(Dtype::F32, vec![2], &floats).unwrap())];
        let file = file(&safetensors::serialize(tensors, None).unwrap());
        let fault = Shard::open(file.path()).unwrap().floats("decoder.fc1.weight").unwrap_err();
        assert_eq!(fault.message, "`decoder.fc1.weight` holds -inf as its value 1");
    }

    proptest! {
        /// Bytes changed, cut or added anywhere give a fault or values, never a panic.
        #[test]
        fn no_mutation_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in 0usize..400) {
            let mut bytes = sample();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(300)));
            let file = file(&bytes);
            if let Ok(shard) = Shard::open(file.path()) {
                for name in shard.names() {
                    let _ = shard.floats(&name);
                }
            }
        }
    }
}
