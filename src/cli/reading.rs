//! What the command line says about data.

use clap::{Args, ValueEnum};

use crate::error::{Error, Result};
use crate::repository::{DataFormat, ReadSettings, Task};
use crate::trainer::{DEFAULT_DATA_MEMORY, DataOptions, Override};

/// How data are read. What is not said is found out.
#[derive(Debug, Clone, Args)]
pub(super) struct ReadingArgs {
    /// What the files are [default: found out from the path]
    #[arg(long, value_name = "FORMAT", help_heading = "Data")]
    format: Option<DataFormat>,
    /// The column of a table that is to be learned [default: label, target or class, else the last one]
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    target: Option<String>,
    /// What is to be learned
    #[arg(long, value_name = "TASK", default_value = "auto", help_heading = "Data")]
    task: Task,
    /// Columns of a table that are left out
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', help_heading = "Data")]
    ignore: Vec<String>,
    /// Height and width that pictures are brought to, as 28x28 [default: the commonest size]
    #[arg(long, value_name = "HxW", value_parser = size, help_heading = "Data")]
    image_size: Option<[u32; 2]>,
    /// Samples that take more than this are kept in a temporary file: bytes, or as 512M, 2G
    #[arg(long, env = "WEIR_DATA_MEMORY", value_name = "BYTES", default_value = "1G", value_parser = bytes, help_heading = "Data")]
    data_memory: u64,
}

impl ReadingArgs {
    /// The options that they say.
    ///
    /// # Errors
    /// [`Error::Config`] for a target that is left out.
    pub(super) fn options(&self) -> Result<DataOptions> {
        if self.target.as_ref().is_some_and(|target| self.ignore.contains(target)) {
            return Err(Error::Config { setting: "ignore".into(), problem: "names the target".into() });
        }
        let reading = ReadSettings {
            format: self.format,
            target: self.target.clone(),
            task: self.task,
            image_size: self.image_size,
            ignore: self.ignore.clone(),
        };
        Ok(DataOptions { reading, memory: self.data_memory })
    }
}

impl ReadingArgs {
    /// What they say, as settings of a recipe.
    ///
    /// # Errors
    /// As [`ReadingArgs::options`].
    pub(super) fn settings(&self) -> Result<Vec<Override>> {
        let DataOptions { reading, memory } = self.options()?;
        let mut settings = Vec::new();
        let mut add = |flag: &str, key: &str, value: toml::Value| {
            settings.push(Override { origin: flag.into(), key: format!("reading.{key}"), value });
        };
        if let Some(format) = reading.format {
            let name = format.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
            add("--format", "format", name.into());
        }
        if let Some(target) = reading.target {
            add("--target", "target", target.into());
        }
        if reading.task != Task::Auto {
            let name = reading.task.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
            add("--task", "task", name.into());
        }
        if !reading.ignore.is_empty() {
            add("--ignore", "ignore", reading.ignore.join(",").into());
        }
        if let Some([height, width]) = reading.image_size {
            add("--image-size", "image_size", format!("{height}x{width}").into());
        }
        if memory != DEFAULT_DATA_MEMORY {
            add("--data-memory", "memory", toml::Value::Integer(i64::try_from(memory).unwrap_or(i64::MAX)));
        }
        Ok(settings)
    }
}

fn size(text: &str) -> std::result::Result<[u32; 2], String> {
    let sides =
        text.split_once(['x', 'X']).and_then(|(height, width)| Some([height.parse().ok()?, width.parse().ok()?]));
    sides.ok_or_else(|| "expected height and width, as 28x28".into())
}

fn bytes(text: &str) -> std::result::Result<u64, String> {
    let (number, shift) = match text.to_ascii_uppercase().chars().last() {
        Some('K') => (&text[..text.len() - 1], 10),
        Some('M') => (&text[..text.len() - 1], 20),
        Some('G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "expected a number of bytes, as 1048576, 512M or 2G".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_two_numbers_and_bytes_have_units() {
        assert_eq!(size("28x32"), Ok([28, 32]));
        assert!(size("28").is_err() && size("ax3").is_err());
        assert_eq!((bytes("0"), bytes("512m"), bytes("2G")), (Ok(0), Ok(512 << 20), Ok(2 << 30)));
        assert!(bytes("").is_err() && bytes("G").is_err() && bytes("99999999999G").is_err());
    }
}
