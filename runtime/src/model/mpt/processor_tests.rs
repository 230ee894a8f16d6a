//! What rows become, and how the companions of a checkpoint may be wrong.

use std::sync::Arc;

use super::processor::MptProcessor;
use crate::batch::IGNORE;
use crate::generate::{Asked, Ended, Sampling, Search};
use crate::model::parity::Case;
use crate::model::{Decoded, Processor, Row};
use crate::{Checkpoint, Fault};

fn row(source: &str, text: &str) -> Row {
    Row { source: Some(source.to_owned()), text: text.to_owned(), ..Row::default() }
}

#[test]
fn labels_are_the_answer_and_the_end_and_no_token_of_the_prompt() {
    let case = Case::read("mpt", "plain");
    let processor = MptProcessor::of(&case.checkpoint).unwrap();
    let tokenizer = crate::tokenizer::Tokenizer::of(&case.checkpoint, 264).unwrap();
    let [prompt, answer] = ["What is the sum?", " the end"].map(|text| tokenizer.encode(text).unwrap());
    let example = processor.example(&row("What is the sum?", " the end")).unwrap();
    assert_eq!(example.decoder, [prompt.clone(), answer.clone()].concat());
    let labels: Vec<i64> = answer.iter().map(|&token| i64::from(token)).chain([0]).collect();
    assert_eq!(example.labels, [vec![IGNORE; prompt.len() - 1], labels].concat());
    assert_eq!(example.decoder.len(), example.labels.len());
}

#[test]
fn where_nothing_precedes_a_text_it_begins_with_the_token_between_texts() {
    let case = Case::read("mpt", "plain");
    let processor = MptProcessor::of(&case.checkpoint).unwrap();
    let example = processor.example(&Row { text: "a".into(), ..Row::default() }).unwrap();
    assert_eq!((example.decoder.len(), example.decoder[0], example.labels[1]), (2, 0, 0));
    assert_eq!(processor.example(&row("", "")).unwrap().labels, [0], "an empty answer is its end");
    let said = processor.decode(&*case.model, &[row("", "")], None).unwrap();
    assert!(said[0].tokens.len() <= 47);
}

#[test]
fn what_is_said_to_a_row_does_not_depend_on_its_neighbours() {
    let case = Case::read("mpt", "plain");
    let processor = MptProcessor::of(&case.checkpoint).unwrap();
    // The long prompt leaves less room than the settings allow, the others do too, each its own.
    let rows = ["the", &"x".repeat(45), "hello there", "a", "the"].map(|prompt| row(prompt, ""));
    let together = processor.decode(&*case.model, &rows, None).unwrap();
    for (row, together) in rows.iter().zip(&together) {
        let alone = processor.decode(&*case.model, std::slice::from_ref(row), None).unwrap();
        assert_eq!(alone[0].tokens, together.tokens, "{row:?}");
    }
    assert!(together[1].tokens.len() <= 3);
}

/// What follows "the", in parts, as `asked`.
fn continued(asked: &Asked) -> (Vec<String>, Decoded, Ended) {
    let case = Case::read("mpt", "plain");
    let mut parts = Vec::new();
    let (said, ended) = MptProcessor::of(&case.checkpoint)
        .unwrap()
        .continue_text(&*case.model, "the", asked, &mut |part| {
            parts.push(part.to_owned());
            Ok(())
        })
        .unwrap();
    assert_eq!(parts.concat(), said.text);
    (parts, said, ended)
}

#[test]
fn a_text_is_shown_while_it_grows_and_ends_where_it_was_asked_to() {
    let (parts, whole, ended) = continued(&Asked { max_new: Some(20), ..Asked::default() });
    assert_eq!((whole.tokens.len(), ended), (20, Ended::Length));
    assert!(parts.iter().filter(|part| !part.is_empty()).count() > 3, "{parts:?}");
    // Somewhere in the middle of what is said without it.
    let middle = whole.text.char_indices().nth(whole.text.chars().count() / 2).unwrap().0;
    let stop: String = whole.text[middle..].chars().take(2).collect();
    let (_, cut, ended) = continued(&Asked { max_new: Some(20), stop: vec!["never".into(), stop.clone()], ..Asked::default() });
    assert_eq!((cut.text.as_str(), ended), (&whole.text[..whole.text.find(&stop).unwrap()], Ended::Stop));
    assert!(cut.tokens.len() < 20);
}

#[test]
fn what_is_drawn_depends_on_the_seed_alone() {
    let sample = |seed| Asked {
        search: Search::Sample(Sampling { temperature: 1.5, top_k: Some(50), top_p: 0.95, seed }),
        max_new: Some(20),
        ..Asked::default()
    };
    let (_, one, _) = continued(&sample(1));
    assert_eq!(one.tokens, continued(&sample(1)).1.tokens);
    assert_ne!(one.tokens, continued(&sample(2)).1.tokens);
    let sure = Sampling { temperature: 1e-6, top_k: None, top_p: 1.0, seed: 3 };
    let sure = Asked { search: Search::Sample(sure), max_new: Some(20), ..Asked::default() };
    let greedy = continued(&Asked { max_new: Some(20), ..Asked::default() }).1;
    assert_eq!(continued(&sure).1.tokens, greedy.tokens, "without heat the likeliest is drawn");
}

#[test]
fn strings_that_the_settings_name_end_every_continuation() {
    let mut case = Case::read("mpt", "plain");
    let said = |case: &Case| MptProcessor::of(&case.checkpoint).unwrap().decode(&*case.model, &[row("the", "")], None).unwrap();
    let whole = said(&case)[0].text.clone();
    let stop: String = whole.chars().skip(3).take(1).collect();
    put(
        &mut case.checkpoint,
        "generation_config.json",
        &serde_json::json!({"eos_token_id": 0, "stop_strings": [stop]}).to_string(),
    );
    assert_eq!(said(&case)[0].text, whole[..whole.find(&stop).unwrap()]);
}

#[test]
fn texts_that_do_not_fit_are_faults() {
    let processor = MptProcessor::of(&Case::read("mpt", "plain").checkpoint).unwrap();
    let fault = processor.example(&row("the", &"x".repeat(60))).unwrap_err();
    assert!(fault.message.contains("need 62 of 48 tokens"), "{fault}");
    let long = "x".repeat(48);
    for fault in [
        processor.example(&row(&long, "a")).err(),
        processor.decode(&*Case::read("mpt", "plain").model, &[row(&long, "")], None).err(),
    ] {
        assert_eq!(fault.unwrap().message, "a prompt of 48 tokens leaves no room in a model that reads 48");
    }
}

/// The fault of the fixture's checkpoint with other files.
fn fault(change: impl FnOnce(&mut Checkpoint)) -> Fault {
    let mut checkpoint = Case::read("mpt", "plain").checkpoint;
    change(&mut checkpoint);
    MptProcessor::of(&checkpoint).err().expect("something is wrong with it")
}

fn put(checkpoint: &mut Checkpoint, name: &str, text: &str) {
    Arc::make_mut(&mut checkpoint.companions).insert(name.to_owned(), text.as_bytes().to_vec());
}

#[test]
fn a_tokenizer_of_another_model_is_a_fault() {
    assert!(fault(|checkpoint| checkpoint.companions = Arc::default()).message.contains("no tokenizer.json"));
    let found = fault(|checkpoint| checkpoint.config["vocab_size"] = 200.into());
    assert!(found.message.contains("260 tokens, and the model 200"), "{found}");
    let found = fault(|checkpoint| put(checkpoint, "generation_config.json", "{\"eos_token_id\": [0, 263]}"));
    assert!(found.message.contains("token 263 ends a text"), "{found}");
    let found = fault(|checkpoint| put(checkpoint, "generation_config.json", "{\"eos_token_id\": \"no\"}"));
    assert!(found.message.contains("settings of generation do not parse"), "{found}");
    let found = fault(|checkpoint| put(checkpoint, "tokenizer.json", "{}"));
    assert!(found.path.is_some_and(|path| path.ends_with("tokenizer.json")));
}

#[test]
fn the_end_of_a_text_is_found_where_checkpoints_keep_it() {
    let without = |checkpoint: &mut Checkpoint| {
        put(checkpoint, "generation_config.json", "{}");
        checkpoint.config.as_object_mut().unwrap().remove("eos_token_id");
    };
    assert!(fault(without).message.contains("names the token that ends a text"));
    for token in ["\"<|endoftext|>\"", "{\"content\": \"<|endoftext|>\"}"] {
        let mut checkpoint = Case::read("mpt", "plain").checkpoint;
        without(&mut checkpoint);
        put(&mut checkpoint, "tokenizer_config.json", &format!("{{\"eos_token\": {token}}}"));
        assert_eq!(MptProcessor::of(&checkpoint).unwrap().pad(), 0);
    }
}
