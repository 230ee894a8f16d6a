//! An invented vocabulary, so that the compiler is tested without any word of the real one: gardens are models, seeds are data
//! sets, a basket is an artifact.

use sparsec_compiler::{
    Call, Compilation, Facts, Field, Kind, Literal, Module, Options, Param, Refusal, SourceSet, StageGraph, Value, Vocabulary,
    Word, compile,
};

fn is_bed(module: &Module, _: &Call) -> bool {
    module.kind == "bed"
}

fn has_duty(module: &Module, call: &Call) -> bool {
    call.get("duty").and_then(Value::as_name).is_some_and(|duty| module.role == duty)
}

fn divides(module: &Module, call: &Call) -> bool {
    let side = match call.get("side").and_then(Value::as_name) {
        Some("rows") => module.shape.first(),
        _ => module.shape.last(),
    };
    let by = call.get("by").and_then(Value::as_integer).unwrap_or(1);
    side.is_some_and(|side| i64::try_from(*side).is_ok_and(|side| side % by.max(1) == 0))
}

/// The words of a garden.
pub(crate) fn vocabulary() -> Vocabulary {
    let words = [stages(), methods(), schedules(), selectors(), metrics()].concat();
    Vocabulary::new(words, &[2025, 2026]).unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")))
}

fn stages() -> Vec<Word> {
    let garden = || Param::new("garden", Kind::Model, "The garden to work on.").positional();
    vec![
        Word::stage("grow", Kind::Model, "Grows a garden from a plan on disk.")
            .layers_outside()
            .param(Param::new("from", Kind::InputPath, "The plan.").positional())
            .param(Param::new("climate", Kind::method("climate"), "Where it grows.").default("mild")),
        Word::stage("seeds", Kind::Dataset, "Opens a bag of seeds.")
            .fields_from("split")
            .param(Param::new("bag", Kind::method("bag"), "Which bag.").positional())
            .param(Param::new("split", Kind::record(Kind::Ratio), "Its parts.").default("[spring: 80%, autumn: 20%]"))
            .param(Param::new("shake", Kind::Integer, "How it is shaken.").default("17").within("0..1000")),
        Word::stage("trim", Kind::Model, "Cuts plants back.")
            .layers_of("garden")
            .param(garden())
            .param(Param::new("beds", Kind::Selector, "Which beds.").default("bed"))
            .param(Param::new("tool", Kind::method("tool"), "How.").default("shears(angle: 30)"))
            .param(Param::new("pattern", Kind::method("pattern"), "Where gaps may be.").default("wild"))
            .param(Param::new("probe", Kind::Dataset, "Seeds to try it with.").optional())
            .param(Param::new("amount", Kind::schedule(Kind::Ratio), "How much.").within("0%..95%")),
        Word::stage("tend", Kind::Model, "Tends a garden for a while.")
            .layers_of("garden")
            .version(3)
            .param(garden())
            .param(Param::new("seeds", Kind::Dataset, "What is sown."))
            .param(Param::new("idol", Kind::Model, "A garden to look up to.").optional())
            .param(Param::new("care", Kind::weighted("care"), "What is cared for.").default("water"))
            .param(Param::new("gardener", Kind::method("gardener"), "Who does it.").default("robot(speed: 2e-4)"))
            .param(Param::new("habit", Kind::method("habit"), "What happens now and then.").optional())
            .param(Param::new("rest", Kind::Time, "Pause after each day.").default("20 ms"))
            .param(Param::new("room", Kind::Bytes, "Space for tools.").optional())
            .param(Param::new("for", Kind::Duration, "How long.")),
        Word::stage("paint", Kind::Model, "Paints fences.")
            .layers_of("garden")
            .param(garden())
            .param(Param::new("beds", Kind::Selector, "Which beds."))
            .param(Param::new("depth", Kind::Bits, "Colour depth.").default("8 bits").within("1 bit..16 bits"))
            .param(Param::new("mode", Kind::choice(["matt", "gloss"]), "The finish.").default("matt"))
            .param(Param::new("twice", Kind::Flag, "Whether to do it twice.").default("false")),
        Word::unrolled("seasons", Kind::Model, ["garden", "at", "step"], "One step after the other.")
            .param(garden())
            .param(Param::new("at", Kind::list(Kind::Ratio), "The argument of each step."))
            .param(Param::new("step", Kind::Function(vec![Kind::Model, Kind::Ratio], Box::new(Kind::Model)), "The step.")),
        Word::stage("harvest", Kind::Artifact, "Brings it home.")
            .layers_of("garden")
            .param(garden())
            .param(Param::new("to", Kind::OutputPath, "Where to."))
            .param(Param::new("label", Kind::Text, "What is written on it.").default("\"garden\"")),
        Word::value("handful", Kind::Dataset, "Some of the seeds.")
            .param(Param::new("of", Kind::Dataset, "Which.").positional())
            .param(Param::new("rows", Kind::Rows, "How many.").positional()),
    ]
}

fn methods() -> Vec<Word> {
    vec![
        Word::method("mild", "climate", "Neither hot nor cold."),
        Word::method("plain", "climate", "No weather at all."),
        Word::method("plain", "pattern", "No pattern at all."),
        Word::method("harsh", "climate", "Cold.").param(Param::new("frost", Kind::Integer, "Days of frost.")),
        Word::method("sack", "bag", "Seeds in a sack.").param(Param::new("path", Kind::InputPath, "The sack.").positional()),
        Word::method("shears", "tool", "Cuts by angle.").param(Param::new("angle", Kind::Number, "In degrees.").default("45")),
        Word::method("goat", "tool", "Eats what it likes.")
            .param(Param::new("hunger", Kind::Ratio, "How much.").default("1%").within("0%..100%"))
            .param(Param::new("herd", Kind::Integer, "How many goats.").default("128").within("1..4096")),
        Word::method("wild", "pattern", "Anywhere."),
        Word::method("rowwise", "pattern", "So many of so many in a row.")
            .literal(Literal::Colon)
            .param(Param::new("keep", Kind::Integer, "Kept.").within("1..64"))
            .param(Param::new("of", Kind::Integer, "Of.").within("2..64")),
        Word::method("tiles", "pattern", "In tiles.")
            .literal(Literal::Cross)
            .param(Param::new("tall", Kind::Integer, "Height."))
            .param(Param::new("wide", Kind::Integer, "Width.")),
        Word::method("water", "care", "Water."),
        Word::method("sunlight", "care", "Light."),
        Word::method("music", "care", "Song.")
            .param(Param::new("volume", Kind::schedule(Kind::Number), "How loud.").default("1.0")),
        Word::method("robot", "gardener", "Never tires.")
            .param(Param::new("speed", Kind::schedule(Kind::Number), "How fast."))
            .param(Param::new("betas", Kind::list(Kind::Number), "Two numbers.").default("[0.9, 0.999]")),
        Word::method("mow", "habit", "Mows while it grows.")
            .param(Param::new("beds", Kind::Selector, "Which beds.").positional())
            .param(Param::new("tool", Kind::method("tool"), "How.").default("goat"))
            .param(Param::new("amount", Kind::schedule(Kind::Ratio), "How much."))
            .param(Param::new("every", Kind::Duration, "How often.").default("100 steps")),
    ]
}

fn schedules() -> Vec<Word> {
    let values = || Param::new("values", Kind::range(Kind::Element), "From and to.").positional();
    vec![
        Word::segment("steady", "Does not change.").param(Param::new("value", Kind::Element, "The value.").positional()),
        Word::segment("line", "A straight line.").param(values()),
        Word::segment("swing", "Half a swing.").param(values()),
    ]
}

fn selectors() -> Vec<Word> {
    vec![
        Word::predicate("bed", is_bed, "Every bed."),
        // Also a schedule of that name: the kind expected decides.
        Word::predicate("line", |module, _| module.shape.len() == 1, "Everything long and thin."),
        Word::predicate("duty", has_duty, "By duty.").param(Param::new("duty", Kind::Role, "Which.").positional()),
        Word::predicate("divisible", divides, "By size.")
            .param(Param::new("side", Kind::choice(["rows", "columns"]), "Which side.").positional())
            .param(Param::new("by", Kind::Integer, "By how much.").within("1..1000000")),
    ]
}

fn metrics() -> Vec<Word> {
    let garden = || Param::new("garden", Kind::Model, "Which garden.").positional();
    vec![
        Word::metric("weeds", Kind::Ratio, "Share of weeds.")
            .param(garden())
            .param(Param::new("seen", Kind::Dataset, "On which seeds.").positional())
            .param(Param::new("beds", Kind::Selector, "Only there.").optional()),
        Word::metric("stroll", Kind::Time, "Time to walk through.").layers_of("garden").param(garden()),
        Word::metric("beauty", Kind::Number, "As a number.").param(garden()),
    ]
}

/// What the test knows about the world.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// Whether the checkpoint's layers and the rows of data are known.
    pub(crate) blind: bool,
    /// Imported texts by path.
    pub(crate) imports: Vec<(String, String)>,
}

/// The garden: two houses with four and two floors of three beds each, an entrance and a roof.
pub(crate) fn modules() -> Vec<Module> {
    let module = |path: String, kind: &str, role: &str, shape: Vec<usize>| {
        let parameters = shape.iter().product::<usize>() as u64;
        Module { path, kind: kind.to_owned(), role: role.to_owned(), shape, parameters, sparsity: None }
    };
    let mut modules = vec![module("estate.entrance".into(), "table", "", vec![50, 8])];
    for (house, floors) in [("greenhouse", 12), ("orchard", 2)] {
        for floor in 0..floors {
            let path = |name: &str| format!("estate.{house}.floors.{floor}.{name}");
            modules.push(module(path("bench.left"), "bed", "bench.left", vec![8, 8]));
            modules.push(module(path("bench.right"), "bed", "bench.right", vec![8, 8]));
            modules.push(module(path("pond"), "bed", "pond", vec![32, 8]));
            modules.push(module(path("path"), "edge", "", vec![8]));
        }
    }
    modules.push(module("estate.roof".into(), "bed", "roof", vec![50, 8]));
    modules
}

impl Facts for World {
    fn read(&self, path: &str) -> Result<String, Refusal> {
        let found = self.imports.iter().find(|(name, _)| name == path);
        found.map(|(_, text)| text.clone()).ok_or_else(|| Refusal::new(format!("there is no file `{path}`")))
    }

    fn modules(&self, call: &Call, _: &StageGraph) -> Result<Option<Vec<Module>>, Refusal> {
        match call.get("from").and_then(Value::as_input_path) {
            Some("desert") => Err(Refusal::new("`desert/plan.json` does not exist").help("point `from` to a folder with a plan")),
            _ if self.blind => Ok(None),
            _ => Ok(Some(modules())),
        }
    }

    fn fields(&self, call: &Call, _: &StageGraph) -> Result<Option<Vec<Field>>, Refusal> {
        let Some(parts) = call.get("split").and_then(Value::as_record) else { return Ok(None) };
        let rows = |share: &Value| share.as_ratio().map(|share| (share * 1000.0) as u64);
        Ok((!self.blind).then(|| parts.iter().map(|(name, share)| Field { name: name.clone(), rows: rows(share) }).collect()))
    }

    fn steps_per_epoch(&self, call: &Call, above: &StageGraph) -> Result<Option<u64>, Refusal> {
        let Some(part) = call.get("seeds").and_then(Value::as_step) else { return Ok(None) };
        let fields = above.stage(part.step).and_then(|stage| stage.fields.as_ref());
        let field = fields.and_then(|fields| fields.iter().find(|field| Some(&field.name) == part.field.as_ref()));
        Ok(field.and_then(|field| field.rows).map(|rows| rows / 8))
    }
}

/// Compiles one text in a world. Lines at its top that start with `//!` direct the test: `//! blind`, `//! set name=value`,
/// `//! file path` with the file's lines behind `//!   `.
pub(crate) fn compiled(name: &str, text: &str) -> Compilation {
    let mut world = World::default();
    let mut options = Options::default();
    for line in text.lines().filter_map(|line| line.strip_prefix("//! ")) {
        if let Some(content) = line.strip_prefix("  ") {
            let (_, file) = world.imports.last_mut().expect("a file is named before its lines");
            file.push_str(content);
            file.push('\n');
        } else if let Some(set) = line.strip_prefix("set ") {
            let (name, value) = set.split_once('=').expect("name=value");
            options.sets.push((name.to_owned(), value.to_owned()));
        } else if let Some(path) = line.strip_prefix("file ") {
            world.imports.push((path.to_owned(), String::new()));
        } else if line == "blind" {
            world.blind = true;
        }
    }
    compile(SourceSet::new(name, text), &vocabulary(), &world, &options)
}
