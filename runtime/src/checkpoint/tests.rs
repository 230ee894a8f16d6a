//! What is written is read; every kind of damage is a fault that names the file.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::NoTaps;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/whisper").join(name)
}

/// A copy of a fixture that a test may damage.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

fn edit_config(folder: &Path, edit: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let mut config = header::config(folder).unwrap();
    edit(config.as_object_mut().unwrap());
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

/// Replaces the tensors of `model.safetensors`.
fn edit_tensors(folder: &Path, edit: impl FnOnce(&mut std::collections::HashMap<String, Tensor>)) {
    let file = folder.join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    edit(&mut tensors);
    candle_core::safetensors::save(&tensors, file).unwrap();
}

fn fault(folder: &Path) -> String {
    let fault = Checkpoint::read(folder).err().unwrap();
    fault.to_string().replace(&folder.display().to_string(), "F")
}

/// `plain` with one layer pruned and another pruned and quantized.
fn compressed() -> Checkpoint {
    let mut checkpoint = Checkpoint::read(&fixture("plain")).unwrap();
    for path in ["model.encoder.layers.0.fc1", "model.decoder.layers.1.fc2"] {
        let mut weight = crate::weight::Weight::read(&checkpoint, path).unwrap();
        let mask = Mask::from_fn(weight.out, weight.inputs, |row, col| (row + 2 * col) % 3 == 0);
        mask.apply(&mut weight.values);
        weight.write(&mut checkpoint, path).unwrap();
        checkpoint.masks.insert(path.to_owned(), mask);
    }
    let path = "model.decoder.layers.1.fc2";
    let weight = crate::weight::Weight::read(&checkpoint, path).unwrap();
    let quantizer = crate::quantizer::Rtn {};
    let quantized = crate::quantizer::Quantizer::quantize(&quantizer, &weight.values, weight.out, weight.inputs, None).unwrap();
    checkpoint.tensors.remove(&format!("{path}.weight"));
    checkpoint.quantized.insert(path.to_owned(), quantized);
    checkpoint
}

#[test]
fn what_is_written_is_read() {
    for checkpoint in [Checkpoint::read(&fixture("deep")).unwrap(), Checkpoint::read(&fixture("scaled")).unwrap(), compressed()] {
        let folder = tempfile::tempdir().unwrap();
        checkpoint.write_into(folder.path()).unwrap();
        let back = Checkpoint::read(folder.path()).unwrap();
        assert_eq!(
            (&back.masks, &back.quantized, &back.companions),
            (&checkpoint.masks, &checkpoint.quantized, &checkpoint.companions)
        );
        assert_eq!(back.tensors.keys().collect::<Vec<_>>(), checkpoint.tensors.keys().collect::<Vec<_>>());
        for (name, tensor) in &checkpoint.tensors {
            assert!(tensor.same_bits(&back.tensors[name]).unwrap(), "{name}");
        }
        let again = tempfile::tempdir().unwrap();
        back.write_into(again.path()).unwrap();
        let both = [folder.path(), again.path()].map(|folder| Checkpoint::read(folder).unwrap().content_hash().unwrap());
        assert_eq!(both[0], both[1]);
    }
}

#[test]
fn a_quantized_folder_says_so_to_other_tools() {
    let folder = tempfile::tempdir().unwrap();
    compressed().write_into(folder.path()).unwrap();
    let config = header::config(folder.path()).unwrap();
    let ignored: Vec<_> = config["quantization_config"]["ignore"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(ignored.contains(&"proj_out") && ignored.contains(&"model.encoder.layers.0.fc1"));
    assert!(!ignored.contains(&"model.decoder.layers.1.fc2"));
    assert_eq!(config["dtype"], "float32");
    let header = Header::read(folder.path()).unwrap();
    assert_eq!(header.quantized().iter().collect::<Vec<_>>(), ["model.decoder.layers.1.fc2"]);
    assert_eq!(header.shape("model.decoder.layers.1.fc2.weight_scale"), Some(&[32, 1][..]));
}

#[test]
fn the_hash_is_of_the_content_alone() {
    let plain = Checkpoint::read(&fixture("plain")).unwrap();
    let hash = plain.content_hash().unwrap();
    assert_eq!(hash, Checkpoint::read(copy("plain").path()).unwrap().content_hash().unwrap(), "another folder");
    let folder = copy("plain");
    let tensors = candle_core::safetensors::load(folder.path().join("model.safetensors"), &Device::Cpu).unwrap();
    let (a, b): (Vec<_>, Vec<_>) = tensors.into_iter().partition(|(name, _)| name.contains("encoder"));
    for (file, part) in [("a.safetensors", &a), ("b.safetensors", &b)] {
        candle_core::safetensors::save(&part.iter().cloned().collect(), folder.path().join(file)).unwrap();
    }
    let files: BTreeMap<_, _> =
        a.iter().map(|(name, _)| (name, "a.safetensors")).chain(b.iter().map(|(name, _)| (name, "b.safetensors"))).collect();
    fs::write(folder.path().join("model.safetensors.index.json"), json!({"weight_map": files}).to_string()).unwrap();
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert_eq!(hash, Checkpoint::read(folder.path()).unwrap().content_hash().unwrap(), "two files instead of one");
    let mut changed = plain.clone();
    changed.config["scale_embedding"] = json!(true);
    assert_ne!(hash, changed.content_hash().unwrap(), "another configuration");
    let mut changed = plain;
    let first = changed.tensors.values_mut().next().unwrap();
    *first = first.tensor().unwrap().affine(1.0, 1e-6).unwrap().into();
    assert_ne!(hash, changed.content_hash().unwrap(), "another value");
}

#[test]
fn initialization_repeats_and_computes() {
    let folder = fixture("plain");
    let [one, same, other] = [1, 1, 2].map(|seed| Checkpoint::initialize(&folder, seed).unwrap());
    assert_eq!(one.content_hash().unwrap(), same.content_hash().unwrap());
    assert_ne!(one.content_hash().unwrap(), other.content_hash().unwrap());
    let features = Tensor::zeros((1, 80, 40), candle_core::DType::F32, &Device::Cpu).unwrap();
    let encoded = one.model().unwrap().encode(&crate::Inputs::Features(features), &mut NoTaps).unwrap();
    assert_eq!(encoded.unwrap().states.dims(), [1, 20, 32]);
}

#[test]
fn faults_of_folders_name_the_file() {
    let missing = Checkpoint::read(Path::new("no/such/folder")).err().unwrap();
    assert_eq!(missing.to_string(), "no/such/folder: there is no such checkpoint folder");
    let folder = copy("plain");
    fs::write(folder.path().join("config.json"), "{\n  \"d_model\": 32,\n").unwrap();
    assert_eq!(fault(folder.path()), "F/config.json: this is not JSON: EOF while parsing a value at line 3 column 0");
    fs::write(folder.path().join("config.json"), "{\"model_type\": \"parrot\"}").unwrap();
    let families = crate::model::FAMILIES.iter().map(|family| format!("`{}`", family.word())).collect::<Vec<_>>().join(", ");
    let message = format!("F/config.json: `model_type` is `parrot`; the families known here are {families}");
    assert_eq!(fault(folder.path()), message);
    fs::write(folder.path().join("config.json"), "[]").unwrap();
    assert_eq!(fault(folder.path()), "F/config.json: this is not a JSON object");
    fs::remove_file(folder.path().join("config.json")).unwrap();
    assert!(fault(folder.path()).starts_with("F/config.json: cannot read this: No such file"));
    let folder = copy("plain");
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert_eq!(fault(folder.path()), "F: there is neither model.safetensors nor model.safetensors.index.json in this folder");
}

#[test]
fn faults_of_configurations_name_the_field() {
    let cases: [(&str, Value, &str); 7] = [
        ("d_model", json!(33), "`d_model` is 33, which 4 heads cannot share"),
        ("d_model", json!("wide"), "this is no configuration of Whisper: invalid type: string \"wide\", expected usize"),
        ("encoder_layers", json!(1_000_000_000_000u64), "`encoder_layers` is 1000000000000, outside 1..1000"),
        ("vocab_size", json!(0), "`vocab_size` is 0, outside 1..1048576"),
        ("activation_function", json!("relu"), "`activation_function` is `relu`; Whisper's is `gelu`"),
        (
            "decoder_ffn_dim",
            json!(60),
            "`model.decoder.layers.0.fc1.weight` has shape [64, 32], and config.json makes it [60, 32]",
        ),
        (
            "decoder_layers",
            json!(1),
            "a whisper of this configuration has no tensor `model.decoder.layers.1.encoder_attn.k_proj.weight`",
        ),
    ];
    for (field, value, expected) in cases {
        let folder = copy("plain");
        edit_config(folder.path(), |config| drop(config.insert(field.to_owned(), value)));
        assert!(fault(folder.path()).ends_with(expected), "{}", fault(folder.path()));
    }
}

#[test]
fn faults_of_tensors_name_the_tensor() {
    let norm = "model.encoder.layer_norm.weight";
    let folder = copy("plain");
    edit_tensors(folder.path(), |tensors| drop(tensors.remove(norm)));
    assert_eq!(fault(folder.path()), format!("F/model.safetensors: the tensor `{norm}` is missing"));
    let folder = copy("plain");
    edit_tensors(folder.path(), |tensors| {
        drop(tensors.insert(norm.into(), Tensor::zeros(32, candle_core::DType::F64, &Device::Cpu).unwrap()))
    });
    assert_eq!(fault(folder.path()), format!("F/model.safetensors: `{norm}` is stored as F64, which cannot be read here"));
    let folder = copy("plain");
    edit_tensors(folder.path(), |tensors| drop(tensors.insert(norm.into(), Tensor::full(f32::NAN, 32, &Device::Cpu).unwrap())));
    assert_eq!(fault(folder.path()), format!("F/model.safetensors: `{norm}` holds NaN as its value 0"));
}

#[test]
fn a_head_stored_beside_its_tie_must_agree() {
    let folder = copy("plain");
    let add_copy = |factor: f64| {
        edit_tensors(folder.path(), |tensors| {
            let copy = (&tensors["model.decoder.embed_tokens.weight"] * factor).unwrap();
            tensors.insert("proj_out.weight".into(), copy);
        });
    };
    add_copy(1.0);
    assert!(!Checkpoint::read(folder.path()).unwrap().tensors.contains_key("proj_out.weight"));
    add_copy(2.0);
    assert!(fault(folder.path()).contains("are tied in config.json, and differ"));
}

#[test]
fn an_index_stays_in_its_folder() {
    for (target, expected) in [
        (json!("../model.safetensors"), "`weight_map` points to `../model.safetensors`, which is not a file of this folder"),
        (json!("/etc/passwd"), "`weight_map` points to `/etc/passwd`, which is not a file of this folder"),
        (json!(7), "`weight_map` holds something that is no file name"),
    ] {
        let folder = copy("scaled");
        let index = folder.path().join("model.safetensors.index.json");
        let mut content = header::json(&index).unwrap();
        content["weight_map"]["proj_out.weight"] = target;
        fs::write(&index, content.to_string()).unwrap();
        assert_eq!(fault(folder.path()), format!("F/model.safetensors.index.json: {expected}"));
    }
    let folder = copy("scaled");
    fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(fault(folder.path()).starts_with("F/model-00002-of-00002.safetensors: cannot read this"));
}

#[test]
fn other_quantizations_are_refused_by_name() {
    for (pointer, value, expected) in [
        (
            "/quant_method",
            json!("gptq"),
            "`quantization_config.quant_method` is \"gptq\"; only \"compressed-tensors\" can be read",
        ),
        (
            "/config_groups/group_0/weights/num_bits",
            json!(4),
            "`quantization_config.config_groups.group_0.weights.num_bits` is 4; only 8 can be read",
        ),
        (
            "/config_groups/group_0/input_activations",
            Value::Null,
            "`quantization_config.config_groups.group_0.input_activations.num_bits` is null; only 8 can be read",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        compressed().write_into(folder.path()).unwrap();
        edit_config(folder.path(), |config| *config["quantization_config"].pointer_mut(pointer).unwrap() = value);
        assert_eq!(fault(folder.path()), format!("F/config.json: {expected}"));
    }
    let folder = tempfile::tempdir().unwrap();
    compressed().write_into(folder.path()).unwrap();
    edit_config(folder.path(), |config| drop(config.remove("quantization_config")));
    assert_eq!(fault(folder.path()), "F/config.json: weights are INT8, and `quantization_config` is missing");
}

#[test]
fn zeros_of_other_programs_are_masks_where_they_are_many() {
    let (sparse, dense) = ("model.encoder.layers.0.fc1", "model.encoder.layers.0.fc2");
    let folder = copy("plain");
    edit_tensors(folder.path(), |tensors| {
        for (path, every) in [(sparse, 10), (dense, 11)] {
            let tensor = tensors.get_mut(&format!("{path}.weight")).unwrap();
            let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let values: Vec<f32> =
                values.into_iter().enumerate().map(|(at, value)| if at % every == 0 { -0.0 } else { value }).collect();
            *tensor = Tensor::from_vec(values, tensor.dims(), &Device::Cpu).unwrap();
        }
    });
    let read = Checkpoint::read(folder.path()).unwrap();
    assert_eq!(read.masks.keys().collect::<Vec<_>>(), [sparse]);
    let mask = &read.masks[sparse];
    assert!((0..mask.rows() * mask.cols()).all(|at| mask.keeps(at / mask.cols(), at % mask.cols()) == (at % 10 != 0)));

    let mut integers = compressed();
    let masks = std::mem::take(&mut integers.masks);
    let written = tempfile::tempdir().unwrap();
    integers.write_into(written.path()).unwrap();
    assert!(Checkpoint::read(written.path()).unwrap().masks.is_empty(), "what has no masks here comes back without");
    fs::remove_file(written.path().join("sparsec.masks.safetensors")).unwrap();
    assert_eq!(Checkpoint::read(written.path()).unwrap().masks.keys().collect::<Vec<_>>(), masks.keys().collect::<Vec<_>>());
}

#[test]
fn masks_must_fit_the_weights() {
    let mut checkpoint = compressed();
    checkpoint.masks.insert("model.encoder.layers.1.fc1".into(), Mask::from_fn(64, 32, |_, _| false));
    let folder = tempfile::tempdir().unwrap();
    checkpoint.write_into(folder.path()).unwrap();
    let expected = "F/sparsec.masks.safetensors: the mask of `model.encoder.layers.1.fc1` prunes weights that are not zero";
    assert_eq!(fault(folder.path()), expected);
    checkpoint.masks = BTreeMap::from([("model.encoder.conv1".into(), Mask::from_fn(2, 2, |_, _| true))]);
    let folder = tempfile::tempdir().unwrap();
    checkpoint.write_into(folder.path()).unwrap();
    assert!(fault(folder.path()).ends_with("the mask of `model.encoder.conv1`, [2, 2], fits no linear layer"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Any bytes of the configuration, the index or a shard may change: a fault or a checkpoint, never a panic.
    #[test]
    fn no_mutation_of_a_folder_panics(
        file in prop::sample::select(vec!["config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors"]),
        changes in prop::collection::vec((0usize..6000, any::<u8>()), 1..5),
    ) {
        let folder = copy("scaled");
        let path = folder.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        fs::write(&path, bytes).unwrap();
        let _ = Checkpoint::read(folder.path());
    }
}

/// A copy of a fixture of the family whose model reads texts alone, BF16 in two files.
fn sharded_mpt() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mpt/odd")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

#[test]
fn a_model_that_is_left_in_its_files_is_the_same_model() {
    let folder = sharded_mpt();
    let kept = Checkpoint::read(folder.path()).unwrap();
    let mut left = Checkpoint::read_keeping(folder.path(), 0).unwrap();
    assert!(left.tensors.values().all(Parameter::is_stored) && !kept.tensors.values().any(Parameter::is_stored));
    // What is open is read to its end, whatever became of its name.
    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(left.content_hash().unwrap(), kept.content_hash().unwrap());
    let batch = crate::Batch {
        inputs: crate::Inputs::Nothing,
        decoder: crate::Tokens::padded(&[vec![5, 9, 2, 40]], 0),
        labels: Vec::new(),
    };
    let logits = |checkpoint: &Checkpoint| checkpoint.model().unwrap().forward(&batch, &mut NoTaps).unwrap();
    assert!(Parameter::from(logits(&left)).same_bits(&logits(&kept).into()).unwrap());

    let mut pruned = kept;
    let layers: Vec<String> = (0..3).map(|layer| format!("transformer.blocks.{layer}.ffn.up_proj")).collect();
    let request = crate::pruner::Request { layers: &layers, sparsity: 0.7, pattern: crate::pruner::Pattern::Unstructured };
    for checkpoint in [&mut pruned, &mut left] {
        let magnitude = crate::pruner::Magnitude { scope: crate::pruner::Scope::Uniform };
        crate::pruner::Pruner::prune(&magnitude, checkpoint, &request, None, &mut |_, _| Ok(())).unwrap();
    }
    assert!(left.tensors.values().all(Parameter::is_stored), "a mask leaves the file as it is");
    assert_eq!(left.content_hash().unwrap(), pruned.content_hash().unwrap());

    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    left.write_into(one.path()).unwrap();
    pruned.write_into(other.path()).unwrap();
    let bytes = [&one, &other].map(|folder| fs::metadata(folder.path().join("model.safetensors")).unwrap().len());
    assert!(2 * bytes[0] < bytes[1] + 9000, "what lies as BF16 is written so: {bytes:?}");
    for folder in [&one, &other] {
        let back = Checkpoint::read(folder.path()).unwrap();
        crate::export::verify(&pruned, &back).unwrap();
        let dtype = if folder.path() == one.path() { "bfloat16" } else { "float32" };
        let config: Value = serde_json::from_slice(&fs::read(folder.path().join("config.json")).unwrap()).unwrap();
        assert_eq!(config["torch_dtype"], dtype);
    }
}

#[test]
fn a_file_that_shrinks_while_its_model_is_used_is_a_fault() {
    let folder = sharded_mpt();
    let left = Checkpoint::read_keeping(folder.path(), 0).unwrap();
    let file = folder.path().join("model-00001-of-00002.safetensors");
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(5000).unwrap();
    let fault = left.content_hash().unwrap_err();
    assert_eq!(fault.path, Some(file));
    assert!(fault.help.unwrap().contains("damaged"));
    let to = tempfile::tempdir().unwrap();
    let fault = left.write_into(to.path()).unwrap_err();
    assert!(fault.path.unwrap().ends_with("model-00001-of-00002.safetensors"), "what cannot be read is not written as nothing");
}
