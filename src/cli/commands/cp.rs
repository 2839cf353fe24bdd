//! `xcompose cp`

use std::io::{IsTerminal, Seek, stdin, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::cli::ui::phase::Phase;
use crate::cli::ui::progress::News;
use crate::engine::{CopyOptions, CopyOwner, Observed, ObservedContainer, Outside, Parents, SourceLink};

/// Copy files/folders between a service container and the local filesystem
#[derive(Debug, clap::Args)]
#[command(override_usage = "xcompose cp [OPTIONS] SERVICE:SRC_PATH DEST_PATH|-\n       \
                            xcompose cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH")]
pub struct Cp {
    /// Include containers created by the run command
    #[arg(long)]
    all: bool,
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    index: u32,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// One side of a copy, as it was written.
#[derive(Debug, PartialEq, Eq)]
enum Side<'a> {
    Service(&'a str, &'a str),
    Here(&'a str),
}

impl<'a> Side<'a> {
    /// `SERVICE:PATH`, unless it can only be a path here (Compose CLI reference, §11.25).
    fn of(text: &'a str) -> Side<'a> {
        match text.split_once(':') {
            Some((service, path)) if !text.starts_with('/') && !service.starts_with('.') => {
                Side::Service(service, path)
            }
            _ => Side::Here(text),
        }
    }
}

impl Cp {
    /// Copies to every replica, or from one.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let [source, target] = self.words.as_slice() else {
            return Err(Failure::usage(format!("accepts 2 arg(s), received {}", self.words.len())));
        };
        if source.is_empty() {
            return Err(Failure::usage("source can not be empty"));
        }
        if target.is_empty() {
            return Err(Failure::usage("destination can not be empty"));
        }
        let options = CopyOptions {
            link: if self.follow_link { SourceLink::Followed } else { SourceLink::Itself },
            owner: if self.archive { CopyOwner::Source } else { CopyOwner::Receiver },
            parents: Parents::Needed,
        };
        context.ui().begin("copy");
        let done = match (Side::of(source), Side::of(target)) {
            (Side::Service(..), Side::Service(..)) => Err(Failure::usage("copying between services is not supported")),
            (Side::Here(_), Side::Here(_)) => Err(Failure::usage("unknown copy direction")),
            (Side::Service(service, path), Side::Here(target)) => {
                self.copy_out(context, service, path, target, options).await
            }
            (Side::Here(source), Side::Service(service, path)) => {
                self.copy_in(context, source, service, path, options).await
            }
        };
        context.ui().end();
        done.map(|()| Exit::SUCCESS)
    }

    async fn copy_out(
        &self,
        context: &Context<'_>,
        service: &str,
        path: &str,
        target: &str,
        options: CopyOptions,
    ) -> Result<(), Failure> {
        let (observed, service) = self.observe(context, service).await?;
        // From one of several the first is as good as any.
        let Some(container) = self.containers(&observed, &service)?.into_iter().next() else { return Ok(()) };
        let outside = if target == "-" {
            if stdout().is_terminal() {
                return Err(Failure::usage("refusing to write an archive to a terminal; name a file or redirect"));
            }
            let copy = stdout().as_fd().try_clone_to_owned();
            Outside::Archive(copy.map_err(Failure::system("use the standard streams"))?)
        } else {
            Outside::Path(PathBuf::from(target))
        };
        let shown = Copying::new(context, container, format!("{}:{path} to {target}", container.config.name));
        shown.done(context.engine().copy_from(&container.id, path, outside, options).await)
    }

    async fn copy_in(
        &self,
        context: &Context<'_>,
        source: &str,
        service: &str,
        path: &str,
        options: CopyOptions,
    ) -> Result<(), Failure> {
        let (observed, service) = self.observe(context, service).await?;
        let containers = self.containers(&observed, &service)?;
        let mut archive = if source == "-" { Some(read_whole_input()?) } else { None };
        for container in containers {
            let outside = match &mut archive {
                Some(archive) => {
                    let again = archive.rewind().and_then(|()| archive.try_clone());
                    Outside::Archive(again.map_err(Failure::system("read the archive"))?.into())
                }
                None => Outside::Path(PathBuf::from(source)),
            };
            let shown = Copying::new(context, container, format!("{source} to {}:{path}", container.config.name));
            shown.done(context.engine().copy_into(&container.id, outside, path, options).await)?;
        }
        Ok(())
    }

    async fn observe(&self, context: &Context<'_>, service: &str) -> Result<(Observed, String), Failure> {
        let stack = context.load(Need::Name, &[])?;
        Ok((context.observe(&stack).await?, service.to_owned()))
    }

    /// Those that are meant, in order.
    fn containers<'o>(&self, observed: &'o Observed, service: &str) -> Result<Vec<&'o ObservedContainer>, Failure> {
        let meant = |container: &&ObservedContainer| {
            let labels = &container.config.labels;
            members::service(labels) == service
                && match self.index {
                    0 => self.all || !members::one_off(labels),
                    index => members::number(labels) == Some(index),
                }
        };
        let mut found: Vec<_> = observed.containers.iter().filter(meant).collect();
        found.sort_by_key(|container| members::number(&container.config.labels).unwrap_or(u32::MAX));
        if found.is_empty() {
            return Err(Failure::usage(format!("no container found for service {service:?}")));
        }
        Ok(found)
    }
}

/// News of one copy.
struct Copying<'a> {
    context: &'a Context<'a>,
    id: String,
    details: String,
}

impl<'a> Copying<'a> {
    fn new(context: &'a Context<'_>, container: &ObservedContainer, details: String) -> Copying<'a> {
        let copying = Copying { context, id: format!("Container {}", container.config.name), details };
        copying.tell(Phase::Working, "Copying");
        copying
    }

    fn tell(&self, phase: Phase, text: &str) {
        let details = self.details.clone();
        self.context.ui().news(News { id: self.id.clone(), phase, text: text.to_owned(), details });
    }

    fn done(self, result: Result<(), crate::engine::EngineError>) -> Result<(), Failure> {
        match &result {
            Ok(()) => self.tell(Phase::Done, "Copied"),
            Err(_) => self.tell(Phase::Error, "Error"),
        }
        Ok(result?)
    }
}

/// Our standard input as a file without a name: several containers read it from its start.
fn read_whole_input() -> Result<std::fs::File, Failure> {
    let copied = tempfile::tempfile().and_then(|mut file| std::io::copy(&mut stdin().lock(), &mut file).map(|_| file));
    copied.map_err(Failure::system("read the archive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_makes_a_service_unless_the_text_is_clearly_a_path() {
        assert_eq!(Side::of("web:/a:b"), Side::Service("web", "/a:b"));
        assert_eq!(Side::of("/a:b"), Side::Here("/a:b"));
        assert_eq!(Side::of("./a:b"), Side::Here("./a:b"));
        assert_eq!(Side::of("../a:b"), Side::Here("../a:b"));
        assert_eq!(Side::of("-"), Side::Here("-"));
    }
}
