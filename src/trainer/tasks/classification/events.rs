//! The part of a classifier's results that TensorBoard shows.

use super::pictures::{self, Picture};
use super::report::ClassificationReport;
use crate::error::Result;
use crate::trainer::dataset::Dataset;
use crate::trainer::events::{RGB, TestPicture, TestResults};

/// Returns loss, accuracy, the confusion matrix and the worst mistakes.
///
/// # Errors
/// [`Error::Internal`](crate::error::Error::Internal) when a picture cannot be encoded.
pub(in crate::trainer::tasks) fn results(report: &ClassificationReport, test: &Dataset) -> Result<TestResults> {
    let evaluation = &report.full.evaluation;
    let mut pictures = vec![shown("test/confusion matrix", &pictures::confusion(&evaluation.confusion))?];
    if !report.mistakes.is_empty() && test.is_images() {
        pictures.push(shown("test/worst mistakes", &pictures::mistakes(report, test)?)?);
    }
    let scalars = vec![("loss/test", evaluation.summary.loss), ("accuracy/test", evaluation.summary.accuracy)];
    Ok(TestResults { scalars, pictures })
}

fn shown(tag: &str, picture: &Picture) -> Result<TestPicture> {
    let size = [picture.width(), picture.height()];
    Ok(TestPicture { tag: tag.into(), size, colorspace: RGB, png: picture.png()? })
}
