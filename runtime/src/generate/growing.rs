//! A text that grows token by token: what of it can be shown already, and whether it has said something that ends it.

use crate::Result;

/// What stands for bytes that are no character yet.
const UNFINISHED: char = '\u{FFFD}';

/// The text of one sequence, and how much of it was handed out.
pub struct Growing<'a> {
    /// From tokens to their text.
    decode: &'a dyn Fn(&[u32]) -> Result<String>,
    /// Strings that end the text, and are no part of it.
    stop: &'a [String],
    tokens: Vec<u32>,
    text: String,
    shown: usize,
    stopped: bool,
}

impl<'a> Growing<'a> {
    /// No text yet.
    pub fn new(decode: &'a dyn Fn(&[u32]) -> Result<String>, stop: &'a [String]) -> Self {
        Self { decode, stop, tokens: Vec::new(), text: String::new(), shown: 0, stopped: false }
    }

    /// Takes in the next token; whether the text goes on.
    ///
    /// # Errors
    /// A token that is none of the tokenizer's.
    pub fn push(&mut self, token: u32) -> Result<bool> {
        self.tokens.push(token);
        self.text = (self.decode)(&self.tokens)?;
        let ends = self.stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| self.text.find(stop.as_str()));
        if let Some(end) = ends.min() {
            self.text.truncate(end);
            self.stopped = true;
        }
        Ok(!self.stopped)
    }

    /// What can be shown now and was not before: nothing that a later token may still change, or that may become one of the strings
    /// that end the text.
    pub fn fresh(&mut self) -> &str {
        let safe = if self.stopped { self.text.len() } else { self.settled() };
        let from = self.shown.min(safe);
        self.shown = self.shown.max(safe);
        &self.text[from..safe]
    }

    /// The rest of the text, once no token follows.
    pub fn rest(&mut self) -> &str {
        let from = self.shown.min(self.text.len());
        self.shown = self.text.len();
        &self.text[from..]
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its tokens; those of a string that ended it are among them.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Whether one of the strings ended it.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// How many bytes stay as they are whatever follows.
    fn settled(&self) -> usize {
        let whole = self.text.trim_end_matches(UNFINISHED);
        let is_begun = |&start: &usize| {
            let tail = &whole[start..];
            self.stop.iter().any(|stop| stop.len() > tail.len() && stop.starts_with(tail))
        };
        let starts = whole.char_indices().map(|(at, _)| at).rev().take(self.stop.iter().map(String::len).max().unwrap_or(0));
        starts.filter(is_begun).min().unwrap_or(whole.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each token is a byte of the text.
    fn decode(tokens: &[u32]) -> Result<String> {
        Ok(String::from_utf8_lossy(&tokens.iter().map(|&token| token as u8).collect::<Vec<_>>()).into_owned())
    }

    /// What is shown after each byte of `text`, and the text in the end.
    fn grown(text: &str, stop: &[&str]) -> (Vec<String>, String) {
        let stop: Vec<String> = stop.iter().map(|&stop| stop.to_owned()).collect();
        let mut growing = Growing::new(&decode, &stop);
        let mut shown = Vec::new();
        for byte in text.bytes() {
            let goes_on = growing.push(u32::from(byte)).unwrap();
            shown.push(growing.fresh().to_owned());
            if !goes_on {
                break;
            }
        }
        shown.push(growing.rest().to_owned());
        assert_eq!(shown.concat(), growing.text());
        (shown, growing.text().to_owned())
    }

    #[test]
    fn a_character_is_shown_when_it_is_whole() {
        let (shown, text) = grown("aé€", &[]);
        assert_eq!(shown, ["a", "", "é", "", "", "€", ""]);
        assert_eq!(text, "aé€");
    }

    #[test]
    fn what_may_become_a_stop_string_waits_until_it_is_none() {
        let (shown, text) = grown("ab##c###d", &["###"]);
        assert_eq!(shown, ["a", "b", "", "", "##c", "", "", "", ""]);
        assert_eq!(text, "ab##c");
        let (shown, text) = grown("one\n", &["\n\n"]);
        assert_eq!((shown.last().unwrap().as_str(), text.as_str()), ("\n", "one\n"), "it did not end so");
    }

    #[test]
    fn the_first_of_several_ends_the_text_and_an_empty_one_does_not() {
        assert_eq!(grown("a.b;c", &[";", ".", ""]).1, "a");
        assert_eq!(grown("übung", &["un"]).1, "üb");
        assert_eq!(grown(".", &["."]).1, "");
    }

    #[test]
    fn bytes_that_never_become_a_character_are_shown_in_the_end() {
        let mut growing = Growing::new(&decode, &[]);
        assert!(growing.push(0xC3).unwrap());
        assert_eq!(growing.fresh(), "");
        assert_eq!(growing.rest(), "\u{FFFD}");
    }
}
