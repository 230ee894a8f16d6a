//! From rows to examples and texts, and what is wrong with checkpoints and rows.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::batch::Input;
use crate::generate::{Beam, Search, Stopping};
use crate::model::parity::Case;
use crate::model::{Processor, Row, family};
use crate::{Checkpoint, Fault, Result};

fn processor(checkpoint: &Checkpoint) -> Result<Box<dyn Processor>> {
    family(&checkpoint.config).unwrap().processor(checkpoint)
}

fn row(source: &str, text: &str) -> Row {
    Row { source: Some(source.to_owned()), text: text.to_owned(), ..Row::default() }
}

/// `checkpoint` with other bytes in the companion `name`, or without it.
fn with_companion(checkpoint: &Checkpoint, name: &str, bytes: Option<Vec<u8>>) -> Checkpoint {
    let mut changed = checkpoint.clone();
    let companions = Arc::make_mut(&mut changed.companions);
    match bytes {
        Some(bytes) => drop(companions.insert(name.to_owned(), bytes)),
        None => drop(companions.remove(name)),
    }
    changed
}

#[test]
fn the_decoder_reads_its_start_and_the_text_and_says_the_text_and_its_end() {
    let case = Case::read("t5", "plain");
    let processor = processor(&case.checkpoint).unwrap();
    let example = processor.example(&row("It is cold.", "She reads.")).unwrap();
    let text: Vec<u32> = example.labels.iter().map(|&label| label as u32).collect();
    assert!(text.len() > 2 && text.last() == Some(&1));
    assert_eq!(example.decoder, [&[0], &text[..text.len() - 1]].concat());
    let Input::Tokens(source) = &example.input else { panic!("T5 reads text") };
    assert_eq!(source, &case.ids("sources")[14]);
    assert!(matches!(processor.example(&row("a", &"it is ".repeat(70))), Err(fault) if fault.message.contains("of 64 tokens")));
}

#[test]
fn rows_that_cannot_be_read_are_faults_and_an_empty_source_has_an_empty_answer() {
    let case = Case::read("t5", "plain");
    let processor = processor(&case.checkpoint).unwrap();
    let fault = |row: &Row| processor.example(row).err().map(|fault: Fault| fault.message).unwrap();
    assert_eq!(fault(&row(" ", "no")), "the source text of the row \"no\" is empty");
    assert_eq!(fault(&Row { text: "no".into(), ..Row::default() }), "the row \"no\" has no source text");
    assert!(fault(&row(&"it is cold ".repeat(40), "no")).contains("of 64 tokens"));
    let said = processor.decode(&*case.model, &[row("", ""), row("No.", ""), row(" \t", "")], None).unwrap();
    assert!(said[0].text.is_empty() && said[2].tokens.is_empty() && !said[1].tokens.is_empty());
    assert!(processor.decode(&*case.model, &[row(&"cold ".repeat(90), "")], None).is_err());
}

#[test]
fn a_task_of_the_configuration_is_done_as_it_says() {
    let case = Case::read("t5", "plain");
    let family = family(&case.checkpoint.config).unwrap();
    let told = family.told(case.checkpoint.clone(), None, Some("translation_en_to_de")).unwrap();
    let (plain, german) = (processor(&case.checkpoint).unwrap(), processor(&told).unwrap());
    assert_eq!(plain.search(), Search::Greedy);
    assert_eq!(german.search(), Search::Beam(Beam { beams: 3, length_penalty: 1.0, stopping: Stopping::Early }));
    let source = |processor: &dyn Processor, text: &str| match processor.example(&row(text, "no")).unwrap().input {
        Input::Tokens(tokens) => tokens,
        _ => panic!("T5 reads text"),
    };
    assert_eq!(source(&*german, "No."), source(&*plain, "translate English to German: No."));
    let folder = tempfile::tempdir().unwrap();
    told.write_into(folder.path()).unwrap();
    let read = Checkpoint::read(folder.path()).unwrap();
    assert_eq!(processor(&read).unwrap().search(), german.search(), "an export carries it along");
    let message = |language, task| family.told(case.checkpoint.clone(), language, task).err().unwrap().message;
    assert!(message(None, Some("sing")).contains("has no `sing`; it has `translation_en_to_de`"));
    assert!(message(Some("de"), None).contains("not told a language"));
}

#[test]
fn a_tokenizer_of_another_model_or_in_its_slow_form_alone_is_a_fault() {
    let case = Case::read("t5", "plain");
    let fault = |checkpoint: &Checkpoint| processor(checkpoint).err().unwrap();
    let mut tokenizer = case.checkpoint.companion_json("tokenizer.json").unwrap();
    let pieces = tokenizer["model"]["vocab"].as_array_mut().unwrap();
    pieces.extend((0..50).map(|at| json!([format!("piece {at}"), -20.0])));
    let foreign = with_companion(&case.checkpoint, "tokenizer.json", Some(tokenizer.to_string().into_bytes()));
    let message = fault(&foreign).to_string();
    assert!(message.contains("and the model 112") && message.contains("tokenizer.json"), "{message}");
    let bare = with_companion(&case.checkpoint, "tokenizer.json", None);
    assert!(fault(&bare).help.unwrap().contains("save_pretrained"));
    let slow = fault(&with_companion(&bare, "spiece.model", Some(vec![1])));
    assert!(slow.help.unwrap().contains("spiece.model alone, the slow form; convert it once"));
    let settings = json!({"decoder_start_token_id": 0, "eos_token_id": 400, "pad_token_id": 0}).to_string().into_bytes();
    let far = fault(&with_companion(&case.checkpoint, "generation_config.json", Some(settings)));
    assert_eq!(far.message, "token 400 is not among the 112 of the model");
    let settings = json!({"eos_token_id": 1, "early_stopping": "soon"}).to_string().into_bytes();
    let soon = fault(&with_companion(&case.checkpoint, "generation_config.json", Some(settings)));
    assert!(soon.message.contains("`early_stopping` is \"soon\""), "{soon}");
}

/// A copy of the fixture `name` to damage.
fn copied(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/t5").join(name);
    for entry in fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name != "expected.safetensors") {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    folder
}

#[test]
fn checkpoints_that_are_not_whole_say_what_is_missing() {
    let fault = |folder: &tempfile::TempDir| Checkpoint::read(folder.path()).err().unwrap().to_string();
    let folder = copied("gated");
    fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(fault(&folder).contains("model-00002-of-00002.safetensors"), "{}", fault(&folder));
    let folder = copied("plain");
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["num_layers"] = 3.into();
    fs::write(&path, config.to_string()).unwrap();
    assert!(fault(&folder).contains("`encoder.block.2.layer.0.layer_norm.weight` is missing"), "{}", fault(&folder));
}

#[test]
fn tied_weights_that_are_stored_again_must_be_the_same() {
    let folder = copied("plain");
    let path = folder.path().join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &candle_core::Device::Cpu).unwrap();
    assert!(["lm_head.weight", "encoder.embed_tokens.weight"].iter().all(|copy| tensors.contains_key(*copy)));
    let checkpoint = Checkpoint::read(folder.path()).unwrap();
    assert!(!checkpoint.tensors.contains_key("lm_head.weight") && checkpoint.tensors.contains_key("shared.weight"));
    let head = (tensors["lm_head.weight"].clone() * 2.0).unwrap();
    tensors.insert("lm_head.weight".to_owned(), head);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let fault = Checkpoint::read(folder.path()).err().unwrap();
    assert_eq!(fault.message, "`lm_head.weight` and `shared.weight` are tied in config.json, and differ");
}
