//! `xcompose enable` and `xcompose disable`: whether a project comes back when the machine starts.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::values::names::ProjectName;
use crate::values::restart::Restart;

/// Where systemd looks for units of this machine.
const UNITS: &str = "etc/systemd/system";
/// What is wanted at boot: links to units.
const WANTS: &str = "multi-user.target.wants";
/// There while systemd runs (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Bring the project back when the machine starts
///
/// Writes a systemd unit that calls `xcompose resume` for this project, and `xcompose suspend` when the machine goes down.
/// Without systemd, have your init call these.
#[derive(Debug, clap::Args)]
pub struct Enable {
    /// Write below this folder in place of /, as for the image of a machine
    #[arg(long, value_name = "PATH")]
    root: Option<PathBuf>,
}

/// Do not bring the project back when the machine starts
#[derive(Debug, clap::Args)]
pub struct Disable {
    /// Look below this folder in place of /, as for the image of a machine
    #[arg(long, value_name = "PATH")]
    root: Option<PathBuf>,
}

impl Enable {
    /// Writes the unit, and warns of what does not come back.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let stack = context.load(Need::Name, &[])?;
        let program = std::env::current_exe().map_err(Failure::system("find this program"))?;
        if self.root.is_none() && !Path::new(BOOTED).exists() {
            let failure = Failure::usage("systemd does not run on this machine");
            let call = format!("{} --project-name {} resume", program.display(), stack.name);
            return Err(failure.hint(format!("have your init run this at boot: {call}")));
        }
        let place = Place::of(self.root.as_deref(), &stack.name);
        place.write(&unit(&stack.name, &program)).map_err(|error| place.failed("write", error))?;
        if self.root.is_none() {
            reload(context);
        }
        let ui = context.ui();
        ui.line(&format!("{} comes back at boot: {}", stack.name, place.unit.display()))?;
        let observed = context.observe(&stack).await?;
        let replicas = || observed.containers.iter().filter(|container| !members::one_off(&container.config.labels));
        if replicas().next().is_none() {
            ui.warn(&format!("project {} has no containers yet: \"up\" makes what comes back", stack.name));
        }
        for container in replicas().filter(|container| container.config.restart == Restart::No) {
            let (service, name) = (members::service(&container.config.labels), &container.config.name);
            ui.warn(&format!(
                "{name} does not come back: service {service} has no restart policy (\"restart: always\")"
            ));
        }
        Ok(Exit::SUCCESS)
    }
}

impl Disable {
    /// Takes the unit away.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let stack = context.load(Need::Name, &[])?;
        let place = Place::of(self.root.as_deref(), &stack.name);
        let was = place.remove().map_err(|error| place.failed("remove", error))?;
        if was && self.root.is_none() && Path::new(BOOTED).exists() {
            reload(context);
        }
        let words = if was { "does not come back at boot any more" } else { "was not enabled" };
        context.ui().line(&format!("{} {words}", stack.name))?;
        Ok(Exit::SUCCESS)
    }
}

/// A unit's file, and the link that makes it wanted at boot.
struct Place {
    unit: PathBuf,
    link: PathBuf,
}

impl Place {
    fn of(root: Option<&Path>, project: &ProjectName) -> Place {
        let units = root.unwrap_or(Path::new("/")).join(UNITS);
        let name = format!("xcompose-{project}.service");
        Place { link: units.join(WANTS).join(&name), unit: units.join(name) }
    }

    fn write(&self, text: &str) -> std::io::Result<()> {
        for path in [&self.unit, &self.link] {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
        }
        // Under another name first: a boot in between finds the old one or the new one.
        let new = self.unit.with_extension("service.new");
        std::fs::write(&new, text)?;
        std::fs::rename(&new, &self.unit)?;
        let target = Path::new("..").join(self.unit.file_name().unwrap_or_default());
        match std::os::unix::fs::symlink(target, &self.link) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Whether there was something.
    fn remove(&self) -> std::io::Result<bool> {
        let mut was = false;
        for path in [&self.link, &self.unit] {
            match std::fs::remove_file(path) {
                Ok(()) => was = true,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(was)
    }

    fn failed(&self, verb: &'static str, error: std::io::Error) -> Failure {
        Failure::usage(format!("cannot {verb} {}: {error}", self.unit.display()))
    }
}

/// Has systemd read its units again; at the next boot it does so anyway.
fn reload(context: &Context<'_>) {
    let done = Command::new("systemctl").arg("daemon-reload").stdin(Stdio::null()).status();
    if !done.is_ok_and(|status| status.success()) {
        context.ui().warn("systemd could not be told: run \"systemctl daemon-reload\"");
    }
}

fn unit(project: &ProjectName, program: &Path) -> String {
    let mut text = format!(
        "[Unit]\n\
         Description=Containers of the project {project}\n\
         Wants=network-online.target\n\
         After=network-online.target local-fs.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         TimeoutStartSec=infinity\n\
         # Every container has its grace period.\n\
         TimeoutStopSec=infinity\n\
         # Who watches over the containers lives on when the unit is stopped.\n\
         KillMode=process\n"
    );
    for name in ["XCOMPOSE_DATA", "XCOMPOSE_RUN"] {
        if let Some(value) = std::env::var_os(name) {
            // Writing to a string can't fail.
            let _ = writeln!(text, "Environment={}", quoted(&format!("{name}={}", value.to_string_lossy())));
        }
    }
    let program = quoted(&program.to_string_lossy()).replace('$', "$$");
    let _ = writeln!(text, "ExecStart={program} --project-name {project} resume");
    let _ = writeln!(text, "ExecStop={program} --project-name {project} suspend");
    text + "\n[Install]\nWantedBy=multi-user.target\n"
}

/// A word in systemd's quotes (systemd.syntax(7)); what looks like a specifier means itself.
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_calls_resume_for_its_project() {
        let text = unit(&ProjectName::try_from("shop").unwrap(), Path::new("/opt/100% \"new\"/xcompose"));
        let start = text.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        assert_eq!(start, "ExecStart=\"/opt/100%% \\\"new\\\"/xcompose\" --project-name shop resume");
        assert!(text.contains("WantedBy=multi-user.target"));
    }

    #[test]
    fn a_unit_that_is_written_twice_is_removed_once() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::of(Some(root.path()), &ProjectName::try_from("p").unwrap());
        place.write("one").unwrap();
        place.write("two").unwrap();
        assert_eq!(std::fs::read_to_string(&place.link).unwrap(), "two", "the link leads to the unit");
        assert!(place.remove().unwrap());
        assert!(!place.remove().unwrap());
    }
}
