//! The parts that keys and the rules of issuers share: which models, and how many requests.

use super::{Rate, Scope};

/// Checks the models that rights are for. They go with `predict` and `read` alone.
pub(super) fn check_models(
    scopes: &[Scope],
    is_limited: bool,
    models: Option<&[String]>,
) -> std::result::Result<(), String> {
    let whole = scopes.iter().find(|scope| !matches!(scope, Scope::Predict | Scope::Read));
    if let Some(whole) = whole.filter(|_| is_limited) {
        return Err(format!(
            "{whole} is about the whole server, so it does not go with the names in \"models\"; give it by itself"
        ));
    }
    if models.is_some_and(|models| models.is_empty() || models.iter().any(|model| !is_pattern(model))) {
        return Err("models: expected names of models, of which the last character may be *".into());
    }
    Ok(())
}

/// Returns true for the name of a model, or the beginning of names and `*`.
pub(super) fn is_pattern(model: &str) -> bool {
    !model.is_empty() && !model.trim_end_matches('*').contains('*') && !model.ends_with("**")
}

/// Returns the limit that is written, if one is.
pub(super) fn rate_of(per_second: Option<f64>, burst: Option<u32>) -> std::result::Result<Option<Rate>, String> {
    if per_second.is_none() && burst.is_none() {
        return Ok(None);
    }
    let rate = per_second.and_then(|per_second| Rate::new(per_second, burst));
    let most = Rate::MAX_PER_SECOND;
    rate.map(Some).ok_or_else(|| format!("expected \"per_second\" from 0.001 to {most}, and \"burst\" above 0 or none"))
}
