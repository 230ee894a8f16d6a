//! A stack of blocks, encoder or decoder: attention to itself, attention to the encoder's output in the decoder, a feed-forward part.

use std::any::Any;
use std::ops::Range;

use candle_core::Tensor;
use sparsec_kernels::Activation;

use super::attention::{Distances, attention};
use super::config::{self, Config, Side};
use crate::Result;
use crate::linear::FeedForward;
use crate::model::attention::Attention;
use crate::model::memory::{KeysValues, Origins, RoomyBias, Stepped};
use crate::model::{Cache, Encoded, Source, Taps};
use crate::op::{self, Scope};

pub(super) struct Stack {
    side: Side,
    distances: Distances,
    blocks: Vec<Block>,
    norm: Norm,
}

impl Stack {
    pub(super) fn build(config: &Config, side: Side, source: &mut dyn Source) -> Result<Self> {
        Ok(Self {
            side,
            distances: Distances::build(config, side, source)?,
            blocks: (0..config.layers(side)).map(|layer| Block::build(config, side, layer, source)).collect::<Result<_>>()?,
            norm: Norm::build(&format!("{}.final_layer_norm", side.name()), config, source)?,
        })
    }

    /// An empty cache; of the decoder over `encoded`, whose keys and values for cross-attention are computed here.
    pub(super) fn start(&self, encoded: Option<&Encoded>, taps: &mut dyn Taps) -> Result<StackCache> {
        let layer = |block: &Block| -> Result<LayerCache> {
            let listen = |cross: &Normed| cross.attention.keys_values(&Encoded::expect(encoded)?.states, taps);
            let cross = block.cross.as_ref().map(listen);
            Ok(LayerCache { past: None, encoded: cross.transpose()? })
        };
        let batch = encoded.map_or(0, Encoded::batch);
        Ok(StackCache {
            layers: self.blocks.iter().map(layer).collect::<Result<_>>()?,
            time: 0,
            places: encoded.and_then(|encoded| encoded.places.clone()),
            origins: Origins::of(batch),
            bias: RoomyBias::default(),
            workspace: op::Workspace::default(),
        })
    }

    /// Feeds `x` `[batch, time, width]` after what `cache` holds; the normed output of the last block. `padding`: where each sequence
    /// of the encoder lies.
    pub(super) fn advance(
        &self,
        x: Tensor,
        padding: Option<&[Range<usize>]>,
        cache: &mut StackCache,
        taps: &mut dyn Taps,
    ) -> Result<Tensor> {
        let time = x.dim(1)?;
        let bias = self.bias(time, cache)?;
        let itself = Scope { causal: self.side == Side::Decoder, places: padding, bias: Some(&bias), ..Scope::default() };
        let across = Scope { places: cache.places.as_deref(), ..Scope::default() };
        let mut hidden = x;
        for (block, layer) in self.blocks.iter().zip(&mut cache.layers) {
            hidden = block.forward(&hidden, layer, itself, across, taps)?;
        }
        cache.time += time;
        self.norm.forward(&hidden)
    }

    /// The bias of `time` tokens after those in `cache`; that of a single one with room for more.
    fn bias(&self, time: usize, cache: &mut StackCache) -> Result<Tensor> {
        let keys = cache.time + time;
        if time > 1 || cache.time == 0 {
            return self.distances.bias(time, keys);
        }
        cache.bias.of(keys, |keys| self.distances.bias(1, keys))
    }
}

/// An RMS norm.
struct Norm {
    weight: Tensor,
    epsilon: f32,
}

impl Norm {
    fn build(path: &str, config: &Config, source: &mut dyn Source) -> Result<Self> {
        let weight = source.tensor(&format!("{path}.weight"), &[config.d_model])?;
        Ok(Self { weight, epsilon: config.layer_norm_epsilon })
    }

    /// `x: [.., width]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        op::rms_norm(x, &self.weight, self.epsilon)
    }
}

/// An attention behind its norm.
struct Normed {
    norm: Norm,
    attention: Attention,
}

impl Normed {
    fn build(path: &str, name: &str, config: &Config, source: &mut dyn Source) -> Result<Self> {
        Ok(Self {
            norm: Norm::build(&format!("{path}.layer_norm"), config, source)?,
            attention: attention(&format!("{path}.{name}"), config, source)?,
        })
    }
}

/// One transformer block.
struct Block {
    path: String,
    itself: Normed,
    cross: Option<Normed>,
    norm: Norm,
    feed_forward: FeedForward,
}

/// The feed-forward part at `path`, which has no biases.
fn feed_forward(path: &str, config: &Config, source: &mut dyn Source) -> Result<FeedForward> {
    let (width, hidden) = (config.d_model, config.d_ff);
    let mut linear = |name: &str, out, inputs| source.linear(&format!("{path}.{name}"), out, inputs, false);
    let (gate, up, activation) = match config.feed_forward() {
        config::FeedForward::Relu => (None, linear("wi", hidden, width)?, Activation::Relu),
        config::FeedForward::GatedGelu => {
            (Some(linear("wi_0", hidden, width)?), linear("wi_1", hidden, width)?, Activation::GeluTanh)
        }
    };
    Ok(FeedForward { gate, up, activation, down: linear("wo", width, hidden)? })
}

impl Block {
    fn build(config: &Config, side: Side, layer: usize, source: &mut dyn Source) -> Result<Self> {
        let path = format!("{}.block.{layer}", side.name());
        let cross = side == Side::Decoder;
        let last = format!("{path}.layer.{}", if cross { 2 } else { 1 });
        Ok(Self {
            itself: Normed::build(&format!("{path}.layer.0"), "SelfAttention", config, source)?,
            cross: cross.then(|| Normed::build(&format!("{path}.layer.1"), "EncDecAttention", config, source)).transpose()?,
            norm: Norm::build(&format!("{last}.layer_norm"), config, source)?,
            feed_forward: feed_forward(&format!("{last}.DenseReluDense"), config, source)?,
            path,
        })
    }

    /// `x: [batch, time, width]`, the tokens after those in `cache`.
    fn forward(
        &self,
        x: &Tensor,
        cache: &mut LayerCache,
        itself: Scope<'_>,
        across: Scope<'_>,
        taps: &mut dyn Taps,
    ) -> Result<Tensor> {
        let normed = self.itself.norm.forward(x)?;
        let now = self.itself.attention.keys_values(&normed, taps)?;
        let memory = match cache.past.take() {
            Some(past) => past.extended(&now)?,
            None => now,
        };
        let mut x = self.itself.attention.forward(x, &normed, &memory, itself, taps)?;
        cache.past = self.cross.is_some().then_some(memory);
        if let (Some(cross), Some(encoded)) = (&self.cross, &cache.encoded) {
            let normed = cross.norm.forward(&x)?;
            x = cross.attention.forward(&x, &normed, encoded, across, taps)?;
        }
        let hidden = self.feed_forward.forward(&self.norm.forward(&x)?, &x, taps)?;
        taps.block_output(&self.path, &hidden)?;
        Ok(hidden)
    }
}

/// Keys and values of every block.
pub(super) struct StackCache {
    layers: Vec<LayerCache>,
    /// Tokens read so far.
    time: usize,
    /// Where each sequence lies among the encoder's positions, where there is padding.
    places: Option<Box<[Range<usize>]>>,
    origins: Origins,
    /// Of single tokens.
    bias: RoomyBias,
    /// What one token after the other is computed in.
    workspace: op::Workspace,
}

impl Stepped for StackCache {
    fn progress(&mut self) -> (usize, &mut op::Workspace) {
        (self.time, &mut self.workspace)
    }
}

struct LayerCache {
    /// Of the tokens so far, `[batch, time, inner]`; none before the first, nor in the encoder, which reads all at once.
    past: Option<KeysValues>,
    /// Of the encoder's output, `[batch, positions, inner]`.
    encoded: Option<KeysValues>,
}

impl Cache for StackCache {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        let is_encoded_other = self.origins.select(rows);
        if let Some(places) = self.places.as_mut().filter(|_| is_encoded_other) {
            *places = rows.iter().map(|&row| places[row].clone()).collect();
        }
        for LayerCache { past, encoded } in &mut self.layers {
            let encoded = encoded.as_mut().filter(|_| is_encoded_other);
            past.iter_mut().chain(encoded).try_for_each(|kept| kept.select(rows))?;
        }
        Ok(())
    }
}
