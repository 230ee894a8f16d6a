//! `quantization_config` of compressed-tensors, format `int-quantized`: the one scheme that is written, and that is read back.
//!
//! INT8 weights with one symmetric scale per output channel; activations are quantized per token while the model runs (W8A8
//! dynamic). Any other scheme is refused by name instead of being read wrongly.

use serde_json::{Value, json};

use crate::model::{Module, ModuleKind};
use crate::{Fault, Result};

/// Where the configuration lies in `config.json`.
pub(super) const KEY: &str = "quantization_config";

/// Whether `config` announces the scheme that can be read; `present` tells whether there are INT8 weights at all.
pub(super) fn check(config: &Value, present: bool) -> Result<()> {
    let Some(quantization) = config.get(KEY).filter(|value| !value.is_null()) else {
        return if present { Err(Fault::input(format!("weights are INT8, and `{KEY}` is missing"))) } else { Ok(()) };
    };
    let mut expected = vec![("/quant_method", json!("compressed-tensors")), ("/format", json!("int-quantized"))];
    let groups = quantization.pointer("/config_groups").and_then(Value::as_object);
    let groups: Vec<String> = groups.into_iter().flat_map(|groups| groups.keys().cloned()).collect();
    let arguments: Vec<(String, Value)> = groups
        .iter()
        .flat_map(|group| {
            let weights =
                [("num_bits", json!(8)), ("type", json!("int")), ("symmetric", json!(true)), ("strategy", json!("channel"))];
            let inputs = [("num_bits", json!(8)), ("type", json!("int")), ("strategy", json!("token")), ("dynamic", json!(true))];
            let weights = weights.map(|(key, value)| (format!("/config_groups/{group}/weights/{key}"), value));
            let inputs = inputs.map(|(key, value)| (format!("/config_groups/{group}/input_activations/{key}"), value));
            weights.into_iter().chain(inputs)
        })
        .collect();
    expected.extend(arguments.iter().map(|(pointer, value)| (pointer.as_str(), value.clone())));
    for (pointer, value) in expected {
        let found = quantization.pointer(pointer).unwrap_or(&Value::Null);
        if *found != value {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            return Err(Fault::input(format!("`{KEY}.{field}` is {found}; only {value} can be read"))
                .help("load the checkpoint from before its quantization, and quantize it in the recipe"));
        }
    }
    Ok(())
}

/// The configuration of a checkpoint whose linear layers `quantized` are INT8; every other linear layer is listed as left alone.
pub(super) fn describe(modules: &[Module], quantized: impl Fn(&str) -> bool) -> Value {
    let ignore: Vec<&str> = modules
        .iter()
        .filter(|module| module.kind == ModuleKind::Linear && !quantized(&module.path))
        .map(|module| module.path.as_str())
        .collect();
    let arguments = |strategy: &str, dynamic: bool, observer: Value| {
        json!({
            "num_bits": 8, "type": "int", "symmetric": true, "strategy": strategy, "dynamic": dynamic, "group_size": null,
            "block_structure": null, "actorder": null, "scale_dtype": null, "zp_dtype": null, "observer": observer,
            "observer_kwargs": {},
        })
    };
    json!({
        "version": "0.15.0",
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": arguments("channel", false, json!("minmax")),
                "input_activations": arguments("token", true, Value::Null),
                "output_activations": null,
                "format": "int-quantized",
            },
        },
        "ignore": ignore,
        "kv_cache_scheme": null,
        "global_compression_ratio": null,
        "sparsity_config": {},
        "transform_config": {},
    })
}
