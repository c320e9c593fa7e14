//! Settings declared once: the flag, the environment variable, the key of the TOML file, the help text and the
//! default of a setting stand together, and [`settings!`] makes all the rest of them.

use std::time::Duration;

use crate::error::{Error, Result};

/// Declares the settings of a command, in sections of its help.
///
/// `name: Type, "VARIABLE", "VALUE", default "shown" => value;` declares a setting with a default, and `unset "shown"`
/// one that may stay unset. The macro makes the struct of options, which clap and serde fill, `over`, which lays one
/// source above another, and the struct of values that defaults have completed.
macro_rules! settings {
    (
        $(#[$on_options:meta])*
        $options:ident { $($(#[$on_further:meta])* $further:ident: $further_type:ty,)* }
        $(#[$on_values:meta])*
        $values:ident
        $(
            in $section:expr;
            $(
                $(#[doc = $doc:literal])+
                $(#[arg($($arg:tt)*)])?
                $name:ident: $type:ident $(<$inner:ident>)?, $variable:literal, $value_name:literal,
                    $kind:ident $shown:literal $(=> $default:expr)?;
            )+
        )+
    ) => {
        $(#[$on_options])*
        pub struct $options {
            $($(#[$on_further])* pub $further: Option<$further_type>,)*
            $($(
                $(#[doc = $doc])+
                #[arg(
                    long,
                    env = $variable,
                    value_name = $value_name,
                    help_heading = $section,
                    help = concat!($($doc,)+ " [default: ", $shown, "]").trim_start(),
                    $($($arg)*)?
                )]
                pub $name: Option<$type $(<$inner>)?>,
            )+)+
        }

        $(#[$on_values])*
        pub(super) struct $values {
            $($(pub(super) $name: settings!(@type $kind $type $(<$inner>)?),)+)+
        }

        impl $options {
            /// Returns these settings, and `lower`'s where these are silent.
            fn over(self, lower: Self) -> Self {
                Self {
                    $($further: self.$further.or(lower.$further),)*
                    $($($name: self.$name.or(lower.$name),)+)+
                }
            }

            /// Completes these settings by their defaults.
            pub(super) fn with_defaults(self) -> $values {
                $values { $($($name: settings!(@value $kind self $name $(=> $default)?),)+)+ }
            }

            /// The name of every setting, its environment variable, and its default as the help shows it, if a flag
            /// may say the same.
            #[cfg(test)]
            const DECLARED: &[(&str, &str, Option<&str>)] =
                &[$($((stringify!($name), $variable, settings!(@shown $kind $shown)),)+)+];
        }
    };

    (@type unset $type:ident $(<$inner:ident>)?) => { Setting<Option<$type $(<$inner>)?>> };
    (@type $kind:ident $type:ident $(<$inner:ident>)?) => { Setting<$type $(<$inner>)?> };

    (@value unset $options:ident $name:ident) => {
        Setting { name: stringify!($name), value: $options.$name }
    };
    (@value $kind:ident $options:ident $name:ident => $default:expr) => {
        Setting { name: stringify!($name), value: $options.$name.unwrap_or_else(|| $default) }
    };

    (@shown default $shown:literal) => { Some($shown) };
    (@shown $kind:ident $shown:literal) => { None };
}

pub(super) use settings;

/// The value of a setting, with its name for messages.
#[derive(Debug)]
pub(super) struct Setting<T> {
    pub(super) name: &'static str,
    pub(super) value: T,
}

impl<T> Setting<T> {
    /// Returns the error that says what is wrong with the value.
    pub(super) fn refuse(&self, problem: String) -> Error {
        Error::Config { setting: self.name.replace('_', "-"), problem }
    }
}

impl Setting<usize> {
    /// Returns the number unless it is 0.
    pub(super) fn at_least_one(&self) -> Result<usize> {
        if self.value == 0 { Err(self.refuse("must be at least 1, got 0".into())) } else { Ok(self.value) }
    }
}

impl Setting<Option<usize>> {
    /// Returns the number, if there is one, unless it is 0.
    pub(super) fn at_least_one(&self) -> Result<Option<usize>> {
        self.value.map(|value| Setting { name: self.name, value }.at_least_one()).transpose()
    }
}

impl Setting<f64> {
    /// Returns a time of more than 0 and at most a day.
    pub(super) fn seconds(&self) -> Result<Duration> {
        match self.zero_or_seconds()? {
            Duration::ZERO => Err(self.refuse("must be more than 0".into())),
            duration => Ok(duration),
        }
    }

    /// Returns a time of at most a day; `None` for 0, which means never.
    pub(super) fn never_or_seconds(&self) -> Result<Option<Duration>> {
        Ok(Some(self.zero_or_seconds()?).filter(|duration| !duration.is_zero()))
    }

    /// Returns a time of more than 0 and at most ten years, given in days.
    pub(super) fn days(&self) -> Result<Duration> {
        const YEARS: f64 = 3653.0;
        if !(self.value > 0.0 && self.value <= YEARS) {
            return Err(self.refuse(format!("must be a number of days up to {YEARS}, got {}", self.value)));
        }
        Ok(Duration::from_secs_f64(self.value * 86_400.0))
    }

    /// Returns a time of at most a day.
    pub(super) fn zero_or_seconds(&self) -> Result<Duration> {
        const DAY: f64 = 86_400.0;
        if !(0.0..=DAY).contains(&self.value) {
            return Err(self.refuse(format!("must be a number of seconds from 0 to {DAY}, got {}", self.value)));
        }
        Ok(Duration::from_secs_f64(self.value))
    }
}
