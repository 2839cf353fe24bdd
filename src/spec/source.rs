//! Which files make up the project, against which directory, in which environment, under which name.
//!
//! Files: `-f`, else `COMPOSE_FILE`, else the first of the default names in the working directory or the nearest parent
//! that has one, with its override file. Environment: that of the process, then `--env-file` or `.env`, of which
//! `COMPOSE_FILE`, `COMPOSE_PROFILES` and `COMPOSE_PROJECT_NAME` may come too (Compose CLI reference, §4 to §6).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::diagnostic::{Diagnostic, SpecError};
use super::dotenv::{self, Format};
use super::environment::{Environment, Origin};
use super::read;
use super::remote::Fetch;
use super::tree::Node;
use crate::values::names::ProjectName;

/// In the order in which they are looked for.
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// Read after the above where it was found by looking for it.
const OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// What the user said about where the project is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Where the command was run; absolute.
    pub current_dir: PathBuf,
    /// The environment that it was run in.
    pub environment: BTreeMap<String, String>,
    /// `-f`, in order; `-` is standard input. Empty: look for them.
    pub files: Vec<PathBuf>,
    /// `--project-directory`.
    pub project_directory: Option<PathBuf>,
    /// `-p`.
    pub project_name: Option<String>,
    /// `--env-file`, in order. Empty: `.env`.
    pub env_files: Vec<PathBuf>,
    /// `--profile`. Empty: `COMPOSE_PROFILES`.
    pub profiles: Vec<String>,
}

/// Where the project turned out to be.
#[derive(Debug, Clone)]
pub struct Located {
    /// Absolute, or `-`. Never empty.
    pub files: Vec<PathBuf>,
    /// What relative paths are resolved against; absolute.
    pub working_dir: PathBuf,
    /// What the project is named after where nothing names it; absolute. The working directory, unless that was fetched.
    pub home: PathBuf,
    /// Process, then env files.
    pub environment: Environment,
    /// Active profiles.
    pub profiles: Vec<String>,
}

impl Source {
    /// Finds files, directory and environment. Warnings go to `found`.
    pub fn locate(&self, remote: &dyn Fetch, found: &mut Vec<Diagnostic>) -> Result<Located, SpecError> {
        let mut environment = Environment::of_process(&self.environment);
        if environment.get("PWD").is_none() {
            environment.fall_back("PWD", self.current_dir.display().to_string(), Origin::Compose);
        }
        let fetched: Vec<Option<PathBuf>> = self
            .files
            .iter()
            .map(|file| remote.fetch(file.to_str()?))
            .map(Option::transpose)
            .collect::<Result<_, String>>()
            .map_err(Diagnostic::error_nowhere)?;
        let local = |file: &&PathBuf| file.as_path() != Path::new("-");
        // Named after where the command was run, if the first file comes from elsewhere (Compose v2).
        let first = self.files.iter().zip(&fetched).find(|(file, _)| local(file));
        let home = match first {
            Some((_, Some(_))) => &[],
            _ => self.files.as_slice(),
        };
        let given = self.working_dir(home);
        self.read_env_files(&given, &mut environment, found)?;
        let mut files = self.files.clone();
        if files.is_empty() {
            files = self.files_of_environment(&environment)?;
        }
        if files.is_empty() {
            files = search(&given, found);
        }
        let home = if self.files.is_empty() { self.working_dir(&files) } else { given.clone() };
        // The `.env` beside the files found counts too; the one where the command was run came first.
        if home != given && self.env_files.is_empty() {
            self.read_env_files(&home, &mut environment, found)?;
        }
        if files.is_empty() {
            let none = Diagnostic::error_nowhere("no configuration file provided: not found");
            return Err(none.help(format!("write a {}, or name a file with -f", NAMES[0])).into());
        }
        // The paths of all files belong to what was fetched, if something was (Compose v2).
        let elsewhere = fetched.iter().flatten().next_back().and_then(|file| file.parent());
        let working_dir = elsewhere.map_or_else(|| home.clone(), Path::to_path_buf);
        let mut fetched = fetched.into_iter();
        let files = files.iter().map(|file| fetched.next().flatten().unwrap_or_else(|| self.absolute(file))).collect();
        let profiles = if self.profiles.is_empty() {
            let listed = environment.get("COMPOSE_PROFILES").unwrap_or_default();
            listed.split(',').map(|profile| profile.trim().to_owned()).filter(|profile| !profile.is_empty()).collect()
        } else {
            self.profiles.clone()
        };
        Ok(Located { files, working_dir, home, environment, profiles })
    }

    /// `--project-directory`, else the directory of the first file, else where the command was run.
    fn working_dir(&self, files: &[PathBuf]) -> PathBuf {
        if let Some(given) = self.project_directory.as_deref().filter(|given| !given.as_os_str().is_empty()) {
            return self.absolute(given);
        }
        match files.iter().find(|file| file.as_path() != Path::new("-")) {
            Some(file) => self.absolute(file).parent().map_or_else(|| self.current_dir.clone(), Path::to_path_buf),
            None => self.current_dir.clone(),
        }
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        if path == Path::new("-") { path.to_path_buf() } else { clean(&self.current_dir.join(path)) }
    }

    fn files_of_environment(&self, environment: &Environment) -> Result<Vec<PathBuf>, SpecError> {
        let Some(listed) = environment.get("COMPOSE_FILE") else { return Ok(Vec::new()) };
        let separator = environment.get("COMPOSE_PATH_SEPARATOR").filter(|text| !text.is_empty()).unwrap_or(":");
        let mut files = Vec::new();
        for path in listed.split(separator) {
            let path = self.absolute(Path::new(path));
            if path != Path::new("-") && !path.exists() {
                let message = format!("stat {}: no such file or directory", path.display());
                return Err(Diagnostic::error_nowhere(message).note(None, "named by COMPOSE_FILE").into());
            }
            files.push(path);
        }
        Ok(files)
    }

    fn read_env_files(
        &self,
        dir: &Path,
        environment: &mut Environment,
        found: &mut Vec<Diagnostic>,
    ) -> Result<(), SpecError> {
        let mut given = self.env_files.clone();
        if given.is_empty() {
            let listed = self.environment.get("COMPOSE_ENV_FILES").map(String::as_str).unwrap_or_default();
            given = listed.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
        }
        if given.is_empty() {
            let file = dir.join(".env");
            if self.env_file_disabled()? || !file.exists() || file.is_dir() {
                return Ok(());
            }
            given.push(file);
        }
        let home = self.environment.get("HOME").map(String::as_str);
        let files: Vec<PathBuf> = given.iter().map(|file| self.absolute(&expand_home(file, home))).collect();
        fall_back_to_files(environment, &files, &self.current_dir, found)
    }

    /// What further env files say (`run --env-from-file`); they see `variables`.
    pub fn further_env_files(
        &self,
        files: &[PathBuf],
        variables: &BTreeMap<String, String>,
        found: &mut Vec<Diagnostic>,
    ) -> Result<BTreeMap<String, String>, SpecError> {
        let files: Vec<PathBuf> = files.iter().map(|file| self.absolute(file)).collect();
        let mut environment = Environment::of_process(variables);
        fall_back_to_files(&mut environment, &files, &self.current_dir, found)?;
        let of_file = |name: &String| {
            let all = environment.candidates(name);
            all.iter().find(|one| matches!(one.origin, Origin::File(_))).map(|one| one.value.clone())
        };
        Ok(environment.values().keys().filter_map(|name| Some((name.clone(), of_file(name)?))).collect())
    }

    fn env_file_disabled(&self) -> Result<bool, SpecError> {
        let Some(text) = self.environment.get("COMPOSE_DISABLE_ENV_FILE") else { return Ok(false) };
        match text.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            _ => {
                Err(Diagnostic::error_nowhere(format!("COMPOSE_DISABLE_ENV_FILE: {text:?} is neither true nor false"))
                    .into())
            }
        }
    }

    /// The name said outside the files: `-p`, else `COMPOSE_PROJECT_NAME`.
    pub(in crate::spec) fn given_name<'a>(&'a self, environment: &'a Environment) -> Option<&'a str> {
        let given = self.project_name.as_deref().filter(|name| !name.is_empty());
        given.or_else(|| environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()))
    }

    /// A given name as it is, so it must be valid. Else the last `name:` of the files (already
    /// interpolated), else the working directory's name: made valid.
    pub(in crate::spec) fn name(&self, located: &Located, from_files: Option<&Node>) -> Result<ProjectName, SpecError> {
        if let Some(name) = self.given_name(&located.environment) {
            return ProjectName::try_from(name).map_err(|_| {
                let rule = "must consist only of lowercase alphanumeric characters, hyphens, and underscores as well as \
                            start with a letter or number";
                let fault = Diagnostic::error_nowhere(format!("invalid project name {name:?}: {rule}"));
                match made_valid(name) {
                    valid if valid.is_empty() => fault.into(),
                    valid => fault.help(format!("`{valid}` would do")).into(),
                }
            });
        }
        let empty = "project name must not be empty";
        // A `name:` of which nothing is left is not passed over for the directory's, as in Docker Compose.
        if let Some((node, text)) = from_files.and_then(|node| Some((node, node.scalar_text()?))) {
            return ProjectName::try_from(made_valid(&text)).map_err(|_| Diagnostic::error(&node.at, empty).into());
        }
        let dir = located.home.file_name().unwrap_or_default();
        ProjectName::try_from(made_valid(&dir.to_string_lossy())).map_err(|_| {
            Diagnostic::error_nowhere(empty).help("name the project with -p, or with a top-level `name:`").into()
        })
    }
}

/// Adds what env files say to what is known; of two files, the later counts. Missing files are faults.
pub(in crate::spec) fn fall_back_to_files(
    environment: &mut Environment,
    files: &[PathBuf],
    current_dir: &Path,
    found: &mut Vec<Diagnostic>,
) -> Result<(), SpecError> {
    let mut assigned = BTreeMap::new();
    let mut assignments = Vec::new();
    for file in files {
        if file.is_dir() {
            return Err(Diagnostic::error_nowhere(format!("{} is a directory", file.display())).into());
        }
        if !file.exists() {
            return Err(Diagnostic::error_nowhere(format!("couldn't find env file: {}", file.display())).into());
        }
        let text = read::file(file, &shown(file, current_dir), None)?;
        let lookup = |name: &str| environment.get(name).map(str::to_owned);
        assignments.extend(dotenv::parse(&text, Format::Compose, &lookup, &mut assigned, found)?);
    }
    for one in assignments.into_iter().rev() {
        environment.fall_back(&one.name, one.value, Origin::File(one.at));
    }
    Ok(())
}

fn search(from: &Path, found: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let present = |dir: &Path, names: [&str; 4]| -> Vec<PathBuf> {
        names.iter().map(|name| dir.join(name)).filter(|path| path.exists()).collect()
    };
    let mut choose = |kind: &str, all: Vec<PathBuf>| -> Option<PathBuf> {
        if let [first, _, ..] = all.as_slice() {
            let listed: Vec<String> = all.iter().map(|path| path.display().to_string()).collect();
            let message = format!("Found multiple {kind} files with supported names: {}", listed.join(", "));
            found.push(Diagnostic::warning_nowhere(message));
            found.push(Diagnostic::warning_nowhere(format!("Using {}", first.display())));
        }
        all.into_iter().next()
    };
    for dir in from.ancestors() {
        if let Some(file) = choose("config", present(dir, NAMES)) {
            return std::iter::once(file).chain(choose("override", present(dir, OVERRIDES))).collect();
        }
    }
    Vec::new()
}

/// The compose file of a directory, by the default names; overrides are not looked for.
pub fn in_directory(dir: &Path) -> Option<PathBuf> {
    NAMES.iter().map(|name| dir.join(name)).find(|path| path.is_file())
}

/// Lower case, without what a project name may not have.
pub(in crate::spec) fn made_valid(name: &str) -> String {
    let kept: String = name.to_lowercase().chars().filter(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-')).collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

/// How the user would write `path`: relative if it lies below where the command was run.
pub(in crate::spec) fn shown(path: &Path, current_dir: &Path) -> String {
    path.strip_prefix(current_dir).unwrap_or(path).display().to_string()
}

/// Without `.` and `..`, by the names alone: links are not looked at, as in Go's `filepath.Clean`.
pub(in crate::spec) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) => {
                    out.pop();
                }
                Some(Component::RootDir) => {}
                Some(Component::ParentDir | Component::CurDir | Component::Prefix(_)) | None => out.push(".."),
            },
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => out.push(part),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

/// `~` and `~/…` by the home directory.
pub(in crate::spec) fn expand_home(path: &Path, home: Option<&str>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => Path::new(home).join(rest),
        (Ok(_), None) | (Err(_), _) => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::remote::Nowhere;
    use std::fs;

    /// A directory with files in it, and a source run there with a clean environment.
    fn at(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let source = Source { current_dir: dir.path().to_path_buf(), ..Source::default() };
        (dir, source)
    }

    fn names(located: &Located) -> Vec<String> {
        located.files.iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_nearest_parent_with_a_file_counts_and_its_override_comes_along() {
        let (dir, mut source) = at(&[("compose.yml", ""), ("compose.override.yaml", ""), ("a/b/x", "")]);
        source.current_dir = dir.path().join("a/b");
        let located = source.locate(&Nowhere, &mut Vec::new()).unwrap();
        assert_eq!(names(&located), ["compose.yml", "compose.override.yaml"]);
        assert_eq!(located.working_dir, dir.path());
    }

    #[test]
    fn of_several_default_names_the_first_is_taken_with_a_warning() {
        let (_dir, source) = at(&[("docker-compose.yml", ""), ("compose.yaml", "")]);
        let mut found = Vec::new();
        assert_eq!(names(&source.locate(&Nowhere, &mut found).unwrap()), ["compose.yaml"]);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn named_files_bring_no_override_and_their_directory_is_the_projects() {
        let (dir, mut source) = at(&[("sub/compose.yaml", ""), ("sub/compose.override.yaml", ""), ("sub/.env", "A=1")]);
        source.files = vec!["sub/compose.yaml".into()];
        let located = source.locate(&Nowhere, &mut Vec::new()).unwrap();
        assert_eq!(names(&located), ["compose.yaml"]);
        assert_eq!(located.working_dir, dir.path().join("sub"));
        assert_eq!(located.environment.get("A"), Some("1"));
    }

    #[test]
    fn the_env_file_may_name_the_compose_files_and_the_profiles() {
        let (_dir, source) =
            at(&[("a.yml", ""), ("b.yml", ""), (".env", "COMPOSE_FILE=a.yml:b.yml\nCOMPOSE_PROFILES=x, y\n")]);
        let located = source.locate(&Nowhere, &mut Vec::new()).unwrap();
        assert_eq!(names(&located), ["a.yml", "b.yml"]);
        assert_eq!(located.profiles, ["x", "y"]);
    }

    #[test]
    fn the_process_wins_over_files_and_a_later_file_over_an_earlier() {
        let (_dir, mut source) = at(&[("compose.yaml", ""), ("a", "X=a\nY=a\nZ=a"), ("b", "X=b\nY=b\nZ=${Y}")]);
        source.env_files = vec!["a".into(), "b".into()];
        source.environment.insert("X".into(), "process".into());
        let environment = source.locate(&Nowhere, &mut Vec::new()).unwrap().environment;
        assert_eq!(["X", "Y", "Z"].map(|name| environment.get(name).unwrap()), ["process", "b", "b"]);
        assert_eq!(environment.candidates("X").len(), 3);
    }

    #[test]
    fn what_is_missing_is_named() {
        let (dir, mut source) = at(&[]);
        let told = |source: &Source| source.locate(&Nowhere, &mut Vec::new()).unwrap_err().to_string();
        source.files = vec!["compose.yaml".into()];
        source.env_files = vec!["no.env".into()];
        assert_eq!(told(&source), format!("error: couldn't find env file: {}/no.env", dir.path().display()));
        source.env_files = vec![".".into()];
        assert!(told(&source).contains("is a directory"));
        (source.env_files, source.files) = (vec![], vec![]);
        source.environment.insert("COMPOSE_FILE".into(), "gone.yml".into());
        assert!(told(&source).contains("gone.yml: no such file or directory"));
    }

    #[test]
    fn a_given_name_must_be_valid_and_a_found_one_is_made_so() {
        let (_dir, mut source) = at(&[("My App!/compose.yaml", "")]);
        source.files = vec!["My App!/compose.yaml".into()];
        let located = source.locate(&Nowhere, &mut Vec::new()).unwrap();
        assert_eq!(source.name(&located, None).unwrap().as_str(), "myapp");
        source.project_name = Some("Big".into());
        assert!(source.name(&located, None).unwrap_err().to_string().contains("invalid project name \"Big\""));
    }

    #[test]
    fn a_name_of_which_nothing_is_left_is_refused_where_it_stands() {
        let (_dir, source) = at(&[("compose.yaml", "")]);
        let located = source.locate(&Nowhere, &mut Vec::new()).unwrap();
        let file = crate::spec::diagnostic::SourceFile::new("compose.yaml", "name: '#'");
        let name = Node::string(&file.place(6, 9), "#");
        let fault = source.name(&located, Some(&name)).unwrap_err().to_string();
        assert!(fault.starts_with("compose.yaml:1:7: error: project name must not be empty"), "{fault}");
    }

    #[test]
    fn paths_are_cleaned_by_their_names_alone() {
        for (path, cleaned) in [("/a/./b/../c", "/a/c"), ("/../a", "/a"), ("../a/..", ".."), ("a/..", "."), ("./", ".")]
        {
            assert_eq!(clean(Path::new(path)), Path::new(cleaned), "{path}");
        }
    }
}
