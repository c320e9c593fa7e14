//! Training: data in every format, networks of every family, runs that stop and resume, evaluation.

mod autoencoder;
mod custom_network;
mod data;
pub(crate) mod data_parquet;
mod dates;
mod evaluating;
mod evaluation;
mod families;
mod head;
mod photos;
mod reading;
mod resuming;
mod sequence_data;
mod sequences;
mod tables;
mod text_columns;
mod text_heads;
mod texts;
mod training;
mod tuning;
