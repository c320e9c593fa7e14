//! Taking in looks at the repository: which are believed, and which models they may change.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use super::commands::Waiter;
use super::owner::Owner;
use super::record::{Model, Occasion, Record};
use crate::config::{Control, LoadModel};
use crate::ids::ModelName;
use crate::repository::{Look, Looked};

impl Owner {
    pub(super) fn take_look(&mut self, looked: Looked) {
        let Looked { look, trust, origin, began, asked } = looked;
        if let Some(trust) = trust {
            let records = self.models.values_mut().flat_map(|model| model.versions.values_mut());
            records.for_each(|record| record.drop_untrusted(&trust));
        }
        let first = !self.looked;
        self.answered = self.answered.max(asked);
        let serves = self.serves();
        let refusal = match &look {
            Err(error) => Some(error.to_string()),
            Ok(look) if serves && look.unreadable.is_empty() && look.models.values().all(|m| m.versions.is_empty()) => {
                Some("it is empty all at once".to_owned())
            }
            Ok(_) => None,
        };
        self.metrics.lifecycle.set_usable(refusal.is_none());
        if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH)
            && look.is_ok()
        {
            self.metrics.lifecycle.looked(now.as_secs_f64());
        }
        if let Some(reason) = &refusal
            && !self.refused
        {
            tracing::error!(reason, "the repository cannot be used; what serves goes on serving");
        }
        self.refused = refusal.is_some();
        self.looked = true;
        if let (Ok(look), None) = (look, refusal) {
            self.read = true;
            let occasion = Occasion { origin, began, first, interval: self.config.poll_interval };
            self.take_models(look, occasion);
        }
    }

    fn take_models(&mut self, look: Look, occasion: Occasion) {
        if look.problems != self.problems {
            for problem in &look.problems {
                tracing::warn!(place = %problem.place, problem = %problem.problem, "not part of the repository");
            }
            self.problems = look.problems;
        }
        // Without a watch on the repository, only what somebody asked about changes after the start.
        let open = occasion.first || self.config.control == Control::Poll;
        let asked: BTreeSet<ModelName> = self.waiters.iter().filter_map(Waiter::model).cloned().collect();
        for name in self.models.keys().cloned().collect::<Vec<_>>() {
            let known = look.models.contains_key(&name) || look.unreadable.contains(&name);
            if let Some(model) = self.models.get_mut(&name)
                && !known
                && (open || asked.contains(&name))
            {
                model.lose();
            }
        }
        for (name, found) in look.models {
            let restless = |model: &Model| model.versions.values().any(Record::is_restless);
            if open || asked.contains(&name) || self.models.get(&name).is_some_and(restless) {
                let wanted = self.wants_from_start(&name);
                let model = self.models.entry(name.clone()).or_insert_with(|| Model::new(wanted));
                let (before, warned) = (model.problem(), model.warnings());
                let without = model.without().cloned();
                model.see(found, occasion);
                if let Some(problem) = model.without().filter(|problem| without.as_ref() != Some(problem)) {
                    tracing::warn!(model = name.as_str(), problem, "nothing to serve");
                }
                if let Some(problem) = model.problem().filter(|problem| before.as_ref() != Some(problem)) {
                    tracing::error!(
                        model = name.as_str(),
                        problem,
                        "settings or aliases cannot be read; the last ones stand"
                    );
                }
                if let Some(warnings) = model.warnings().filter(|warnings| warned.as_ref() != Some(warnings)) {
                    tracing::warn!(model = name.as_str(), warnings, "not all of it has an effect");
                }
            }
        }
    }

    fn wants_from_start(&self, name: &ModelName) -> bool {
        let named = |entry: &LoadModel| match entry {
            LoadModel::Every => true,
            LoadModel::Named(model) => model == name,
        };
        self.config.control != Control::Explicit || self.config.load_models.iter().any(named)
    }
}
