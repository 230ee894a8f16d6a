//! Text to token ids and back, as `tokenizer.json` of a checkpoint says.

use crate::{Checkpoint, Fault, Result};

/// The file that holds all of it.
const FILE: &str = "tokenizer.json";
/// The slow form of it, which older checkpoints have.
const SENTENCEPIECE: &str = "spiece.model";

/// A tokenizer whose ids all belong to the model it came with.
pub struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    vocab: usize,
}

impl Tokenizer {
    /// The tokenizer of `checkpoint`, whose model has `vocab` tokens.
    ///
    /// # Errors
    /// When `tokenizer.json` is missing, cannot be read, or knows more tokens than the model.
    pub fn of(checkpoint: &Checkpoint, vocab: usize) -> Result<Self> {
        let bytes = checkpoint.companions.get(FILE).ok_or_else(|| missing(checkpoint))?;
        let tokenizer = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|error| Fault::input(format!("this tokenizer cannot be read: {error}")).at(FILE))?;
        match tokenizer.get_vocab_size(true) {
            known if known > vocab => Err(foreign(format!("this tokenizer has {known} tokens, and the model {vocab}"))),
            _ => Ok(Self { tokenizer, vocab }),
        }
    }

    /// The token that is written `text`.
    pub fn id(&self, text: &str) -> Option<u32> {
        self.tokenizer.token_to_id(text)
    }

    /// Whether `id` is one of its tokens.
    pub fn knows(&self, id: u32) -> bool {
        self.tokenizer.id_to_token(id).is_some()
    }

    /// The tokens of `text`, without any prompt or end.
    ///
    /// # Errors
    /// When the text cannot be written in tokens of the model.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false);
        let encoding = encoding.map_err(|error| Fault::input(format!("{text:?} cannot be tokenized: {error}")))?;
        match encoding.get_ids().iter().find(|&&id| id as usize >= self.vocab) {
            None => Ok(encoding.get_ids().to_vec()),
            Some(id) => Err(foreign(format!("{text:?} has token {id}, and the model has {} tokens", self.vocab))),
        }
    }

    /// The text of `ids`, special tokens left out.
    ///
    /// # Errors
    /// When the tokenizer's own decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, true).map_err(|error| Fault::input(format!("tokens cannot be decoded: {error}")).at(FILE))
    }
}

/// The fault of a checkpoint without the file.
fn missing(checkpoint: &Checkpoint) -> Fault {
    let fault = Fault::input(format!("the checkpoint has no {FILE}"));
    match checkpoint.companions.contains_key(SENTENCEPIECE) {
        true => fault.help(format!(
            "it has {SENTENCEPIECE} alone, the slow form; convert it once with transformers: \
             `python -c \"from transformers import AutoTokenizer as T; T.from_pretrained('FOLDER').save_pretrained('FOLDER')\"`"
        )),
        false => fault.help("save the tokenizer in its fast form: `tokenizer.save_pretrained` of transformers writes it"),
    }
}

/// The fault of a tokenizer of another model.
fn foreign(message: String) -> Fault {
    Fault::input(message).at(FILE).help("tokenizer.json and config.json do not belong together")
}
