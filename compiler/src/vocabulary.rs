//! How the words of recipes are described to the compiler, which knows none of them.
//!
//! Whoever executes plans hands over a [`Vocabulary`]. One [`Word`] gives type checking, defaults, documentation, completion
//! and "did you mean"; adding one never touches the grammar, the parser or the checker.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::facts::Module;
use crate::kind::{Kind, Shelf};
use crate::value::Call;

/// Whether a layer has the property that a predicate asks for; `Call` holds the predicate's arguments.
pub type Test = fn(&Module, &Call) -> bool;

/// What a word is for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A value: a method, a segment of a schedule, a choice with arguments.
    Value,
    /// A node of the stage graph, executed as a step of the plan.
    Stage,
    /// Measured when a `require` is judged; allowed nowhere else.
    Metric,
    /// A selector of layers that have a property.
    Predicate(#[serde(skip)] Test),
    /// Not executed itself: the plan holds, for each element of the list `over`, one call of the `def` in `step`, its first
    /// argument what the previous call yielded (the first time, the argument `seed`), its second the element.
    Unrolled {
        /// The parameter that starts the chain; the word yields its kind.
        seed: String,
        /// The parameter of kind [`Kind::List`].
        over: String,
        /// The parameter of kind [`Kind::Function`].
        step: String,
    },
}

/// Where a selector in a word's arguments looks for layers, and where the layers of a model that it yields come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layers {
    /// The word has nothing to do with layers.
    None,
    /// They are those of the model in this parameter.
    Of(String),
    /// They come from outside: [`crate::Facts::modules`] lists them.
    Outside,
}

/// A form of literal that stands for a call of a word with two whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Literal {
    /// `2:4`.
    Colon,
    /// `4x1`.
    Cross,
}

/// Whether a parameter must be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It must be given.
    Required,
    /// It may be left out, and is then absent from the call.
    Optional,
    /// It may be left out, and is then what this text says in a recipe: `1%`, `128`, `linear except head`.
    Default(String),
}

/// One parameter of a word.
#[derive(Clone, Debug, Serialize)]
pub struct Param {
    /// Its label in a call.
    pub name: String,
    /// What it takes.
    pub kind: Kind,
    /// Whether it must be given.
    pub presence: Presence,
    /// Whether it may be given without its label; such parameters come first.
    pub positional: bool,
    /// The values allowed, both ends included, as a recipe writes them: `0%..95%`.
    pub range: Option<String>,
    /// One line that says what it does.
    pub doc: String,
}

impl Param {
    /// A required, labelled parameter.
    pub fn new(name: impl Into<String>, kind: Kind, doc: impl Into<String>) -> Self {
        Self { name: name.into(), kind, presence: Presence::Required, positional: false, range: None, doc: doc.into() }
    }

    /// May be given without its label.
    pub fn positional(mut self) -> Self {
        self.positional = true;
        self
    }

    /// May be left out.
    pub fn optional(mut self) -> Self {
        self.presence = Presence::Optional;
        self
    }

    /// May be left out, and is then `text`.
    pub fn default(mut self, text: impl Into<String>) -> Self {
        self.presence = Presence::Default(text.into());
        self
    }

    /// Must lie in `range`, ends included, written as in a recipe: `0%..95%`.
    pub fn within(mut self, range: impl Into<String>) -> Self {
        self.range = Some(range.into());
        self
    }
}

/// One word.
#[derive(Clone, Debug, Serialize)]
pub struct Word {
    /// How a recipe writes it.
    pub name: String,
    /// What it yields.
    pub kind: Kind,
    /// What it is for.
    pub role: Role,
    /// Its parameters: positional ones first.
    pub params: Vec<Param>,
    /// Where its layers are.
    pub layers: Layers,
    /// The parameter, a record, whose labels are the fields of the data set that it yields.
    pub fields: Option<String>,
    /// The form of literal that stands for it; its first two parameters take the two whole numbers.
    pub literal: Option<Literal>,
    /// Raised whenever the same arguments come to mean another result; enters every fingerprint.
    pub version: u32,
    /// What it does, one line first.
    pub doc: String,
}

impl Word {
    fn new(name: impl Into<String>, kind: Kind, role: Role, doc: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            role,
            params: Vec::new(),
            layers: Layers::None,
            fields: None,
            literal: None,
            version: 1,
            doc: doc.into(),
        }
    }

    /// A stage that yields `kind`.
    pub fn stage(name: impl Into<String>, kind: Kind, doc: impl Into<String>) -> Self {
        Self::new(name, kind, Role::Stage, doc)
    }

    /// A method on the shelf `shelf`.
    pub fn method(name: impl Into<String>, shelf: impl Into<String>, doc: impl Into<String>) -> Self {
        Self::new(name, Kind::method(shelf), Role::Value, doc)
    }

    /// A plain value of any kind, such as a part of a data set.
    pub fn value(name: impl Into<String>, kind: Kind, doc: impl Into<String>) -> Self {
        Self::new(name, kind, Role::Value, doc)
    }

    /// A segment of a schedule. It takes `for:` by itself; what the schedule is made of is [`Kind::Element`] in its parameters.
    pub fn segment(name: impl Into<String>, doc: impl Into<String>) -> Self {
        Self::new(name, Kind::schedule(Kind::Element), Role::Value, doc)
    }

    /// Something that `require` measures; `kind` is a quantity.
    pub fn metric(name: impl Into<String>, kind: Kind, doc: impl Into<String>) -> Self {
        Self::new(name, kind, Role::Metric, doc)
    }

    /// A selector of the layers for which `test` holds.
    pub fn predicate(name: impl Into<String>, test: Test, doc: impl Into<String>) -> Self {
        Self::new(name, Kind::Selector, Role::Predicate(test), doc)
    }

    /// A word that becomes a chain of calls of a `def`: see [`Role::Unrolled`].
    pub fn unrolled(name: impl Into<String>, kind: Kind, [seed, over, step]: [&str; 3], doc: impl Into<String>) -> Self {
        let role = Role::Unrolled { seed: seed.to_owned(), over: over.to_owned(), step: step.to_owned() };
        Self::new(name, kind, role, doc).layers_of(seed)
    }

    /// Adds a parameter.
    pub fn param(mut self, param: Param) -> Self {
        self.params.push(param);
        self
    }

    /// Selectors look at the model in `param`, and a model that this yields has the same layers.
    pub fn layers_of(mut self, param: impl Into<String>) -> Self {
        self.layers = Layers::Of(param.into());
        self
    }

    /// The layers of the model that this yields come from outside.
    pub fn layers_outside(mut self) -> Self {
        self.layers = Layers::Outside;
        self
    }

    /// The data set that this yields has a field for each label of the record in `param`.
    pub fn fields_from(mut self, param: impl Into<String>) -> Self {
        self.fields = Some(param.into());
        self
    }

    /// `2:4` or `4x1` may stand for this word.
    pub fn literal(mut self, literal: Literal) -> Self {
        self.literal = Some(literal);
        self
    }

    /// Sets the version of the algorithm.
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// The parameter of this name.
    pub fn find_param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|param| param.name == name)
    }

    /// Whether it is a node of the stage graph.
    pub fn is_stage(&self) -> bool {
        matches!(self.role, Role::Stage)
    }

    /// The call as the reference shows it: `name(first, label: kind = default)`.
    pub fn signature(&self) -> String {
        let params: Vec<String> = self
            .params
            .iter()
            .map(|param| match (&param.presence, param.positional) {
                (Presence::Default(text), _) => format!("{}: … = {text}", param.name),
                (Presence::Optional, _) => format!("{}: …?", param.name),
                (Presence::Required, true) => param.name.clone(),
                (Presence::Required, false) => format!("{}: …", param.name),
            })
            .collect();
        if params.is_empty() { self.name.clone() } else { format!("{}({})", self.name, params.join(", ")) }
    }
}

/// Every word, and the editions that they serve.
#[derive(Clone, Debug, Serialize)]
pub struct Vocabulary {
    words: Vec<Word>,
    editions: Vec<u32>,
}

impl Vocabulary {
    /// A vocabulary for recipes of `editions`.
    ///
    /// # Errors
    /// A sentence for each word that contradicts itself or another: see the tests of this file.
    pub fn new(words: Vec<Word>, editions: &[u32]) -> Result<Self, Vec<String>> {
        let vocabulary = Self { words, editions: editions.to_vec() };
        let wrong = vocabulary.contradictions();
        if wrong.is_empty() { Ok(vocabulary) } else { Err(wrong) }
    }

    /// Every word, in the order given.
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// The editions that a recipe can name.
    pub fn editions(&self) -> &[u32] {
        &self.editions
    }

    /// Every word of this name; one name may stand on several shelves.
    pub fn find(&self, name: &str) -> impl Iterator<Item = &Word> {
        self.words.iter().filter(move |word| word.name == name)
    }

    /// The shelves that the words name, each once, in order.
    pub fn shelves(&self) -> BTreeSet<&Shelf> {
        let shelves = self.words.iter().filter_map(|word| match &word.kind {
            Kind::Method(shelf) => Some(shelf),
            _ => None,
        });
        shelves.collect()
    }

    fn contradictions(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut seen = BTreeSet::new();
        for word in &self.words {
            if !seen.insert((&word.name, format!("{:?}", word.kind))) {
                wrong.push(format!("`{}` is there twice as {}", word.name, word.kind));
            }
            wrong.extend(word.contradictions().into_iter().map(|what| format!("`{}`: {what}", word.name)));
        }
        wrong.extend(crate::check::contradictions(self));
        wrong
    }
}

impl Word {
    fn contradictions(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut labelled = false;
        let mut names = BTreeSet::new();
        for param in &self.params {
            if !names.insert(&param.name) {
                wrong.push(format!("two parameters are called `{}`", param.name));
            }
            if param.positional && labelled {
                wrong.push(format!("`{}` is positional behind a labelled parameter", param.name));
            }
            labelled |= !param.positional;
        }
        let mut needs = |name: &str, fits: fn(&Kind) -> bool, what: &str| match self.find_param(name) {
            Some(param) if fits(&param.kind) => {}
            _ => wrong.push(format!("`{name}` should be a parameter that takes {what}")),
        };
        if let Layers::Of(model) = &self.layers {
            needs(model, |kind| *kind == Kind::Model, "a model");
        }
        if let Some(record) = &self.fields {
            needs(record, |kind| matches!(kind, Kind::Record(_)), "a record");
        }
        if let Role::Unrolled { seed, over, step } = &self.role {
            needs(seed, Kind::flows, "what a stage yields");
            needs(over, |kind| matches!(kind, Kind::List(_)), "a list");
            needs(step, |kind| matches!(kind, Kind::Function(params, _) if params.len() == 2), "a def of two parameters");
        }
        if self.kind.flows() && matches!(self.role, Role::Value) && self.kind != Kind::Dataset {
            wrong.push("what yields a model or an artifact is a stage".to_owned());
        }
        if self.literal.is_some() && !self.params.iter().take(2).all(|param| param.kind == Kind::Integer) {
            wrong.push("a literal needs two whole numbers as first parameters".to_owned());
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(word: Word) -> String {
        Vocabulary::new(vec![word], &[2026]).expect_err("it contradicts itself").join("; ")
    }

    #[test]
    fn words_that_contradict_themselves_are_refused() {
        let flour = || Param::new("flour", Kind::Rows, "");
        assert!(complaint(Word::method("knead", "step", "").param(flour()).param(flour())).contains("two parameters"));
        assert!(complaint(Word::method("knead", "step", "").param(flour()).param(flour().positional())).contains("behind"));
        assert!(complaint(Word::stage("knead", Kind::Model, "").layers_of("dough")).contains("a model"));
        assert!(complaint(Word::method("grid", "tin", "").literal(Literal::Cross).param(flour())).contains("two whole"));
        assert!(complaint(Word::stage("bake", Kind::Dataset, "").fields_from("trays")).contains("a record"));
    }

    #[test]
    fn one_name_may_stand_on_two_shelves_but_not_twice_on_one() {
        let words = vec![Word::method("plain", "cake", ""), Word::method("plain", "bread", "")];
        assert!(Vocabulary::new(words.clone(), &[2026]).is_ok());
        assert!(Vocabulary::new([words.clone(), words].concat(), &[2026]).is_err());
    }
}
