//! What Whisper's decoder is told before it speaks, and when it stops: `generation_config.json`, read as `generate` of transformers
//! reads it for one window without timestamps.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::config::Config;
use crate::batch::Tokens;
use crate::generate::settings::{FILE, HELP, OneOrMany, fields};
use crate::generate::{Rules, Search, generate, likeliest};
use crate::model::{Encoded, Model};
use crate::{Checkpoint, Fault, Result};

/// Languages that are written without spaces between words, as Whisper's tokenizer lists them.
const UNSPACED: [&str; 6] = ["zh", "ja", "th", "lo", "my", "yue"];

/// The tokens before the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Prompt {
    /// Start of the transcript first.
    pub(super) tokens: Vec<u32>,
    /// The language tokens among which the model chooses the second token itself; empty where the prompt is complete.
    pub(super) languages: Vec<u32>,
}

/// The settings in use. Checkpoints from before there was a file of its own keep them in `config.json`.
#[derive(Deserialize)]
struct Settings {
    decoder_start_token_id: u32,
    eos_token_id: OneOrMany,
    pad_token_id: Option<u32>,
    forced_decoder_ids: Option<Vec<(usize, Option<u32>)>>,
    language: Option<String>,
    task: Option<String>,
    lang_to_id: Option<BTreeMap<String, u32>>,
    task_to_id: Option<BTreeMap<String, u32>>,
    no_timestamps_token_id: Option<u32>,
    suppress_tokens: Option<Vec<i64>>,
    begin_suppress_tokens: Option<Vec<i64>>,
    max_length: Option<usize>,
    max_new_tokens: Option<usize>,
}

/// Everything about decoding that the files of a checkpoint fix.
pub(super) struct Decoding {
    pub(super) prompt: Prompt,
    pub(super) rules: Rules,
    /// Ends a text.
    pub(super) end: u32,
    /// Fills short texts of a batch.
    pub(super) pad: u32,
    /// Tokens from here on are points in time, not text.
    pub(super) timestamps: Option<u32>,
    /// Whether a text starts with a space, as every word does in languages that separate words.
    spaced: bool,
}

/// `checkpoint` with `language` and `task` in its settings of generation.
pub(super) fn told(mut checkpoint: Checkpoint, language: Option<&str>, task: Option<&str>) -> Result<Checkpoint> {
    let mut settings = checkpoint.companion_json(FILE)?;
    let fields = settings.as_object_mut().ok_or_else(|| Fault::input("this is not a JSON object").at(FILE).help(HELP))?;
    for (key, value) in [("language", language), ("task", task)] {
        if let Some(value) = value {
            fields.insert(key.to_owned(), value.into());
        }
    }
    // How older checkpoints say the same; two ways of saying it would be one too many.
    fields.shift_remove("forced_decoder_ids");
    let bytes = serde_json::to_vec_pretty(&settings).map_err(|error| Fault::internal(error.to_string()))?;
    Arc::make_mut(&mut checkpoint.companions).insert(FILE.to_owned(), bytes);
    let decoding = Decoding::of(&checkpoint, &Config::parse(&checkpoint.config)?);
    let advice = "name a language and a task that this model was trained for, or none if it knows one alone";
    decoding.map_err(|fault| Fault { help: Some(advice.to_owned()), ..fault })?;
    Ok(checkpoint)
}

impl Decoding {
    /// Reads the settings of `checkpoint`.
    pub(super) fn of(checkpoint: &Checkpoint, config: &Config) -> Result<Self> {
        let keys = ["forced_decoder_ids", "decoder_start_token_id", "eos_token_id", "pad_token_id"];
        let (file, fields) = fields(checkpoint, &keys)?;
        let settings = Settings::deserialize(fields)
            .map_err(|error| Fault::input(format!("the settings of generation do not parse: {error}")).at(file).help(HELP))?;
        settings.decoding(config).map_err(|fault| fault.at(file).help(HELP))
    }

    /// `text` as the model writes it.
    pub(super) fn spelled(&self, text: &str) -> String {
        let text = text.trim();
        if self.spaced { format!(" {text}") } else { text.to_owned() }
    }

    /// What `model` says of each sequence of `encoded`; prompt and end excluded.
    pub(super) fn say(&self, model: &dyn Model, encoded: &Encoded, search: &Search) -> Result<Vec<Vec<u32>>> {
        generate(model, Some(encoded), &self.prompts(model, encoded)?, &self.rules, search)
    }

    /// The tokens before the text of each sequence of `encoded`, which may depend on the language heard.
    fn prompts(&self, model: &dyn Model, encoded: &Encoded) -> Result<Vec<Vec<u32>>> {
        let batch = encoded.batch();
        let Prompt { tokens, languages } = &self.prompt;
        if languages.is_empty() {
            return Ok(vec![tokens.clone(); batch]);
        }
        let start = Tokens::column(vec![tokens[0]; batch]);
        let logits = model.step(&start, model.start(Some(encoded))?.as_mut())?.to_vec2::<f32>()?;
        let prompt = |row: &Vec<f32>| {
            let language = likeliest(row, languages.iter().copied());
            tokens[..1].iter().copied().chain(language).chain(tokens[1..].iter().copied()).collect()
        };
        Ok(logits.iter().map(prompt).collect())
    }
}

impl Settings {
    fn decoding(&self, config: &Config) -> Result<Decoding> {
        let prompt = self.prompt()?;
        let end = self.eos_token_id.all("eos_token_id")?;
        let first_end = end[0];
        let mut named = prompt.tokens.iter().chain(&prompt.languages).chain(&end).chain(&self.pad_token_id);
        if let Some(token) = named.find(|&&token| token as usize >= config.vocab_size) {
            return Err(Fault::input(format!("token {token} is not among the {} of the model", config.vocab_size)));
        }
        let prompt_length = prompt.tokens.len() + usize::from(!prompt.languages.is_empty());
        let positions = config.max_target_positions;
        if prompt_length >= positions {
            return Err(Fault::input(format!("a prompt of {prompt_length} tokens leaves no room in {positions} positions")));
        }
        let max_length = match (self.max_new_tokens, self.max_length) {
            (Some(new), _) => new.saturating_add(prompt_length),
            (None, Some(length)) => length.saturating_add(prompt_length.min((positions / 2).saturating_sub(1))),
            (None, None) => positions,
        };
        let tokens = |ids: &Option<Vec<i64>>| ids.iter().flatten().filter_map(|&id| u32::try_from(id).ok()).collect();
        Ok(Decoding {
            prompt,
            rules: Rules {
                suppress: tokens(&self.suppress_tokens),
                begin_suppress: tokens(&self.begin_suppress_tokens),
                end,
                max_new: max_length.min(positions).saturating_sub(prompt_length),
            },
            end: first_end,
            pad: self.pad_token_id.unwrap_or(first_end),
            timestamps: self.no_timestamps_token_id.map(|token| token + 1),
            spaced: self.language.as_deref().is_none_or(|language| !UNSPACED.contains(&bare(language).as_str())),
        })
    }

    fn prompt(&self) -> Result<Prompt> {
        let mut tokens = vec![Some(self.decoder_start_token_id)];
        if self.task.is_none() && self.language.is_none() {
            for (at, (position, token)) in self.forced_decoder_ids.iter().flatten().enumerate() {
                if *position != at + 1 {
                    return Err(Fault::input(format!("`forced_decoder_ids` skips position {}", at + 1)));
                }
                tokens.push(*token);
            }
        }
        let language = self.language.as_ref().map(|language| self.language_token(language)).transpose()?;
        let is_open = tokens.get(1).is_none_or(Option::is_none);
        let detects = language.is_none() && is_open && self.lang_to_id.is_some();
        if language.is_some() {
            tokens.push(language);
        }
        match (&self.task, &self.task_to_id) {
            (Some(task), ids) => tokens.push(Some(task_token(ids.as_ref(), task)?)),
            (None, Some(ids)) if language.is_some() => tokens.push(Some(task_token(Some(ids), "transcribe")?)),
            (None, _) => {}
        }
        if let Some(token) = self.no_timestamps_token_id
            && tokens.last() != Some(&Some(token))
        {
            tokens.push(Some(token));
        }
        let mut languages: Vec<u32> = self.lang_to_id.iter().flatten().filter(|_| detects).map(|(_, &token)| token).collect();
        languages.sort_unstable();
        Ok(Prompt { tokens: tokens.into_iter().flatten().collect(), languages })
    }

    /// The token of a language written `en` or `<|en|>`.
    fn language_token(&self, language: &str) -> Result<u32> {
        let known = self.lang_to_id.as_ref().ok_or_else(|| Fault::input("`language` is set, and `lang_to_id` is missing"))?;
        let name = bare(language);
        known.get(&name).or_else(|| known.get(&format!("<|{name}|>"))).copied().ok_or_else(|| {
            let known = known.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
            Fault::input(format!("`language` is `{language}`; the model knows {known}"))
        })
    }
}

/// The code of a language written `en`, `EN` or `<|en|>`.
fn bare(language: &str) -> String {
    language.trim_start_matches("<|").trim_end_matches("|>").to_lowercase()
}

fn task_token(ids: Option<&BTreeMap<String, u32>>, task: &str) -> Result<u32> {
    let token = ids.and_then(|ids| ids.get(task)).copied();
    token.ok_or_else(|| Fault::input(format!("`task` is `{task}`, which `task_to_id` does not name")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn prompt(settings: Value) -> Result<Prompt> {
        let mut fields = json!({"decoder_start_token_id": 50, "eos_token_id": [51, 49]});
        fields.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        Settings::deserialize(fields).unwrap().prompt()
    }

    /// The cases of `generate` in transformers: newer fields win over forced tokens, a language alone means transcription.
    #[test]
    fn prompts_are_those_of_transformers() {
        let ids = json!({"<|de|>": 53, "<|en|>": 52});
        let tasks = json!({"transcribe": 56, "translate": 55});
        let known = |extra: Value| {
            let mut fields = json!({"lang_to_id": ids, "task_to_id": tasks, "no_timestamps_token_id": 57});
            fields.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            fields
        };
        let cases = [
            (json!({}), vec![50], vec![]),
            (json!({"no_timestamps_token_id": 57}), vec![50, 57], vec![]),
            (
                json!({"forced_decoder_ids": [[1, 52], [2, 55], [3, 57]], "no_timestamps_token_id": 57}),
                vec![50, 52, 55, 57],
                vec![],
            ),
            (known(json!({})), vec![50, 57], vec![52, 53]),
            (known(json!({"forced_decoder_ids": [[1, null], [2, 56]]})), vec![50, 56, 57], vec![52, 53]),
            (known(json!({"language": "en"})), vec![50, 52, 56, 57], vec![]),
            (known(json!({"language": "<|de|>", "task": "translate"})), vec![50, 53, 55, 57], vec![]),
            (known(json!({"task": "transcribe", "forced_decoder_ids": [[1, 53]]})), vec![50, 56, 57], vec![52, 53]),
        ];
        for (settings, tokens, languages) in cases {
            assert_eq!(prompt(settings.clone()).unwrap(), Prompt { tokens, languages }, "{settings}");
        }
    }

    #[test]
    fn settings_that_contradict_themselves_are_faults() {
        let message = |settings| prompt(settings).unwrap_err().message;
        assert_eq!(message(json!({"forced_decoder_ids": [[2, 56]]})), "`forced_decoder_ids` skips position 1");
        assert_eq!(message(json!({"language": "en"})), "`language` is set, and `lang_to_id` is missing");
        let ids = json!({"<|en|>": 52});
        assert_eq!(message(json!({"language": "xx", "lang_to_id": ids})), "`language` is `xx`; the model knows <|en|>");
        assert_eq!(message(json!({"task": "sing"})), "`task` is `sing`, which `task_to_id` does not name");
    }
}
