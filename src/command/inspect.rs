//! `sparsec inspect`: what is inside a checkpoint.

use sparsec_runtime::report::text::{bytes, count, percent};
use sparsec_runtime::{Checkpoint, Result, model};
use std::path::PathBuf;

use crate::exit::Exit;
use crate::terminal;

/// Show what is inside a checkpoint or artifact: layers, sparsity, number formats, bytes
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sparsec inspect out/whisper")]
pub struct Arguments {
    /// A folder that `export` wrote, or any checkpoint
    artifact: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A layer as it is stored.
#[derive(serde::Serialize)]
struct Layer {
    path: String,
    role: &'static str,
    shape: Vec<usize>,
    parameters: usize,
    /// Share of weights that the mask prunes; none where there is no mask.
    sparsity: Option<f64>,
    /// `int8` or `f32`.
    element: &'static str,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let checkpoint = Checkpoint::read(&arguments.artifact)?;
    let family = model::family(&checkpoint.config)?;
    let layers: Vec<Layer> = family
        .modules(&checkpoint.config)?
        .into_iter()
        .map(|module| Layer {
            parameters: module.parameter_count(),
            sparsity: checkpoint.masks.get(&module.path).map(sparsec_runtime::Mask::sparsity),
            element: if checkpoint.quantized.contains_key(&module.path) { "int8" } else { "f32" },
            role: module.role,
            shape: module.shape,
            path: module.path,
        })
        .collect();
    if arguments.json {
        let content = checkpoint.content_hash()?.to_hex().to_string();
        super::print_json(&serde_json::json!({ "family": family.word(), "content": content, "layers": layers }))?;
        return Ok(Exit::Done);
    }
    let mut table = terminal::table(&["layer", "role", "shape", "parameters", "sparsity", "element"]);
    for layer in &layers {
        let shape = layer.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
        let sparsity = layer.sparsity.map_or_else(|| "dense".to_owned(), percent);
        table.add_row([&layer.path, layer.role, &shape, &count(layer.parameters), &sparsity, layer.element]);
    }
    outln!("{table}");
    let parameters = layers.iter().map(|layer| layer.parameters).sum();
    let size = sparsec_runtime::disk::folder_bytes(&arguments.artifact)?;
    outln!("{}, {} parameters, {} on disk", family.word(), count(parameters), bytes(size));
    Ok(Exit::Done)
}
