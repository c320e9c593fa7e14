//! The part of an autoencoder's results that TensorBoard shows.

use super::report::ReconstructionReport;
use crate::error::Result;
use crate::trainer::events::{GREY, TestPicture, TestResults};

/// Returns the likelihoods and the pictures of the report.
///
/// # Errors
/// [`Error::Internal`](crate::error::Error::Internal) when a picture cannot be encoded.
pub(in crate::trainer::tasks) fn results(report: &ReconstructionReport) -> Result<TestResults> {
    let evaluation = &report.evaluation;
    let mut scalars = vec![
        ("loss/test", evaluation.negative_elbo),
        ("reconstruction/test", evaluation.reconstruction),
        ("divergence/test", evaluation.divergence),
    ];
    if let Some(estimate) = &evaluation.importance {
        scalars.push(("negative log-likelihood/test", estimate.negative_log_likelihood));
    }
    let mut pictures = Vec::new();
    for (title, picture) in report.pictures() {
        let size = [picture.width, picture.height];
        pictures.push(TestPicture { tag: format!("test/{title}"), size, colorspace: GREY, png: picture.png()? });
    }
    Ok(TestResults { scalars, pictures })
}
