//! Who we are to registries, kept where Docker keeps it: `config.json` in `DOCKER_CONFIG` or `~/.docker`, and the helper programs
//! that it names (`credHelpers`, `credsStore`).

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// What Docker calls its own registry there.
const DOCKER: &str = "https://index.docker.io/v1/";

/// Names of proxies there, and the variables that programs look for.
const PROXIES: [(&str, &str); 5] = [
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("noProxy", "NO_PROXY"),
    ("allProxy", "ALL_PROXY"),
];

/// What a registry knows us by.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Name and password.
    Password {
        /// Name.
        user: String,
        /// Password, or a token in its place.
        password: String,
    },
    /// A token that is exchanged for others.
    Identity(String),
    /// A token for the registry itself.
    Registry(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credentials::Password { user, .. } => write!(out, "Password({user}, …)"),
            Credentials::Identity(_) => out.write_str("Identity(…)"),
            Credentials::Registry(_) => out.write_str("Registry(…)"),
        }
    }
}

/// What is kept of a user.
#[derive(Clone, Copy)]
pub enum Secret<'a> {
    /// The password, or a token in its place.
    Password(&'a str),
    /// A token that is exchanged for others.
    Identity(&'a str),
}

/// What a helper calls the user of an identity token.
const TOKEN: &str = "<token>";

/// Why credentials can't be found or kept.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file can't be used.
    #[error("{}: {reason}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A helper failed.
    #[error("credential helper {program} cannot {verb} the credentials of {registry}: {reason}")]
    Helper {
        /// Which.
        program: String,
        /// What it was to do.
        verb: &'static str,
        /// For which registry.
        registry: String,
        /// Its words.
        reason: String,
    },
}

/// The file, as it is: what we do not know stays.
#[derive(Debug)]
pub struct CredentialFile {
    path: PathBuf,
    content: Map<String, Value>,
}

impl CredentialFile {
    /// The user's.
    pub fn from_environment() -> Result<CredentialFile, CredentialsError> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = variable("DOCKER_CONFIG")
            .or_else(|| variable("HOME").map(|home| home.join(".docker")))
            .unwrap_or_else(|| "/root/.docker".into());
        CredentialFile::read(folder.join("config.json"))
    }

    /// One file; it need not exist.
    pub fn read(path: PathBuf) -> Result<CredentialFile, CredentialsError> {
        let content = match std::fs::read(&path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Map::new(),
            Err(error) => return Err(file_error(&path, error)),
            Ok(text) if text.iter().all(u8::is_ascii_whitespace) => Map::new(),
            Ok(text) => serde_json::from_slice(&text).map_err(|error| file_error(&path, error))?,
        };
        Ok(CredentialFile { path, content })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the user set there for the command line: `psFormat`, `detachKeys`.
    pub fn preference(&self, name: &str) -> Option<&str> {
        self.content.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// The proxies that commands of builds and containers are told of (`proxies`), by variable, as people spell it and in small
    /// letters. Docker's are by engine; ours are those of any.
    pub fn proxies(&self) -> Vec<(String, String)> {
        let given = self.content.get("proxies").and_then(|proxies| proxies.get("default"));
        let find = |(key, variable): (&str, &str)| {
            let value = given?.get(key)?.as_str().filter(|text| !text.is_empty())?;
            Some([variable.to_owned(), variable.to_ascii_lowercase()].map(|name| (name, value.to_owned())))
        };
        PROXIES.into_iter().filter_map(find).flatten().collect()
    }

    /// What this registry knows us by; `None` is nobody.
    pub fn find(&self, registry: &str) -> Result<Option<Credentials>, CredentialsError> {
        let key = key(registry);
        if let Some(helper) = self.helper(registry) {
            let Some(text) = ask(&helper, "get", registry, key)? else { return Ok(None) };
            let answer: Value = serde_json::from_slice(&text).unwrap_or_default();
            let text = |field: &str| answer.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            return Ok(match (text("Username"), text("Secret")) {
                (_, secret) if secret.is_empty() => None,
                (user, secret) if user == TOKEN => Some(Credentials::Identity(secret)),
                (user, password) => Some(Credentials::Password { user, password }),
            });
        }
        let Some(entry) = self.entry(registry) else { return Ok(None) };
        let text = |field: &str| entry.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credentials::Identity(token.to_owned())));
        }
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Credentials::Registry(token.to_owned())));
        }
        if let (Some(user), Some(password)) = (text("username"), text("password")) {
            return Ok(Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() }));
        }
        let Some(packed) = text("auth") else { return Ok(None) };
        let wrong =
            || file_error(&self.path, format!("the `auth` of {registry:?} is not a name and a password in base64"));
        let plain = STANDARD.decode(packed).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(wrong)?;
        let (user, password) = plain.split_once(':').ok_or_else(wrong)?;
        Ok(Some(Credentials::Password { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned() }))
    }

    /// Keeps what a registry knows a user by. Returns whether a password lies readable in the file.
    pub fn keep(&mut self, registry: &str, user: &str, secret: Secret<'_>) -> Result<bool, CredentialsError> {
        let key = key(registry);
        let helper = self.helper(registry);
        let entry = match (&helper, secret) {
            (Some(helper), secret) => {
                let (user, secret) = match secret {
                    Secret::Password(password) => (user, password),
                    Secret::Identity(token) => (TOKEN, token),
                };
                let text = json!({ "ServerURL": key, "Username": user, "Secret": secret }).to_string();
                ask(helper, "store", registry, &text)?;
                json!({})
            }
            (None, Secret::Password(password)) => json!({ "auth": STANDARD.encode(format!("{user}:{password}")) }),
            (None, Secret::Identity(token)) => {
                json!({ "auth": STANDARD.encode(format!("{user}:")), "identitytoken": token })
            }
        };
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        if let Some(auths) = auths.as_object_mut() {
            auths.insert(key.to_owned(), entry);
        } else {
            return Err(file_error(&self.path, "`auths` is no object"));
        }
        self.write()?;
        Ok(helper.is_none() && matches!(secret, Secret::Password(_)))
    }

    /// Forgets a registry. Returns whether it was known.
    pub fn forget(&mut self, registry: &str) -> Result<bool, CredentialsError> {
        let mut known = false;
        if let Some(helper) = self.helper(registry) {
            known = ask(&helper, "get", registry, key(registry))?.is_some();
            if known {
                ask(&helper, "erase", registry, key(registry))?;
            }
        }
        if let Some(auths) = self.content.get_mut("auths").and_then(Value::as_object_mut) {
            let before = auths.len();
            auths.retain(|key, _| host(key) != host(self::key(registry)));
            if auths.len() < before {
                known = true;
                self.write()?;
            }
        }
        Ok(known)
    }

    /// The helper program for a registry.
    fn helper(&self, registry: &str) -> Option<String> {
        let helpers = self.content.get("credHelpers").and_then(Value::as_object);
        let own = helpers.and_then(|helpers| helpers.get(registry).or_else(|| helpers.get(key(registry))));
        let name = own.or_else(|| self.content.get("credsStore"))?.as_str().filter(|name| !name.is_empty())?;
        Some(format!("docker-credential-{name}"))
    }

    /// Keys are written as hosts, as addresses, with and without a path.
    fn entry(&self, registry: &str) -> Option<&Value> {
        let auths = self.content.get("auths")?.as_object()?;
        let key = key(registry);
        auths.get(key).or_else(|| auths.iter().find(|(other, _)| host(other) == host(key)).map(|(_, entry)| entry))
    }

    fn write(&self) -> Result<(), CredentialsError> {
        let failed = |error: io::Error| file_error(&self.path, error);
        // Whoever keeps the file elsewhere and links to it goes on doing so.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut text = serde_json::to_vec_pretty(&self.content).map_err(|error| file_error(&path, error))?;
        text.push(b'\n');
        let temporary = folder.join(format!(".config.json.{}", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        let written = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&temporary, &path));
        written.map_err(|error| {
            // Most likely it was never made.
            let _ = std::fs::remove_file(&temporary);
            failed(error)
        })
    }
}

/// A registry's key in the file.
fn key(registry: &str) -> &str {
    if registry == "docker.io" { DOCKER } else { registry }
}

/// Host and port of a key.
fn host(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    key.split('/').next().unwrap_or(key)
}

/// Runs a helper; `None` where it says that it has nothing.
fn ask(program: &str, verb: &'static str, registry: &str, input: &str) -> Result<Option<Vec<u8>>, CredentialsError> {
    let failed = |reason: String| CredentialsError::Helper {
        program: program.to_owned(),
        verb,
        registry: registry.to_owned(),
        reason,
    };
    let run = || {
        let mut child = Command::new(program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input.as_bytes()) {
                // It answers without having listened.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                other => other?,
            }
        }
        child.wait_with_output()
    };
    let output = run().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(Some(output.stdout));
    }
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let nothing = ["credentials not found", "not found in"].iter().any(|words| said.contains(words));
    match verb {
        "get" if nothing => Ok(None),
        _ if said.is_empty() => Err(failed(output.status.to_string())),
        _ => Err(failed(said)),
    }
}

fn file_error(path: &Path, reason: impl ToString) -> CredentialsError {
    let reason = reason.to_string();
    let reason = reason.split(" (os error ").next().unwrap_or(&reason).to_owned();
    CredentialsError::File { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn every_form_in_which_docker_keeps_credentials_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "bWU6cGE6c3M="},
            "plain.example": {"username": "u", "password": "p"},
            "https://old.example/v1/": {"auth": "YTpi"},
            "token.example": {"identitytoken": "refresh"},
            "bad.example": {"auth": "%%%"},
            "empty.example": {}}}"#;
        std::fs::write(&path, text).unwrap();
        let file = CredentialFile::read(path).unwrap();
        assert_eq!(file.find("docker.io").unwrap(), password("me", "pa:ss"));
        assert_eq!(file.find("plain.example").unwrap(), password("u", "p"));
        assert_eq!(file.find("old.example").unwrap(), password("a", "b"));
        assert_eq!(file.find("token.example").unwrap(), Some(Credentials::Identity("refresh".into())));
        assert_eq!(file.find("empty.example").unwrap(), None);
        assert_eq!(file.find("unknown.example").unwrap(), None);
        let error = file.find("bad.example").unwrap_err().to_string();
        assert!(error.contains("config.json: the `auth` of \"bad.example\""), "{error}");
    }

    #[test]
    fn what_is_kept_is_found_and_everything_else_in_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/config.json");
        let mut file = CredentialFile::read(path.clone()).unwrap();
        assert!(file.keep("reg.example:5000", "u", Secret::Password("p:q")).unwrap());
        let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["auths"]["reg.example:5000"]["auth"], STANDARD.encode("u:p:q"));
        value["psFormat"] = "table".into();
        std::fs::write(&path, value.to_string()).unwrap();
        let mut file = CredentialFile::read(path.clone()).unwrap();
        assert_eq!(file.find("reg.example:5000").unwrap(), password("u", "p:q"));
        assert!(file.forget("reg.example:5000").unwrap());
        assert!(!file.forget("reg.example:5000").unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("psFormat") && !text.contains("reg.example"), "{text}");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
