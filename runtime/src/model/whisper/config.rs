//! Whisper's `config.json`, and the modules that follow from it.

use serde::Deserialize;
use serde_json::Value;

use crate::Result;
use crate::model::limits::{self, LAYER_LIMIT, SIZE_LIMIT};
use crate::model::{Initial, Module, ModuleKind};

/// The fields of `config.json` that decide what the model computes; names and defaults are Hugging Face's. `scale_embedding` is not
/// among them: transformers reads it and never applies it, and neither did the models that were trained.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) vocab_size: usize,
    pub(crate) num_mel_bins: usize,
    pub(crate) d_model: usize,
    pub(crate) encoder_layers: usize,
    pub(crate) encoder_attention_heads: usize,
    pub(crate) encoder_ffn_dim: usize,
    pub(crate) decoder_layers: usize,
    pub(crate) decoder_attention_heads: usize,
    pub(crate) decoder_ffn_dim: usize,
    pub(crate) max_source_positions: usize,
    pub(crate) max_target_positions: usize,
    #[serde(default = "gelu")]
    activation_function: String,
    #[serde(default = "yes")]
    pub(crate) tie_word_embeddings: bool,
    #[serde(default = "init_std")]
    init_std: f64,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn yes() -> bool {
    true
}

fn init_std() -> f64 {
    0.02
}

impl Config {
    /// Reads and checks the configuration.
    pub(crate) fn parse(config: &Value) -> Result<Self> {
        limits::checked("Whisper", config, Self::objection)
    }

    fn objection(&self) -> Option<String> {
        let sizes = [
            ("vocab_size", self.vocab_size, SIZE_LIMIT),
            ("num_mel_bins", self.num_mel_bins, SIZE_LIMIT),
            ("d_model", self.d_model, SIZE_LIMIT),
            ("encoder_attention_heads", self.encoder_attention_heads, SIZE_LIMIT),
            ("encoder_ffn_dim", self.encoder_ffn_dim, SIZE_LIMIT),
            ("decoder_attention_heads", self.decoder_attention_heads, SIZE_LIMIT),
            ("decoder_ffn_dim", self.decoder_ffn_dim, SIZE_LIMIT),
            ("max_source_positions", self.max_source_positions, SIZE_LIMIT),
            ("max_target_positions", self.max_target_positions, SIZE_LIMIT),
            ("encoder_layers", self.encoder_layers, LAYER_LIMIT),
            ("decoder_layers", self.decoder_layers, LAYER_LIMIT),
        ];
        let indivisible = [self.encoder_attention_heads, self.decoder_attention_heads]
            .into_iter()
            .find(|&heads| heads == 0 || !self.d_model.is_multiple_of(heads));
        if let Some(objection) = limits::out_of_range(&sizes) {
            return Some(objection);
        }
        if let Some(heads) = indivisible {
            return Some(format!("`d_model` is {}, which {heads} heads cannot share", self.d_model));
        }
        if self.activation_function != "gelu" {
            return Some(format!("`activation_function` is `{}`; Whisper's is `gelu`", self.activation_function));
        }
        (!self.d_model.is_multiple_of(2)).then(|| format!("`d_model` is {}, an odd number", self.d_model))
    }

    /// Every module in the order of the forward pass.
    pub(crate) fn modules(&self) -> Vec<Module> {
        let mut list = List { modules: Vec::new(), config: self };
        let width = self.d_model;
        list.conv("model.encoder.conv1", [width, self.num_mel_bins, 3]);
        list.conv("model.encoder.conv2", [width, width, 3]);
        list.table("model.encoder.embed_positions", "positions", self.max_source_positions, Initial::Sinusoids);
        for layer in 0..self.encoder_layers {
            list.block(&format!("model.encoder.layers.{layer}"), self.encoder_ffn_dim, false);
        }
        list.norm("model.encoder.layer_norm");
        let normal = Initial::Normal { std: self.init_std };
        list.table("model.decoder.embed_tokens", "tokens", self.vocab_size, normal);
        list.table("model.decoder.embed_positions", "positions", self.max_target_positions, normal);
        for layer in 0..self.decoder_layers {
            list.block(&format!("model.decoder.layers.{layer}"), self.decoder_ffn_dim, true);
        }
        list.norm("model.decoder.layer_norm");
        let head = (!self.tie_word_embeddings).then_some(normal);
        list.push("proj_out", ModuleKind::Linear, "output_head", vec![self.vocab_size, width], false, head);
        list.modules
    }
}

/// The modules so far.
struct List<'a> {
    modules: Vec<Module>,
    config: &'a Config,
}

impl List<'_> {
    fn push(
        &mut self,
        path: &str,
        kind: ModuleKind,
        role: &'static str,
        shape: Vec<usize>,
        bias: bool,
        initial: Option<Initial>,
    ) {
        self.modules.push(Module { path: path.to_owned(), kind, role, shape, bias, initial });
    }

    fn normal(&self) -> Option<Initial> {
        Some(Initial::Normal { std: self.config.init_std })
    }

    fn conv(&mut self, path: &str, shape: [usize; 3]) {
        self.push(path, ModuleKind::Conv, "front_end", shape.to_vec(), true, self.normal());
    }

    fn norm(&mut self, path: &str) {
        self.push(path, ModuleKind::Norm, "norm", vec![self.config.d_model], true, Some(Initial::Ones));
    }

    fn table(&mut self, path: &str, role: &'static str, rows: usize, initial: Initial) {
        self.push(path, ModuleKind::Embedding, role, vec![rows, self.config.d_model], false, Some(initial));
    }

    fn linear(&mut self, path: &str, role: &'static str, out: usize, inputs: usize, bias: bool) {
        self.push(path, ModuleKind::Linear, role, vec![out, inputs], bias, self.normal());
    }

    fn attention(&mut self, path: &str, roles: [&'static str; 4]) {
        let width = self.config.d_model;
        for (name, role) in ["q_proj", "k_proj", "v_proj", "out_proj"].into_iter().zip(roles) {
            self.linear(&format!("{path}.{name}"), role, width, width, name != "k_proj");
        }
    }

    fn block(&mut self, path: &str, hidden: usize, decodes: bool) {
        let width = self.config.d_model;
        self.norm(&format!("{path}.self_attn_layer_norm"));
        self.attention(&format!("{path}.self_attn"), ["attention.q", "attention.k", "attention.v", "attention.out"]);
        if decodes {
            let roles = ["cross_attention.q", "cross_attention.k", "cross_attention.v", "cross_attention.out"];
            self.norm(&format!("{path}.encoder_attn_layer_norm"));
            self.attention(&format!("{path}.encoder_attn"), roles);
        }
        self.norm(&format!("{path}.final_layer_norm"));
        self.linear(&format!("{path}.fc1"), "mlp.up", hidden, width, true);
        self.linear(&format!("{path}.fc2"), "mlp.down", width, hidden, true);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Parameters and tensors of every published size, as transformers counts them.
    #[test]
    fn every_size_has_the_parameters_of_transformers() {
        for (name, width, encoder_layers, decoder_layers, heads, mels, vocab, parameters, tensors) in [
            ("tiny", 384, 4, 4, 6, 80, 51865, 37_760_640, 167),
            ("base", 512, 6, 6, 8, 80, 51865, 72_593_920, 245),
            ("small", 768, 12, 12, 12, 80, 51865, 241_734_912, 479),
            ("medium", 1024, 24, 24, 16, 80, 51865, 763_857_920, 947),
            ("large-v2", 1280, 32, 32, 20, 80, 51865, 1_543_304_960, 1259),
            ("large-v3", 1280, 32, 32, 20, 128, 51866, 1_543_490_560, 1259),
            ("large-v3-turbo", 1280, 32, 4, 20, 128, 51866, 808_878_080, 587),
        ] {
            let config = json!({
                "d_model": width, "encoder_layers": encoder_layers, "decoder_layers": decoder_layers, "encoder_attention_heads": heads,
                "decoder_attention_heads": heads, "encoder_ffn_dim": 4 * width, "decoder_ffn_dim": 4 * width, "num_mel_bins": mels,
                "vocab_size": vocab, "max_source_positions": 1500, "max_target_positions": 448,
            });
            let modules = Config::parse(&config).unwrap().modules();
            assert_eq!(modules.iter().map(Module::parameter_count).sum::<usize>(), parameters, "{name}");
            assert_eq!(modules.iter().flat_map(Module::parameters).count(), tensors, "{name}");
        }
    }

    #[test]
    fn modules_come_in_the_order_of_the_forward_pass() {
        let config = json!({
            "d_model": 4, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
            "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "num_mel_bins": 3, "vocab_size": 9, "max_source_positions": 5,
            "max_target_positions": 6,
        });
        let modules = Config::parse(&config).unwrap().modules();
        let linears = modules.iter().filter(|module| module.kind == ModuleKind::Linear);
        let attention = ["attention.q", "attention.k", "attention.v", "attention.out"];
        let cross = ["cross_attention.q", "cross_attention.k", "cross_attention.v", "cross_attention.out"];
        let mlp = ["mlp.up", "mlp.down"];
        let expected: Vec<&str> = [&attention[..], &mlp, &attention, &cross, &mlp, &["output_head"]].concat();
        assert_eq!(linears.map(|module| module.role).collect::<Vec<_>>(), expected);
        assert_eq!(modules.last().unwrap().parameter_count(), 0, "a tied head has no parameters of its own");
    }
}
