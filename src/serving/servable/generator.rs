//! The decoder of an autoencoder as a model of its own beside it: with its own lane in the pool, its own
//! limits and its own metrics, under the name `<model>/decoder`, which no model can have.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::config::SchedulingSettings;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::repository::triton::View;
use crate::repository::{CompanionFile, CompanionRole, FoundVersion, INTENSITIES, Manifest};
use crate::serving::execution::inline::Gather;
use crate::serving::execution::sessions::Runtime;
use crate::serving::execution::statistics::Statistics;
use crate::serving::execution::tuning::Pinned;
use crate::serving::lifecycle::engines::Candidates;
use crate::serving::lifecycle::load::{LoadSettings, prepare};
use crate::serving::lifecycle::verify;
use crate::serving::scheduler::lane::Lane;
use crate::serving::servable::Servable;
use crate::signature::{Batching, DType, TensorSpec};
use crate::stats::standard_normal;
use crate::tensor::Tensor;
use crate::transform::Picture;

/// Makes images of codes.
#[derive(Debug)]
pub struct Generator {
    decoder: Arc<Servable>,
    latent: usize,
    /// Width and height of an image.
    size: [usize; 2],
    /// The output that holds them.
    intensities: usize,
}

/// How a companion is loaded: as the version beside it.
pub(crate) struct Beside<'a> {
    pub(crate) found: &'a FoundVersion,
    pub(crate) settings: &'a LoadSettings,
    pub(crate) candidates: &'a Candidates,
    pub(crate) scheduling: &'a SchedulingSettings,
    pub(crate) metrics: &'a Metrics,
}

impl Generator {
    /// Loads the decoder of a version, if it has one.
    ///
    /// # Errors
    /// [`Error::Repository`] when it is not what the manifest promises, or cannot be run.
    pub(crate) fn load(
        beside: &Beside<'_>,
        manifest: Option<&Manifest>,
        companions: &[CompanionFile],
    ) -> Result<Option<Self>> {
        let Some(file) = companions.iter().find(|file| file.role == CompanionRole::Decoder) else { return Ok(None) };
        let Some((manifest, image)) = manifest.and_then(|m| Some((m, m.transform.image.as_ref()?))) else {
            return Err(verify::unusable(format!("{} makes images, and the model takes none", file.name)));
        };
        let decoder = beside.servable(file)?;
        let signature = decoder.signature();
        if manifest.companions.get(&file.name).is_none_or(|promised| promised.signature != *signature) {
            return Err(verify::unusable(format!("the graph of {} is not the manifest's: {signature:?}", file.name)));
        }
        let size = [image.width as usize, image.height as usize];
        let elements = |spec: &TensorSpec| -> Option<usize> {
            let fits = spec.dtype == DType::Float32 && signature.batching() == Batching::Any;
            spec.sample_shape().filter(|_| fits).map(|shape| shape.iter().product())
        };
        let intensities = signature.outputs.iter().position(|output| output.name == INTENSITIES);
        let pixels = intensities.and_then(|output| elements(&signature.outputs[output]));
        let latent = match signature.inputs.as_slice() {
            [code] if code.shape.len() == 2 => elements(code),
            _ => None,
        };
        match (latent, intensities) {
            (Some(latent @ 1..), Some(intensities)) if pixels == Some(size[0] * size[1]) => {
                Ok(Some(Self { decoder: Arc::new(decoder), latent, size, intensities }))
            }
            _ => Err(verify::unusable(format!(
                "{} must make an output \"{INTENSITIES}\" of {} × {} pixels of codes [N, numbers]: {signature:?}",
                file.name, image.width, image.height
            ))),
        }
    }

    /// The decoder, which is asked as any model.
    pub fn decoder(&self) -> &Arc<Servable> {
        &self.decoder
    }

    /// Numbers of a code.
    pub fn latent(&self) -> usize {
        self.latent
    }

    /// Codes from the standard normal distribution, row by row. Each depends on the seed and its place alone,
    /// so asking for more gives the same ones first.
    pub fn draw(&self, seed: u64, count: usize) -> Vec<f32> {
        let mut codes = Vec::with_capacity(count * self.latent);
        for place in 0..count as u64 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(place);
            standard_normal(&mut rng, self.latent, &mut codes);
        }
        codes
    }

    /// The images that the decoder gave.
    ///
    /// # Errors
    /// [`Error::ModelFailed`] when an intensity is not a finite number.
    pub fn pictures(&self, outputs: &[Tensor]) -> Result<Vec<Picture>> {
        let intensities = &outputs[self.intensities];
        if intensities.data().has_non_finite() {
            let error = Error::internal("the model's output is not a finite number", "NaN or infinity");
            return Err(self.decoder.failed(error));
        }
        let [width, height] = self.size;
        let rows = intensities.float_rows().map_err(|error| self.decoder.failed(error))?;
        Ok(rows.map(|row| Picture::of_intensities(row, width, height)).collect())
    }
}

impl Beside<'_> {
    /// A graph beside `model.onnx`, loaded, checked and warmed up as that is.
    fn servable(&self, file: &CompanionFile) -> Result<Servable> {
        let Self { found, settings, candidates, scheduling, metrics } = *self;
        let plan = candidates.plan(&file.onnx, &file.sha256)?;
        let view = View::plain(plan.signature());
        let (sessions, tuning) = prepare(settings, &plan, &view, &file.sha256, Pinned::of(scheduling))?;
        let View { signature, batching, facing } = view;
        let metrics = metrics.bind_servable(&format!("{}/decoder", found.name), &found.version.to_string())?;
        metrics.set_tuning(tuning.single(), tuning.max_batch);
        Ok(Servable {
            metrics,
            statistics: Statistics::default(),
            name: found.name.clone(),
            version: found.version,
            probe: Vec::new(),
            live: ArcSwapOption::empty(),
            lane: Lane::new(settings.pool.clone(), scheduling.clone(), batching, tuning.max_batch),
            gather: Gather::new(settings.threads),
            tuning: ArcSwap::from_pointee(tuning),
            settings: scheduling.clone(),
            choice: candidates.choice,
            cache: None,
            onnx_sha256: file.sha256.clone(),
            files: found.files.clone(),
            model_file: file.name.clone(),
            manifest: None,
            transform: None,
            sequences: None,
            labels: Vec::new(),
            output_labels: std::collections::BTreeMap::new(),
            triton: None,
            facing,
            signature,
            runtime: ArcSwap::from_pointee(Runtime::new(plan, settings.threads, sessions)),
            batching,
            answering: None,
            reconstruction: None,
            generator: None,
            image_limits: settings.image_limits,
        })
    }
}
