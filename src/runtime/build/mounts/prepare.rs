//! Making the mounts of a command that is about to run.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::engine::SecretSource;
use crate::runtime::build::copy::{copy_content, relative};
use crate::runtime::build::fault::{Fault, cancelled};
use crate::runtime::build::mask::mask;
use crate::runtime::build::mounts::{Access, Need, Owner, Sharing, Wanted, What};
use crate::runtime::build::rootfs::{Change, readable};
use crate::runtime::build::ssh::{self, Agent};
use crate::runtime::build::steps::Builder;
use crate::runtime::image::digest::Digest;
use crate::runtime::image::tree::{open_directory, remove_tree};
use crate::runtime::start::request::{Mount, MountSource, Propagation};

/// How often a cache that another command has is asked for again.
const PAUSE: Duration = Duration::from_millis(50);

/// The mounts of a command, and what has to live as long as it runs.
#[derive(Debug, Default)]
pub(in crate::runtime::build) struct Prepared {
    pub(in crate::runtime::build) mounts: Vec<Mount>,
    /// Variables besides.
    pub(in crate::runtime::build) env: Vec<String>,
    locks: Vec<Flock<File>>,
    agents: Vec<Agent>,
    /// Secrets: gone when dropped.
    secrets: Option<PathBuf>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // What stays lies in memory, and is taken away with the build's folder.
        let _ = self.secrets.as_ref().map(fs::remove_dir_all);
    }
}

/// Prepares the mounts of a command; `private` is a folder of its own that does not exist yet.
pub(in crate::runtime::build) fn prepare(
    builder: &Builder<'_>,
    stage: usize,
    wanted: &[Wanted],
    private: &Path,
) -> Result<Prepared, Fault> {
    let mut preparing = Preparing { builder, stage, private, prepared: Prepared::default() };
    for one in wanted {
        preparing.one(one)?;
    }
    Ok(preparing.prepared)
}

struct Preparing<'a> {
    builder: &'a Builder<'a>,
    stage: usize,
    private: &'a Path,
    prepared: Prepared,
}

impl Preparing<'_> {
    fn one(&mut self, wanted: &Wanted) -> Result<(), Fault> {
        let target = wanted.target.clone();
        let mount = match &wanted.what {
            What::Tmpfs { size } => {
                let source = MountSource::Tmpfs { size: *size, mode: None, options: Vec::new() };
                Some((target, Access::Writable, source))
            }
            What::Bind { from, source, access } => {
                Some((target, *access, self.bound(from.as_deref(), source, *access)?))
            }
            What::Cache { access, .. } => Some((target, *access, bind(self.cache(wanted)?))),
            What::Secret { id, variable, need, owner } => {
                self.secret(wanted, id, variable.as_deref(), *need, *owner)?
            }
            What::Ssh { id, need, owner } => self.agent(wanted, id, *need, *owner)?,
        };
        if let Some((Some(target), access, source)) = mount {
            self.prepared.mounts.push(Mount { target, read_only: access == Access::ReadOnly, source });
        }
        Ok(())
    }

    /// Files of the context, a stage or an image.
    fn bound(&self, from: Option<&str>, source: &str, access: Access) -> Result<MountSource, Fault> {
        let builder = self.builder;
        let context = match from {
            None => Some(builder.job.context),
            Some(from) => builder.context_named(self.stage, from)?,
        };
        let below = relative(Path::new(source));
        let subpath = (!below.as_os_str().is_empty()).then(|| below.display().to_string());
        let mut lower = match context {
            Some(context) => {
                let mask = mask(context, &below, &builder.scratch("mask"))?;
                let masked = mask.is_some();
                if !masked && access == Access::ReadOnly {
                    return Ok(MountSource::Bind {
                        source: context.folder.clone(),
                        subpath,
                        propagation: Propagation::Private,
                        recursive: false,
                    });
                }
                mask.into_iter().chain([context.folder.clone()]).collect()
            }
            None => {
                let mut lower = builder.directories(&builder.layers_of(self.stage, from.unwrap_or_default())?);
                lower.reverse();
                lower
            }
        };
        if lower.is_empty() {
            let empty = builder.scratch("empty");
            fs::create_dir(&empty)?;
            lower.push(empty);
        }
        Ok(match access {
            Access::ReadOnly => MountSource::Layers { lower, subpath },
            Access::Writable => {
                let Change { upper, work } = Change::new(&builder.scratch("written"))?;
                MountSource::Scratch { lower, upper, work, subpath }
            }
        })
    }

    /// A cache, held as long as the command runs.
    fn cache(&mut self, wanted: &Wanted) -> Result<PathBuf, Fault> {
        let What::Cache { id, from, source, sharing, owner, .. } = &wanted.what else { return Ok(PathBuf::new()) };
        let target = wanted.target.as_deref().unwrap_or_default();
        // What a cache begins with belongs to its identity.
        let whole = format!("{} {from:?} {source:?} {owner:?}", id.as_deref().unwrap_or(target));
        for number in 0.. {
            let name = if number == 0 { whole.clone() } else { format!("{whole} {number}") };
            let (folder, lock) = self.builder.job.store.cache_folder(&Digest::of(name.as_bytes()))?;
            let how = match sharing {
                Sharing::Shared => FlockArg::LockSharedNonblock,
                Sharing::Private | Sharing::Locked => FlockArg::LockExclusiveNonblock,
            };
            let held = loop {
                match Flock::lock(File::open(&lock)?, how) {
                    Ok(held) => break Some(held),
                    Err((_, Errno::EWOULDBLOCK)) if *sharing == Sharing::Private => break None,
                    Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => std::thread::park_timeout(PAUSE),
                    Err((_, errno)) => return Err(io::Error::from(errno).into()),
                }
                if self.builder.is_over() {
                    return Err(Fault::Failed(cancelled()));
                }
            };
            let Some(held) = held else { continue };
            self.prepared.locks.push(held);
            if !folder.exists() {
                self.new_cache(from.as_deref(), source, *owner, &folder)?;
            }
            return Ok(folder);
        }
        Err(Fault::Failed(cancelled()))
    }

    fn new_cache(&self, from: Option<&str>, source: &str, owner: Owner, folder: &Path) -> Result<(), Fault> {
        let new = self.builder.scratch("cache");
        fs::create_dir(&new)?;
        if let Some(from) = from {
            let to = open_directory(&new).map_err(io::Error::from)?;
            let root = match self.builder.context_named(self.stage, from)? {
                Some(context) => open_directory(&context.folder).map_err(io::Error::from)?,
                None => {
                    let empty = self.builder.scratch("empty");
                    fs::create_dir(&empty)?;
                    readable(&self.builder.directories(&self.builder.layers_of(self.stage, from)?), &empty)?
                }
            };
            copy_content(root, Path::new(source), &to)?;
        }
        if from.is_none() || owner.mode.is_some() {
            fs::set_permissions(&new, Permissions::from_mode(owner.mode.unwrap_or(0o755)))?;
        }
        chown(&new, Some(owner.uid.unwrap_or(0)), Some(owner.gid.unwrap_or(0)))?;
        match fs::rename(&new, folder) {
            // Somebody who shares it was faster.
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
                Ok(remove_tree(&new)?)
            }
            other => Ok(other?),
        }
    }

    fn secret(
        &mut self,
        wanted: &Wanted,
        id: &str,
        variable: Option<&str>,
        need: Need,
        owner: Owner,
    ) -> Result<Option<(Option<String>, Access, MountSource)>, Fault> {
        let Some(secret) = self.builder.job.config.secrets.get(id) else {
            return match need {
                Need::Optional => Ok(None),
                Need::Required => Err(Fault::at(&wanted.text, format!("the secret {id} is required, and not given"))),
            };
        };
        let content = match &secret.source {
            SecretSource::Value(value) => value.clone().into_bytes(),
            SecretSource::File(path) => fs::read(path).map_err(|error| {
                let why = format!("the secret {id} cannot be read: {}: {error}", path.display());
                Fault::at(&wanted.text, why)
            })?,
        };
        if let Some(variable) = variable {
            let text = String::from_utf8(content.clone());
            let text = text.map_err(|_| Fault::at(&wanted.text, format!("the secret {id} is no text")))?;
            self.prepared.env.push(format!("{variable}={text}"));
            if wanted.target.is_none() {
                return Ok(None);
            }
        }
        let target = wanted.target.clone().unwrap_or_else(|| format!("/run/secrets/{id}"));
        let name = format!("secret-{}", self.prepared.mounts.len());
        let place = self.private_folder()?.join(name);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&place)?;
        file.write_all(&content)?;
        let (uid, gid) = (owner.uid.or(secret.uid).unwrap_or(0), owner.gid.or(secret.gid).unwrap_or(0));
        chown(&place, Some(uid), Some(gid))?;
        file.set_permissions(Permissions::from_mode(owner.mode.or(secret.mode).unwrap_or(0o400)))?;
        Ok(Some((Some(target), Access::ReadOnly, bind(place))))
    }

    fn agent(
        &mut self,
        wanted: &Wanted,
        id: &str,
        need: Need,
        owner: Owner,
    ) -> Result<Option<(Option<String>, Access, MountSource)>, Fault> {
        let Some(keys) = self.builder.job.config.ssh.get(id) else {
            return match need {
                Need::Optional => Ok(None),
                Need::Required => {
                    Err(Fault::at(&wanted.text, format!("the SSH agent {id} is required, and not given")))
                }
            };
        };
        let number = self.prepared.agents.len();
        let target = wanted.target.clone().unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{number}"));
        let place = self.private_folder()?.join(format!("agent-{number}"));
        let wrong = |error: ssh::SshError| Fault::at(&wanted.text, format!("the SSH agent {id}: {error}"));
        self.prepared.agents.push(Agent::serve(keys.as_deref(), &place).map_err(wrong)?);
        chown(&place, Some(owner.uid.unwrap_or(0)), Some(owner.gid.unwrap_or(0)))?;
        fs::set_permissions(&place, Permissions::from_mode(owner.mode.unwrap_or(0o600)))?;
        if number == 0 {
            self.prepared.env.push(format!("SSH_AUTH_SOCK={target}"));
        }
        Ok(Some((Some(target), Access::Writable, bind(place))))
    }

    /// A folder that only root looks into.
    fn private_folder(&mut self) -> io::Result<&Path> {
        if self.prepared.secrets.is_none() {
            DirBuilder::new().mode(0o700).create(self.private)?;
            self.prepared.secrets = Some(self.private.to_owned());
        }
        Ok(self.private)
    }
}

fn bind(source: PathBuf) -> MountSource {
    MountSource::Bind { source, subpath: None, propagation: Propagation::Private, recursive: false }
}
