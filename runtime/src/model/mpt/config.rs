//! MPT's `config.json`, and the modules that follow from it.
//!
//! Names and defaults are those of transformers' `MptConfig` and of llm-foundry, whose configurations hold more. What changes the
//! model and is not computed here is refused by the name of its field; what only concerns training elsewhere (dropout, how parameters
//! start, `embedding_fraction`, `attn_impl`) is not read.

use serde::Deserialize;
use serde_json::Value;

use crate::Result;
use crate::model::limits::{self, LAYER_LIMIT, SIZE_LIMIT};
use crate::model::{Initial, Module, ModuleKind};

/// The fields that decide what the model computes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    #[serde(alias = "hidden_size")]
    pub(crate) d_model: usize,
    #[serde(alias = "num_attention_heads")]
    pub(crate) n_heads: usize,
    #[serde(alias = "num_hidden_layers")]
    pub(crate) n_layers: usize,
    pub(crate) vocab_size: usize,
    #[serde(default = "max_seq_len")]
    pub(crate) max_seq_len: usize,
    #[serde(default = "expansion_ratio")]
    pub(crate) expansion_ratio: usize,
    #[serde(default = "layer_norm_epsilon")]
    pub(crate) layer_norm_epsilon: f32,
    #[serde(default = "yes")]
    pub(crate) no_bias: bool,
    #[serde(default = "yes")]
    pub(crate) tie_word_embeddings: bool,
    #[serde(default = "initializer_range")]
    initializer_range: f64,
    attn_config: Option<Attention>,
    #[serde(default)]
    norm_type: Option<String>,
    #[serde(default)]
    logit_scale: Value,
    #[serde(default)]
    ffn_config: Value,
}

/// `attn_config`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Attention {
    attn_type: Option<String>,
    clip_qkv: Option<f64>,
    softmax_scale: Option<f64>,
    alibi: Option<bool>,
    alibi_bias_max: Option<f32>,
    prefix_lm: Option<bool>,
    qk_ln: Option<bool>,
    qk_gn: Option<bool>,
    rope: Option<bool>,
    attn_uses_sequence_id: Option<bool>,
    sliding_window_size: Option<i64>,
}

fn max_seq_len() -> usize {
    2048
}

fn expansion_ratio() -> usize {
    4
}

fn layer_norm_epsilon() -> f32 {
    1e-5
}

fn yes() -> bool {
    true
}

fn initializer_range() -> f64 {
    0.02
}

impl Config {
    /// Reads and checks the configuration.
    pub(crate) fn parse(config: &Value) -> Result<Self> {
        limits::checked("MPT", config, |parsed: &Self| parsed.out_of_range().or_else(|| parsed.unknown_variant()))
    }

    /// Features inside the feed-forward part.
    pub(crate) fn hidden(&self) -> usize {
        self.expansion_ratio * self.d_model
    }

    /// What scores of attention are multiplied with.
    pub(crate) fn softmax_scale(&self) -> f32 {
        let given = self.attn_config.as_ref().and_then(|attention| attention.softmax_scale);
        given.unwrap_or_else(|| ((self.d_model / self.n_heads) as f64).sqrt().recip()) as f32
    }

    /// The bound of queries, keys and values, if there is one.
    pub(crate) fn clip_qkv(&self) -> Option<f64> {
        self.attn_config.as_ref().and_then(|attention| attention.clip_qkv).filter(|&bound| bound != 0.0)
    }

    /// The bias of attention at a distance of one token, for each head; see [`slopes`](super::alibi::slopes).
    pub(crate) fn slopes(&self) -> Vec<f32> {
        let largest = self.attn_config.as_ref().and_then(|attention| attention.alibi_bias_max).unwrap_or(8.0);
        super::alibi::slopes(self.n_heads, largest)
    }

    fn out_of_range(&self) -> Option<String> {
        let sizes = [
            ("d_model", self.d_model, SIZE_LIMIT),
            ("n_heads", self.n_heads, SIZE_LIMIT),
            ("n_layers", self.n_layers, LAYER_LIMIT),
            ("vocab_size", self.vocab_size, SIZE_LIMIT),
            ("max_seq_len", self.max_seq_len, SIZE_LIMIT),
            ("expansion_ratio", self.expansion_ratio, SIZE_LIMIT / self.d_model.clamp(1, SIZE_LIMIT)),
        ];
        if let Some(objection) = limits::out_of_range(&sizes) {
            return Some(objection);
        }
        if !self.d_model.is_multiple_of(self.n_heads) {
            return Some(format!("`d_model` is {}, which {} heads cannot share", self.d_model, self.n_heads));
        }
        let attention = self.attn_config.as_ref();
        let positive = [
            ("clip_qkv", attention.and_then(|attention| attention.clip_qkv)),
            ("softmax_scale", attention.and_then(|attention| attention.softmax_scale)),
            ("alibi_bias_max", attention.and_then(|attention| attention.alibi_bias_max).map(f64::from)),
        ];
        let negative = positive.into_iter().find_map(|(name, value)| Some((name, value.filter(|&value| value < 0.0)?)));
        negative.map(|(name, value)| format!("`attn_config.{name}` is {value}, and must not be negative"))
    }

    /// The first field that asks for another model than the one that is computed here.
    fn unknown_variant(&self) -> Option<String> {
        let attention = self.attn_config.clone().unwrap_or_default();
        let is = |flag: Option<bool>| flag == Some(true);
        if let Some(other) = attention.attn_type.filter(|name| name != "multihead_attention") {
            return Some(format!("`attn_config.attn_type` is `{other}`, and only `multihead_attention` is computed here"));
        }
        if attention.alibi == Some(false) {
            let learned = "positions are then learned or rotary, and only ALiBi is computed here";
            return Some(format!("`attn_config.alibi` is false: {learned}"));
        }
        let flags = [
            ("prefix_lm", is(attention.prefix_lm)),
            ("qk_ln", is(attention.qk_ln)),
            ("qk_gn", is(attention.qk_gn)),
            ("rope", is(attention.rope)),
            ("attn_uses_sequence_id", is(attention.attn_uses_sequence_id)),
        ];
        if let Some((name, _)) = flags.into_iter().find(|&(_, set)| set) {
            return Some(format!("`attn_config.{name}` is true, which is not computed here"));
        }
        if let Some(size) = attention.sliding_window_size.filter(|&size| size != -1) {
            return Some(format!(
                "`attn_config.sliding_window_size` is {size}, and only -1, attention to all tokens, is computed here"
            ));
        }
        let norms = ["layernorm", "low_precision_layernorm"];
        if let Some(other) = self.norm_type.as_deref().filter(|name| !norms.contains(name)) {
            return Some(format!("`norm_type` is `{other}`, and only layer norms are computed here"));
        }
        if !self.logit_scale.is_null() {
            return Some(format!("`logit_scale` is {}, and logits are not scaled here", self.logit_scale));
        }
        let network = self.ffn_config.get("ffn_type").and_then(Value::as_str);
        network
            .filter(|&name| name != "mptmlp")
            .map(|other| format!("`ffn_config.ffn_type` is `{other}`, and only `mptmlp` is computed here"))
    }

    /// Every module in the order of the forward pass.
    pub(crate) fn modules(&self) -> Vec<Module> {
        let width = self.d_model;
        let mut modules = vec![self.module("transformer.wte", ModuleKind::Embedding, "tokens", &[self.vocab_size, width])];
        for layer in 0..self.n_layers {
            let path = |name: &str| format!("transformer.blocks.{layer}.{name}");
            let linear = |name: &str, role, out, inputs| self.module(&path(name), ModuleKind::Linear, role, &[out, inputs]);
            modules.push(self.norm(&path("norm_1")));
            modules.push(linear("attn.Wqkv", "attention.qkv", 3 * width, width));
            modules.push(linear("attn.out_proj", "attention.out", width, width));
            modules.push(self.norm(&path("norm_2")));
            modules.push(linear("ffn.up_proj", "mlp.up", self.hidden(), width));
            modules.push(linear("ffn.down_proj", "mlp.down", width, self.hidden()));
        }
        modules.push(self.norm("transformer.norm_f"));
        let head = self.module("lm_head", ModuleKind::Linear, "output_head", &[self.vocab_size, width]);
        let initial = head.initial.filter(|_| !self.tie_word_embeddings);
        modules.push(Module { bias: false, initial, ..head });
        modules
    }

    fn module(&self, path: &str, kind: ModuleKind, role: &'static str, shape: &[usize]) -> Module {
        let initial = match kind {
            ModuleKind::Norm => Initial::Ones,
            _ => Initial::Normal { std: self.initializer_range },
        };
        let bias = !self.no_bias && kind != ModuleKind::Embedding;
        Module { path: path.to_owned(), kind, role, shape: shape.to_vec(), bias, initial: Some(initial) }
    }

    fn norm(&self, path: &str) -> Module {
        self.module(path, ModuleKind::Norm, "norm", &[self.d_model])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(extra: Value) -> Result<Config> {
        let mut config = json!({"d_model": 48, "n_heads": 6, "n_layers": 1, "vocab_size": 9});
        config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Config::parse(&config)
    }

    /// Parameters of the published sizes, as transformers counts them (the tied head once).
    #[test]
    fn every_size_has_the_parameters_of_transformers() {
        for (layers, width, heads, vocab, parameters) in [
            (24, 2048, 16, 50368, 1_311_213_568usize),
            (32, 4096, 32, 50432, 6_649_286_656),
            (48, 7168, 64, 50432, 29_957_200_896),
        ] {
            let config = json!({"d_model": width, "n_heads": heads, "n_layers": layers, "vocab_size": vocab});
            let modules = Config::parse(&config).unwrap().modules();
            assert_eq!(modules.iter().map(Module::parameter_count).sum::<usize>(), parameters, "{width}");
        }
    }

    #[test]
    fn modules_come_in_the_order_of_the_forward_pass() {
        let modules = with(json!({"no_bias": false, "expansion_ratio": 2})).unwrap().modules();
        let roles = ["tokens", "norm", "attention.qkv", "attention.out", "norm", "mlp.up", "mlp.down", "norm", "output_head"];
        assert_eq!(modules.iter().map(|module| module.role).collect::<Vec<_>>(), roles);
        assert_eq!(modules[2].shape, [144, 48]);
        assert_eq!(modules[6].shape, [48, 96]);
        assert_eq!(modules.last().unwrap().parameter_count(), 0, "a tied head has no parameters of its own");
        assert_eq!(modules[1].parameter_count(), 96, "norms have a bias where linear layers have one");
    }

    #[test]
    fn what_is_not_computed_is_refused_by_its_field() {
        let cases = [
            (json!({"attn_config": {"attn_type": "multiquery_attention"}}), "`attn_config.attn_type` is `multiquery_attention`"),
            (json!({"attn_config": {"alibi": false}}), "`attn_config.alibi` is false"),
            (json!({"attn_config": {"prefix_lm": true}}), "`attn_config.prefix_lm` is true"),
            (json!({"attn_config": {"qk_ln": true}}), "`attn_config.qk_ln` is true"),
            (json!({"attn_config": {"rope": true}}), "`attn_config.rope` is true"),
            (json!({"attn_config": {"sliding_window_size": 128}}), "`attn_config.sliding_window_size` is 128"),
            (json!({"attn_config": {"clip_qkv": -1.0}}), "`attn_config.clip_qkv` is -1"),
            (json!({"norm_type": "rmsnorm"}), "`norm_type` is `rmsnorm`"),
            (json!({"logit_scale": "inv_sqrt_d_model"}), "`logit_scale` is \"inv_sqrt_d_model\""),
            (json!({"ffn_config": {"ffn_type": "mptgeglu"}}), "`ffn_config.ffn_type` is `mptgeglu`"),
            (json!({"n_heads": 5}), "5 heads"),
            (json!({"n_layers": 0}), "`n_layers` is 0"),
        ];
        for (extra, expected) in cases {
            let message = with(extra).unwrap_err().message;
            assert!(message.contains(expected), "{message} instead of {expected}");
        }
        let message = Config::parse(&json!({"d_model": 48})).unwrap_err().message;
        assert!(message.contains("n_heads"), "{message}");
    }

    /// As mosaicml/mpt-7b writes it: learned positions are asked for and, with ALiBi, not there.
    #[test]
    fn the_configuration_of_the_published_model_is_read() {
        let config = json!({
            "learned_pos_emb": true, "logit_scale": null, "norm_type": "low_precision_layernorm", "no_bias": true, "n_layers": 32,
            "attn_config": {"alibi": true, "alibi_bias_max": 8, "attn_impl": "torch", "attn_pdrop": 0, "attn_type": "multihead_attention",
                "attn_uses_sequence_id": false, "clip_qkv": null, "prefix_lm": false, "qk_ln": false, "softmax_scale": null},
        });
        let config = with(config).unwrap();
        assert_eq!((config.clip_qkv(), config.softmax_scale()), (None, 8f32.sqrt().recip()));
        assert_eq!(with(json!({"attn_config": null})).unwrap().slopes().len(), 6);
        assert_eq!(with(json!({"attn_config": {"clip_qkv": 6, "softmax_scale": 0.25}})).unwrap().clip_qkv(), Some(6.0));
    }
}
