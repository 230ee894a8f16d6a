//! From rows to examples and texts, on the shipped configuration and tokenizer with random weights.

use std::path::PathBuf;
use std::sync::Arc;

use crate::augmentation::{Augmentation, Random, WordDropout};
use crate::batch::{IGNORE, Input};
use crate::model::{Processor, Row, family};
use crate::shelf::Ratio;
use crate::{Checkpoint, Fault};

fn nano() -> (Checkpoint, Box<dyn Processor>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../recipes/models/whisper-nano");
    let checkpoint = Checkpoint::initialize(&folder, 7).unwrap();
    let processor = family(&checkpoint.config).unwrap().processor(&checkpoint).unwrap();
    (checkpoint, processor)
}

fn row(samples: usize, text: &str) -> Row {
    let audio: Vec<f32> = (0..samples).map(|i| (i as f32 * 0.05).sin() * 0.3).collect();
    Row { audio: Some(audio.into()), text: text.to_owned(), ..Row::default() }
}

#[test]
fn labels_are_the_text_and_the_end_shifted_by_one_and_nothing_of_the_prompt() {
    let (checkpoint, processor) = nano();
    let settings = checkpoint.companion_json("generation_config.json").unwrap();
    let id = |pointer: &str| settings.pointer(pointer).and_then(serde_json::Value::as_u64).unwrap() as u32;
    let prompt =
        [id("/decoder_start_token_id"), id("/lang_to_id/<|en|>"), id("/task_to_id/transcribe"), id("/no_timestamps_token_id")];
    let example = processor.example(&row(16_000, "turn left")).unwrap();
    assert_eq!(example.decoder[..4], prompt);
    assert!(example.decoder.len() > 4 && example.decoder.len() == example.labels.len());
    let text = example.decoder[4..].iter().map(|&id| i64::from(id));
    let expected: Vec<i64> = [IGNORE; 3].into_iter().chain(text).chain([i64::from(id("/eos_token_id"))]).collect();
    assert_eq!(example.labels, expected);
    let Input::Features(features) = example.input else { panic!("Whisper hears") };
    let positions = checkpoint.config["max_source_positions"].as_u64().unwrap() as usize;
    assert_eq!(features.dims(), [80, 2 * positions]);
}

/// Multilingual checkpoints know many languages and name none: they hear which one is spoken, and cannot be trained until told.
#[test]
fn a_model_that_knows_languages_is_told_which() {
    let (mut checkpoint, _) = nano();
    let family = family(&checkpoint.config).unwrap();
    let mut settings = checkpoint.companion_json("generation_config.json").unwrap();
    let fields = settings.as_object_mut().unwrap();
    fields.retain(|key, _| !["language", "task"].contains(&key.as_str()));
    fields.insert("forced_decoder_ids".to_owned(), serde_json::json!([[1, null], [2, 662]]));
    Arc::make_mut(&mut checkpoint.companions).insert("generation_config.json".to_owned(), settings.to_string().into_bytes());
    let row = row(16_000, "one");
    let fault = family.processor(&checkpoint).unwrap().example(&row).unwrap_err();
    assert!(fault.message.contains("names none") && fault.help.unwrap().contains("language: \"en\""));
    let told = family.told(checkpoint.clone(), Some("en"), Some("translate")).unwrap();
    assert_eq!(family.processor(&told).unwrap().example(&row).unwrap().decoder[..4], [659, 660, 661, 666]);
    let told = family.told(checkpoint.clone(), Some("<|en|>"), None).unwrap();
    assert_eq!(family.processor(&told).unwrap().example(&row).unwrap().decoder[..4], [659, 660, 662, 666]);
    for (language, task, expected) in [(Some("hi"), None, "`language` is `hi`"), (Some("en"), Some("sing"), "`task` is `sing`")] {
        let fault = family.told(checkpoint.clone(), language, task).err().unwrap();
        assert!(fault.message.contains(expected) && fault.help.unwrap().contains("was trained for"), "{}", fault.message);
    }
}

#[test]
fn a_text_is_spelled_as_the_tokenizer_learned_it() {
    let (_, processor) = nano();
    let text = |text: &str| processor.example(&row(16_000, text)).unwrap().decoder[4..].to_vec();
    assert_eq!(text("seven").len(), 1, "a frequent word at the start of a text is one token");
    assert_eq!(text("seven seven"), [text("seven"), text("seven")].concat());
}

#[test]
fn withheld_words_are_words_and_never_the_prompt() {
    let (_, processor) = nano();
    let example = processor.example(&row(16_000, "turn left and wait")).unwrap();
    let mut decoder = example.decoder.clone();
    WordDropout { share: Ratio(1.0) }.change_text(&mut decoder, &example.labels, &mut Random::new(1, 2, 3));
    assert_eq!(decoder[..4], example.decoder[..4]);
    assert!(decoder[4..].iter().all(|&token| token == *decoder.last().unwrap()));
}

#[test]
fn rows_that_cannot_be_learned_from_are_faults() {
    let (_, processor) = nano();
    let fault = |row: &Row| processor.example(row).err().map(|fault: Fault| fault.message).unwrap();
    assert!(fault(&row(16_000 * 60, "one")).contains("an utterance of 60.0 s does not fit the model's window"));
    assert_eq!(fault(&Row { text: "one".into(), ..Row::default() }), "the row \"one\" has no audio");
    assert!(fault(&row(16_000, &"nineteen ".repeat(60))).contains("positions"));
}

#[test]
fn long_audio_is_decoded_window_by_window() {
    let (checkpoint, processor) = nano();
    let model = checkpoint.model().unwrap();
    let long = row(16_000 * 13, "");
    let window = processor.window_samples().unwrap();
    let pieces: Vec<Row> =
        long.audio.as_deref().unwrap().chunks(window).map(|piece| Row { audio: Some(piece.into()), ..Row::default() }).collect();
    assert!(pieces.len() > 1);
    let together = processor.decode(&*model, &[long, pieces[0].clone()], None).unwrap();
    let apart = processor.decode(&*model, &pieces, None).unwrap();
    assert_eq!(together[0].tokens, apart.iter().flat_map(|piece| piece.tokens.clone()).collect::<Vec<_>>());
    assert_eq!(together[1].tokens, apart[0].tokens);
}

/// The shipped model on shipped recordings, from the bytes of the sound files to text.
#[test]
fn the_shipped_model_understands_the_shipped_recordings() {
    let recipes = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../recipes");
    let checkpoint = Checkpoint::read(&recipes.join("models/whisper-nano")).unwrap();
    let processor = family(&checkpoint.config).unwrap().processor(&checkpoint).unwrap();
    let sounds = recipes.join("data/spoken-numbers");
    let manifest = std::fs::read_to_string(sounds.join("manifest.jsonl")).unwrap();
    let rows = manifest.lines().take(12).map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let audio = crate::audio::read(&sounds.join(line["audio"].as_str().unwrap()), 16_000, 30).unwrap();
        Row { audio: Some(audio.into()), text: line["text"].as_str().unwrap().to_owned(), ..Row::default() }
    });
    let rows: Vec<Row> = rows.collect();
    let decoded = processor.decode(&*checkpoint.model().unwrap(), &rows, None).unwrap();
    let right = rows.iter().zip(&decoded).filter(|(row, decoded)| decoded.text.trim() == row.text).count();
    assert!(right >= 6, "{right} of {} texts are right: {decoded:?}", rows.len());
}
