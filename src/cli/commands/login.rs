//! `xcompose login` and `xcompose logout`: what registries know us by. Docker Compose leaves this to Docker.

use std::io::{BufRead, IsTerminal, Read};

use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::terminal::hidden_line;

/// Log in to a registry
#[derive(Debug, clap::Args)]
pub struct Login {
    /// The registry (default: docker.io)
    #[arg(value_name = "SERVER")]
    server: Option<String>,
    /// Username
    #[arg(short, long)]
    username: Option<String>,
    /// Password or personal access token; others on this machine can see it here
    #[arg(short, long)]
    password: Option<String>,
    /// Take the password from stdin
    #[arg(long)]
    password_stdin: bool,
}

/// Log out from a registry
#[derive(Debug, clap::Args)]
pub struct Logout {
    /// The registry (default: docker.io)
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

impl Login {
    /// Has the registry check name and password, and keeps them where Docker does.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let ui = context.ui();
        if self.password.is_some() && self.password_stdin {
            return Err(Failure::usage("--password and --password-stdin are mutually exclusive"));
        }
        if self.password_stdin && self.username.is_none() {
            return Err(Failure::usage("Must provide --username with --password-stdin"));
        }
        if self.password.is_some() {
            ui.say("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
        }
        let registry = registry(self.server.as_deref());
        let terminal = std::io::stdin().is_terminal();
        let missing = || Failure::usage("Cannot perform an interactive login from a non TTY device");
        let ask = async |question: &str, read: fn() -> Result<String, Failure>| -> Result<String, Failure> {
            ui.text(question)?;
            ui.flush()?;
            // On a thread of its own, so that the user can still say stop.
            let read = tokio::task::spawn_blocking(read).await;
            read.map_err(|error| Failure::system("read the answer")(error.into()))?
        };
        let user = match self.username {
            Some(user) => user,
            None if terminal => ask("Username: ", line).await?,
            None => return Err(missing()),
        };
        let password = match (self.password, self.password_stdin) {
            (Some(password), _) => password,
            (None, true) => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map_err(Failure::system("read the password"))?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            (None, false) if terminal => {
                let password = ask("Password: ", hidden_line).await?;
                ui.line("")?;
                password
            }
            (None, false) => return Err(missing()),
        };
        if user.is_empty() {
            return Err(Failure::usage("username is empty"));
        }
        if password.is_empty() {
            return Err(Failure::usage("password is empty"));
        }
        let kept = context.engine().login(&registry, &user, &password).await?;
        if let Some(path) = kept.readable {
            ui.say(&format!("\nWARNING! Your credentials are stored unencrypted in '{}'.", path.display()));
            ui.say("Configure a credential helper to remove this warning.\n");
        }
        ui.line("Login Succeeded")?;
        Ok(Exit::SUCCESS)
    }
}

impl Logout {
    /// Forgets a registry.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let registry = registry(self.server.as_deref());
        if context.engine().logout(&registry).await? {
            context.ui().line(&format!("Removing login credentials for {registry}"))?;
        } else {
            context.ui().line(&format!("Not logged in to {registry}"))?;
        }
        Ok(Exit::SUCCESS)
    }
}

fn line() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Failure::system("read the answer"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A registry as images name it: without scheme and path.
fn registry(server: Option<&str>) -> String {
    let server = server.unwrap_or("docker.io");
    let server = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = server.split('/').next().unwrap_or(server);
    if host == "index.docker.io" { "docker.io".to_owned() } else { host.to_owned() }
}
