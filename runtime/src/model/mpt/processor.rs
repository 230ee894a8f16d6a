//! Between rows of data and MPT: prompts and answers as one text, and how it goes on.

use std::collections::BTreeMap;

use serde_json::Value;

use super::config::Config;
use crate::batch::{Example, IGNORE, Input};
use crate::generate::settings::Settings;
use crate::generate::{Asked, Ended, Growing, Rules, Search, generate_telling};
use crate::model::{Decoded, Model, Processor, Row};
use crate::tokenizer::Tokenizer;
use crate::{Checkpoint, Fault, Result};

/// Rows decoded together.
const BATCH: usize = 16;
/// The most tokens of a continuation where the checkpoint names no number.
const MAX_NEW: usize = 256;
/// Where the tokenizer names the token that ends a text.
const TOKENIZER_SETTINGS: &str = "tokenizer_config.json";

pub(super) struct MptProcessor {
    tokenizer: Tokenizer,
    /// Tokens that end a text, the usual one first; it also stands before a text that nothing precedes.
    end: Vec<u32>,
    pad: u32,
    /// Tokens of the longest text, its prompt included.
    longest: usize,
    settings: Settings,
    /// Strings that end a continuation.
    stop: Vec<String>,
}

impl MptProcessor {
    /// Reads the companions of `checkpoint` and checks that they fit its configuration.
    pub(super) fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let config = Config::parse(&checkpoint.config)?;
        let tokenizer = Tokenizer::of(checkpoint, config.vocab_size)?;
        let (file, settings) = Settings::of(checkpoint, config.vocab_size)?;
        let end = match &settings.eos_token_id {
            Some(ends) => ends.all("eos_token_id").map_err(|fault| fault.at(file))?,
            None => vec![named_end(checkpoint, &tokenizer)?],
        };
        if let Some(token) = end.iter().find(|&&token| !tokenizer.knows(token)) {
            return Err(Fault::input(format!("token {token} ends a text, and is none of the tokenizer's"))
                .at(file)
                .help("tokenizer.json, generation_config.json and config.json must come from one checkpoint"));
        }
        let stop = settings.stop_strings.as_ref().map(|stop| stop.all("stop_strings")).transpose();
        Ok(Self {
            pad: settings.pad_token_id.unwrap_or(end[0]),
            stop: stop.map_err(|fault| fault.at(file))?.unwrap_or_default(),
            end,
            tokenizer,
            longest: config.max_seq_len,
            settings,
        })
    }

    /// The tokens that come before the answer to `row`; of nothing, the token that stands between texts.
    fn prompt(&self, row: &Row) -> Result<Vec<u32>> {
        self.read(row.source.as_deref().unwrap_or_default())
    }

    /// The tokens of a prompt.
    fn read(&self, prompt: &str) -> Result<Vec<u32>> {
        let tokens = self.tokenizer.encode(prompt)?;
        if tokens.len() >= self.longest {
            return Err(Fault::input(format!(
                "a prompt of {} tokens leaves no room in a model that reads {}",
                tokens.len(),
                self.longest
            ))
            .help("shorten the prompt"));
        }
        Ok(if tokens.is_empty() { vec![self.end[0]] } else { tokens })
    }

    /// How many tokens may follow `prompt`.
    fn room(&self, prompt: &[u32], asked: &Asked) -> usize {
        let usual = || self.settings.rules(Vec::new(), prompt.len(), MAX_NEW).max_new;
        asked.max_new.unwrap_or_else(usual).min(self.longest - prompt.len())
    }

    /// What follows each of `prompts`, at most `room` tokens; `told` sees parts of the text of each as they become certain.
    fn say(
        &self,
        model: &dyn Model,
        prompts: &[Vec<u32>],
        room: usize,
        asked: &Asked,
        told: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<Vec<(Decoded, Ended)>> {
        let decode = |tokens: &[u32]| self.tokenizer.decode(tokens);
        let stop: Vec<String> = asked.stop.iter().chain(&self.stop).cloned().collect();
        let mut texts: Vec<Growing> = prompts.iter().map(|_| Growing::new(&decode, &stop)).collect();
        let rules = Rules { max_new: room, ..self.settings.rules(self.end.clone(), 0, room) };
        let said = generate_telling(model, None, prompts, &rules, &asked.search, &mut |sequence, token| {
            let goes_on = texts[sequence].push(token)?;
            told(texts[sequence].fresh())?;
            Ok(goes_on)
        })?;
        let finished = texts.iter_mut().zip(said).map(|(text, tokens)| {
            // A search that does not go token by token tells nothing on the way.
            let untold = &tokens[text.tokens().len()..];
            untold.iter().try_fold(true, |goes_on, &token| if goes_on { text.push(token) } else { Ok(false) })?;
            told(text.rest())?;
            let ended = match (text.is_stopped(), tokens.len() == room) {
                (true, _) => Ended::Stop,
                (false, true) => Ended::Length,
                (false, false) => Ended::End,
            };
            Ok((Decoded { text: text.text().to_owned(), tokens }, ended))
        });
        finished.collect()
    }
}

impl Processor for MptProcessor {
    /// The model reads the prompt and the answer as one text; the tokens of the answer and the end after them are its labels. Both are
    /// turned into tokens apart, as they are when the answer is to be found.
    fn example(&self, row: &Row) -> Result<Example> {
        let mut decoder = self.prompt(row)?;
        let prompt = decoder.len();
        decoder.extend(self.tokenizer.encode(&row.text)?);
        if decoder.len() > self.longest {
            let message = format!("prompt and answer {:?} need {} of {} tokens", row.text, decoder.len(), self.longest);
            return Err(Fault::input(message).help("shorten the row, or leave it out of the manifest"));
        }
        let answer = decoder[prompt..].iter().chain(&self.end[..1]).map(|&token| i64::from(token));
        let labels = std::iter::repeat_n(IGNORE, prompt - 1).chain(answer).collect();
        Ok(Example { input: Input::Nothing, decoder, labels })
    }

    fn pad(&self) -> u32 {
        self.pad
    }

    /// A few numbers.
    fn probe(&self) -> Row {
        Row { source: Some("1 2 3 4 5 6".into()), text: " 7 8".into(), ..Row::default() }
    }

    /// Rows go together where as many tokens may follow, so that what is said to a row does not depend on its neighbours.
    fn decode(&self, model: &dyn Model, rows: &[Row], search: Option<&Search>) -> Result<Vec<Decoded>> {
        let asked = Asked { search: search.cloned().unwrap_or_default(), ..Asked::default() };
        let prompts = rows.iter().map(|row| self.prompt(row)).collect::<Result<Vec<_>>>()?;
        let mut by_room: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, prompt) in prompts.iter().enumerate() {
            by_room.entry(self.room(prompt, &asked)).or_default().push(index);
        }
        let mut decoded = vec![Decoded { text: String::new(), tokens: Vec::new() }; rows.len()];
        for (room, indices) in by_room {
            for group in indices.chunks(BATCH) {
                let prompts: Vec<_> = group.iter().map(|&index| prompts[index].clone()).collect();
                let said = self.say(model, &prompts, room, &asked, &mut |_| Ok(()))?;
                group.iter().zip(said).for_each(|(&index, (said, _))| decoded[index] = said);
            }
        }
        Ok(decoded)
    }

    fn continue_text(
        &self,
        model: &dyn Model,
        prompt: &str,
        asked: &Asked,
        told: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<(Decoded, Ended)> {
        let prompt = self.read(prompt)?;
        let room = self.room(&prompt, asked);
        let said = self.say(model, &[prompt], room, asked, told)?;
        said.into_iter().next().ok_or_else(|| Fault::internal("a prompt without a continuation"))
    }
}

/// The token that ends a text by the tokenizer's own settings, where those of generation do not say.
fn named_end(checkpoint: &Checkpoint, tokenizer: &Tokenizer) -> Result<u32> {
    let fields = match checkpoint.companions.contains_key(TOKENIZER_SETTINGS) {
        true => checkpoint.companion_json(TOKENIZER_SETTINGS)?,
        false => Value::Null,
    };
    let token = fields.get("eos_token").unwrap_or(&Value::Null);
    let text = token.as_str().or_else(|| token.get("content")?.as_str());
    text.and_then(|text| tokenizer.id(text)).ok_or_else(|| {
        Fault::input("no file of the checkpoint names the token that ends a text, `eos_token_id`")
            .help("write it into generation_config.json, such as {\"eos_token_id\": 0}")
    })
}
