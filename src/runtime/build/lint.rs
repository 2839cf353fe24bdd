//! What is allowed in a Dockerfile, but probably not meant (Docker's documentation, "Build checks"). Pure.

use std::collections::BTreeMap;
use std::path::Path;

use crate::runtime::build::context::Context;
use crate::runtime::build::dockerfile::{Dockerfile, Step};
use crate::runtime::build::ignore;
use crate::runtime::build::instruction::{Command, Instruction};
use crate::runtime::build::stages::Stage;

/// Words in a name that say its value is a secret.
const SECRETS: [&str; 8] = ["apikey", "auth", "credential", "credentials", "key", "password", "secret", "token"];

/// The doubts, each with its rule's name, its place and the line.
pub(super) fn lint(
    file: &Dockerfile,
    stages: &[Stage],
    globals: &BTreeMap<String, String>,
    context: &Context,
) -> Vec<String> {
    let mut linter = Linter { file, found: Vec::new() };
    for (number, stage) in stages.iter().enumerate() {
        linter.stage(&stages[..number], stage, context);
    }
    for step in &file.steps {
        linter.words(step, globals);
    }
    linter.found.sort_by_key(|(line, _)| *line);
    linter.found.into_iter().map(|(_, text)| text).collect()
}

struct Linter<'a> {
    file: &'a Dockerfile,
    found: Vec<(usize, String)>,
}

impl Linter<'_> {
    fn doubt(&mut self, step: &Step, rule: &str, word: &str, message: &str) {
        let error = self.file.error(step, word, message);
        self.found.push((step.line, format!("{rule}: {}: {error}", error.place)));
    }

    fn stage(&mut self, earlier: &[Stage], stage: &Stage, context: &Context) {
        let file = self.file;
        let from = &file.steps[stage.from];
        if let Some(name) = &stage.name {
            if earlier.iter().any(|other| other.name.as_ref() == Some(name)) {
                self.doubt(from, "DuplicateStageName", name, "stage names should be unique");
            }
            if matches!(name.as_str(), "scratch" | "context") {
                self.doubt(from, "ReservedStageName", name, "this name means something else already");
            }
        }
        let (mut commands, mut entrypoints, mut checks) = (0, 0, 0);
        let mut working_dir = false;
        for step in &file.steps[stage.steps.clone()] {
            let several = "only the last one of a stage counts";
            match &step.instruction {
                Instruction::Cmd(command) => {
                    commands += 1;
                    self.shell_form(step, command);
                    if commands > 1 {
                        self.doubt(step, "MultipleInstructionsDisallowed", "", several);
                    }
                }
                Instruction::Entrypoint(command) => {
                    entrypoints += 1;
                    self.shell_form(step, command);
                    if entrypoints > 1 {
                        self.doubt(step, "MultipleInstructionsDisallowed", "", several);
                    }
                }
                Instruction::Healthcheck(_) => {
                    checks += 1;
                    if checks > 1 {
                        self.doubt(step, "MultipleInstructionsDisallowed", "", several);
                    }
                }
                Instruction::Workdir(path) => {
                    if !path.starts_with(['/', '$', '"']) && !working_dir {
                        self.doubt(step, "WorkdirRelativePath", path, "a relative folder depends on the base image");
                    }
                    working_dir |= path.starts_with('/');
                }
                Instruction::Copy(copy) | Instruction::Add(copy) if copy.from.is_none() => {
                    for source in &copy.sources {
                        let below = ignore::inside(source).unwrap_or_default();
                        if below != Path::new("") && context.ignore.excludes(&below) {
                            self.doubt(step, "CopyIgnoredFile", source, ".dockerignore leaves it out");
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn shell_form(&mut self, step: &Step, command: &Command) {
        if matches!(command, Command::Shell(_)) {
            let message = "as a JSON list it gets signals itself; a line runs below a shell";
            self.doubt(step, "JSONArgsRecommended", "", message);
        }
    }

    /// What a single instruction says.
    fn words(&mut self, step: &Step, globals: &BTreeMap<String, String>) {
        let keyword = self.file.keyword(step);
        if keyword != keyword.to_ascii_uppercase() && keyword != keyword.to_ascii_lowercase() {
            self.doubt(step, "ConsistentInstructionCasing", &keyword, "instructions should be in one case");
        }
        let secret = |name: &str| name.to_ascii_lowercase().split(['_', '-']).any(|part| SECRETS.contains(&part));
        match &step.instruction {
            Instruction::Maintainer(_) => {
                self.doubt(step, "MaintainerDeprecated", "", "use LABEL org.opencontainers.image.authors=…");
            }
            Instruction::Env(pairs) | Instruction::Label(pairs) => {
                let env = matches!(step.instruction, Instruction::Env(_));
                if let [(name, _)] = pairs.as_slice()
                    && !step.text.contains(&format!("{name}="))
                {
                    self.doubt(step, "LegacyKeyValueFormat", name, "write name=value");
                }
                for (name, _) in pairs.iter().filter(|(name, _)| env && secret(name)) {
                    self.doubt(step, "SecretsUsedInArgOrEnv", name, "the image shows it to everybody: mount a secret");
                }
            }
            Instruction::Arg(arguments) => {
                for (name, _) in arguments.iter().filter(|(name, _)| secret(name)) {
                    self.doubt(step, "SecretsUsedInArgOrEnv", name, "the image shows it to everybody: mount a secret");
                }
            }
            Instruction::From { image, platform, .. } => {
                if platform.as_ref().is_some_and(|platform| !platform.contains('$')) {
                    self.doubt(step, "FromPlatformFlagConstDisallowed", "--platform", "a platform should not be fixed");
                }
                for name in variables(image).filter(|name| !globals.contains_key(*name)) {
                    self.doubt(step, "UndefinedArgInFrom", name, "no ARG before the first FROM declares it");
                }
            }
            _ => {}
        }
    }
}

/// The names behind `$` and `${`.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        Some(&rest[..end]).filter(|name| !name.is_empty())
    })
}
