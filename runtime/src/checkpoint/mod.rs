//! A model as a value between stages: configuration, parameters, masks, quantized weights, companion files.
//!
//! On disk it is a Hugging Face folder; in memory parameters are FP32 under their checkpoint names. Masks and quantized weights go
//! by module path.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;
use serde_json::Value;
use sparsec_kernels::Mask;

pub mod masks;

/// A model between two stages. Cheap to clone: tensors share their storage.
#[derive(Clone)]
pub struct Checkpoint {
    /// `config.json`.
    pub config: Value,
    /// Every parameter, FP32, by checkpoint name. The weight of a quantized layer is kept in `quantized` alone.
    pub tensors: BTreeMap<String, Tensor>,
    /// Which weights each pruned linear layer keeps, by module path.
    pub masks: BTreeMap<String, Mask>,
    /// The integer weights of each quantized linear layer, by module path.
    pub quantized: BTreeMap<String, QuantizedWeight>,
    /// Tokenizer, feature extractor, generation settings: bytes by file name, carried along unchanged.
    pub companions: Arc<BTreeMap<String, Vec<u8>>>,
}

/// An INT8 weight `[out, in]` with one scale per output channel; activations are quantized per token while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedWeight {
    /// Values in -127..=127, row-major; a pruned weight is 0.
    pub values: Arc<[i8]>,
    /// `w = value * scale[row]`, `[out]`.
    pub scales: Arc<[f32]>,
    /// Outputs.
    pub out: usize,
    /// Inputs.
    pub inputs: usize,
}

impl QuantizedWeight {
    /// The weight as numbers, `[out, in]` row-major: `value * scale[row]`.
    pub fn dequantized(&self) -> Vec<f32> {
        let rows = self.values.chunks_exact(self.inputs.max(1)).zip(self.scales.iter());
        rows.flat_map(|(row, scale)| row.iter().map(move |&value| f32::from(value) * scale)).collect()
    }
}
