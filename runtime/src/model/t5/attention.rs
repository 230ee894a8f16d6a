//! T5's attention, whose scores know how far a key is from its query.

use candle_core::Tensor;

use super::config::{Config, Side};
use crate::model::Source;
use crate::model::attention::Attention;
use crate::{Result, op};

/// The attention at `path`, which neither scales its scores nor has biases.
pub(super) fn attention(path: &str, config: &Config, source: &mut dyn Source) -> Result<Attention> {
    let (width, inner) = (config.d_model, config.inner());
    Ok(Attention {
        q: source.linear(&format!("{path}.q"), inner, width, false)?,
        k: source.linear(&format!("{path}.k"), inner, width, false)?,
        v: source.linear(&format!("{path}.v"), inner, width, false)?,
        out: source.linear(&format!("{path}.o"), width, inner, false)?,
        heads: config.num_heads,
        scale: 1.0,
    })
}

/// The table of what is added to scores by distance, shared by all blocks of a side.
pub(super) struct Distances {
    /// `[buckets, heads]`.
    table: Tensor,
    buckets: usize,
    farthest: usize,
    side: Side,
}

impl Distances {
    pub(super) fn build(config: &Config, side: Side, source: &mut dyn Source) -> Result<Self> {
        let buckets = config.relative_attention_num_buckets;
        let name = format!("{}.block.0.layer.0.SelfAttention.relative_attention_bias.weight", side.name());
        let table = source.tensor(&name, &[buckets, config.num_heads])?;
        Ok(Self { table, buckets, farthest: config.relative_attention_max_distance, side })
    }

    /// The bias `[heads, queries, keys]` of the last `queries` of `keys` tokens.
    pub(super) fn bias(&self, queries: usize, keys: usize) -> Result<Tensor> {
        let pairs = (keys - queries..keys).flat_map(|query| (0..keys).map(move |key| key as i64 - query as i64));
        let buckets: Vec<u32> = pairs.map(|distance| self.bucket(distance)).collect();
        op::relative_bias(&self.table, &buckets, queries, keys)
    }

    /// The row of the table for a key `distance` tokens behind its query (before it, where negative): exact for near ones, by the
    /// logarithm for those farther away; the decoder, which sees nothing behind, spends all rows on what is before.
    fn bucket(&self, distance: i64) -> u32 {
        let (buckets, first, far) = match self.side {
            Side::Encoder if distance > 0 => (self.buckets / 2, self.buckets / 2, distance as usize),
            Side::Encoder => (self.buckets / 2, 0, distance.unsigned_abs() as usize),
            Side::Decoder => (self.buckets, 0, distance.min(0).unsigned_abs() as usize),
        };
        let exact = buckets / 2;
        let within = match far < exact {
            true => far,
            false => {
                // In FP32, as the models were trained: a distance on the edge of two buckets must fall as it fell then.
                let octaves = (far as f32 / exact as f32).ln() / (self.farthest as f64 / exact as f64).ln() as f32;
                (exact + (octaves * (buckets - exact) as f32) as usize).min(buckets - 1)
            }
        };
        (first + within) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `_relative_position_bucket` of transformers at distances around every edge; from `tests/fixtures/make_t5.py`.
    #[test]
    fn buckets_are_those_of_transformers() {
        let expected: serde_json::Value = serde_json::from_str(include_str!("../../../tests/fixtures/t5/buckets.json")).unwrap();
        for case in expected.as_array().unwrap() {
            let number = |name: &str| case[name].as_u64().unwrap() as usize;
            let side = if case["bidirectional"].as_bool().unwrap() { Side::Encoder } else { Side::Decoder };
            let table = Tensor::zeros((1, 1), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
            let distances = Distances { table, buckets: number("buckets"), farthest: number("farthest"), side };
            let found = (-300..=300).map(|distance| u64::from(distances.bucket(distance)));
            let expected = case["found"].as_array().unwrap().iter().map(|bucket| bucket.as_u64().unwrap());
            assert!(found.eq(expected), "{case}");
        }
    }
}
