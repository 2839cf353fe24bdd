//! A Dockerfile as text to instructions that know their place: directives, comments, continued lines, heredocs.

use crate::runtime::build::expand;
use crate::runtime::build::flags;
use crate::runtime::build::instruction::Instruction;

/// What a Dockerfile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dockerfile {
    /// Continues lines and escapes characters; `\` or a backtick.
    pub(super) escape: char,
    /// `# syntax=`: who reads it, where that is not Docker's own syntax.
    pub(super) syntax: Option<String>,
    /// In order.
    pub(super) steps: Vec<Step>,
    source: Source,
}

/// What stands before everything else: `# name=value`.
struct Directives {
    escape: char,
    syntax: Option<String>,
}

/// One instruction with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// What to do.
    pub(super) instruction: Instruction,
    /// First line, from 1.
    pub(super) line: usize,
    /// Last line.
    pub(super) last: usize,
    /// On one line, for people.
    pub(super) text: String,
}

/// Something is wrong at a place of the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{excerpt}")]
pub(super) struct DockerfileError {
    /// `Dockerfile:3:7`.
    pub(super) place: String,
    message: String,
    excerpt: String,
}

/// The text, kept for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    name: String,
    lines: Vec<String>,
}

/// A document within a Dockerfile: `<<EOF`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heredoc {
    /// The word that ends it; also the name of the file it makes.
    pub(super) name: String,
    /// Its lines.
    pub(super) content: String,
    /// Whether variables are replaced in it: its word was not quoted.
    pub(super) expand: bool,
    /// Leading tabs are taken away (`<<-`).
    strip: bool,
}

/// One instruction as text.
pub(super) struct Raw<'a> {
    pub(super) keyword: String,
    /// `--name=value` before the arguments.
    pub(super) flags: Vec<String>,
    pub(super) arguments: String,
    pub(super) heredocs: Vec<Heredoc>,
    pub(super) escape: char,
    pub(super) line: usize,
    pub(super) last: usize,
    pub(super) source: &'a Source,
}

impl Source {
    /// An error at the first place of `word` in these lines, or at the first of them.
    pub(super) fn error(&self, line: usize, last: usize, word: &str, message: impl Into<String>) -> DockerfileError {
        let found = (line..=last).find_map(|number| {
            let text = self.lines.get(number - 1)?;
            text.find(word).filter(|_| !word.is_empty()).map(|at| (number, text[..at].chars().count()))
        });
        let start = || self.lines.get(line - 1).map_or(0, |text| text.len() - text.trim_start().len());
        let (number, column) = found.unwrap_or_else(|| (line, start()));
        let text = self.lines.get(number - 1).map_or("", String::as_str);
        let width = word.chars().count().clamp(1, text.chars().count().saturating_sub(column).max(1));
        // A tab before the word is a tab before the caret.
        let indent: String = text.chars().take(column).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let gutter = number.to_string();
        let blank = " ".repeat(gutter.len());
        DockerfileError {
            place: format!("{}:{number}:{}", self.name, column + 1),
            message: message.into(),
            excerpt: format!("\n {gutter} | {text}\n {blank} | {indent}{}", "^".repeat(width)),
        }
    }
}

impl Dockerfile {
    /// Reads a Dockerfile called `name`.
    pub(super) fn parse(name: &str, text: &str) -> Result<Dockerfile, DockerfileError> {
        let text = text.trim_start_matches('\u{feff}');
        let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned()).collect();
        let source = Source { name: name.to_owned(), lines };
        let Directives { escape, syntax } = directives(&source)?;
        let mut steps = Vec::new();
        let mut at = 0;
        while at < source.lines.len() {
            if is_silent(&source.lines[at]) {
                at += 1;
                continue;
            }
            let start = at;
            let logical = join_lines(&source.lines, &mut at, escape);
            let mut raw = split_instruction(&logical, escape, start + 1, at, &source);
            raw.heredocs = heredocs(&raw, &mut at)?;
            raw.last = at;
            let text = shown(&raw);
            let instruction = Instruction::parse(&raw)?;
            steps.push(Step { instruction, line: raw.line, last: raw.last, text });
        }
        if steps.is_empty() {
            return Err(source.error(1, 1, "", "the Dockerfile is empty: it has no instruction"));
        }
        Ok(Dockerfile { escape, syntax, steps, source })
    }

    /// An error at the place of a step, at `word` if that is found there.
    pub(super) fn error(&self, step: &Step, word: &str, message: impl Into<String>) -> DockerfileError {
        self.source.error(step.line, step.last, word, message)
    }

    /// A step's keyword as written.
    pub(super) fn keyword(&self, step: &Step) -> String {
        let line = self.source.lines.get(step.line - 1).map_or("", |line| line.trim_start());
        line.split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// `Dockerfile:7`.
    pub(super) fn place(&self, step: &Step) -> String {
        format!("{}:{}", self.source.name, step.line)
    }
}

/// Comments and empty lines.
fn is_silent(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// Directives come first of all, each once.
fn directives(source: &Source) -> Result<Directives, DockerfileError> {
    let mut found = Directives { escape: '\\', syntax: None };
    let mut seen: Vec<String> = Vec::new();
    for (number, line) in source.lines.iter().enumerate() {
        let directive = line.trim().strip_prefix('#').and_then(|line| line.split_once('='));
        let Some((name, value)) = directive else { break };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if !matches!(name.as_str(), "escape" | "syntax" | "check") {
            break;
        }
        let wrong = |word: &str, message: String| source.error(number + 1, number + 1, word, message);
        if seen.contains(&name) {
            return Err(wrong(&name, format!("the directive {name} is given twice")));
        }
        match (name.as_str(), value) {
            ("escape", "\\") => found.escape = '\\',
            ("escape", "`") => found.escape = '`',
            ("escape", other) => return Err(wrong(other, "the escape character must be \\ or `".to_owned())),
            ("syntax", other) => {
                let image = other.strip_prefix("docker.io/").unwrap_or(other);
                let own = image.split([':', '@', '-']).next() == Some("docker/dockerfile");
                found.syntax = Some(other.to_owned()).filter(|_| !own);
            }
            _ => {}
        }
        seen.push(name);
    }
    Ok(found)
}

/// Joins continued lines, leaving out comments between them; `at` ends behind the last.
fn join_lines(lines: &[String], at: &mut usize, escape: char) -> String {
    let mut logical = String::new();
    let mut first = true;
    while let Some(line) = lines.get(*at) {
        *at += 1;
        if !first && is_silent(line) {
            continue;
        }
        let line = if first { line.trim_start() } else { line };
        first = false;
        let text = line.trim_end_matches([' ', '\t']);
        match text.strip_suffix(escape) {
            Some(text) if !text.ends_with(escape) => logical.push_str(text),
            _ => {
                logical.push_str(line);
                return logical;
            }
        }
    }
    logical
}

fn split_instruction<'a>(logical: &str, escape: char, line: usize, last: usize, source: &'a Source) -> Raw<'a> {
    let (keyword, rest) = logical.split_once(char::is_whitespace).unwrap_or((logical, ""));
    let (flags, rest) = flags::split(rest, escape);
    Raw {
        keyword: keyword.to_owned(),
        flags,
        arguments: rest.to_owned(),
        heredocs: Vec::new(),
        escape,
        line,
        last,
        source,
    }
}

/// Reads the documents that an instruction's words ask for from the lines behind it.
fn heredocs(raw: &Raw<'_>, at: &mut usize) -> Result<Vec<Heredoc>, DockerfileError> {
    let keyword = raw.keyword.to_ascii_uppercase();
    let first = raw.arguments.split_whitespace().next().unwrap_or("").to_ascii_uppercase();
    let asks = |word: &str| matches!(word, "RUN" | "COPY" | "ADD");
    if !(asks(&keyword) || (keyword == "ONBUILD" && asks(&first))) || raw.arguments.starts_with('[') {
        return Ok(Vec::new());
    }
    // What a shell would not split, we need not understand.
    let Ok(words) = expand::split(&raw.arguments, raw.escape) else { return Ok(Vec::new()) };
    let mut documents: Vec<Heredoc> = Vec::new();
    for mut document in words.iter().filter_map(|word| heredoc(word)) {
        loop {
            let Some(line) = raw.source.lines.get(*at) else {
                let message = format!("the heredoc has no end: no line consists of {:?} alone", document.name);
                return Err(raw.source.error(raw.line, raw.last, "<<", message));
            };
            *at += 1;
            let line = if document.strip { line.trim_start_matches('\t') } else { line };
            if line == document.name {
                break;
            }
            document.content.push_str(line);
            document.content.push('\n');
        }
        documents.push(document);
    }
    Ok(documents)
}

/// `<<EOF`, `<<-"EOF"`, `3<<EOF`.
pub(super) fn heredoc(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (strip, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let quoted = ['"', '\''].into_iter().find_map(|quote| rest.strip_prefix(quote)?.strip_suffix(quote));
    let name = quoted.unwrap_or(rest);
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "._-".contains(c));
    plain.then(|| Heredoc { name: name.to_owned(), content: String::new(), expand: quoted.is_none(), strip })
}

fn shown(raw: &Raw<'_>) -> String {
    let words = raw.flags.iter().map(String::as_str).chain(raw.arguments.split_whitespace());
    let mut text = raw.keyword.to_ascii_uppercase();
    for word in words {
        text.push(' ');
        text.push_str(word);
    }
    if let Some(first) = raw.heredocs.first().and_then(|document| document.content.lines().next()) {
        text = format!("{text} ({first}…)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::build::instruction::Command;

    fn parse(text: &str) -> Dockerfile {
        Dockerfile::parse("Dockerfile", text).unwrap()
    }

    fn error(text: &str) -> String {
        let error = Dockerfile::parse("Dockerfile", text).unwrap_err();
        format!("{}: {error}", error.place)
    }

    fn shell(step: &Step) -> &str {
        match &step.instruction {
            Instruction::Run(run) => match &run.command {
                Command::Shell(line) => line,
                Command::Exec(_) => panic!("exec form"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_continued_over_comments_and_empty_lines() {
        let file = parse(
            "# syntax=docker/dockerfile:1\nFROM scratch\n\nRUN one \\\n# a comment\n\n  && two \\  \n  && three\n# end\n",
        );
        assert_eq!(file.steps.len(), 2);
        assert_eq!(shell(&file.steps[1]), "one   && two   && three");
        assert_eq!((file.steps[1].line, file.steps[1].last), (4, 8));
        assert_eq!(file.steps[1].text, "RUN one && two && three");
    }

    #[test]
    fn the_escape_directive_changes_what_continues_a_line() {
        let file = parse("# escape=`\nFROM scratch\nRUN dir C:\\ `\n  /s\n");
        assert_eq!(file.escape, '`');
        assert_eq!(shell(&file.steps[1]), "dir C:\\   /s");
        assert!(error("# escape=x\nFROM scratch").contains("must be \\ or `"));
    }

    #[test]
    fn heredocs_are_read_with_their_names_and_quotes() {
        let file = parse(
            "FROM scratch\nCOPY <<a <<-'b' /dst/\none $x\na\n\ttwo $x\n\tb\nRUN <<EOF\necho 1\n# no comment\nEOF\nUSER 1\n",
        );
        let Instruction::Copy(copy) = &file.steps[1].instruction else { panic!() };
        let documents: Vec<_> = copy.heredocs.iter().map(|d| (d.name.as_str(), d.content.as_str(), d.expand)).collect();
        assert_eq!(documents, [("a", "one $x\n", true), ("b", "two $x\n", false)]);
        assert_eq!(shell(&file.steps[2]), "echo 1\n# no comment\n");
        assert_eq!(file.steps[3].line, 11);
        assert!(error("FROM scratch\nRUN <<EOF\nx").contains("no line consists of \"EOF\" alone"));
    }

    #[test]
    fn an_unknown_instruction_is_shown_with_its_place_and_a_guess() {
        insta::assert_snapshot!(error("FROM scratch\n  RNU x"), @r"
        Dockerfile:2:3: unknown instruction RNU (did you mean RUN?)
         2 |   RNU x
           |   ^^^
        ");
        insta::assert_snapshot!(error("FROM scratch\nCOPY --form=x a b"), @r"
        Dockerfile:2:6: COPY has no flag --form (did you mean --from?)
         2 | COPY --form=x a b
           |      ^^^^^^
        ");
        assert!(error("").contains("it has no instruction"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"(FROM|RUN|COPY|ENV|ARG|HEALTHCHECK|ADD|ONBUILD|# escape=)?[ a=$\\`"'\[\],<\-\n\té]{0,60}"#) {
            let _ = Dockerfile::parse("Dockerfile", &text);
        }
    }
}
