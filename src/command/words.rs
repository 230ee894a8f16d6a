//! `sparsec words`: the vocabulary.

use sparsec_compiler::{Presence, Role, Word};
use sparsec_runtime::vocabulary::vocabulary;
use sparsec_runtime::{Fault, Result};

use crate::exit::Exit;

/// List every word that a recipe can use, or explain one
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  sparsec words\n  sparsec words sparsegpt\n  sparsec words sparsegpt --markdown")]
pub struct Arguments {
    /// The word to explain
    word: Option<String>,
    /// Print Markdown: the page of the word, or an index of all words
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
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
    } else if arguments.markdown {
        outln!("{}", if arguments.word.is_some() { markdown(&words) } else { index(&words) }.trim_end());
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

/// The page of all words that share a name, as Markdown.
fn markdown(words: &[&Word]) -> String {
    let mut page = format!("# {}\n", words.first().map_or("", |word| &word.name));
    for word in words {
        page.push_str(&format!("\n```\n{}\n```\n\n*{}.* {}\n", word.signature(), kind(word), one_line(&word.doc)));
        if word.params.is_empty() {
            continue;
        }
        page.push_str("\n| parameter | kind | within | default | |\n|---|---|---|---|---|\n");
        for param in &word.params {
            let default = match &param.presence {
                Presence::Required => "required".to_owned(),
                Presence::Optional => "none".to_owned(),
                Presence::Default(text) => format!("`{text}`"),
            };
            let within = param.range.as_ref().map_or_else(String::new, |range| format!("`{range}`"));
            let cells = [format!("`{}`", param.name), param.kind.to_string(), within, default, one_line(&param.doc)];
            page.push_str(&format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")));
        }
    }
    page
}

/// The index of all words, as Markdown.
fn index(words: &[&Word]) -> String {
    let mut page = "# Words\n\nWhat a recipe can say; `sparsec words --markdown` prints this page, `sparsec words NAME --markdown` the others.\n\n\
                    | word | kind | |\n|---|---|---|\n"
        .to_owned();
    for word in words {
        page.push_str(&format!(
            "| [{0}]({0}.md) | {1} | {2} |\n",
            word.name,
            kind(word).replace('|', "\\|"),
            first_line(&word.doc)
        ));
    }
    page
}

/// A docstring as one paragraph.
fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
