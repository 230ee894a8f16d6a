//! Between rows of data and T5: source and target tokens, and decoding to text.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::config::Config;
use crate::batch::{Example, Input, Inputs, Tokens};
use crate::generate::settings::{self, Settings};
use crate::generate::{Rules, Search, generate};
use crate::model::{Decoded, Model, NoTaps, Processor, Row};
use crate::tokenizer::Tokenizer;
use crate::{Checkpoint, Fault, Result};

/// Texts decoded together.
const BATCH: usize = 16;
/// What `config.json` calls what is to be done.
const TASKS: &str = "task_specific_params";

pub(super) struct T5Processor {
    tokenizer: Tokenizer,
    prefix: String,
    /// The most tokens of a text, its end included.
    positions: usize,
    start: u32,
    end: u32,
    pad: u32,
    rules: Rules,
    search: Search,
}

/// `checkpoint` with the settings that its configuration keeps for `task`: what is written before a text, and how it is decoded.
pub(super) fn told(mut checkpoint: Checkpoint, language: Option<&str>, task: Option<&str>) -> Result<Checkpoint> {
    if language.is_some() {
        return Err(Fault::input("T5 is not told a language").help("what it does is in the text that it reads"));
    }
    let Some(task) = task else { return Ok(checkpoint) };
    let tasks = checkpoint.config.get(TASKS).and_then(Value::as_object).cloned().unwrap_or_default();
    let Some(Value::Object(mut settings)) = tasks.get(task).cloned() else {
        let known = tasks.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        return Err(Fault::input(format!("`{TASKS}` of config.json has no `{task}`; it has {known}"))
            .help("leave the task out and write what is to be done before every source text, or name one of these"));
    };
    if let (Some(prefix), Some(config)) = (settings.shift_remove("prefix"), checkpoint.config.as_object_mut()) {
        config.insert("prefix".to_owned(), prefix);
    }
    let has_file = checkpoint.companions.contains_key(settings::FILE);
    let mut fields = if has_file { checkpoint.companion_json(settings::FILE)? } else { Value::Object(Map::new()) };
    let fields = fields.as_object_mut().ok_or_else(|| Fault::input("this is not a JSON object").at(settings::FILE))?;
    fields.extend(settings);
    let bytes = serde_json::to_vec_pretty(fields).map_err(|error| Fault::internal(error.to_string()))?;
    Arc::make_mut(&mut checkpoint.companions).insert(settings::FILE.to_owned(), bytes);
    T5Processor::of(&checkpoint)?;
    Ok(checkpoint)
}

impl T5Processor {
    /// Reads the companions of `checkpoint` and checks that they fit its configuration.
    pub(super) fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let config = Config::parse(&checkpoint.config)?;
        let (file, settings) = Settings::of(checkpoint, config.vocab_size)?;
        let needed = |found: Option<u32>, name: &str| {
            found.ok_or_else(|| Fault::input(format!("`{name}` is missing")).at(file).help(settings::HELP))
        };
        let ends = settings.eos_token_id.as_ref().map(|ends| ends.all("eos_token_id")).transpose()?.unwrap_or_default();
        Ok(Self {
            tokenizer: Tokenizer::of(checkpoint, config.vocab_size)?,
            prefix: config.prefix().to_owned(),
            positions: config.n_positions,
            start: needed(settings.decoder_start_token_id.or(settings.pad_token_id), "decoder_start_token_id")?,
            end: needed(ends.first().copied(), "eos_token_id")?,
            pad: needed(settings.pad_token_id, "pad_token_id")?,
            rules: settings.rules(ends, 1, config.n_positions),
            search: settings.search().map_err(|fault| fault.at(file).help(settings::HELP))?,
        })
    }

    /// The tokens of `text` and the end.
    fn ended(&self, text: &str, what: &str) -> Result<Vec<u32>> {
        let mut tokens = self.tokenizer.encode(text)?;
        tokens.push(self.end);
        if tokens.len() > self.positions {
            let start: String = text.chars().take(60).collect();
            return Err(Fault::input(format!("the {what} \"{start}…\" is {} of {} tokens", tokens.len(), self.positions)).help(
                "split it into sentences, or leave it out; `n_positions` of config.json is the longest that the model knows",
            ));
        }
        Ok(tokens)
    }

    /// The tokens of the source text of `row`, what is to be done with it before them; none where there is nothing to read.
    fn source(&self, row: &Row) -> Result<Option<Vec<u32>>> {
        let source = row.source.as_deref().ok_or_else(|| {
            Fault::input(format!("the row {:?} has no source text", row.text))
                .help("name the column that holds it: `jsonl(…, source: \"en\")`")
        })?;
        let is_empty = source.trim().is_empty();
        (!is_empty).then(|| self.ended(&format!("{}{source}", self.prefix), "source text")).transpose()
    }

    /// What is said to each of `sources`.
    fn say(&self, model: &dyn Model, sources: &[Vec<u32>], search: &Search) -> Result<Vec<Vec<u32>>> {
        let inputs = Inputs::Tokens(Tokens::padded(sources, self.pad));
        let encoded = model.encode(&inputs, &mut NoTaps)?;
        generate(model, encoded.as_ref(), &vec![vec![self.start]; sources.len()], &self.rules, search)
    }
}

impl Processor for T5Processor {
    /// The decoder reads its start token and the text; each position's label is the token after it, the end last.
    fn example(&self, row: &Row) -> Result<Example> {
        let source = self.source(row)?;
        let source = source.ok_or_else(|| Fault::input(format!("the source text of the row {:?} is empty", row.text)))?;
        let target = self.ended(&row.text, "text")?;
        let labels = target.iter().map(|&token| i64::from(token)).collect();
        let decoder = std::iter::once(self.start).chain(target.iter().copied().take(target.len() - 1)).collect();
        Ok(Example { input: Input::Tokens(source), decoder, labels })
    }

    fn pad(&self) -> u32 {
        self.pad
    }

    /// A sentence.
    fn probe(&self) -> Row {
        let sentence = "The train that left the station at half past nine will arrive in the old town before it is dark.";
        Row { source: Some(sentence.to_owned()), text: sentence.to_owned(), ..Row::default() }
    }

    fn search(&self) -> Search {
        self.search.clone()
    }

    /// An empty source text has an empty answer.
    fn decode(&self, model: &dyn Model, rows: &[Row], search: Option<&Search>) -> Result<Vec<Decoded>> {
        let mut sources = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            sources.extend(self.source(row)?.map(|source| (index, source)));
        }
        let mut decoded = vec![Decoded { text: String::new(), tokens: Vec::new() }; rows.len()];
        for group in sources.chunks(BATCH) {
            let (indices, sources): (Vec<usize>, Vec<Vec<u32>>) = group.iter().cloned().unzip();
            let said = self.say(model, &sources, search.unwrap_or(&self.search))?;
            for (index, tokens) in indices.into_iter().zip(said) {
                decoded[index] = Decoded { text: self.tokenizer.decode(&tokens)?.trim().to_owned(), tokens };
            }
        }
        Ok(decoded)
    }
}
