//! Pictures of an autoencoder's answers for its report.

use super::evaluate::{Plans, scores};
use crate::error::Result;
use crate::stats::{standard_normal, variances};
use crate::trainer::dataset::Dataset;
use crate::trainer::random::keyed_rng;
use crate::transform::Picture;

/// Images on a row of a contact sheet.
const COLUMNS: usize = 12;
/// Images that are shown beside their reconstructions.
const RECONSTRUCTED: usize = 24;
/// Images made of codes drawn from the prior.
const SAMPLES: usize = 60;
/// Dimensions of the code that are walked along.
const WALKS: usize = 6;
/// The ends of a walk, in standard deviations of the prior.
const REACH: f32 = 3.0;
/// Images with the greatest scores.
const UNUSUAL: usize = 24;

/// A picture with what it shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shown {
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) picture: Picture,
}

/// All pictures of an autoencoder on some images.
///
/// # Errors
/// As [`Plans::evaluate`].
pub(super) fn pictures(plans: &Plans, data: &Dataset) -> Result<Vec<Shown>> {
    Ok(vec![
        Shown {
            title: "Originals and reconstructions",
            lead: "Each row of images, and below it what the decoder makes of their codes' means.",
            picture: reconstructions(plans, data)?,
        },
        Shown {
            title: "Images of its own",
            lead: "What the decoder makes of codes drawn from the standard normal distribution: none of these was ever seen.",
            picture: samples(plans, data)?,
        },
        Shown {
            title: "Along single numbers of the code",
            lead: "A row for each of the numbers that images use most: it goes from −3 to 3, while the others stay what they are for the first image.",
            picture: walk(plans, data)?,
        },
        Shown {
            title: "From one image to another",
            lead: "Codes on the straight line between those of two images: the first column and the last are their reconstructions.",
            picture: between(plans, data)?,
        },
        Shown {
            title: "The most unlikely images",
            lead: "Those with the greatest scores, the greatest first.",
            picture: unusual(plans, data)?,
        },
    ])
}

fn original(data: &Dataset, index: usize) -> Result<Picture> {
    Ok(Picture { width: data.width, height: data.height, pixels: data.image(index)?.into_owned() })
}

/// Returns the decoder's images for codes, row by row.
fn decoded(plans: &Plans, data: &Dataset, codes: &[f32]) -> Result<Vec<Picture>> {
    let intensities = plans.decode(codes, codes.len() / plans.latent()?)?;
    let picture = |image: &[f32]| Picture::of_intensities(image, data.width, data.height);
    Ok(intensities.chunks_exact(data.image_len()).map(picture).collect())
}

fn reconstructions(plans: &Plans, data: &Dataset) -> Result<Picture> {
    let indices: Vec<usize> = (0..RECONSTRUCTED.min(data.len())).collect();
    let again = decoded(plans, data, &plans.encode(&data.select(&indices))?)?;
    let originals: Vec<Picture> = indices.iter().map(|&index| original(data, index)).collect::<Result<_>>()?;
    let rows = originals.chunks(COLUMNS).zip(again.chunks(COLUMNS));
    Ok(Picture::contact_sheet(&rows.flat_map(|(row, again)| [row, again].concat()).collect::<Vec<_>>(), COLUMNS))
}

fn samples(plans: &Plans, data: &Dataset) -> Result<Picture> {
    let mut codes = Vec::new();
    standard_normal(&mut keyed_rng(0, "pictures", 0, 0), SAMPLES * plans.latent()?, &mut codes);
    Ok(Picture::contact_sheet(&decoded(plans, data, &codes)?, COLUMNS))
}

/// The places from one end of a walk to the other.
fn steps() -> impl Iterator<Item = f32> {
    (0..COLUMNS).map(|step| step as f32 / (COLUMNS - 1) as f32)
}

fn walk(plans: &Plans, data: &Dataset) -> Result<Picture> {
    let latent = plans.latent()?;
    let some: Vec<usize> = (0..data.len().min(1000)).collect();
    let codes = plans.encode(&data.select(&some))?;
    let variances = variances(&codes, latent);
    let mut by_use: Vec<usize> = (0..latent).collect();
    by_use.sort_by(|a, b| variances[*b].total_cmp(&variances[*a]));
    let mut walked = Vec::new();
    for &unit in by_use.iter().take(WALKS) {
        for step in steps() {
            let start = walked.len();
            walked.extend_from_slice(&codes[..latent]);
            walked[start + unit] = REACH * (2.0 * step - 1.0);
        }
    }
    Ok(Picture::contact_sheet(&decoded(plans, data, &walked)?, COLUMNS))
}

fn between(plans: &Plans, data: &Dataset) -> Result<Picture> {
    // The first image of each class; each row goes from one of them to the next.
    let firsts: Vec<usize> =
        (0..data.classes).filter_map(|class| data.labels().iter().position(|label| *label as usize == class)).collect();
    let latent = plans.latent()?;
    let codes = plans.encode(&data.select(&firsts))?;
    let ends: Vec<&[f32]> = codes.chunks_exact(latent).collect();
    let mut line = Vec::new();
    for pair in ends.chunks_exact(2) {
        for step in steps() {
            line.extend(pair[0].iter().zip(pair[1]).map(|(from, to)| from + step * (to - from)));
        }
    }
    Ok(Picture::contact_sheet(&decoded(plans, data, &line)?, COLUMNS))
}

fn unusual(plans: &Plans, data: &Dataset) -> Result<Picture> {
    let scores = scores(&plans.model, data)?;
    let mut order: Vec<usize> = (0..data.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    let shown: Vec<Picture> = order.iter().take(UNUSUAL).map(|&index| original(data, index)).collect::<Result<_>>()?;
    Ok(Picture::contact_sheet(&shown, COLUMNS))
}
