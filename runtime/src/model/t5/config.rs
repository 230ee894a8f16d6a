//! T5's `config.json`, and the modules that follow from it.

use serde::Deserialize;
use serde_json::Value;

use crate::Result;
use crate::model::limits::{self, LAYER_LIMIT, SIZE_LIMIT};
use crate::model::{Initial, Module, ModuleKind};

/// The fields of `config.json` that decide what the model computes; names and defaults are Hugging Face's.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) vocab_size: usize,
    pub(crate) d_model: usize,
    pub(crate) d_kv: usize,
    pub(crate) d_ff: usize,
    pub(crate) num_heads: usize,
    num_layers: usize,
    num_decoder_layers: Option<usize>,
    #[serde(default = "buckets")]
    pub(crate) relative_attention_num_buckets: usize,
    #[serde(default = "distance")]
    pub(crate) relative_attention_max_distance: usize,
    #[serde(default = "epsilon")]
    pub(crate) layer_norm_epsilon: f32,
    #[serde(default)]
    feed_forward_proj: FeedForward,
    #[serde(default = "one")]
    initializer_factor: f64,
    #[serde(default = "positions")]
    pub(crate) n_positions: usize,
    tie_word_embeddings: Option<bool>,
    scale_decoder_outputs: Option<bool>,
    #[serde(default = "yes")]
    is_encoder_decoder: bool,
    /// What is written before every source text, such as "translate English to German: ".
    prefix: Option<String>,
}

/// What is between the two matrices of a feed-forward part.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum FeedForward {
    /// `relu`, in v1.0.
    #[default]
    #[serde(rename = "relu")]
    Relu,
    /// `gelu_new(wi_0 x) * wi_1 x`, in v1.1 and Flan.
    #[serde(rename = "gated-gelu")]
    GatedGelu,
}

fn buckets() -> usize {
    32
}

fn distance() -> usize {
    128
}

fn epsilon() -> f32 {
    1e-6
}

fn one() -> f64 {
    1.0
}

fn positions() -> usize {
    512
}

fn yes() -> bool {
    true
}

/// One of the two stacks of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Encoder,
    Decoder,
}

impl Side {
    /// The first segment of its modules' paths.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
        }
    }
}

impl Config {
    /// Reads and checks the configuration.
    pub(crate) fn parse(config: &Value) -> Result<Self> {
        limits::checked("T5", config, Self::objection)
    }

    fn objection(&self) -> Option<String> {
        let sizes = [
            ("vocab_size", self.vocab_size, SIZE_LIMIT),
            ("d_model", self.d_model, SIZE_LIMIT),
            ("d_kv", self.d_kv, SIZE_LIMIT),
            ("d_ff", self.d_ff, SIZE_LIMIT),
            ("num_heads", self.num_heads, SIZE_LIMIT),
            ("n_positions", self.n_positions, SIZE_LIMIT),
            ("num_layers", self.num_layers, LAYER_LIMIT),
            ("num_decoder_layers", self.layers(Side::Decoder), LAYER_LIMIT),
        ];
        if let Some(objection) = limits::out_of_range(&sizes) {
            return Some(objection);
        }
        if !self.is_encoder_decoder {
            return Some("`is_encoder_decoder` is false; only whole T5 models are read, with encoder and decoder".to_owned());
        }
        let (buckets, distance) = (self.relative_attention_num_buckets, self.relative_attention_max_distance);
        if !(4..=SIZE_LIMIT).contains(&buckets) || !buckets.is_multiple_of(4) {
            return Some(format!("`relative_attention_num_buckets` is {buckets}, which is no multiple of 4"));
        }
        if distance <= buckets / 2 || distance > SIZE_LIMIT {
            return Some(format!(
                "`relative_attention_max_distance` is {distance}, which {buckets} buckets do not reach beyond their exact half"
            ));
        }
        let epsilon = self.layer_norm_epsilon;
        (epsilon.is_nan() || epsilon <= 0.0).then(|| format!("`layer_norm_epsilon` is {epsilon}"))
    }

    /// Blocks of one side.
    pub(crate) fn layers(&self, side: Side) -> usize {
        match side {
            Side::Encoder => self.num_layers,
            Side::Decoder => self.num_decoder_layers.unwrap_or(self.num_layers),
        }
    }

    /// Width of all heads together, which need not be that of the model.
    pub(crate) fn inner(&self) -> usize {
        self.num_heads * self.d_kv
    }

    /// Whether the output head is the token table. Recent transformers write `tie_word_embeddings: true` for models with a head of
    /// their own too, and tell them by outputs that are not scaled.
    pub(crate) fn is_tied(&self) -> bool {
        self.tie_word_embeddings != Some(false) && self.scale_decoder_outputs != Some(false)
    }

    /// What the decoder's output is multiplied with before the head: a token table is wider spread than a head.
    pub(crate) fn output_scale(&self) -> Option<f64> {
        self.scale_decoder_outputs.unwrap_or(self.tie_word_embeddings != Some(false)).then(|| (self.d_model as f64).powf(-0.5))
    }

    pub(crate) fn feed_forward(&self) -> FeedForward {
        self.feed_forward_proj
    }

    pub(crate) fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or_default()
    }

    /// Every module in the order of the forward pass.
    pub(crate) fn modules(&self) -> Vec<Module> {
        let mut list = List { modules: Vec::new(), config: self };
        list.push("shared", ModuleKind::Embedding, "tokens", vec![self.vocab_size, self.d_model], list.normal(1.0));
        for side in [Side::Encoder, Side::Decoder] {
            (0..self.layers(side)).for_each(|layer| list.block(side, layer));
            list.norm(&format!("{}.final_layer_norm", side.name()));
        }
        let head = list.normal(1.0).filter(|_| !self.is_tied());
        list.push("lm_head", ModuleKind::Linear, "output_head", vec![self.vocab_size, self.d_model], head);
        list.modules
    }
}

/// The modules so far.
struct List<'a> {
    modules: Vec<Module>,
    config: &'a Config,
}

impl List<'_> {
    fn push(&mut self, path: &str, kind: ModuleKind, role: &'static str, shape: Vec<usize>, initial: Option<Initial>) {
        self.modules.push(Module { path: path.to_owned(), kind, role, shape, bias: false, initial });
    }

    /// A spread of `1 / sqrt(variance)`, as T5 was initialized.
    fn normal(&self, variance: f64) -> Option<Initial> {
        Some(Initial::Normal { std: self.config.initializer_factor * variance.powf(-0.5) })
    }

    fn norm(&mut self, path: &str) {
        self.push(path, ModuleKind::Norm, "norm", vec![self.config.d_model], Some(Initial::Ones));
    }

    fn attention(&mut self, path: &str, roles: [&'static str; 4]) {
        let (width, inner, depth) = (self.config.d_model, self.config.inner(), self.config.d_kv);
        let variances = [width * depth, width, width, inner];
        for ((name, role), variance) in ["q", "k", "v", "o"].into_iter().zip(roles).zip(variances) {
            let shape = if name == "o" { vec![width, inner] } else { vec![inner, width] };
            self.push(&format!("{path}.{name}"), ModuleKind::Linear, role, shape, self.normal(variance as f64));
        }
    }

    fn block(&mut self, side: Side, layer: usize) {
        let Config { d_model: width, d_ff: hidden, num_heads: heads, .. } = *self.config;
        let path = format!("{}.block.{layer}", side.name());
        let attention = ["attention.q", "attention.k", "attention.v", "attention.out"];
        self.norm(&format!("{path}.layer.0.layer_norm"));
        self.attention(&format!("{path}.layer.0.SelfAttention"), attention);
        if layer == 0 {
            let shape = vec![self.config.relative_attention_num_buckets, heads];
            let table = format!("{path}.layer.0.SelfAttention.relative_attention_bias");
            self.push(&table, ModuleKind::Embedding, "positions", shape, self.normal(width as f64));
        }
        if side == Side::Decoder {
            let cross = ["cross_attention.q", "cross_attention.k", "cross_attention.v", "cross_attention.out"];
            self.norm(&format!("{path}.layer.1.layer_norm"));
            self.attention(&format!("{path}.layer.1.EncDecAttention"), cross);
        }
        let last = format!("{path}.layer.{}", if side == Side::Decoder { 2 } else { 1 });
        self.norm(&format!("{last}.layer_norm"));
        let inputs: &[(&str, &'static str)] = match self.config.feed_forward_proj {
            FeedForward::Relu => &[("wi", "mlp.up")],
            FeedForward::GatedGelu => &[("wi_0", "mlp.gate"), ("wi_1", "mlp.up")],
        };
        for (name, role) in inputs {
            let path = format!("{last}.DenseReluDense.{name}");
            self.push(&path, ModuleKind::Linear, role, vec![hidden, width], self.normal(width as f64));
        }
        let path = format!("{last}.DenseReluDense.wo");
        self.push(&path, ModuleKind::Linear, "mlp.down", vec![width, hidden], self.normal(hidden as f64));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(changes: Value) -> Value {
        let mut config = json!({"vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_heads": 8, "num_layers": 6});
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        config
    }

    /// Parameters and tensors of published sizes, as transformers counts them.
    #[test]
    fn every_size_has_the_parameters_of_transformers() {
        let gated = |heads: usize, layers: usize, width: usize, hidden: usize| {
            json!({"d_model": width, "d_ff": hidden, "num_heads": heads, "num_layers": layers, "num_decoder_layers": layers,
                "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false})
        };
        for (name, changes, parameters) in [
            ("t5-small", json!({}), 60_506_624),
            ("t5-base", json!({"d_model": 768, "d_ff": 3072, "num_heads": 12, "num_layers": 12}), 222_903_552),
            ("t5-large", json!({"d_model": 1024, "d_ff": 4096, "num_heads": 16, "num_layers": 24}), 737_668_096),
            ("flan-t5-small", gated(6, 8, 512, 1024), 76_961_152),
            ("flan-t5-base", gated(12, 12, 768, 2048), 247_577_856),
        ] {
            let modules = Config::parse(&config(changes)).unwrap().modules();
            assert_eq!(modules.iter().map(Module::parameter_count).sum::<usize>(), parameters, "{name}");
        }
    }

    #[test]
    fn heads_are_told_apart_by_what_configurations_say_of_them() {
        let head = |changes| {
            let config = Config::parse(&config(changes)).unwrap();
            (config.is_tied(), config.output_scale().is_some())
        };
        assert_eq!(head(json!({})), (true, true));
        assert_eq!(head(json!({"tie_word_embeddings": true})), (true, true));
        assert_eq!(head(json!({"tie_word_embeddings": false})), (false, false));
        assert_eq!(head(json!({"tie_word_embeddings": true, "scale_decoder_outputs": false})), (false, false));
    }

    #[test]
    fn what_is_not_computed_here_is_refused() {
        for (changes, message) in [
            (json!({"feed_forward_proj": "gated-silu"}), "unknown variant `gated-silu`, expected `relu` or `gated-gelu`"),
            (json!({"is_encoder_decoder": false}), "only whole T5 models are read"),
            (json!({"num_heads": 0}), "`num_heads` is 0"),
            (json!({"num_decoder_layers": 0}), "`num_decoder_layers` is 0"),
            (json!({"relative_attention_num_buckets": 30}), "no multiple of 4"),
            (json!({"relative_attention_max_distance": 16}), "`relative_attention_max_distance` is 16"),
            (json!({"d_model": "wide"}), "this is no configuration of T5"),
        ] {
            let fault = Config::parse(&config(changes)).unwrap_err();
            assert!(fault.message.contains(message), "{fault}");
        }
    }
}
