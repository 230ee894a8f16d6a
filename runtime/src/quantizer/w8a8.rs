//! `w8a8`: INT8 weights with one scale per output channel, INT8 activations with one scale per token.

use super::{Quantizer, Scheme};
use crate::weight::{self, Weight};
use crate::{Checkpoint, Result, choice, word};

/// When the scales of activations are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// For each token while the model runs; see [`round_tokens`](super::round_tokens).
    Dynamic,
}

choice! { Activations { Dynamic = "dynamic" } }

word! {
    /// INT8 weights per output channel and INT8 activations per token.
    pub struct W8A8 = "w8a8" {
        /// When the scales of activations are found: `dynamic`, for each token while the model runs.
        activations: Activations = Activations::Dynamic,
    }
}

impl Scheme for W8A8 {
    fn apply(
        &self,
        checkpoint: &mut Checkpoint,
        layers: &[String],
        quantizer: &dyn Quantizer,
        done: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        for path in layers {
            let Weight { values, out, inputs } = Weight::read(checkpoint, path)?;
            let quantized = quantizer.quantize(&values, out, inputs, checkpoint.masks.get(path))?;
            checkpoint.tensors.remove(&weight::name(path));
            checkpoint.quantized.insert(path.clone(), quantized);
            done(path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::{Device, Tensor};

    use super::*;
    use crate::quantizer::Rtn;

    #[test]
    fn a_layer_is_float_or_integer_and_never_both() {
        let weight = Tensor::new(&[[1f32, -127.0], [0.0, 0.5]], &Device::Cpu).unwrap();
        let mut checkpoint = Checkpoint {
            config: serde_json::Value::Null,
            tensors: BTreeMap::from([("fc.weight".to_owned(), weight.into())]),
            masks: BTreeMap::new(),
            quantized: BTreeMap::new(),
            companions: Default::default(),
        };
        let scheme = W8A8 { activations: Activations::Dynamic };
        let mut seen = Vec::new();
        let mut apply = |checkpoint: &mut Checkpoint, layer: &str| {
            scheme.apply(checkpoint, &[layer.to_owned()], &Rtn {}, &mut |path| {
                seen.push(path.to_owned());
                Ok(())
            })
        };
        apply(&mut checkpoint, "fc").unwrap();
        assert!(checkpoint.tensors.is_empty());
        assert_eq!(checkpoint.quantized["fc"].dequantized(), [1.0, -127.0, 0.0, 0.5]);
        assert!(apply(&mut checkpoint, "fc").unwrap_err().message.contains("quantized already"));
        assert!(apply(&mut checkpoint, "proj_out").unwrap_err().help.unwrap().contains("tied"));
        assert_eq!(seen, ["fc"]);
    }
}
