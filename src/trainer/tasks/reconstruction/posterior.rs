//! The normal distribution over codes that an encoder gives for each image, with independent components.

/// How rows of an encoder's output are read: the means, and behind them the logarithms of the variances.
#[derive(Debug, Clone, Copy)]
pub(super) struct Posterior {
    /// The numbers of a code.
    pub(super) latent: usize,
}

impl Posterior {
    /// One code for each row: z = μ + e^(½ ln σ²)·ε, with the noise ε row by row.
    pub(super) fn sample(self, rows: &[f32], noise: &[f32]) -> Vec<f32> {
        let mut codes = Vec::with_capacity(noise.len());
        for (row, noise) in rows.chunks_exact(2 * self.latent).zip(noise.chunks_exact(self.latent)) {
            let (means, log_variances) = row.split_at(self.latent);
            let draw = |((mean, log_variance), noise): ((&f32, &f32), &f32)| mean + (0.5 * log_variance).exp() * noise;
            codes.extend(means.iter().zip(log_variances).zip(noise).map(draw));
        }
        codes
    }

    /// KL(q(z|x) ‖ N(0, 1)) of each row in nats: ½ Σ μ² + σ² − 1 − ln σ² (Kingma and Welling 2014, appendix B).
    pub(super) fn divergences(self, rows: &[f32]) -> impl Iterator<Item = f64> {
        rows.chunks_exact(2 * self.latent).map(move |row| {
            let (means, log_variances) = row.split_at(self.latent);
            let term = |(mean, log_variance): (&f32, &f32)| {
                let (mean, log_variance) = (f64::from(*mean), f64::from(*log_variance));
                mean * mean + log_variance.exp() - 1.0 - log_variance
            };
            0.5 * means.iter().zip(log_variances).map(term).sum::<f64>()
        })
    }

    /// Turns rows into the gradient of a loss, in place: that through the codes, whose gradient is
    /// `of_codes`, and `scale` times that of the divergences.
    pub(super) fn backward(self, rows: &mut [f32], noise: &[f32], of_codes: &[f32], scale: f32) {
        let rows = rows.chunks_exact_mut(2 * self.latent);
        let given = noise.chunks_exact(self.latent).zip(of_codes.chunks_exact(self.latent));
        for (row, (noise, of_codes)) in rows.zip(given) {
            let (means, log_variances) = row.split_at_mut(self.latent);
            for (index, (mean, log_variance)) in means.iter_mut().zip(log_variances).enumerate() {
                let deviation = (0.5 * *log_variance).exp();
                let of_code = of_codes[index];
                *mean = of_code + scale * *mean;
                *log_variance = 0.5 * (of_code * noise[index] * deviation + scale * (deviation * deviation - 1.0));
            }
        }
    }
}
