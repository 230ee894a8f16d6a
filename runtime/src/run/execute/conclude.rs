//! The end of a run: its models are measured and compared, and the report is written.

use std::path::Path;
use std::time::Instant;

use sparsec_compiler::Step;

use super::Run;
use crate::report::{Environment, ModelRecord, Param, Report, miscompilation};
use crate::run::{Event, Events, Outcome, keys, models, read_json};
use crate::stage::Inputs;
use crate::{Result, disk, engine};

impl<'a> Run<'a> {
    /// The report, and where it lies.
    pub(super) fn finish(self, events: &mut dyn Events) -> Result<Outcome> {
        let key = keys::hash(self.keys.iter().chain(&self.pinned));
        let folder = self.state.report(&keys::part(&key, if self.options.despite_bars { "despite bars" } else { "" }));
        let json = folder.join("report.json");
        let page = folder.join("report.html");
        let known: Option<Report> = if self.worked { None } else { read_json(&json).ok() };
        let nothing_to_do = known.is_some();
        let report = match known {
            Some(report) => report,
            None => self.report(&folder.join("tuning.json"), events)?,
        };
        if !nothing_to_do || !page.is_file() {
            let html = report.to_html()?;
            disk::write_file(&page, |file| file.write_all(html.as_bytes()))?;
            // Last, for it says that the rest is there.
            disk::write_json(&json, &report)?;
        }
        let mut files = vec![json, page];
        for export in &report.exports {
            for original in ["report.json", "report.html"] {
                let copy = self.output(&format!("{}.{original}", export.to.trim_end_matches('/')))?;
                disk::copy(&folder.join(original), &copy)?;
                files.push(copy);
            }
        }
        Ok(Outcome { report, files, nothing_to_do })
    }

    /// Measures the models. Their kernels are chosen first and the times behind the choice kept as `tuning`, so that all figures are
    /// of the same kernels.
    fn report(&self, tuning: &Path, events: &mut dyn Events) -> Result<Report> {
        let steps = self.compared();
        let checkpoints = steps.iter().map(|step| self.model(step.id)).collect::<Result<Vec<_>>>()?;
        let mut records = Vec::with_capacity(steps.len());
        for (step, checkpoint) in steps.iter().zip(&checkpoints) {
            let scores = self.scores.iter().filter(|(id, _)| *id == step.id).map(|(_, score)| score.clone()).collect();
            records.push(ModelRecord { scores, ..models::sizes(&step.name, checkpoint)? });
        }
        events.event(Event::Measuring);
        let began = Instant::now();
        let engines = checkpoints.iter().map(|checkpoint| self.engine(checkpoint, events)).collect::<Result<Vec<_>>>()?;
        match &self.options.tuning {
            Some(given) => disk::copy(given, tuning)?,
            None => [tuning, &self.state.tuning()].iter().try_for_each(|path| engine::write_tuning(&self.tuning, path))?,
        }
        for (record, engine) in records.iter_mut().zip(&engines) {
            record.kernels.clone_from(&engine.kernels);
        }
        let scratch = self.state.root().join("scratch");
        let mut told = |done: usize, total: usize| self.tell(events, done, total, "models");
        models::weigh(&checkpoints, &mut records, &scratch, tuning, self.options.peak_memory, &mut told)?;
        let mut notes = Vec::new();
        let mut told = |done: usize, total: usize| self.tell(events, done, total, "runs");
        match &self.scored {
            Some(rows) => models::time(&checkpoints, &engines, &mut records, rows, &mut told)?,
            None => notes.push("speed was not measured: no `require` names data to measure it on".to_owned()),
        }
        for record in records.iter().filter(|_| self.pinned.is_some()) {
            let unknown = record.kernels.iter().filter(|kernel| kernel.micros.is_empty()).count();
            if unknown > 0 {
                notes.push(format!(
                    "{}: the tuning file does not know {unknown} of {} products, which run the kernels of a fixed rule; was it measured \
                     with other threads or on another machine?",
                    record.name,
                    record.kernels.len()
                ));
            }
        }
        let miscompiled =
            records.iter().filter_map(|record| Some(format!("{}: {}", record.name, miscompilation(&record.kernels)?)));
        for note in miscompiled {
            events.event(Event::Note(&note));
            notes.insert(0, note);
        }
        if checkpoints.iter().any(|checkpoint| !checkpoint.quantized.is_empty()) {
            notes.push(
                "INT8 layers ran in INT8: activations are rounded to 8 bits per token, and the sums of products are exact integers; scores \
                 are scores of exactly this arithmetic"
                    .to_owned(),
            );
        }
        events.event(Event::Measured { seconds: began.elapsed().as_secs_f64() });
        Ok(Report {
            recipe: self.options.sources.name(self.options.sources.root()).to_owned(),
            params: self.plan.params.iter().map(param).collect(),
            environment: environment(),
            stages: self.records.clone(),
            models: records,
            requires: self.verdicts.iter().map(|(_, verdict)| verdict.clone()).collect(),
            exports: self.exports.clone(),
            notes,
        })
    }

    /// The models to compare: those that a bar scores or that are exported, the first one made first.
    fn compared(&self) -> Vec<&'a Step> {
        let exported = self.exports.iter().filter_map(|export| self.plan.steps.iter().find(|step| step.name == export.model));
        let scored = self.scores.iter().filter_map(|(id, _)| self.plan.step(*id));
        let mut steps: Vec<&Step> = exported.chain(scored).collect();
        steps.sort_by_key(|step| step.id);
        steps.dedup_by_key(|step| step.id);
        steps
    }
}

fn param(param: &sparsec_compiler::ParamValue) -> Param {
    let origin = match param.origin {
        sparsec_compiler::Origin::Default => "default",
        sparsec_compiler::Origin::Set => "--set",
        sparsec_compiler::Origin::Import => "import",
    };
    Param { name: param.name.clone(), value: param.value.to_string(), origin: origin.to_owned() }
}

/// The machine and the build that figures belong to.
fn environment() -> Environment {
    let cpu = sparsec_kernels::Cpu::this();
    Environment {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cpu: cpu.model.clone(),
        tier: cpu.tier.to_string(),
        threads: rayon::current_num_threads(),
        build: if cfg!(debug_assertions) { "dev" } else { "release" }.to_owned(),
    }
}
