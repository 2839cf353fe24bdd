//! The instructions of a Dockerfile, each from its text (Dockerfile reference).

use std::time::Duration;

use crate::runtime::build::dockerfile::{DockerfileError, Heredoc, Raw};
use crate::runtime::build::expand;
use crate::runtime::build::flags::Flags;
use crate::runtime::build::mode::Chmod;
use crate::values::duration;

/// One instruction. Variables are not replaced yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Instruction {
    From {
        image: String,
        platform: Option<String>,
        name: Option<String>,
    },
    Arg(Vec<(String, Option<String>)>),
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Run(Run),
    Copy(Copy),
    Add(Copy),
    Workdir(String),
    User(String),
    Expose(Vec<String>),
    Volume(Vec<String>),
    Entrypoint(Command),
    Cmd(Command),
    Shell(Vec<String>),
    StopSignal(String),
    /// `None` switches an inherited one off.
    Healthcheck(Option<Healthcheck>),
    OnBuild(String),
    Maintainer(String),
}

/// A line for a shell, or an argument list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Shell(String),
    Exec(Vec<String>),
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) command: Command,
    /// `--mount=`, as written.
    pub(super) mounts: Vec<String>,
    pub(super) network: Option<String>,
    pub(super) rights: Rights,
}

/// `RUN --security=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// `sandbox`
    Usual,
    /// `insecure`
    All,
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) from: Option<String>,
    pub(super) chown: Option<String>,
    pub(super) chmod: Option<String>,
    pub(super) exclude: Vec<String>,
    pub(super) parents: bool,
    /// Its layer does not depend on those below it.
    pub(super) link: bool,
    /// What a remote source must be (`ADD`).
    pub(super) checksum: Option<String>,
    /// The repository comes along (`ADD`).
    pub(super) keep_git_dir: bool,
    /// Whether archives are unpacked (`ADD`); by default those of the context are.
    pub(super) unpack: Option<bool>,
    pub(super) sources: Vec<String>,
    pub(super) heredocs: Vec<Heredoc>,
    pub(super) destination: String,
}

/// `HEALTHCHECK CMD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Healthcheck {
    pub(super) command: Command,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) start_period: Duration,
    pub(super) start_interval: Duration,
    pub(super) retries: u32,
}

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

impl Instruction {
    /// Reads one.
    pub(super) fn parse(raw: &Raw<'_>) -> Result<Instruction, DockerfileError> {
        let keyword = raw.keyword.to_ascii_uppercase();
        let wrong = |word: &str, message: String| raw.source.error(raw.line, raw.last, word, message);
        if !KEYWORDS.contains(&keyword.as_str()) {
            let guess =
                guess(&keyword, &KEYWORDS).map_or_else(String::new, |guess| format!(" (did you mean {guess}?)"));
            return Err(wrong(&raw.keyword, format!("unknown instruction {}{guess}", raw.keyword)));
        }
        let flags = Flags::parse(raw, &keyword)?;
        let text = raw.arguments.as_str();
        if text.is_empty() && keyword != "HEALTHCHECK" {
            return Err(wrong(&raw.keyword, format!("{keyword} needs an argument")));
        }
        let one = || match expand::split(text, raw.escape).as_deref() {
            Ok([one]) => Ok(one.clone()),
            _ => Err(wrong(&raw.keyword, format!("{keyword} takes one argument"))),
        };
        Ok(match keyword.as_str() {
            "FROM" => from(raw, &flags)?,
            "ARG" => Instruction::Arg(arguments(raw)?),
            "ENV" => Instruction::Env(pairs(raw, &keyword)?),
            "LABEL" => Instruction::Label(pairs(raw, &keyword)?),
            "RUN" => Instruction::Run(Run {
                command: run_command(raw),
                mounts: flags.all("mount"),
                network: flags.one("network"),
                rights: match flags.one("security").as_deref() {
                    None | Some("sandbox") => Rights::Usual,
                    Some("insecure") => Rights::All,
                    Some(other) => {
                        let message = format!("--security is sandbox or insecure, not {other:?}");
                        return Err(flags.wrong("security", message));
                    }
                },
            }),
            "COPY" => Instruction::Copy(copy(raw, &flags, &keyword)?),
            "ADD" => Instruction::Add(copy(raw, &flags, &keyword)?),
            // The rest of the line: a folder may have spaces.
            "WORKDIR" => Instruction::Workdir(text.to_owned()),
            "USER" => Instruction::User(one()?),
            "EXPOSE" => Instruction::Expose(words(raw)?),
            "VOLUME" => Instruction::Volume(list(raw)?),
            "ENTRYPOINT" => Instruction::Entrypoint(command(text)),
            "CMD" => Instruction::Cmd(command(text)),
            "SHELL" => match command(text) {
                Command::Exec(words) if !words.is_empty() => Instruction::Shell(words),
                _ => return Err(wrong(text, "SHELL takes a JSON list: SHELL [\"/bin/bash\", \"-c\"]".to_owned())),
            },
            "STOPSIGNAL" => Instruction::StopSignal(one()?),
            "HEALTHCHECK" => healthcheck(raw, &flags)?,
            "ONBUILD" => on_build(raw)?,
            "MAINTAINER" => Instruction::Maintainer(text.to_owned()),
            _ => return Err(wrong(&raw.keyword, format!("unknown instruction {}", raw.keyword))),
        })
    }
}

fn from(raw: &Raw<'_>, flags: &Flags<'_>) -> Result<Instruction, DockerfileError> {
    let words: Vec<&str> = raw.arguments.split_whitespace().collect();
    let name = match words.as_slice() {
        [_] => None,
        [_, word, name] if word.eq_ignore_ascii_case("as") => {
            let name = name.to_ascii_lowercase();
            let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
            if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
                let rule = "a stage's name begins with a letter, then has letters, digits, `.`, `_` and `-`";
                return Err(raw.source.error(raw.line, raw.last, &name, format!("invalid name {name:?}: {rule}")));
            }
            Some(name)
        }
        _ => return Err(raw.source.error(raw.line, raw.last, "", "FROM takes an image and, if wanted, AS and a name")),
    };
    Ok(Instruction::From { image: words[0].to_owned(), platform: flags.one("platform"), name })
}

fn arguments(raw: &Raw<'_>) -> Result<Vec<(String, Option<String>)>, DockerfileError> {
    let mut arguments = Vec::new();
    for word in words(raw)? {
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        if !is_variable(name) {
            return Err(raw.source.error(
                raw.line,
                raw.last,
                name,
                format!("{name:?} can't be the name of an argument"),
            ));
        }
        arguments.push((name.to_owned(), value.map(str::to_owned)));
    }
    Ok(arguments)
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || "$'\"".contains(c))
}

/// `a=b "c d"=e`, or the old form `a the rest of the line`.
fn pairs(raw: &Raw<'_>, keyword: &str) -> Result<Vec<(String, String)>, DockerfileError> {
    let words = words(raw)?;
    let wrong = |word: &str, message: String| raw.source.error(raw.line, raw.last, word, message);
    if !words[0].contains('=') {
        let Some((name, value)) = raw.arguments.split_once(char::is_whitespace) else {
            return Err(wrong(&words[0], format!("{keyword} takes name=value")));
        };
        return Ok(vec![(name.to_owned(), value.trim_start().to_owned())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(wrong(word, format!("{word:?} is no name=value (quote values with spaces)"))),
    };
    words.iter().map(pair).collect()
}

fn words(raw: &Raw<'_>) -> Result<Vec<String>, DockerfileError> {
    expand::split(&raw.arguments, raw.escape).map_err(|error| raw.source.error(raw.line, raw.last, "", error))
}

/// A JSON list of texts, or words.
fn list(raw: &Raw<'_>) -> Result<Vec<String>, DockerfileError> {
    match command(&raw.arguments) {
        Command::Exec(list) => Ok(list),
        Command::Shell(_) => words(raw),
    }
}

/// What is no proper JSON list is a line for a shell, as in Docker.
pub(super) fn command(text: &str) -> Command {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) if text.starts_with('[') => Command::Exec(words),
        _ => Command::Shell(text.to_owned()),
    }
}

/// A line that is nothing but one heredoc is the document itself; else the documents follow the line, for the shell to read.
fn run_command(raw: &Raw<'_>) -> Command {
    match raw.heredocs.as_slice() {
        [] => command(&raw.arguments),
        [document] if raw.arguments.split_whitespace().count() == 1 => Command::Shell(document.content.clone()),
        documents => {
            let mut text = format!("{}\n", raw.arguments);
            for document in documents {
                text.push_str(&format!("{}{}\n", document.content, document.name));
            }
            Command::Shell(text)
        }
    }
}

fn copy(raw: &Raw<'_>, flags: &Flags<'_>, keyword: &str) -> Result<Copy, DockerfileError> {
    let mut sources = list(raw)?;
    let wrong = |word: &str, message: String| raw.source.error(raw.line, raw.last, word, message);
    let destination = sources.pop().filter(|_| !sources.is_empty());
    let destination = destination.ok_or_else(|| wrong("", format!("{keyword} needs a source and a destination")))?;
    sources.retain(|source| crate::runtime::build::dockerfile::heredoc(source).is_none());
    let several = sources.len() + raw.heredocs.len() > 1;
    if several
        && !destination.ends_with('/')
        && !matches!(destination.as_str(), "." | "./")
        && !destination.contains('$')
    {
        let message = "with more than one source, the destination must be a directory and end with a /".to_owned();
        return Err(wrong(&destination, message));
    }
    let from = flags.one("from");
    if from.as_ref().is_some_and(|from| from.contains('$')) {
        let message = "--from knows no variables: name a stage with FROM … AS, where they are replaced";
        return Err(flags.wrong("from", message.to_owned()));
    }
    let chmod = flags.one("chmod");
    if let Some(text) = chmod.as_ref().filter(|text| !text.contains('$')) {
        text.parse::<Chmod>().map_err(|error| flags.wrong("chmod", error.to_string()))?;
    }
    Ok(Copy {
        from,
        chown: flags.one("chown"),
        chmod,
        exclude: flags.all("exclude"),
        parents: flags.switch("parents")? == Some(true),
        link: flags.switch("link")? == Some(true),
        checksum: flags.one("checksum"),
        keep_git_dir: flags.switch("keep-git-dir")? == Some(true),
        unpack: flags.switch("unpack")?,
        sources,
        heredocs: raw.heredocs.clone(),
        destination,
    })
}

fn healthcheck(raw: &Raw<'_>, flags: &Flags<'_>) -> Result<Instruction, DockerfileError> {
    let wrong = |word: &str, message: String| raw.source.error(raw.line, raw.last, word, message);
    let (kind, rest) = raw.arguments.split_once(char::is_whitespace).unwrap_or((&raw.arguments, ""));
    if kind.eq_ignore_ascii_case("none") && rest.is_empty() {
        return Ok(Instruction::Healthcheck(None));
    }
    if !kind.eq_ignore_ascii_case("cmd") || rest.trim().is_empty() {
        return Err(wrong(kind, "HEALTHCHECK takes NONE, or CMD and a command".to_owned()));
    }
    let time = |name: &str| match flags.one(name) {
        None => Ok(Duration::ZERO),
        Some(text) => duration::parse(&text).map_err(|error| wrong(&text, error.to_string())),
    };
    let retries = match flags.one("retries") {
        None => 0,
        Some(text) => text.parse().map_err(|_| wrong(&text, format!("--retries takes a number, not {text:?}")))?,
    };
    Ok(Instruction::Healthcheck(Some(Healthcheck {
        command: command(rest.trim()),
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries,
    })))
}

fn on_build(raw: &Raw<'_>) -> Result<Instruction, DockerfileError> {
    let inner = raw.arguments.split_whitespace().next().unwrap_or("").to_ascii_uppercase();
    let wrong = |message: String| raw.source.error(raw.line, raw.last, &raw.arguments, message);
    match inner.as_str() {
        "ONBUILD" | "FROM" | "MAINTAINER" => Err(wrong(format!("{inner} can't be put off by ONBUILD"))),
        _ if !KEYWORDS.contains(&inner.as_str()) => Err(wrong(format!("unknown instruction {inner} in ONBUILD"))),
        _ => {
            let mut text = raw.arguments.clone();
            for document in &raw.heredocs {
                text.push_str(&format!("\n{}{}", document.content, document.name));
            }
            Ok(Instruction::OnBuild(text))
        }
    }
}

/// The known word that is nearest, if it is near enough to be meant.
pub(super) fn guess<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let distance = |other: &str| {
        let (a, b): (Vec<char>, Vec<char>) = (word.chars().collect(), other.to_ascii_lowercase().chars().collect());
        // Optimal string alignment: a swap of neighbours counts once.
        let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                rows[i][j] = if i == 0 || j == 0 {
                    i + j
                } else {
                    let swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let least = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    if swap { least.min(rows[i - 2][j - 2] + 1) } else { least }
                };
            }
        }
        rows[a.len()][b.len()]
    };
    // A hostile word may be as long as a file.
    if word.len() > 64 {
        return None;
    }
    known
        .iter()
        .map(|other| (distance(other), *other))
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::build::dockerfile::Dockerfile;

    fn parse(line: &str) -> Instruction {
        let file = Dockerfile::parse("Dockerfile", &format!("FROM scratch\n{line}\n")).unwrap();
        file.steps[1].instruction.clone()
    }

    fn error(line: &str) -> String {
        Dockerfile::parse("Dockerfile", &format!("FROM scratch\n{line}\n")).unwrap_err().to_string()
    }

    fn owned<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec()
    }

    #[test]
    fn variables_are_given_in_the_new_and_in_the_old_form() {
        assert_eq!(
            parse(r#"ENV a=b c="d e" f=g\ h"#),
            Instruction::Env(owned([("a", "b"), ("c", r#""d e""#), ("f", r"g\ h")]))
        );
        assert_eq!(parse("ENV a b  c=d"), Instruction::Env(owned([("a", "b  c=d")])));
        assert_eq!(parse("ARG a b=c"), Instruction::Arg(vec![("a".into(), None), ("b".into(), Some("c".into()))]));
        assert!(error("ENV a=b c").contains("is no name=value") && error("ENV a").contains("name=value"));
    }

    #[test]
    fn commands_are_lists_or_lines() {
        assert_eq!(parse(r#"CMD ["a", "b"]"#), Instruction::Cmd(Command::Exec(vec!["a".into(), "b".into()])));
        assert_eq!(parse("CMD ['a']"), Instruction::Cmd(Command::Shell("['a']".into())));
        assert_eq!(parse(r#"SHELL ["sh","-c"]"#), Instruction::Shell(vec!["sh".into(), "-c".into()]));
        assert!(error("SHELL sh -c").contains("JSON list"));
    }

    #[test]
    fn copies_have_flags_sources_and_a_destination() {
        let Instruction::Copy(copy) = parse("COPY --from=0 --chown=a:b --chmod=755 a b c/") else { panic!() };
        assert_eq!(
            (copy.from.as_deref(), copy.chown.as_deref(), copy.chmod.as_deref()),
            (Some("0"), Some("a:b"), Some("755"))
        );
        assert_eq!((copy.sources, copy.destination), (vec!["a".to_owned(), "b".to_owned()], "c/".to_owned()));
        assert!(error("COPY a").contains("needs a source and a destination"));
        assert!(error("COPY a b c").contains("must be a directory"));
        assert!(error("COPY --chown a b").contains("--chown needs a value"));
        assert!(error("ADD --from=x a b").contains("no flag --from"));
    }

    #[test]
    fn health_checks_and_put_off_instructions() {
        assert_eq!(parse("HEALTHCHECK NONE"), Instruction::Healthcheck(None));
        let Instruction::Healthcheck(Some(check)) = parse("HEALTHCHECK --interval=5s --retries=2 CMD curl x") else {
            panic!()
        };
        assert_eq!((check.interval, check.retries), (Duration::from_secs(5), 2));
        assert_eq!(check.command, Command::Shell("curl x".into()));
        assert!(error("HEALTHCHECK --interval=5 CMD x").contains("missing unit"));
        assert_eq!(parse("ONBUILD RUN x"), Instruction::OnBuild("RUN x".into()));
        assert!(error("ONBUILD FROM x").contains("can't be put off"));
    }

    #[test]
    fn stages_have_names() {
        let file = Dockerfile::parse("Dockerfile", "FROM --platform=linux/amd64 a AS B\n").unwrap();
        let expected =
            Instruction::From { image: "a".into(), platform: Some("linux/amd64".into()), name: Some("b".into()) };
        assert_eq!(file.steps[0].instruction, expected);
        assert!(Dockerfile::parse("Dockerfile", "FROM a b").is_err());
    }
}
