//! Registries for tests: Debian's, with and without TLS and passwords; and one that says exactly what a test wants it to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use sha2::Digest as _;

use crate::support::{Machine, eventually, finish, free_port};

/// Debian's `docker-registry` on a free port, gone when dropped.
pub struct Registry {
    folder: tempfile::TempDir,
    process: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

/// Who may come in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Everybody, in plain HTTP.
    Open,
    /// `someone` with the password `secret`, over TLS with an authority of its own.
    Locked,
}

impl Registry {
    pub fn new(door: Door) -> Registry {
        let folder = tempfile::Builder::new().prefix("xc-").tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let address = format!("127.0.0.1:{}", free_port());
        let mut config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp:\n  addr: {address}\n",
            path("data")
        );
        if door == Door::Locked {
            certificates(folder.path());
            // bcrypt of `secret`.
            let password = "someone:$2y$05$IKm.WjcMHzghN8brbyynn.V3hdw52KqXTriX03IhDdqkr9YgdKuVO";
            std::fs::write(path("users"), format!("{password}\n")).unwrap();
            config += &format!("  tls: {{certificate: {}, key: {}}}\n", path("server.pem"), path("server.key"));
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path("users"));
        }
        std::fs::write(path("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.args(["serve", &path("config.yml")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        eventually("the registry listens", || TcpStream::connect(&address).ok());
        Registry { folder, process, address }
    }

    /// The authority that its certificate is by.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// An image's name here.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn certificates(folder: &Path) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority &&
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=127.0.0.1 &&
        printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > ext &&
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile ext";
    finish(Command::new("sh").args(["-c", script]).current_dir(folder)).ok();
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET`.
    pub method: String,
    /// `/v2/…`, with what is behind the question mark.
    pub path: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// What was sent along.
    pub body: Vec<u8>,
}

/// What is answered: a head and a body, and whether the connection then stays open without a word.
pub struct Answer {
    pub status: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Bytes that the head promises, if more than the body has.
    pub promised: Option<usize>,
    /// Says nothing more instead of closing.
    pub hangs: bool,
}

impl Answer {
    pub fn new(status: &'static str, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, headers: Vec::new(), body: body.into(), promised: None, hangs: false }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }
}

type Script = dyn Fn(&Asked, usize) -> Answer + Send + Sync;

/// A registry that answers as the test says. It is told the request and how many of the same path came before.
pub struct Scripted {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    pub fn new(script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (script, noted): (Arc<Script>, _) = (Arc::new(script), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, noted) = (script.clone(), noted.clone());
                std::thread::spawn(move || serve(stream, &*script, &noted));
            }
        });
        Scripted { address, asked }
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Those whose path has this in it.
    pub fn asked_for(&self, part: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.path.contains(part)).collect()
    }

    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }
}

fn serve(stream: TcpStream, script: &Script, noted: &Mutex<Vec<Asked>>) {
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let mut output = stream;
    loop {
        let mut line = String::new();
        // TLS begins with a byte that is no text: then this is an error, and the connection ends.
        if input.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if input.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
        }
        let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if input.read_exact(&mut body).is_err() {
            return;
        }
        let asked = Asked { method, path, headers, body };
        let before = {
            let mut noted = noted.lock().unwrap();
            let before = noted.iter().filter(|other| other.path == asked.path && other.method == asked.method).count();
            noted.push(asked.clone());
            before
        };
        let answer = script(&asked, before);
        let length = answer.promised.unwrap_or(answer.body.len());
        let mut head = format!("HTTP/1.1 {}\r\nContent-Length: {length}\r\n", answer.status);
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let body = if asked.method == "HEAD" { &[] } else { &answer.body[..] };
        if output.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| output.write_all(body)).is_err() {
            return;
        }
        if answer.hangs {
            let mut rest = Vec::new();
            // Until the other side has had enough.
            let _ = input.read_to_end(&mut rest);
            return;
        }
        if length > body.len() && asked.method != "HEAD" {
            return;
        }
    }
}

/// An image of one layer, as a registry has it.
#[derive(Clone)]
pub struct Served {
    pub layer: Vec<u8>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", sha2::Sha256::digest(bytes))
}

impl Served {
    /// Of this archive, uncompressed.
    pub fn new(layer: Vec<u8>, architecture: &str) -> Served {
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","config":{{"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            digest(&layer)
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}",
                "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},
                "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}]}}"#,
            digest(config.as_bytes()),
            config.len(),
            digest(&layer),
            layer.len()
        );
        Served { layer, config: config.into_bytes(), manifest: manifest.into_bytes() }
    }

    /// What an honest registry answers, whatever the repository is called.
    pub fn answer(&self, asked: &Asked) -> Answer {
        let range =
            asked.headers.get("range").and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let blob = |bytes: &[u8]| match range {
            Some(first) => Answer::new("206 Partial Content", &bytes[first..])
                .with("Content-Range", format!("bytes {first}-{}/{}", bytes.len() - 1, bytes.len())),
            None => Answer::new("200 OK", bytes),
        };
        match asked.path.as_str() {
            "/v2/" => Answer::new("200 OK", "{}"),
            path if path.contains("/manifests/") => Answer::new("200 OK", self.manifest.clone())
                .with("Content-Type", MANIFEST)
                .with("Docker-Content-Digest", digest(&self.manifest)),
            path if path.ends_with(&digest(&self.config)) => blob(&self.config),
            path if path.ends_with(&digest(&self.layer)) => blob(&self.layer),
            _ => {
                Answer::new("404 Not Found", r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
            }
        }
    }
}

/// The folder of settings that this machine's commands use; nothing of the host's.
pub fn settings(machine: &Machine) -> PathBuf {
    let folder = machine.data().join("../settings");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The program on this machine, with settings and credentials of its own.
pub fn command<const N: usize>(machine: &Machine, arguments: [&str; N]) -> Command {
    let folder = settings(machine);
    let mut command = machine.command(arguments);
    command.env("XCOMPOSE_CONFIG", &folder).env("DOCKER_CONFIG", &folder);
    command
}
