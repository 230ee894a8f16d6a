//! What bars and reports say of a model.

use super::*;

#[test]
fn a_model_says_each_row_once_and_every_score_of_it_is_reported() {
    let place = Place::new();
    let text = "edition 2026\ndense = load(\"model\")\nspeech = dataset(jsonl(\"manifest.jsonl\"))\n\
        require wer(dense, speech) <= 99900%\nrequire wer(dense, speech, normalize: none) <= 99900%\n\
        require cer(dense, speech) <= 99900%\n";
    for fresh in [false, true] {
        let mut said = Vec::new();
        let mut listen = |event: Event<'_>| match event {
            Event::Stage { word: "require", .. } => said.push(0),
            Event::Progress { unit: "rows", .. } => said.iter_mut().last().into_iter().for_each(|batches| *batches += 1),
            _ => {}
        };
        let outcome = place.run(text, |options| options.fresh = fresh, &mut listen).unwrap();
        assert_eq!(said, [1, 0, 0], "fresh: {fresh}");
        let scores = &outcome.report.models[0].scores;
        assert_eq!(scores.iter().map(|score| score.metric.as_str()).collect::<Vec<_>>(), ["wer", "wer(normalize: none)", "cer"]);
        assert!(scores[1].words.is_some() && scores[2].words.is_none());
    }
}

#[test]
fn a_test_set_that_shares_sentences_with_training_is_told() {
    let place = Place::new();
    let row =
        |audio: &str, text: &str, split: &str| serde_json::json!({"audio": audio, "text": text, "split": split}).to_string();
    let rows =
        [row("0.wav", "One!", "train"), row("1.wav", "two", "train"), row("2.wav", "one", "test"), row("3.wav", "six", "test")];
    fs::write(place.path().join("manifest.jsonl"), rows.join("\n")).unwrap();
    let text = "edition 2026\ndense = load(\"model\")\nspeech = dataset(jsonl(\"manifest.jsonl\"))\n\
        require wer(dense, speech.test) <= 99900%\n";
    let outcome = place.run(text, |_| {}, &mut Silent).unwrap();
    let notes = &outcome.report.stages.iter().find(|stage| stage.name == "speech").unwrap().notes;
    assert_eq!(notes.len(), 1);
    assert!(notes[0].starts_with("`test` and `train` share 1 sentences"), "{notes:?}");
}
