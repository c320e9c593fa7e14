//! TensorBoard event files in the run directory: scalars by step and epoch, histograms of the
//! weights, the settings as hyperparameters, and pictures of the result.
//!
//! An event file is a sequence of records (`record`) of messages (`messages`). TensorBoard reads all
//! event files of a directory one after the other, so a resumed run begins another one.

mod histogram;
mod messages;
mod record;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use self::messages::{Event, HParams, Image, Metadata, PluginData, SessionEnd, SessionStart, Setting, Summary, Value};
use super::network::Parameter;
use super::progress::{EpochReport, StepReport};
use crate::error::{Error, Result};

/// Every event file's name begins with this; TensorBoard looks for it.
const PREFIX: &str = "events.out.tfevents.";
/// One step in so many is written. TensorBoard itself keeps a thousand points of each curve.
const STEP_INTERVAL: usize = 10;
/// Colour spaces, in TensorBoard's numbers.
pub(super) const GREY: i32 = 1;
pub(super) const RGB: i32 = 3;
/// The outcomes of a run, in TensorBoard's numbers.
const SUCCESS: i32 = 1;
const FAILURE: i32 = 2;
/// A tensor of no elements, which a value that is all metadata has to hold: `dtype: DT_FLOAT`,
/// `tensor_shape { dim { size: 0 } }`.
const NO_TENSOR: [u8; 6] = [0x08, 0x01, 0x12, 0x02, 0x12, 0x00];

/// A setting of the run, as TensorBoard compares runs by it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum HyperParameter {
    Number(f64),
    Text(String),
}

/// The results of a run on the test data.
#[derive(Debug)]
pub(super) struct TestResults {
    /// Figures, by tag.
    pub(super) scalars: Vec<(&'static str, f64)>,
    pub(super) pictures: Vec<TestPicture>,
}

/// A picture of the results.
#[derive(Debug)]
pub(super) struct TestPicture {
    pub(super) tag: String,
    /// Width and height in pixels.
    pub(super) size: [usize; 2],
    /// [`GREY`] or [`RGB`].
    pub(super) colorspace: i32,
    pub(super) png: Vec<u8>,
}

/// The event file of a run.
#[derive(Debug)]
pub(super) struct Events {
    file: BufWriter<File>,
    path: PathBuf,
    steps_per_epoch: usize,
}

impl Events {
    /// Begins an event file in the directory of a run.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn create(run: &Path, steps_per_epoch: usize, settings: &[(&str, HyperParameter)]) -> Result<Self> {
        let (file, path) = new_file(run)?;
        let mut events = Self { file: BufWriter::new(file), path, steps_per_epoch };
        events.write(0, |event| event.file_version = Some("brain.Event:2".into()))?;
        let setting = |(name, value): &(&str, HyperParameter)| {
            let setting = match value {
                HyperParameter::Number(number) => Setting { number_value: Some(*number), string_value: None },
                HyperParameter::Text(text) => Setting { number_value: None, string_value: Some(text.clone()) },
            };
            ((*name).to_owned(), setting)
        };
        let settings: BTreeMap<String, Setting> = settings.iter().map(setting).collect();
        let start = SessionStart { settings, start_time_secs: now() };
        events.hparams("_hparams_/session_start_info", &HParams { start: Some(start), ..HParams::default() })?;
        events.flush()?;
        Ok(events)
    }

    /// Writes the figures of a step, of one step in ten and the last of each epoch.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn step(&mut self, report: &StepReport) -> Result<()> {
        if !report.step.is_multiple_of(STEP_INTERVAL) && report.step != report.steps {
            return Ok(());
        }
        let step = (report.epoch - 1) * self.steps_per_epoch + report.step;
        let mut scalars = vec![
            ("loss/training, epoch so far", report.loss),
            ("learning rate", report.learning_rate),
            ("samples per second", report.samples_per_second),
        ];
        scalars.extend(report.accuracy.map(|accuracy| ("accuracy/training, epoch so far", accuracy)));
        self.scalars(step, &scalars)
    }

    /// Writes the figures of an epoch.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        let mut scalars = vec![("loss/training", report.loss)];
        scalars.extend(report.accuracy.map(|accuracy| ("accuracy/training", accuracy)));
        if let Some(validation) = report.validation {
            scalars.push(("loss/validation", validation.loss));
            scalars.extend(validation.accuracy.map(|accuracy| ("accuracy/validation", accuracy)));
        }
        self.scalars(report.epoch * self.steps_per_epoch, &scalars)?;
        self.flush()
    }

    /// Writes a histogram of each parameter as it is after an epoch.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn weights(&mut self, epoch: usize, parameters: &[&Parameter]) -> Result<()> {
        let value = |parameter: &&Parameter| Value {
            tag: format!("weights/{}", parameter.name),
            histo: Some(histogram::histogram(&parameter.values)),
            ..Value::default()
        };
        let values = parameters.iter().map(value).collect();
        self.summary(epoch * self.steps_per_epoch, values)?;
        self.flush()
    }

    /// Writes the results on the test data after so many epochs, and that the run has succeeded.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn finish(&mut self, epochs: usize, results: TestResults) -> Result<()> {
        let step = epochs * self.steps_per_epoch;
        self.scalars(step, &results.scalars)?;
        for TestPicture { tag, size: [width, height], colorspace, png } in results.pictures {
            let (width, height) = (width as i32, height as i32);
            let image = Image { height, width, colorspace, encoded_image_string: png };
            self.summary(step, vec![Value { tag, image: Some(image), ..Value::default() }])?;
        }
        self.end(SUCCESS)
    }

    /// Writes that the run has failed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn failed(&mut self) -> Result<()> {
        self.end(FAILURE)
    }

    fn end(&mut self, status: i32) -> Result<()> {
        let end = SessionEnd { status, end_time_secs: now() };
        self.hparams("_hparams_/session_end_info", &HParams { end: Some(end), ..HParams::default() })?;
        self.flush()
    }

    fn hparams(&mut self, tag: &str, content: &HParams) -> Result<()> {
        let plugin = PluginData { plugin_name: "hparams".into(), content: content.encode_to_vec() };
        let metadata = Some(Metadata { plugin_data: Some(plugin) });
        let value = Value { tag: tag.into(), tensor: Some(NO_TENSOR.into()), metadata, ..Value::default() };
        self.summary(0, vec![value])
    }

    fn scalars(&mut self, step: usize, scalars: &[(&str, f64)]) -> Result<()> {
        let value = |(tag, number): &(&str, f64)| Value {
            tag: (*tag).to_owned(),
            simple_value: Some(*number as f32),
            ..Value::default()
        };
        self.summary(step, scalars.iter().map(value).collect())
    }

    fn summary(&mut self, step: usize, value: Vec<Value>) -> Result<()> {
        self.write(step, |event| event.summary = Some(Summary { value }))
    }

    fn write(&mut self, step: usize, fill: impl FnOnce(&mut Event)) -> Result<()> {
        let mut event = Event { wall_time: now(), step: step as i64, ..Event::default() };
        fill(&mut event);
        record::write(&mut self.file, &event.encode_to_vec()).map_err(Error::io("write", &self.path))
    }

    /// Hands over what was written, so that whoever watches can see it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(Error::io("write", &self.path))
    }
}

/// A file of its own. TensorBoard reads them in the order of their names, which begin with the time;
/// those of one second are told apart by a number.
fn new_file(run: &Path) -> Result<(File, PathBuf)> {
    let entries = fs::read_dir(run).map_err(Error::io("read", run))?;
    let earlier = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)).count();
    let path = run.join(format!("{PREFIX}{:010}.weir.{earlier:04}", now() as u64));
    let file = fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(Error::io("create", &path))?;
    Ok((file, path))
}

/// Seconds since 1970.
fn now() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1e3
}
