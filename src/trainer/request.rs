//! The request of a training run.

use std::path::PathBuf;

use super::custom_network;
use super::dataset::DataOptions;
use super::fit::FitSettings;
use super::head::{BackboneChoice, MOST_SOLVED, Solver};
use super::members::MOST_MEMBERS;
use super::presets::{Family, Learns, Preset};
use super::weights::ClassWeights;
use crate::error::{Error, Result};
use crate::ids::ModelName;
use crate::layers::LayerSpec;
use crate::repository::{ColourChoice, PictureChoice};
use crate::signature::TokenSplit;

/// The settings of a training run.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// The recipe.
    pub preset: &'static Preset,
    /// A folder or file of labelled samples.
    pub data: PathBuf,
    /// Samples held out of the training data.
    pub validation: usize,
    /// Samples that are left of the rest to train on, every class in proportion; 0 leaves all.
    pub train_samples: usize,
    /// Epochs, batch, seed, optimiser.
    pub fit: FitSettings,
    /// The settings of data and network, and the name of the model.
    pub task: TaskOptions,
    /// Where to publish; `None` publishes nothing.
    pub models: Option<PathBuf>,
    /// True if event files for TensorBoard are written.
    pub tensorboard: bool,
}

/// The settings of a run's data and network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskOptions {
    /// The name to publish under; by default that of the preset.
    pub model: Option<ModelName>,
    /// True if the validation data are capped at a tenth of the training data.
    pub caps_validation: bool,
    /// The weights of classes in the loss.
    pub class_weights: ClassWeights,
    /// The layers of a custom network, without the first and the last; empty for the preset's network.
    pub layers: Vec<LayerSpec>,
    /// Networks that are trained and averaged; 0 and 1 are one.
    pub ensemble: usize,
    /// The options for reading the data.
    pub data: DataOptions,
    /// The network that a head is put on, for the preset `head`.
    pub backbone: Option<BackboneChoice>,
}

impl TrainRequest {
    /// Returns the name of the network in messages.
    pub fn network(&self) -> &str {
        if self.task.layers.is_empty() { self.preset.name } else { "the network of these layers" }
    }

    /// Returns the description of the network, a sentence without its end.
    pub fn description(&self) -> String {
        let description = match self.task.layers.as_slice() {
            [] => self.preset.description.into(),
            body => custom_network::description(body),
        };
        match self.task.ensemble {
            0 | 1 => description,
            members => format!("{description}; the mean of {members} such networks"),
        }
    }

    /// The name to publish under.
    ///
    /// # Errors
    /// [`Error::Config`] when a custom network is to be published without a name.
    pub fn model(&self) -> Result<ModelName> {
        match &self.task.model {
            Some(model) => Ok(model.clone()),
            None if self.task.layers.is_empty() || self.models.is_none() => Ok(self.preset.name.parse()?),
            None => {
                let problem = "a custom network needs a name, as --model NAME".into();
                Err(Error::Config { setting: "model".into(), problem })
            }
        }
    }

    /// The name of the data set: that of its folder or file.
    pub(super) fn data_name(&self) -> String {
        self.data.file_name().map_or_else(|| "data".into(), |name| name.to_string_lossy().into_owned())
    }

    /// Returns the options for reading the data: pictures are drawings for the presets of MNIST, photos for those that are
    /// made for photos and where colours are asked for, and grey as they are for all others, unless the request says more;
    /// texts are terms for the preset that learns from nothing else.
    pub(super) fn reading(&self) -> DataOptions {
        let mut options = self.task.data.clone();
        let reading = &mut options.reading;
        if reading.transform == PictureChoice::Auto {
            let asks_for_photos =
                reading.colour != ColourChoice::Auto || reading.image_fit.is_some() || reading.image_decode.is_some();
            reading.transform = match self.preset.learns {
                Learns::Photos => PictureChoice::Photo,
                Learns::Drawings => PictureChoice::Drawing,
                Learns::Anything | Learns::Texts | Learns::Features if asks_for_photos => PictureChoice::Photo,
                Learns::Anything | Learns::Texts | Learns::Features => PictureChoice::AsIs,
            };
        }
        if self.preset.learns == Learns::Texts && options.reading.tokens.is_none() {
            options.reading.tokens = Some(TokenSplit::Terms);
        }
        options
    }

    /// Returns true if a head for so many samples is solved at once, and not in steps.
    pub(super) fn solves(&self, samples: usize) -> bool {
        match self.task.backbone.as_ref().map(|backbone| backbone.solver) {
            None | Some(Solver::Steps) => false,
            Some(Solver::Ridge) => true,
            Some(Solver::Auto) => samples <= MOST_SOLVED,
        }
    }

    /// Returns the request with this solver for its head, if it has one.
    pub(super) fn with_solver(&self, solver: Solver) -> Self {
        let mut request = self.clone();
        if let Some(backbone) = &mut request.task.backbone {
            backbone.solver = solver;
        }
        request
    }

    /// Returns the request of what goes in steps alone, a search or a range test.
    ///
    /// # Errors
    /// [`Error::Config`] when the head is to be solved at once.
    pub fn in_steps(&self) -> Result<Self> {
        match self.task.backbone.as_ref().map(|backbone| backbone.solver) {
            Some(Solver::Ridge) => {
                let problem = "ridge takes no steps, of which a search and a range test are made; leave it out".into();
                Err(Error::Config { setting: "solver".into(), problem })
            }
            None | Some(Solver::Auto | Solver::Steps) => Ok(self.with_solver(Solver::Steps)),
        }
    }

    /// Returns true if a setting says how pictures are brought to the network.
    fn asks_for_pictures(&self) -> bool {
        let reading = &self.task.data.reading;
        reading.transform != PictureChoice::Auto
            || reading.colour != ColourChoice::Auto
            || reading.image_fit.is_some()
            || reading.image_decode.is_some()
            || reading.image_size.is_some()
    }

    /// Refuses settings that cannot train anything.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        let refuse = |setting: &str, problem: String| Err(Error::Config { setting: setting.into(), problem });
        if self.fit.epochs == 0 || self.fit.batch_size == 0 {
            return refuse("epochs and batch-size", "must be at least 1".into());
        }
        if let Some((setting, problem)) = self.fit.optimizer.problem() {
            return refuse(setting, problem);
        }
        if let Some(problem) = self.fit.regime.problem() {
            return refuse("regime", problem);
        }
        if self.fit.regime.patience > 0 && self.validation == 0 {
            return refuse("patience", "needs validation samples to judge epochs by; --validation is 0".into());
        }
        let is_head = self.preset.learns == Learns::Features;
        match (is_head, &self.task.backbone) {
            (true, None) => {
                return refuse("backbone", "the preset head needs a network, as --backbone FILE.onnx".into());
            }
            (false, Some(_)) => return refuse("backbone", "is for the preset head alone: weir train head".into()),
            (true, Some(_)) if !self.task.layers.is_empty() => {
                return refuse("layers", "are those of a network of its own; a head is one dense layer".into());
            }
            (true, Some(_)) if self.asks_for_pictures() => {
                let problem = "how pictures are read is what the backbone takes; leave out --transform, --colour, --image-fit, \
                               --image-decode and --image-size";
                return refuse("backbone", problem.into());
            }
            (true, Some(_)) | (false, None) => {}
        }
        if self.task.ensemble > MOST_MEMBERS {
            return refuse("ensemble", format!("must be at most {MOST_MEMBERS}, got {}", self.task.ensemble));
        }
        let is_autoencoder = matches!(self.preset.family, Family::Autoencoder { .. });
        if self.task.ensemble > 1 && (is_autoencoder || is_head) {
            return refuse("ensemble", "averages outputs, which autoencoders cannot and a head is not made for".into());
        }
        self.model()?;
        Ok(())
    }
}
