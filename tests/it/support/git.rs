//! Git repositories, served on loopback.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{eventually, finish, free_port};

/// The repositories below a folder, served until this is dropped.
pub struct Repositories {
    folder: PathBuf,
    port: u16,
    daemon: Child,
}

impl Repositories {
    /// Serves what lies below this folder, now or later.
    pub fn serve(folder: &Path) -> Repositories {
        std::fs::create_dir_all(folder).unwrap();
        let port = free_port();
        // Not by `git daemon`, which would start it as a child of its own and leave it behind.
        let programs = finish(Command::new("git").arg("--exec-path")).ok().stdout();
        let mut daemon = Command::new(Path::new(programs.trim()).join("git-daemon"));
        daemon.args(["--export-all", "--reuseaddr", "--listen=127.0.0.1", &format!("--port={port}")]);
        daemon.arg(format!("--base-path={}", folder.display())).arg(folder);
        let daemon = daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the repositories are served", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Repositories { folder: folder.to_owned(), port, daemon }
    }

    /// Where one of them is asked for.
    pub fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.port)
    }

    /// Puts files into one of them, which is made where it is missing; gives the commit.
    pub fn commit(&self, name: &str, files: &[(&str, &str)]) -> String {
        let folder = self.folder.join(name);
        for (path, text) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(name, &["init", "-q"]);
        self.git(name, &["add", "."]);
        self.git(name, &["commit", "-qm", "a change"]);
        self.git(name, &["rev-parse", "HEAD"])
    }

    /// Runs git in one of them; what it prints.
    pub fn git(&self, name: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.folder.join(name));
        for setting in ["user.name=t", "user.email=t@t.test", "init.defaultBranch=main"] {
            command.args(["-c", setting]);
        }
        finish(command.args(arguments)).ok().stdout().trim().to_owned()
    }
}

impl Drop for Repositories {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
