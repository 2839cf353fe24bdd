//! Volumes: which are made, made anew, or used as they are (behaviours §1.9).
//!
//! Data is never lost unasked: a volume that is not as the file says is made anew only when the user has agreed.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Observed, ObservedVolume, VolumeConfig};
use crate::planner::error::PlanError;
use crate::planner::plan::{Action, Cause, InUse, Plan, Question, StepId, Warning};
use crate::planner::request::Answers;
use crate::planner::{diff, hash, labels};
use crate::spec::project::Project;
use crate::spec::project::keys::VolumeKey;
use crate::spec::project::mounts::{MountSource, Volume};
use crate::spec::project::service::Service;
use crate::values::names::VolumeName;

/// What becomes of a volume.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is used as it is.
    Keep,
    /// It is made.
    Create(Box<VolumeConfig>),
    /// It is removed with its data, and made.
    Recreate(Box<VolumeConfig>, Cause),
}

/// The volumes that a service mounts, by key.
pub(super) fn of(service: &Service) -> impl Iterator<Item = &VolumeKey> {
    service.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { key, .. } => Some(key),
        _ => None,
    })
}

/// What becomes of each of the project's volumes with these keys.
pub(super) fn decide(
    project: &Project,
    keys: &BTreeSet<&VolumeKey>,
    observed: &Observed,
    answers: &Answers,
    plan: &mut Plan,
) -> Result<BTreeMap<VolumeName, Fate>, PlanError> {
    let mut fates = BTreeMap::new();
    for key in keys {
        let Some(wanted) = project.volumes.get(*key) else { continue };
        let there = observed.volumes.iter().find(|volume| volume.config.name == wanted.name);
        if wanted.external {
            if there.is_none() {
                return Err(PlanError::ExternalVolume(wanted.name.clone()));
            }
            fates.insert(wanted.name.clone(), Fate::Keep);
            continue;
        }
        let config = config(project, key, wanted);
        let fate = match there {
            None => Fate::Create(Box::new(config)),
            Some(there) => compare(project, config, there, answers, plan),
        };
        fates.insert(wanted.name.clone(), fate);
    }
    Ok(fates)
}

fn compare(
    project: &Project,
    wanted: VolumeConfig,
    there: &ObservedVolume,
    answers: &Answers,
    plan: &mut Plan,
) -> Fate {
    let labels = &there.config.labels;
    match labels.get(labels::PROJECT) {
        None => plan.warnings.push(Warning::ForeignVolume(wanted.name.clone())),
        Some(other) if other != project.name.as_str() => plan.warnings.push(Warning::OtherProjectsVolume {
            name: wanted.name.clone(),
            other: other.clone(),
            project: project.name.to_string(),
        }),
        Some(_) => match labels.get(labels::CONFIG_HASH) {
            Some(hash) if wanted.labels.get(labels::CONFIG_HASH) != Some(hash) => {
                let question = Question::RecreateVolume(wanted.name.clone());
                match answers.to(&question) {
                    Some(true) => {
                        let fields = diff::resource_fields(&there.config, &wanted);
                        return Fate::Recreate(Box::new(wanted), Cause::ConfigChanged(fields));
                    }
                    Some(false) => {}
                    None => plan.questions.push(question),
                }
            }
            _ => {}
        },
    }
    Fate::Keep
}

/// What a volume of the project is made from.
fn config(project: &Project, key: &VolumeKey, wanted: &Volume) -> VolumeConfig {
    let mut config = VolumeConfig {
        name: wanted.name.clone(),
        labels: wanted.labels.clone(),
        driver: wanted.driver.clone().unwrap_or_else(|| "local".to_owned()),
        driver_opts: wanted.driver_opts.clone(),
    };
    let hash = hash::volume(&config);
    for (label, value) in [
        (labels::PROJECT, project.name.to_string()),
        (labels::VOLUME, key.to_string()),
        (labels::CONFIG_HASH, hash),
        (labels::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
    ] {
        config.labels.insert(label.to_owned(), value);
    }
    config
}

/// Makes the volumes; `removed` are the steps that remove what mounts the one to be made anew. Returns the step after
/// which each volume can be used.
pub(super) fn emit(
    fates: BTreeMap<VolumeName, Fate>,
    plan: &mut Plan,
    mut removed: impl FnMut(&VolumeName, &mut Plan) -> Vec<StepId>,
) -> BTreeMap<VolumeName, StepId> {
    let mut ready = BTreeMap::new();
    for (name, fate) in fates {
        let step = match fate {
            Fate::Keep => continue,
            Fate::Create(config) => plan.push(Action::CreateVolume(config), Cause::Missing, Vec::new()),
            Fate::Recreate(config, cause) => {
                let users = removed(&name, plan);
                let remove = Action::RemoveVolume { name: name.clone(), in_use: InUse::Fail };
                let gone = plan.push(remove, cause, users);
                plan.push(Action::CreateVolume(config), Cause::Replacement, vec![gone])
            }
        };
        ready.insert(name, step);
    }
    ready
}
