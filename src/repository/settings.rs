//! `models/<model>/model.toml`: an operator's settings of one model. Every table is optional; Triton's `config.pbtxt`
//! counts where `model.toml` has no such table.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::names::MODEL_FILE;
use super::said;
use super::storage::Files;
use super::tables::{BatchingTable, CacheTable, EngineTable, SchedulingTable, Tables, Versions};
use super::triton::{self, CONFIG_FILE, MAX_LABEL_BYTES, TritonModel, label_lines};
use crate::config::SchedulingSettings;
use crate::error::{Error, Result};
use crate::ids::{ModelName, quote};
use crate::signature::{AnswerSpec, ImageSpec, TextSpec, Transform};

/// The settings of a model.
pub const SETTINGS_FILE: &str = "model.toml";

/// A larger one is a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// The tables of `model.toml`. A further table is a further field here; unless it is left out of
/// [`ModelSettings::load_text`], the model's versions are loaded anew when it changes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// The model answers requests that name none, unless the server's settings name another.
    #[serde(default)]
    pub default: bool,
    /// The names of the classes, for versions without a manifest.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The file beside the versions that names the classes, one a line; in place of `labels`.
    #[serde(default)]
    pub labels_file: Option<String>,
    /// The transforms around the graph, for versions without a manifest.
    #[serde(default)]
    pub transform: Option<Transform>,
    /// The transform of images, for versions without a manifest; in place of `transform`.
    #[serde(default)]
    pub image: Option<ImageSpec>,
    /// The transform of texts by the version's `tokenizer.json`, for versions without a manifest; in place of `transform`.
    #[serde(default)]
    pub text: Option<TextSpec>,
    /// The answer that the graph's output is made into, for versions without a manifest; in place of `transform`.
    #[serde(default)]
    pub answer: Option<AnswerSpec>,
    /// The versions that should be loaded; `None` for the server's policy.
    #[serde(default)]
    pub versions: Option<Versions>,
    /// The engine that runs the model; `None` for the server's choice.
    #[serde(default)]
    pub engine: Option<EngineTable>,
    /// The batching of requests.
    #[serde(default)]
    pub batching: Option<BatchingTable>,
    /// The model's share of the compute threads.
    #[serde(default)]
    pub scheduling: Option<SchedulingTable>,
    /// The response cache.
    #[serde(default)]
    pub cache: Option<CacheTable>,
    /// The autoencoder that looks at the model's inputs.
    #[serde(default)]
    pub guard: Option<ModelName>,
    /// The content of `config.pbtxt`, if there is one, whose tables then stand above where `model.toml` is silent.
    #[serde(skip)]
    pub triton: Option<Arc<TritonModel>>,
}

impl ModelSettings {
    /// Reads the files of a model; all defaults if there are none.
    ///
    /// # Errors
    /// [`Error::Repository`] naming the line at fault, [`Error::Io`].
    pub fn read(model: &ModelName, files: &Files) -> Result<Self> {
        let own = Self::read_own(files)?;
        Ok(match triton::read(model, files)? {
            Some((tables, triton)) => Self::over(own, tables, triton),
            None => own.unwrap_or_default(),
        })
    }

    fn read_own(files: &Files) -> Result<Option<Self>> {
        let refuse = |problem: String| Error::Repository { what: SETTINGS_FILE.into(), problem };
        let Some(bytes) = files.read(SETTINGS_FILE, MAX_BYTES)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|error| refuse(error.to_string()))?;
        let settings: Self = toml::from_str(&text).map_err(|error| refuse(said::of_toml(&error, &text)))?;
        match settings.problem() {
            Some(problem) => Err(refuse(problem)),
            None => Ok(Some(settings)),
        }
    }

    /// Returns the settings of `model.toml`, and table by table those of a `config.pbtxt` where it is silent.
    pub(super) fn over(own: Option<Self>, lower: Tables, triton: TritonModel) -> Self {
        let triton = match &own {
            Some(own) => triton.with_note(own.note(&lower)),
            None => triton,
        };
        let own = own.unwrap_or_default();
        Self {
            versions: own.versions.or(lower.versions),
            engine: own.engine.or(lower.engine),
            batching: own.batching.or(lower.batching),
            scheduling: own.scheduling.or(lower.scheduling),
            cache: own.cache.or(lower.cache),
            triton: Some(Arc::new(triton)),
            ..own
        }
    }

    /// Returns the remark that names the tables of a `config.pbtxt` that have no effect.
    fn note(&self, lower: &Tables) -> String {
        let both = [
            ("versions", self.versions.is_some() && lower.versions.is_some()),
            ("engine", self.engine.is_some() && lower.engine.is_some()),
            ("batching", self.batching.is_some() && lower.batching.is_some()),
            ("scheduling", self.scheduling.is_some() && lower.scheduling.is_some()),
            ("cache", self.cache.is_some() && lower.cache.is_some()),
        ];
        let won: Vec<&str> = both.iter().filter(|(_, both)| *both).map(|(table, _)| *table).collect();
        let of_it = if won.is_empty() { "no table of both".into() } else { won.join(", ") };
        format!("{SETTINGS_FILE} is there as well and wins table by table: {of_it}")
    }

    /// Returns the name of the file in a version's folder that should hold the graph.
    pub fn model_file(&self) -> &str {
        self.named_model_file().unwrap_or(MODEL_FILE)
    }

    /// Returns the name that `config.pbtxt` gives that file, if it does.
    pub(super) fn named_model_file(&self) -> Option<&str> {
        let named = self.triton.as_ref().map(|triton| triton.config.default_model_filename.as_str());
        named.filter(|name| !name.is_empty())
    }

    /// Returns the files beside the version folders that a version is loaded with.
    pub(super) fn side_files(&self) -> Vec<String> {
        let mut files = self.triton.as_ref().map_or_else(Vec::new, |triton| triton.side_files());
        files.extend(self.labels_file.clone());
        files
    }

    /// Returns the settings of `config.pbtxt` that have no effect, in words.
    pub fn warnings(&self) -> Option<String> {
        let warnings = &self.triton.as_ref()?.warnings;
        (!warnings.is_empty()).then(|| format!("{CONFIG_FILE}: {}", warnings.join("; ")))
    }

    /// Returns true if the first dimension is declared to be a batch of samples.
    pub fn declares_batch(&self) -> bool {
        let own = self.batching.as_ref().is_some_and(|table| table.max_batch_size.is_some());
        own || self.triton.as_ref().is_some_and(|triton| triton.config.max_batch_size > 0)
    }

    /// Returns true if `config.pbtxt` says that there is no batch: it lists tensors, and their dimensions are all.
    pub fn excludes_batch(&self) -> bool {
        let is_whole = |config: &triton::ModelConfig| {
            config.max_batch_size == 0 && !(config.input.is_empty() && config.output.is_empty())
        };
        self.triton.as_ref().is_some_and(|triton| is_whole(&triton.config))
    }

    /// Returns shapes that the inputs of a request may have, by name, the surest first; a size of -1 is not known.
    pub fn examples(&self) -> Vec<BTreeMap<String, Vec<i64>>> {
        let size = |size: &usize| i64::try_from(*size).unwrap_or(-1);
        let own = self.engine.iter().map(|table| {
            table.example.iter().map(|(name, shape)| (name.clone(), shape.iter().map(size).collect())).collect()
        });
        let triton = self.triton.iter().flat_map(|triton| triton.config.examples());
        own.chain(triton).filter(|shapes: &BTreeMap<_, _>| !shapes.is_empty()).collect()
    }

    /// Returns true if nothing is said about the transforms around the graph.
    pub fn is_silent_about_transforms(&self) -> bool {
        let Self { transform, image, text, answer, labels, labels_file, .. } = self;
        let says_input = image.is_some() || text.is_some();
        transform.is_none() && !says_input && answer.is_none() && labels.is_empty() && labels_file.is_none()
    }

    /// Returns the names of the classes, of the settings or of the file that they name among those of the model.
    ///
    /// # Errors
    /// [`Error::Repository`] when that file is missing, too large or not text.
    pub fn class_labels(&self, files: &Files) -> Result<Vec<String>> {
        let Some(name) = &self.labels_file else { return Ok(self.labels.clone()) };
        let refuse = |problem: &str| Error::Repository {
            what: SETTINGS_FILE.into(),
            problem: format!("labels_file {} {problem}", quote(name)),
        };
        let bytes = files.read(name, MAX_LABEL_BYTES)?.ok_or_else(|| {
            refuse("is missing: a file beside the version folders that names the classes, one a line")
        })?;
        String::from_utf8(bytes).map(|text| label_lines(&text)).map_err(|_| refuse("is not UTF-8"))
    }

    /// Returns the server's scheduling with the settings of the model in their place.
    pub fn scheduling_over(&self, server: &SchedulingSettings) -> SchedulingSettings {
        self.tables().over(server)
    }

    /// Returns what is wrong with the settings, in words.
    fn problem(&self) -> Option<String> {
        if self.labels_file.is_some() && !self.labels.is_empty() {
            return Some("labels and labels_file exclude each other".into());
        }
        if let Some(name) = self.labels_file.as_ref().filter(|name| name.is_empty() || name.contains(['/', '\\'])) {
            return Some(format!("labels_file must be the name of a file beside the versions, it is {}", quote(name)));
        }
        if self.image.is_some() && self.text.is_some() {
            return Some("[image] and [text] exclude each other".into());
        }
        let both = self.transform.is_some() && (self.image.is_some() || self.text.is_some() || self.answer.is_some());
        let problem =
            || "[transform] excludes [image], [text] and [answer], which say the same and complete themselves".into();
        both.then(problem).or_else(|| self.tables().problem())
    }

    fn tables(&self) -> Tables {
        Tables {
            versions: self.versions.clone(),
            engine: self.engine.clone(),
            batching: self.batching.clone(),
            scheduling: self.scheduling.clone(),
            cache: self.cache,
        }
    }

    /// Returns the settings that a loaded version depends on, as text to compare.
    pub(super) fn load_text(&self) -> String {
        // Warnings name lines, which other lines may move.
        let config = self.triton.as_ref().map(|triton| &triton.config);
        format!("{:?} {config:?}", Self { default: false, versions: None, triton: None, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<ModelSettings, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_policy_for_one_model() {
        let policy = |text: &str| parse(text).unwrap().versions.unwrap().policy.to_string();
        assert_eq!(policy("[versions]\npolicy = \"latest\"\ncount = 2"), "latest:2");
        assert_eq!(policy("[versions]\npolicy = \"latest\""), "latest:1");
        assert_eq!(policy("[versions]\npolicy = \"all\""), "all");
        assert_eq!(policy("[versions]\npolicy = \"specific\"\nspecific = [3, 1]"), "specific:1,3");
        assert_eq!(parse("").unwrap(), ModelSettings::default());
    }

    #[test]
    fn a_default_model_is_loaded_as_any_other() {
        assert!(parse("default = true").unwrap().default && !parse("").unwrap().default);
        assert_eq!(parse("default = true").unwrap().load_text(), parse("").unwrap().load_text());
        assert!(parse("default = 1").is_err());
    }

    #[test]
    fn what_a_model_says_stands_in_place_of_what_the_server_says() {
        let server = crate::config::ServeOptions::default().resolve().unwrap().serving.scheduling;
        assert_eq!(ModelSettings::default().scheduling_over(&server), server);
        let text = "[engine]\nkind = \"tract\"\n[batching]\nmax_batch_size = 16\npreferred_batch_sizes = [8, 4]\n\
            max_queue_delay_microseconds = 250\n[scheduling]\nweight = 2.0\nconcurrency = 1\nqueue_capacity = 7\n\
            inline = false\n[cache]\nmax_bytes = 9";
        let settings = parse(text).unwrap();
        assert_eq!(settings.engine.as_ref().unwrap().kind, Some(crate::config::EngineChoice::Tract));
        let model = settings.scheduling_over(&server);
        assert_eq!((model.max_batch_size, model.preferred_batch_sizes.as_slice()), (Some(16), &[4, 8][..]));
        assert_eq!((model.max_queue_delay.as_micros(), model.weight, model.concurrency), (250, 2.0, Some(1)));
        assert_eq!((model.queue_capacity, model.inline, model.cache_bytes), (7, Some(false), 9));
        assert_eq!(model.inline_below, server.inline_below);
    }

    #[test]
    fn the_example_of_the_documents_is_read() {
        let document = include_str!("../../docs/serving.md");
        let examples = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let examples: Vec<&str> = examples.filter(|example| !example.starts_with(' ')).collect();
        assert!(!examples.is_empty());
        for example in examples {
            let settings = parse(example).unwrap();
            assert_eq!(settings.tables().problem(), None);
            assert_eq!(settings.labels, ["cat", "dog"]);
        }
    }

    #[test]
    fn the_tables_for_pictures_in_the_documents_are_read() {
        let document = include_str!("../../docs/pictures.md");
        let examples: Vec<&str> =
            document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(examples.len() >= 3);
        for example in &examples {
            assert_eq!(parse(example).unwrap().problem(), None, "{example}");
        }
        // A whole picture model: the transform, and the answer after it.
        let settings = parse(&examples[..2].concat()).unwrap();
        assert_eq!(settings.problem(), None);
        let size = ImageSpec { width: Some(224), height: Some(224), ..settings.image.clone().unwrap() };
        let preset = ImageSpec { preset: size.preset, ..ImageSpec::default() };
        let preset = ImageSpec { width: Some(224), height: Some(224), ..preset };
        assert_eq!(size.resolve(None), preset.resolve(None), "the lines say what the preset does");
        assert!(settings.answer.is_some() && !settings.is_silent_about_transforms());
        for (text, expected) in [
            ("labels = [\"a\"]\nlabels_file = \"b\"", "exclude each other"),
            ("labels_file = \"../b\"", "beside the versions"),
            ("[image]\n[transform.output]\nkind = \"raw\"", "excludes [image]"),
        ] {
            let problem = parse(text).unwrap().problem().unwrap();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn the_tables_for_texts_in_the_documents_are_read() {
        let document = include_str!("../../docs/texts.md");
        let examples: Vec<&str> =
            document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert_eq!(examples.len(), 3);
        for example in &examples {
            let settings = parse(example).unwrap();
            assert_eq!(settings.problem(), None, "{example}");
            assert!(!settings.is_silent_about_transforms());
        }
        let both = parse("[text]\n[image]").unwrap().problem().unwrap();
        assert!(both.contains("[image] and [text] exclude"), "{both}");
        assert!(parse("[text]\nmax_lenght = 5").is_err());
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        for (text, expected) in [
            ("[batching]\nmax_batch_size = 0", "max_batch_size must be at least 1"),
            ("[batching]\nmax_batch_size = 4\npreferred_batch_sizes = [8]", "holds 8, more than"),
            ("[scheduling]\nweight = 0.0", "weight must be"),
            ("[scheduling]\nconcurrency = 0", "concurrency must be at least 1"),
            ("[engine.example]\nx = [1, 0]", "engine.example.x: a size must be at least 1"),
        ] {
            let problem = parse(text).unwrap().tables().problem().unwrap();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, expected) in [
            ("\n[verions]\npolicy = \"all\"", "line 2"),
            ("[versions]\npolicy = \"newest\"", "line 2"),
            ("[versions]\npolicy = \"all\"\ncuont = 2", "line 3"),
            ("[versions]\npolicy = \"latest\"\ncount = 0", "at least 1"),
            ("[versions]\npolicy = \"all\"\ncount = 2", "belongs to"),
            ("[versions]\npolicy = \"specific\"", "needs specific"),
            ("[versions]\npolicy = \"specific\"\nspecific = []", "needs specific"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
