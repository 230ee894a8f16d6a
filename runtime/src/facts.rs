//! What the compiler asks about the files of a recipe, answered from headers and manifests.
//!
//! Paths of a recipe are relative to its folder, and none may leave it, so that a recipe from a stranger reads nothing else. The
//! compiler refuses a path that is written so (`compiler/src/path.rs`); here links are followed before the same rule is applied.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use sparsec_compiler::{Call, Facts, Field, Module, Refusal, StageGraph, StepRef};

use crate::dataset::{Access, Dataset};
use crate::hub::{Hub, Name};
use crate::shelf::{DataRef, InputPath, Item, argument};
use crate::stage::{Data, DatasetStage, Finetune, Initialize, Load, Take};
use crate::vocabulary::kind_name;
use crate::{Fault, Result, model};

/// The files that a recipe may read.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
    root: Option<PathBuf>,
    /// Where checkpoints are found that are no folder.
    hub: Hub,
}

impl Files {
    /// The files around the recipe at `recipe`; all files of the machine if `anywhere`. Checkpoints may also come from the hub that the
    /// environment names.
    pub fn of(recipe: &Path, anywhere: bool) -> Self {
        let folder = recipe.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let root = (!anywhere).then(|| folder.canonicalize().unwrap_or_else(|_| folder.clone()));
        Self { folder, root, hub: Hub::from_environment(false) }
    }

    /// The same files, and another hub.
    pub fn with(self, hub: Hub) -> Self {
        Self { hub, ..self }
    }

    /// The file that the recipe calls `path`.
    ///
    /// # Errors
    /// When it is not there, or lies outside the root.
    pub fn find(&self, path: &str) -> Result<PathBuf> {
        let full = self.folder.join(path);
        let real = full.canonicalize().map_err(|error| Fault::reading(&full, &error))?;
        match &self.root {
            Some(root) if !real.starts_with(root) => Err(Fault::input(format!("this lies outside {}", root.display()))
                .at(full)
                .help("a recipe reads only what lies beside or below it; pass `--allow-outside` if you trust this one")),
            _ => Ok(full),
        }
    }

    /// The folder of the checkpoint that the recipe calls `name`: beside the recipe, or in the cache of the hub, with its commit.
    ///
    /// # Errors
    /// When it is in neither, or lies outside the root.
    pub fn checkpoint(&self, name: &str) -> Result<(PathBuf, Option<String>)> {
        match self.on_hub(name) {
            None => self.find(name).map(|folder| (folder, None)),
            Some(name) => {
                let found = self.hub.find(&name).ok_or_else(|| self.hub.absent(&name))?;
                Ok((found.folder, Some(found.commit)))
            }
        }
    }

    /// What `name` is called on the hub, if it can be there. Where the folder of its owner is here, it is a path, and perhaps a wrong one.
    fn on_hub(&self, name: &str) -> Option<Name> {
        let owner = Path::new(name).components().next()?;
        Name::parse(name).filter(|_| !self.folder.join(owner).exists())
    }

    /// The model that the recipe calls `name`, if it would have to be fetched.
    pub fn to_fetch(&self, name: &str) -> Option<Name> {
        self.on_hub(name).filter(|name| self.hub.find(name).is_none())
    }

    /// Where checkpoints are found that are no folder.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Which files a manifest among them may name.
    pub fn access(&self) -> Access {
        if self.root.is_some() { Access::Folder } else { Access::Anywhere }
    }
}

/// The file at `path` below the working directory `directory`.
///
/// # Errors
/// When it lies outside, and `anywhere` does not allow that.
pub fn output(directory: &Path, path: &str, anywhere: bool) -> Result<PathBuf> {
    let leaves = |component| matches!(component, Component::ParentDir | Component::RootDir | Component::Prefix(_));
    if !anywhere && Path::new(path).components().any(leaves) {
        return Err(Fault::input("this lies outside the working directory")
            .at(path)
            .help("write below the working directory, or pass `--allow-outside` if you trust this recipe"));
    }
    Ok(directory.join(path))
}

/// The world of one recipe. Answers are kept, so that a file is read once per compilation.
pub struct FileFacts {
    files: Files,
    data: RefCell<BTreeMap<String, Result<Data>>>,
}

impl FileFacts {
    /// The world around `files`.
    pub fn new(files: Files) -> Self {
        Self { files, data: RefCell::default() }
    }

    /// The folder of a checkpoint; a missing one is explained.
    fn folder(&self, path: &InputPath) -> Result<PathBuf> {
        self.files.find(&path.0)
    }

    fn data(&self, call: &Call) -> Result<Data> {
        let known = self.data.borrow().get(&call.to_string()).cloned();
        known.unwrap_or_else(|| {
            let opened = DatasetStage::from_call(call).and_then(|stage| stage.open(&self.files));
            self.data.borrow_mut().insert(call.to_string(), opened.clone());
            opened
        })
    }

    /// The number of rows behind a reference.
    fn rows(&self, data: &StepRef, above: &StageGraph) -> Result<Option<u64>> {
        match above.call(data.step) {
            Some(call) if call.word == DatasetStage::NAME => {
                self.data(call)?.part(data.field.as_deref()).map(|rows| Some(rows.len() as u64))
            }
            Some(call) if call.word == Take::NAME => Ok(Some(Take::from_call(call)?.rows.0)),
            _ => Ok(None),
        }
    }
}

impl Facts for FileFacts {
    fn read(&self, path: &str) -> Result<String, Refusal> {
        let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| Fault::reading(path, &error));
        self.files.find(path).and_then(|path| read(&path)).map_err(refusal)
    }

    fn modules(&self, call: &Call, _: &StageGraph) -> Result<Option<Vec<Module>>, Refusal> {
        let modules = || -> Result<Option<Vec<model::Module>>> {
            if call.word == Load::NAME {
                let load = Load::from_call(call)?;
                match self.files.to_fetch(&load.checkpoint.0) {
                    Some(_) => Ok(None),
                    None => load.modules(&self.files.checkpoint(&load.checkpoint.0)?.0).map(Some),
                }
            } else if call.word == Initialize::NAME {
                let folder = self.folder(&Initialize::from_call(call)?.config)?;
                let config = crate::checkpoint::config(&folder)?;
                model::family(&config)?.modules(&config).map(Some).map_err(|fault| fault.at(folder))
            } else {
                Ok(None)
            }
        };
        modules().map(|modules| modules.map(|modules| modules.iter().map(described).collect())).map_err(refusal)
    }

    fn fields(&self, call: &Call, _: &StageGraph) -> Result<Option<Vec<Field>>, Refusal> {
        if call.word != DatasetStage::NAME {
            return Ok(None);
        }
        let data = self.data(call).map_err(refusal)?;
        let fields = data.parts.iter().map(|(name, rows)| Field { name: name.clone(), rows: Some(rows.len() as u64) });
        Ok(Some(fields.collect()))
    }

    fn steps_per_epoch(&self, call: &Call, above: &StageGraph) -> Result<Option<u64>, Refusal> {
        let steps = || -> Result<Option<u64>> {
            if call.word != Finetune::NAME {
                return Ok(None);
            }
            let DataRef(data) = argument(call, "data")?;
            let rows_per_step = Finetune::rows_per_step(argument(call, "batch")?, argument(call, "accumulate")?);
            Ok(self.rows(&data, above)?.map(|rows| rows.div_ceil(rows_per_step)))
        };
        steps().map_err(refusal)
    }
}

fn described(module: &model::Module) -> Module {
    Module {
        path: module.path.clone(),
        kind: kind_name(module.kind).to_owned(),
        role: module.role.to_owned(),
        shape: module.shape.clone(),
        parameters: module.parameter_count() as u64,
        sparsity: None,
    }
}

fn refusal(fault: Fault) -> Refusal {
    Refusal { message: fault.to_string(), help: fault.help }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_recipe_reads_what_lies_below_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let recipes = folder.path().join("recipes/speech");
        fs::create_dir_all(recipes.join("models")).unwrap();
        fs::create_dir_all(folder.path().join("recipes/models")).unwrap();
        fs::write(folder.path().join("secret"), "").unwrap();
        let files = Files::of(&recipes.join("a.sq"), false);
        assert!(files.find("models").is_ok() && files.find("models/../models").is_ok());
        for outside in ["../models", "../../secret"] {
            let fault = files.find(outside).unwrap_err();
            assert!(fault.message.contains("outside") && fault.help.is_some());
            // The compiler has the same rule, and says so before anything is looked for.
            let text = format!("edition 2026\na = load(\"{outside}\")\nexport(a, to: \"b\", format: safetensors)\n");
            let sources = sparsec_compiler::SourceSet::new("a.sq", text);
            let vocabulary = crate::vocabulary::vocabulary();
            let compiled = sparsec_compiler::compile(sources, vocabulary, &sparsec_compiler::NoFacts, &Default::default());
            assert!(compiled.diagnostics.iter().any(|found| found.code == sparsec_compiler::Code::PathLeavesRoot));
        }
        assert!(Files::of(&recipes.join("a.sq"), true).find("../../secret").is_ok());
        assert!(files.find("missing").is_err());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.path().join("secret"), recipes.join("link")).unwrap();
            assert!(files.find("link").is_err());
        }
    }

    #[test]
    fn a_name_is_on_the_hub_unless_the_folder_of_its_owner_is_here() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("models")).unwrap();
        let files = Files::of(&folder.path().join("a.sq"), false);
        assert_eq!(files.on_hub("openai/whisper-small").unwrap().to_string(), "openai/whisper-small");
        assert!(files.on_hub("models/whisper-smal").is_none() && files.on_hub("whisper").is_none());
        assert!(files.checkpoint("models/whisper-smal").is_err());
    }

    #[test]
    fn a_recipe_writes_below_the_working_directory() {
        let directory = Path::new("work");
        assert_eq!(output(directory, "out/a", false).unwrap(), Path::new("work/out/a"));
        assert!(output(directory, "../a", false).is_err());
        assert!(output(directory, "/a", false).is_err());
        assert_eq!(output(directory, "/a", true).unwrap(), Path::new("/a"));
    }
}
