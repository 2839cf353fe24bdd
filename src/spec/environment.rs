//! The variables of a project, each with every place that gives it a value: the first one counts.

use std::collections::BTreeMap;

use super::diagnostic::Location;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The environment that the command was run in.
    Process,
    /// A line of `.env` or of a file named by `--env-file` or by an `include`'s `env_file`.
    File(Location),
    /// Compose itself: `PWD`, `COMPOSE_PROJECT_NAME`.
    Compose,
}

/// A value that a variable has somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The value.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Variables by name; each has at least one candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, Vec<Candidate>>);

impl Environment {
    /// The environment that the command was run in.
    pub fn of_process(variables: &BTreeMap<String, String>) -> Self {
        let mut new = Self::default();
        for (name, value) in variables {
            new.fall_back(name, value.clone(), Origin::Process);
        }
        new
    }

    /// The value that counts.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(|candidate| candidate.value.as_str())
    }

    /// Every value it has somewhere; the first one counts.
    pub fn candidates(&self, name: &str) -> &[Candidate] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Adds a value that counts if there is no other so far.
    pub fn fall_back(&mut self, name: &str, value: String, origin: Origin) {
        self.0.entry(name.to_owned()).or_default().push(Candidate { value, origin });
    }

    /// Adds a value that counts, whatever there is.
    pub fn overrule(&mut self, name: &str, value: String, origin: Origin) {
        self.0.entry(name.to_owned()).or_default().insert(0, Candidate { value, origin });
    }

    /// Names and the values that count.
    pub fn values(&self) -> BTreeMap<String, String> {
        self.0.iter().filter_map(|(name, all)| Some((name.clone(), all.first()?.value.clone()))).collect()
    }
}
