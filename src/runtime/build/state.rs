//! What a stage is so far: the image it would be, and its arguments. Instructions that make no files change only this; all pure.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::runtime::build::expand;
use crate::runtime::build::fault::WordError;
use crate::runtime::build::instruction::{Command, Healthcheck};
use crate::runtime::image::config::{Empty, History, ImageDocument, ImageHealth};
use crate::runtime::start::environment;
use crate::values::signal::Signal;

/// Arguments that every build may be given without declaring them; they reach commands and no cache.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// A stage so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    /// The image.
    pub(super) document: ImageDocument,
    /// Arguments declared so far that have a value.
    arguments: Vec<(String, String)>,
    /// `CMD` was given in this stage; else a new `ENTRYPOINT` drops the inherited one.
    has_command: bool,
    /// When its last layer was made, RFC 3339.
    pub(super) created: Option<String>,
}

impl State {
    /// Begins with nothing.
    pub(super) fn scratch() -> State {
        let mut document = ImageDocument::scratch();
        document.config.working_dir = "/".to_owned();
        State::on(document)
    }

    /// Begins with an image. Like BuildKit, an image that does not say where programs lie is told, so that
    /// `ENV PATH=/opt/bin:$PATH` adds to something.
    pub(super) fn on(mut document: ImageDocument) -> State {
        if !document.config.env.iter().any(|entry| entry.starts_with("PATH=")) {
            document.config.env.push(format!("PATH={}", environment::PATH));
        }
        let created = document.created.clone();
        State { document, arguments: Vec::new(), has_command: false, created }
    }

    /// Begins with what another stage has become, its arguments included.
    pub(super) fn following(stage: &State) -> State {
        State { has_command: false, ..stage.clone() }
    }

    /// Takes the instructions that the base put off.
    pub(super) fn triggers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.document.config.on_build)
    }

    /// A variable: of the environment, else an argument.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let value = |entry: &String| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        let argument = || self.arguments.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        self.document.config.env.iter().find_map(value).or_else(argument)
    }

    /// Replaces variables and takes quotes away.
    pub(super) fn word(&self, text: &str, escape: char) -> Result<String, WordError> {
        let replaced = expand::word(text, escape, &|name| self.variable(name));
        replaced.map_err(|message| WordError { word: text.to_owned(), message })
    }

    /// Replaces variables in a document, whose quotes are its own.
    pub(super) fn word_of_document(&self, text: &str, escape: char) -> Result<String, String> {
        expand::document(text, escape, &|name| self.variable(name))
    }

    /// Replaces variables in several texts.
    pub(super) fn words(&self, texts: &[String], escape: char) -> Result<Vec<String>, WordError> {
        texts.iter().map(|text| self.word(text, escape)).collect()
    }

    /// `ARG`, with the value it has here.
    pub(super) fn argument(&mut self, name: &str, value: Option<String>) {
        self.arguments.retain(|(known, _)| known != name);
        if let Some(value) = value {
            self.arguments.push((name.to_owned(), value));
        }
    }

    /// `ENV`; all values see the environment before it.
    pub(super) fn environment(&mut self, pairs: &[(String, String)], escape: char) -> Result<(), WordError> {
        let mut expanded = Vec::new();
        for (name, value) in pairs {
            expanded.push((self.word(name, escape)?, self.word(value, escape)?));
        }
        for (name, value) in expanded {
            let entry = format!("{name}={value}");
            let env = &mut self.document.config.env;
            match env.iter_mut().find(|known| known.split('=').next() == Some(&name)) {
                Some(known) => *known = entry,
                None => env.push(entry),
            }
        }
        Ok(())
    }

    /// `LABEL`.
    pub(super) fn labels(&mut self, pairs: &[(String, String)], escape: char) -> Result<(), WordError> {
        for (name, value) in pairs {
            let (name, value) = (self.word(name, escape)?, self.word(value, escape)?);
            self.document.config.labels.insert(name, value);
        }
        Ok(())
    }

    /// `EXPOSE`: `80`, `80/udp`, `8000-8010`.
    pub(super) fn expose(&mut self, ports: &[String], escape: char) -> Result<(), WordError> {
        for text in self.words(ports, escape)? {
            for port in text.split_whitespace() {
                let (range, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let wrong = || WordError {
                    word: port.to_owned(),
                    message: format!(
                        "invalid port {port:?}: a port is a number from 1 to 65535, or a range, and /tcp, /udp or /sctp"
                    ),
                };
                let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong);
                let (first, last, protocol) = (number(first)?, number(last)?, protocol.to_ascii_lowercase());
                if first > last || !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
                    return Err(wrong());
                }
                self.document
                    .config
                    .exposed_ports
                    .extend((first..=last).map(|port| (format!("{port}/{protocol}"), Empty {})));
            }
        }
        Ok(())
    }

    /// `VOLUME`.
    pub(super) fn volumes(&mut self, paths: &[String], escape: char) -> Result<(), WordError> {
        for path in self.words(paths, escape)? {
            if path.trim().is_empty() {
                return Err("VOLUME names an empty path".to_owned().into());
            }
            self.document.config.volumes.insert(path, Empty {});
        }
        Ok(())
    }

    /// `WORKDIR`: where it leads from where we are.
    pub(super) fn working_dir(&mut self, path: &str) {
        self.document.config.working_dir = self.absolute(path);
    }

    /// A path as seen from the working directory, without `.` and `..`.
    pub(super) fn absolute(&self, path: &str) -> String {
        let joined = Path::new("/").join(&self.document.config.working_dir).join(path);
        let clean = crate::runtime::build::copy::relative(&joined);
        format!("/{}", clean.display())
    }

    /// `ENTRYPOINT`.
    pub(super) fn entrypoint(&mut self, command: &Command) {
        self.document.config.entrypoint = self.command_line(command);
        if !self.has_command {
            self.document.config.cmd = Vec::new();
        }
    }

    /// `CMD`.
    pub(super) fn command(&mut self, command: &Command) {
        self.document.config.cmd = self.command_line(command);
        self.has_command = true;
    }

    /// As an argument list, with the shell for lines.
    pub(super) fn command_line(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(line) => {
                let mut words = self.document.config.shell.clone();
                if words.is_empty() {
                    words = vec!["/bin/sh".to_owned(), "-c".to_owned()];
                }
                words.push(line.clone());
                words
            }
        }
    }

    /// `STOPSIGNAL`.
    pub(super) fn stop_signal(&mut self, text: &str) -> Result<(), String> {
        text.parse::<Signal>().map_err(|error| error.to_string())?;
        text.clone_into(&mut self.document.config.stop_signal);
        Ok(())
    }

    /// `HEALTHCHECK`.
    pub(super) fn health(&mut self, check: Option<&Healthcheck>) {
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        self.document.config.healthcheck = Some(match check {
            None => ImageHealth { test: vec!["NONE".to_owned()], ..ImageHealth::default() },
            Some(check) => ImageHealth {
                test: match &check.command {
                    Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
                    Command::Exec(words) => ["CMD".to_owned()].into_iter().chain(words.iter().cloned()).collect(),
                },
                interval: nanos(check.interval),
                timeout: nanos(check.timeout),
                start_period: nanos(check.start_period),
                start_interval: nanos(check.start_interval),
                retries: check.retries.into(),
            },
        });
    }

    /// What a command has as environment: the image's, and arguments of other names.
    pub(super) fn command_environment(&self) -> Vec<String> {
        let mut env: Vec<String> = self.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let set: Vec<&str> = self.document.config.env.iter().filter_map(|entry| entry.split('=').next()).collect();
        env.retain(|entry| !set.contains(&entry.split('=').next().unwrap_or("")));
        env.extend(self.document.config.env.iter().cloned());
        env
    }

    /// Notes an instruction that is done, and its layer if it made one.
    pub(super) fn done(&mut self, text: &str, layer: Option<String>) {
        self.document.history.push(History {
            created: self.created.clone(),
            created_by: Some(text.to_owned()),
            empty_layer: layer.is_none(),
            ..History::default()
        });
        self.document.rootfs.diff_ids.extend(layer);
        self.document.created.clone_from(&self.created);
    }
}

/// Proxy settings among the given arguments, for commands only.
pub(super) fn proxies(given: &BTreeMap<String, String>) -> Vec<String> {
    let known = |name: &String| PROXIES.contains(&name.to_ascii_uppercase().as_str());
    given.iter().filter(|(name, _)| known(name)).map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec()
    }

    #[test]
    fn the_environment_hides_arguments_and_sees_itself_as_it_was() {
        let mut state = State::scratch();
        state.argument("a", Some("argument".to_owned()));
        assert_eq!(state.word("$a", '\\').unwrap(), "argument");
        state.environment(&pairs([("a", "new"), ("b", "$a")]), '\\').unwrap();
        assert_eq!(state.word("$a $b", '\\').unwrap(), "new argument");
        let env = state.command_environment();
        assert_eq!(env.iter().filter(|entry| entry.starts_with("a=")).collect::<Vec<_>>(), ["a=new"]);
    }

    #[test]
    fn a_base_without_a_path_gets_the_usual_one_and_one_with_it_keeps_its_own() {
        let mut state = State::on(ImageDocument::scratch());
        state.environment(&pairs([("PATH", "/opt/bin:$PATH")]), '\\').unwrap();
        assert_eq!(state.variable("PATH").unwrap(), format!("/opt/bin:{}", environment::PATH));
        let mut base = ImageDocument::scratch();
        base.config.env.push("PATH=/only".to_owned());
        assert_eq!(State::on(base).document.config.env, ["PATH=/only"]);
    }

    #[test]
    fn a_new_entry_point_drops_the_command_of_the_base_only() {
        let mut base = ImageDocument::scratch();
        base.config.cmd = vec!["inherited".to_owned()];
        let mut state = State::on(base.clone());
        state.entrypoint(&Command::Exec(vec!["run".to_owned()]));
        assert!(state.document.config.cmd.is_empty());
        let mut state = State::on(base);
        state.command(&Command::Shell("own".to_owned()));
        state.entrypoint(&Command::Exec(vec!["run".to_owned()]));
        assert_eq!(state.document.config.cmd, ["/bin/sh", "-c", "own"]);
    }

    #[test]
    fn ports_volumes_signals_and_folders_are_checked() {
        let mut state = State::scratch();
        state.expose(&["80".to_owned(), "53/UDP".to_owned(), "8000-8002".to_owned()], '\\').unwrap();
        let ports: Vec<_> = state.document.config.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp"]);
        for wrong in ["0", "x", "80/x", "9-8", "70000"] {
            assert!(state.expose(&[wrong.to_owned()], '\\').is_err(), "{wrong}");
        }
        assert!(state.stop_signal("SIGNOPE").is_err() && state.stop_signal("SIGQUIT").is_ok());
        state.working_dir("a");
        state.working_dir("../b/./c");
        assert_eq!(state.document.config.working_dir, "/b/c");
        state.working_dir("../../../../x");
        assert_eq!(state.document.config.working_dir, "/x");
    }
}
