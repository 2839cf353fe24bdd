//! `xcompose images`

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::cli::ui::table::Table;
use crate::cli::ui::time;
use crate::engine::ObservedImage;
use crate::values::byte_size;

/// List images used by the created containers
#[derive(Debug, clap::Args)]
pub struct Images {
    /// Services whose images to show (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Format the output. Values: [table | json]
    #[arg(long, default_value = "table")]
    format: String,
    /// Only display IDs
    #[arg(short, long)]
    quiet: bool,
}

impl Images {
    /// Prints the image of every container.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let stack = context.load(Need::Name, &self.services)?;
        let observed = context.observe(&stack).await?;
        let containers = members::of(&observed, &self.services);
        let ui = context.ui();
        if self.quiet {
            let ids: BTreeSet<&str> = containers.iter().map(|container| bare(&container.image.0)).collect();
            for id in ids {
                ui.line(id)?;
            }
            return Ok(Exit::SUCCESS);
        }
        let images: BTreeMap<_, _> =
            context.engine().images().await?.into_iter().map(|image| (image.id.clone(), image)).collect();
        let now = time::now();
        let mut table =
            Table::spaced(20, 3, &["CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"]);
        let mut objects = Vec::new();
        for container in containers {
            let image = images.get(&container.image);
            let (repository, tag) = match image {
                Some(image) => {
                    let name = image.names.iter().find(|name| **name == container.config.image).or(image.names.first());
                    let repository = name.map_or("<none>".to_owned(), |name| name.familiar_name());
                    (repository, name.and_then(|name| name.tag()).unwrap_or("<none>").to_owned())
                }
                None => ("<none>".to_owned(), "<none>".to_owned()),
            };
            let name = container.config.name.as_str();
            match self.format.as_str() {
                "table" => table.row(vec![
                    name.to_owned(),
                    repository,
                    tag,
                    image.map_or("N/A".to_owned(), |image| image.platform.clone()),
                    short(&container.image.0).to_owned(),
                    image.map_or("N/A".to_owned(), |image| byte_size::human(image.size)),
                    image.map_or("N/A".to_owned(), |image| created(image, now)),
                ]),
                "json" => objects.push(serde_json::json!({
                    "ID": container.image.0, "ContainerName": name, "Repository": repository, "Tag": tag,
                    "Platform": image.map_or("", |image| &image.platform),
                    "Size": image.map_or(0, |image| image.size),
                    "Created": time::rfc3339(image.map_or(0, |image| image.created)),
                    "LastTagTime": time::rfc3339(image.map_or(0, |image| image.tagged)),
                })),
                other => return Err(Failure::usage(format!("format value {other:?} could not be parsed"))),
            }
        }
        match self.format.as_str() {
            "json" => ui.line(&serde_json::Value::Array(objects).to_string())?,
            _ => ui.text(&table.to_string())?,
        }
        Ok(Exit::SUCCESS)
    }
}

/// How long ago an image was made; `N/A` where its record does not say.
pub fn created(image: &ObservedImage, now: i64) -> String {
    match image.created {
        0 => "N/A".to_owned(),
        moment => format!("{} ago", time::human(time::seconds_between(moment, now))),
    }
}

/// The digest without its algorithm.
pub fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

/// The 12 digits that people see.
pub fn short(id: &str) -> &str {
    bare(id).get(..12).unwrap_or(bare(id))
}
