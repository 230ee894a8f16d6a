//! `sparsec words`: the vocabulary.

use sparsec_compiler::{Presence, Role, Word};
use sparsec_runtime::vocabulary::vocabulary;
use sparsec_runtime::{Fault, Result};

use crate::exit::Exit;

/// List every word that a recipe can use, or explain one
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  sparsec words\n  sparsec words sparsegpt")]
pub struct Arguments {
    /// The word to explain
    word: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let words: Vec<&Word> = match &arguments.word {
        None => vocabulary().words().iter().collect(),
        Some(name) => vocabulary().find(name).collect(),
    };
    if words.is_empty() {
        return Err(Fault::input("there is no such word").help("`sparsec words` lists all of them"));
    }
    if arguments.json {
        super::print_json(&words)?;
    } else if arguments.word.is_some() {
        words.iter().for_each(|word| outln!("{}", page(word).trim_end()));
    } else {
        words.iter().for_each(|word| outln!("{:<14} {:<18} {}", word.name, kind(word), first_line(&word.doc)));
    }
    Ok(Exit::Done)
}

fn first_line(doc: &str) -> &str {
    doc.trim().lines().next().unwrap_or("").trim()
}

fn kind(word: &Word) -> String {
    match word.role {
        Role::Stage | Role::Unrolled { .. } => "stage".into(),
        Role::Metric => "metric".into(),
        Role::Predicate(_) => "selector".into(),
        Role::Value => word.kind.to_string(),
    }
}

/// The reference page of a word.
fn page(word: &Word) -> String {
    let mut page = format!("{}\n{}\n", word.signature(), kind(word));
    for line in word.doc.trim().lines() {
        page.push_str(&format!("  {}\n", line.trim()));
    }
    for param in &word.params {
        let presence = match &param.presence {
            Presence::Required => String::new(),
            Presence::Optional => ", optional".into(),
            Presence::Default(text) => format!(", default {text}"),
        };
        let range = param.range.as_ref().map(|range| format!(", within {range}")).unwrap_or_default();
        page.push_str(&format!("\n  {} ({}{range}{presence})\n      {}\n", param.name, param.kind, first_line(&param.doc)));
    }
    page.push('\n');
    page
}
