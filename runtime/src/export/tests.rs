//! What every exporter promises: what is read back is what was written, and nothing is lost at the destination.

use candle_core::{Device, Tensor};
use serde_json::json;

use super::*;
use crate::batch::{Inputs, Tokens};
use crate::pruner::{Magnitude, Pattern, Pruner, Request, Scope};
use crate::quantizer::{Activations, Rtn, Scheme, W8A8};

/// A Whisper of two blocks with random parameters, every linear layer of its blocks half pruned, those of the encoder INT8 too.
fn checkpoint() -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "model_type": "whisper", "vocab_size": 20, "num_mel_bins": 8, "d_model": 16, "encoder_layers": 1,
        "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 24,
        "max_source_positions": 10, "max_target_positions": 12, "activation_function": "gelu", "tie_word_embeddings": true,
        "init_std": 0.02, "torch_dtype": "float16", "scale_embedding": false, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0,
        "decoder_start_token_id": 1,
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.path().join("generation_config.json"), "{}").unwrap();
    let mut checkpoint = Checkpoint::initialize(folder.path(), 17).unwrap();
    let modules = crate::model::family(&checkpoint.config).unwrap().modules(&checkpoint.config).unwrap();
    let linear =
        modules.iter().filter(|module| module.kind == crate::model::ModuleKind::Linear && module.path.contains("layers"));
    let layers: Vec<String> = linear.map(|module| module.path.clone()).collect();
    let encoder: Vec<String> = layers.iter().filter(|path| path.contains("encoder.layers")).cloned().collect();
    let request = Request { layers: &layers, sparsity: 0.5, pattern: Pattern::Unstructured };
    Magnitude { scope: Scope::Uniform }.prune(&mut checkpoint, &request, None, &mut |_, _| Ok(())).unwrap();
    W8A8 { activations: Activations::Dynamic }.apply(&mut checkpoint, &encoder, &Rtn {}, &mut |_| Ok(())).unwrap();
    assert_eq!((checkpoint.quantized.len(), checkpoint.masks.len()), (6, 16));
    checkpoint
}

/// A spectrogram and a few tokens.
fn batch() -> Batch {
    let features: Vec<f32> = (0..8 * 20).map(|at| (at as f32 * 0.7).sin()).collect();
    let features = Tensor::from_vec(features, (1, 8, 20), &Device::Cpu).unwrap();
    Batch { inputs: Inputs::Features(features), decoder: Tokens::padded(&[vec![1, 5, 9]], 0), labels: vec![5, 9, 0] }
}

/// Changes a line of the configuration on the way, which no parameter shows.
#[derive(Debug)]
struct Forgetful;

impl Exporter for Forgetful {
    fn fill(&self, checkpoint: &Checkpoint, folder: &Path) -> Result<()> {
        let mut changed = checkpoint.clone();
        changed.config["encoder_attention_heads"] = json!(4);
        changed.write_into(folder)
    }

    fn read_back(&self, folder: &Path) -> Result<Checkpoint> {
        Checkpoint::read(folder)
    }
}

/// Every row of the table.
fn exporters() -> Vec<(&'static str, Box<dyn Exporter>)> {
    vec![("safetensors", Box::new(Safetensors {}))]
}

#[test]
fn every_row_is_tested() {
    for name in EXPORTERS.names() {
        assert!(exporters().iter().any(|(tested, _)| *tested == name), "`{name}` is in the table and not in these tests");
    }
}

#[test]
fn what_is_written_is_read_back_with_its_record() {
    let model = checkpoint();
    let provenance = Provenance { recipe: "edition 2026\n".into(), ..Provenance::default() };
    for (name, exporter) in exporters() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("out/model");
        for _again in 0..2 {
            let read = export(&*exporter, &model, &provenance, Some(&batch()), &to).unwrap();
            verify(&model, &read).unwrap();
            verify(&read, &Checkpoint::read(&to).unwrap()).unwrap();
        }
        assert_eq!(std::fs::read_dir(root.path().join("out")).unwrap().count(), 1, "{name} leaves something beside");
        let record: Record = serde_json::from_slice(&std::fs::read(to.join(RECORD)).unwrap()).unwrap();
        assert_eq!(record.provenance.recipe, provenance.recipe);
        assert_eq!(record.mask_hash, masks::hash(&model.masks).to_hex().as_str());
        assert_eq!(record.layers["model.encoder.layers.0.fc1"], LayerRecord { shape: [24, 16], sparsity: 0.5, bits: 8 });
        assert_eq!(record.layers["model.decoder.layers.0.fc1"].bits, 32);
    }
}

#[test]
fn a_folder_of_somebody_else_is_never_replaced() {
    let root = tempfile::tempdir().unwrap();
    let to = root.path().join("download");
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("config.json"), "theirs").unwrap();
    for (_, exporter) in exporters() {
        let fault = export(&*exporter, &checkpoint(), &Provenance::default(), None, &to).err().unwrap();
        assert_eq!(fault.path.as_deref(), Some(to.as_path()));
        assert_eq!(std::fs::read(to.join("config.json")).unwrap(), b"theirs");
    }
}

#[test]
fn anything_that_changed_is_found() {
    let model = checkpoint();
    type Change = fn(&mut Checkpoint);
    let changes: [(&str, Change); 5] = [
        ("`model.encoder.conv1.bias`", |checkpoint| {
            checkpoint.tensors.insert("model.encoder.conv1.bias".into(), Tensor::new(&[1f32; 16], &Device::Cpu).unwrap().into());
        }),
        ("the integers of `model.encoder.layers.0.fc1`", |checkpoint| {
            checkpoint.quantized.get_mut("model.encoder.layers.0.fc1").unwrap().scales = [1f32; 24].into();
        }),
        ("the mask of `model.decoder.layers.0.fc2`", |checkpoint| {
            checkpoint.masks.remove("model.decoder.layers.0.fc2");
        }),
        ("generation_config.json", |checkpoint| checkpoint.companions = Default::default()),
        ("the list of tensors", |checkpoint| {
            checkpoint.tensors.insert("more".into(), Tensor::new(&[1f32], &Device::Cpu).unwrap().into());
        }),
    ];
    for (what, change) in changes {
        let mut read = model.clone();
        change(&mut read);
        let fault = verify(&model, &read).unwrap_err();
        assert!(fault.message.starts_with(what), "{fault} instead of {what}");
    }
}

#[test]
fn an_artifact_that_computes_something_else_is_not_written() {
    let (model, root) = (checkpoint(), tempfile::tempdir().unwrap());
    let to = root.path().join("model");
    let fault = export(&Forgetful, &model, &Provenance::default(), Some(&batch()), &to).err().unwrap();
    assert!(fault.message.starts_with("what was written computes other logits"), "{fault}");
    assert_eq!((fault.kind, fault.path.as_deref()), (crate::FaultKind::Running, Some(to.as_path())));
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    export(&Forgetful, &model, &Provenance::default(), None, &to).expect("its parameters are the same");
}
