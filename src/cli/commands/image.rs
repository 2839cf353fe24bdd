//! `xcompose image …`: the store. Docker Compose leaves this to Docker.

mod inspect;
mod travel;

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::commands::image_build;
use crate::cli::commands::images::{bare, created, short};
use crate::cli::commands::system::prune;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::ui::table::Table;
use crate::cli::ui::template::Format;
use crate::cli::ui::time;
use crate::values::byte_size;
use crate::values::image_ref::{ImageRef, InvalidImageRef};

/// Manage images
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Image {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an image from an archive of a root file system
    Import {
        /// The archive (tar, also compressed); - is standard input
        #[arg(value_name = "FILE|-")]
        archive: PathBuf,
        /// Name of the image
        name: Option<String>,
    },
    /// Load images from a `docker save` archive or an OCI layout archive
    Load {
        /// The archive; - is standard input
        #[arg(value_name = "FILE|-", default_value = "-")]
        archive: PathBuf,
        /// The archive
        #[arg(short, long, value_name = "FILE")]
        input: Option<PathBuf>,
        /// Print nothing
        #[arg(short, long)]
        quiet: bool,
    },
    /// Save images to an archive that Docker and OCI tools read
    Save {
        /// Write to a file, instead of standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Images to save
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<String>,
    },
    /// List images
    #[command(alias = "list")]
    Ls {
        /// Only images of this name; without a tag, of any
        #[arg(value_name = "REPOSITORY[:TAG]")]
        name: Option<String>,
        /// Format output: 'table' (columns with a header), 'table TEMPLATE', 'json', or a Go template of fields
        #[arg(long, default_value = "table")]
        format: String,
        /// Only display IDs
        #[arg(short, long)]
        quiet: bool,
    },
    /// Remove images
    #[command(alias = "remove")]
    Rm {
        /// Images to remove, by name or id
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<String>,
        /// Remove an image with several names, or one that stopped containers use
        #[arg(short, long)]
        force: bool,
    },
    /// Give an image another name
    Tag {
        /// The image
        #[arg(value_name = "IMAGE")]
        image: String,
        /// The further name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Download an image from a registry
    Pull {
        /// The image
        #[arg(value_name = "NAME[:TAG|@DIGEST]")]
        name: String,
        /// Which of several platforms (default: this machine's)
        #[arg(long, value_name = "OS/ARCHITECTURE")]
        platform: Option<String>,
        /// Print only the image's name
        #[arg(short, long)]
        quiet: bool,
    },
    /// Upload an image to a registry
    Push {
        /// The image
        #[arg(value_name = "NAME[:TAG]")]
        name: String,
        /// Print only the image's name
        #[arg(short, long)]
        quiet: bool,
    },
    /// Display detailed information on images
    Inspect {
        /// The images, by name or id
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<String>,
        /// Format output: 'json', or a Go template of fields
        #[arg(short, long)]
        format: Option<String>,
    },
    /// Show the history of an image
    History {
        /// The image, by name or id
        #[arg(value_name = "IMAGE")]
        image: String,
        /// Only show image IDs
        #[arg(short, long)]
        quiet: bool,
        /// Don't truncate output
        #[arg(long)]
        no_trunc: bool,
    },
    /// Remove images that no container uses and have no name, and what builds and pulls have left
    Prune {
        /// Remove all images that no container uses, not just those without a name
        #[arg(short, long)]
        all: bool,
        /// Do not ask
        #[arg(short, long)]
        force: bool,
    },
    /// Build an image from a Dockerfile
    Build(Box<image_build::Build>),
}

impl Image {
    /// Does what was asked with the store.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let (engine, ui) = (context.engine(), context.ui());
        match self.command {
            Command::Import { archive, name } => {
                let name = name.as_deref().map(reference).transpose()?;
                let id = engine.import_image(open(&archive)?, name.as_ref()).await?;
                ui.line(&id.0)?;
            }
            Command::Load { archive, input, quiet } => {
                let names = engine.load_images(open(input.as_ref().unwrap_or(&archive))?).await?;
                for name in names.iter().filter(|_| !quiet) {
                    ui.line(&format!("Loaded image: {name}"))?;
                }
            }
            Command::Save { output, images } => {
                let images = images.iter().map(|name| reference(name)).collect::<Result<Vec<_>, _>>()?;
                let file = match &output {
                    Some(path) => File::create(path).map_err(Failure::file("write", path))?.into(),
                    None if std::io::stdout().is_terminal() => {
                        return Err(Failure::usage(
                            "an archive is not for a terminal: name a file with -o, or redirect",
                        ));
                    }
                    None => {
                        let stdout = std::io::stdout().as_fd().try_clone_to_owned();
                        stdout.map_err(Failure::system("use the standard streams"))?
                    }
                };
                engine.save_images(&images, file).await?;
            }
            Command::Ls { name, format, quiet } => {
                list(context, name.as_deref(), &Format::parse(&format)?, quiet).await?;
            }
            Command::Rm { images, force } => {
                for image in &images {
                    for line in engine.remove_image(image, force).await? {
                        ui.line(&line)?;
                    }
                }
            }
            Command::Tag { image, name } => engine.tag_image(&reference(&image)?, &reference(&name)?).await?,
            Command::Pull { name, platform, quiet } => {
                travel::pull(context, &name, platform.as_deref(), quiet).await?;
            }
            Command::Push { name, quiet } => travel::push(context, &name, quiet).await?,
            Command::Inspect { images, format } => inspect::inspect(context, &images, format.as_deref()).await?,
            Command::History { image, quiet, no_trunc } => inspect::history(context, &image, quiet, no_trunc).await?,
            Command::Prune { all, force } => prune(context, all, force).await?,
            Command::Build(build) => return build.run(context).await,
        }
        Ok(Exit::SUCCESS)
    }
}

async fn list(context: &Context<'_>, name: Option<&str>, format: &Format, quiet: bool) -> Result<(), Failure> {
    let ui = context.ui();
    let mut images = context.engine().images().await?;
    if let Some(text) = name {
        let wanted: ImageRef = text.parse().map_err(|error: InvalidImageRef| Failure::usage(error.to_string()))?;
        // A name without a tag reads as `latest`, so whether one was written shows only in the text.
        let any_tag = wanted.digest().is_none() && !text.ends_with(&format!(":{}", wanted.tag().unwrap_or_default()));
        for image in &mut images {
            let of_repository = |name: &ImageRef| name.familiar_name() == wanted.familiar_name();
            image.names.retain(|name| if any_tag { of_repository(name) } else { *name == wanted });
        }
        images.retain(|image| !image.names.is_empty());
    }
    images.sort_by(|a, b| b.created.cmp(&a.created).then(a.names.cmp(&b.names)));
    if quiet {
        for image in images {
            ui.line(bare(&image.id.0))?;
        }
        return Ok(());
    }
    let now = time::now();
    let mut objects = Vec::new();
    for image in &images {
        let mut object = |repository: &str, tag: &str| {
            let fields = json!({
                "CreatedSince": created(image, now), "CreatedAt": time::calendar(image.created), "ID": short(&image.id.0),
                "Repository": repository, "Size": byte_size::human(image.size), "Tag": tag, "Platform": image.platform,
            });
            if let Value::Object(fields) = fields {
                objects.push(fields);
            }
        };
        for name in &image.names {
            object(&name.familiar_name(), name.tag().unwrap_or("<none>"));
        }
        if image.names.is_empty() {
            object("<none>", "<none>");
        }
    }
    match format {
        Format::Table => {
            let mut table = Table::new(&["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
            for object in objects {
                let fields = ["Repository", "Tag", "ID", "CreatedSince", "Size"];
                let cell = |field| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
                table.row(fields.into_iter().map(cell).collect());
            }
            ui.text(&table.to_string())?;
        }
        Format::Json => {
            for object in objects {
                ui.line(&Value::Object(object).to_string())?;
            }
        }
        Format::Columns(template) => ui.text(&template.table(&objects)?.to_string())?,
        Format::Text(template) => {
            for object in objects {
                ui.line(&template.render(&object)?)?;
            }
        }
    }
    Ok(())
}

pub(super) fn reference(text: &str) -> Result<ImageRef, Failure> {
    text.parse().map_err(|error| Failure::usage(format!("{error}")))
}

fn open(path: &Path) -> Result<OwnedFd, Failure> {
    if path == Path::new("-") {
        return std::io::stdin().as_fd().try_clone_to_owned().map_err(Failure::system("use the standard streams"));
    }
    Ok(File::open(path).map_err(Failure::file("read", path))?.into())
}
