//! The stages of a Dockerfile: what each begins with, and which are needed for the one that is wanted. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::engine::BuildConfig;
use crate::runtime::build::context::Contexts;
use crate::runtime::build::dockerfile::{Dockerfile, DockerfileError, Step};
use crate::runtime::build::expand;
use crate::runtime::build::instruction::{Instruction, guess};
use crate::values::platform::{InvalidPlatform, Platform};

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stage {
    /// `AS name`.
    pub(super) name: Option<String>,
    /// What it begins with.
    pub(super) base: Base,
    /// Its `FROM`.
    pub(super) from: usize,
    /// The steps behind its `FROM`.
    pub(super) steps: Range<usize>,
    /// Stages it takes something from.
    needs: Vec<usize>,
}

/// What a stage begins with, or files are taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(String),
    /// A named context.
    Context(String),
}

/// The arguments before the first `FROM`, and those that every build has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Globals(pub(super) BTreeMap<String, String>);

/// What BuildKit tells every build of the platform.
pub(super) fn predefined() -> BTreeMap<String, String> {
    let host = Platform::host();
    let mut values = BTreeMap::new();
    for side in ["TARGET", "BUILD"] {
        values.insert(format!("{side}PLATFORM"), host.to_string());
        values.insert(format!("{side}OS"), host.os.clone());
        values.insert(format!("{side}ARCH"), host.architecture.clone());
        values.insert(format!("{side}VARIANT"), host.variant.clone());
    }
    values
}

/// Splits a Dockerfile into stages.
pub(super) fn stages(
    file: &Dockerfile,
    config: &BuildConfig,
    contexts: &Contexts<'_>,
) -> Result<(Vec<Stage>, Globals), DockerfileError> {
    let given = &config.args;
    let mut globals = predefined();
    globals.insert("TARGETSTAGE".to_owned(), config.target.clone().unwrap_or_else(|| "default".to_owned()));
    let mut stages: Vec<Stage> = Vec::new();
    for (at, step) in file.steps.iter().enumerate() {
        let word = |text: &str| {
            expand::word(text, file.escape, &|name| globals.get(name).cloned())
                .map_err(|error| file.error(step, text, error))
        };
        match &step.instruction {
            Instruction::Arg(arguments) if stages.is_empty() => {
                for (name, default) in arguments {
                    let value = match given.get(name) {
                        Some(value) => Some(value.clone()),
                        None => default
                            .as_deref()
                            .map(|text| {
                                expand::word(text, file.escape, &|name| globals.get(name).cloned())
                                    .map_err(|error| file.error(step, text, error))
                            })
                            .transpose()?,
                    };
                    if let Some(value) = value {
                        globals.insert(name.clone(), value);
                    }
                }
            }
            Instruction::From { image, platform, name } => {
                if let Some(platform) = platform {
                    let wanted = word(platform)?;
                    let host = Platform::host();
                    if !wanted.is_empty() {
                        let found: Platform = wanted
                            .parse()
                            .map_err(|error: InvalidPlatform| file.error(step, platform, error.to_string()))?;
                        if (&found.os, &found.architecture) != (&host.os, &host.architecture) {
                            let message = format!("the platform {wanted} can't be built here: this machine is {host}");
                            return Err(file.error(step, platform, message));
                        }
                    }
                }
                let base = word(image)?;
                if base.is_empty() {
                    let message = format!("the image's name {image:?} is empty once its variables are replaced");
                    return Err(file.error(step, image, message));
                }
                let base = find_name(contexts, &stages, &base);
                let needs = match base {
                    Base::Stage(number) => vec![number],
                    _ => Vec::new(),
                };
                stages.push(Stage { name: name.clone(), base, from: at, steps: at + 1..at + 1, needs });
            }
            _ => {
                let known = stages.len();
                let Some(stage) = stages.last_mut() else {
                    return Err(file.error(step, "", "the first instruction must be FROM (or ARG)"));
                };
                stage.steps.end = at + 1;
                let sources = sources(step);
                for source in sources {
                    if let Base::Stage(number) = find(contexts, &stages[..known - 1], source) {
                        stages[known - 1].needs.push(number);
                    }
                }
            }
        }
    }
    if stages.is_empty() {
        let last = &file.steps[file.steps.len() - 1];
        return Err(file.error(last, "", "there is no FROM: nothing is built"));
    }
    Ok((stages, Globals(globals)))
}

/// What a step takes files from.
fn sources(step: &Step) -> Vec<&str> {
    match &step.instruction {
        Instruction::Copy(copy) => copy.from.as_deref().into_iter().collect(),
        Instruction::Run(run) => {
            run.mounts.iter().flat_map(|mount| mount.split(',').filter_map(|part| part.strip_prefix("from="))).collect()
        }
        _ => Vec::new(),
    }
}

/// The context of this name, the stage of this name or number among the earlier ones, else an image.
pub(super) fn find(contexts: &Contexts<'_>, stages: &[Stage], text: &str) -> Base {
    match text.parse::<usize>() {
        Ok(number) if number < stages.len() => Base::Stage(number),
        _ => find_name(contexts, stages, text),
    }
}

fn find_name(contexts: &Contexts<'_>, stages: &[Stage], text: &str) -> Base {
    if let Some(name) = contexts.named(text) {
        return Base::Context(name.to_owned());
    }
    match stage_named(stages, text) {
        Some(number) => Base::Stage(number),
        None if text == "scratch" => Base::Scratch,
        None => Base::Image(text.to_owned()),
    }
}

fn stage_named(stages: &[Stage], text: &str) -> Option<usize> {
    let name = text.to_ascii_lowercase();
    stages.iter().rposition(|stage| stage.name.as_deref() == Some(&name))
}

/// The stage that is wanted: by name or number, else the last.
pub(super) fn target(stages: &[Stage], wanted: Option<&str>) -> Result<usize, String> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return Ok(stages.len() - 1) };
    let number = wanted.parse().ok().filter(|number| *number < stages.len());
    number.or_else(|| stage_named(stages, wanted)).ok_or_else(|| {
        let names: Vec<&str> = stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
        let guess = guess(wanted, &names).map_or_else(String::new, |guess| format!(" (did you mean {guess}?)"));
        format!("target stage {wanted:?} could not be found{guess}")
    })
}

/// A stage and those it begins with, one on the other: what its image consists of.
pub(super) fn chain(stages: &[Stage], target: usize) -> Vec<usize> {
    let below = |number: &usize| match stages[*number].base {
        Base::Stage(below) => Some(below),
        Base::Scratch | Base::Image(_) | Base::Context(_) => None,
    };
    std::iter::successors(Some(target), below).collect()
}

/// The stages needed for one, in order, itself the last.
pub(super) fn needed(stages: &[Stage], target: usize) -> Vec<usize> {
    let mut wanted = vec![false; target + 1];
    wanted[target] = true;
    // A stage needs only earlier ones.
    for number in (0..=target).rev() {
        if wanted[number] {
            for need in &stages[number].needs {
                wanted[*need] = true;
            }
        }
    }
    (0..=target).filter(|number| wanted[*number]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ContextSource;
    use crate::runtime::image::staging::Staging;

    fn read(text: &str, given: &[(&str, &str)]) -> Result<(Vec<Stage>, Globals), DockerfileError> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (folder, none) = (tempfile::tempdir().unwrap(), BTreeMap::new());
        let staging = Staging::new(folder.path()).unwrap();
        let config =
            BuildConfig { args: given, ..BuildConfig::new(ContextSource::Directory(folder.path().to_owned())) };
        stages(&Dockerfile::parse("Dockerfile", text).unwrap(), &config, &Contexts::new(&none, &staging, &|| false))
    }

    #[test]
    fn only_what_the_target_takes_from_is_needed() {
        let text = "FROM a AS one\nFROM b AS two\nRUN x\nFROM one AS three\nCOPY --from=two /x /x\nFROM c\nCOPY --from=0 /x /\nCOPY --from=other /x /\n";
        let (stages, _) = read(text, &[]).unwrap();
        assert_eq!(stages.len(), 4);
        assert_eq!(stages[2].base, Base::Stage(0));
        assert_eq!(needed(&stages, target(&stages, Some("three")).unwrap()), [0, 1, 2]);
        assert_eq!(needed(&stages, target(&stages, None).unwrap()), [0, 3]);
        assert_eq!(needed(&stages, target(&stages, Some("TWO")).unwrap()), [1]);
        assert_eq!(
            target(&stages, Some("thre")).unwrap_err(),
            "target stage \"thre\" could not be found (did you mean three?)"
        );
    }

    #[test]
    fn arguments_before_the_first_stage_name_its_image() {
        let text = "ARG VERSION=1\nARG IMAGE=base:$VERSION\nFROM ${IMAGE}-$TARGETARCH\n";
        let arch = Platform::host().architecture;
        assert_eq!(read(text, &[]).unwrap().0[0].base, Base::Image(format!("base:1-{arch}")));
        assert_eq!(read(text, &[("VERSION", "2")]).unwrap().0[0].base, Base::Image(format!("base:2-{arch}")));
        assert!(read("FROM $NOTHING\n", &[]).unwrap_err().to_string().contains("is empty once"));
        assert!(read("RUN x\nFROM a\n", &[]).unwrap_err().to_string().contains("first instruction must be FROM"));
        assert!(read("ARG a\n", &[]).unwrap_err().to_string().contains("no FROM"));
        assert!(read("FROM --platform=linux/s390x a\n", &[]).unwrap_err().to_string().contains("linux/s390x"));
    }
}
