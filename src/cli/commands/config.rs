//! `xcompose config`

use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::remote::digest_of;
use crate::cli::ui::table::Table;
use crate::planner;
use crate::spec::Options;
use crate::spec::lists::Variable;
use crate::spec::model::Model;
use crate::spec::print::{self, Format};

/// Parse, resolve and render compose file in canonical format
#[derive(Debug, clap::Args)]
pub struct Config {
    /// Only these services, with what they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Print environment used for interpolation.
    #[arg(long)]
    environment: bool,
    /// Format the output. Values: [yaml | json]
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print the service config hash, one per line.
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
    /// Print the image names, one per line.
    #[arg(long)]
    images: bool,
    /// Produces an override file with image digests
    #[arg(long)]
    lock_image_digests: bool,
    /// Print the model names, one per line.
    #[arg(long)]
    models: bool,
    /// Print the network names, one per line.
    #[arg(long)]
    networks: bool,
    /// Don't check model consistency - warning: may produce invalid Compose output
    #[arg(long)]
    no_consistency: bool,
    /// Don't resolve service env files
    #[arg(long)]
    no_env_resolution: bool,
    /// Don't interpolate environment variables
    #[arg(long)]
    no_interpolate: bool,
    /// Don't normalize compose model
    #[arg(long)]
    no_normalize: bool,
    /// Don't resolve file paths
    #[arg(long)]
    no_path_resolution: bool,
    /// Print where each value comes from: its path, the file, line and column that won, and the value.
    #[arg(long)]
    origins: bool,
    /// Save to file (default to stdout)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the profile names, one per line.
    #[arg(long)]
    profiles: bool,
    /// Only validate the configuration, don't print anything
    #[arg(short, long)]
    quiet: bool,
    /// Pin image tags to digests
    #[arg(long)]
    resolve_image_digests: bool,
    /// Print the service names, one per line.
    #[arg(long = "services")]
    only_services: bool,
    /// Print model variables and default values.
    #[arg(long)]
    variables: bool,
    /// Print the volume names, one per line.
    #[arg(long)]
    volumes: bool,
}

/// What is asked for. Of several, the first counts, as in Docker Compose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Services,
    /// The keys of a section.
    Keys(&'static str),
    Hashes,
    Profiles,
    Images,
    Variables,
    Nothing,
    Environment,
    Origins,
    Whole,
}

impl Config {
    /// Loads the files and prints what they amount to; needs neither engine nor rights.
    pub fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let view = self.view();
        let format = match self.format.as_deref() {
            Some("json") => Format::Json,
            Some(other) if !matches!(other, "yaml") && matches!(view, View::Whole) => {
                return Err(Failure::usage(format!("unsupported format {other:?}")));
            }
            _ => Format::Yaml,
        };
        let ui = context.ui();
        if self.no_interpolate && !self.services.is_empty() && view != View::Variables {
            ui.warn("services are ignored with --no-interpolate: the whole model is printed");
        }
        let mut model = context.model(&self.options(view, context))?;
        if view == View::Whole && (self.resolve_image_digests || self.lock_image_digests) {
            model.pin_images(digest_of)?;
        }
        if view == View::Whole && self.lock_image_digests {
            model.keep_images_only();
        }
        let lines = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let owned = |list: &[String]| list.iter().map(|line| format!("{line}\n")).collect::<String>();
        let text = match view {
            View::Services => lines(&model.service_names()),
            View::Keys(section) => lines(&model.keys(section)),
            View::Hashes => hashes(&model, self.hash.as_deref().unwrap_or_default())?,
            View::Profiles => owned(&model.profiles()),
            View::Images => owned(&model.image_names()),
            View::Variables => self.table_of_variables(&model, format),
            View::Nothing => return Ok(Exit::SUCCESS),
            View::Environment => model.environment.iter().map(|(name, value)| format!("{name}={value}\n")).collect(),
            View::Origins => table_of_origins(&model),
            View::Whole if self.no_interpolate || self.lock_image_digests => model.print_raw(format)?,
            View::Whole => model.print(format)?,
        };
        match &self.output {
            Some(path) => std::fs::write(path, text).map_err(Failure::file("write", path))?,
            None if text.is_empty() || text.ends_with('\n') => ui.text(&text)?,
            None => ui.line(&text)?,
        }
        Ok(Exit::SUCCESS)
    }

    fn view(&self) -> View {
        let asked = [
            (self.only_services, View::Services),
            (self.volumes, View::Keys("volumes")),
            (self.networks, View::Keys("networks")),
            (self.models, View::Keys("models")),
            (self.hash.is_some(), View::Hashes),
            (self.profiles, View::Profiles),
            (self.images, View::Images),
            (self.variables, View::Variables),
            (self.quiet, View::Nothing),
            (self.environment, View::Environment),
            (self.origins, View::Origins),
        ];
        asked.into_iter().find(|(asked, _)| *asked).map_or(View::Whole, |(_, view)| view)
    }

    /// Which stages are wanted: lists of names need no env files, and `--variables` what is there before interpolation.
    fn options(&self, view: View, context: &Context<'_>) -> Options {
        let list = matches!(view, View::Services | View::Keys(_) | View::Profiles | View::Images);
        let of_all = self.no_interpolate || matches!(view, View::Services | View::Keys(_) | View::Hashes);
        let variables = view == View::Variables;
        let raw = self.no_interpolate || variables;
        Options {
            interpolate: !raw,
            normalize: !(self.no_normalize || context.globals().compatibility || variables),
            resolve_paths: !self.no_path_resolution,
            consistency: !(self.no_consistency || variables),
            env_files: !(self.no_env_resolution || list || raw),
            all_resources: context.globals().all_resources,
            services: if of_all { Vec::new() } else { self.services.clone() },
            keep_others: false,
        }
    }

    fn table_of_variables(&self, model: &Model, format: Format) -> String {
        let variables = model.variables();
        match (self.format.as_deref(), format) {
            (Some("yaml"), _) => variables.iter().fold(String::new(), |text, (name, variable)| {
                let quoted = print::scalar;
                format!(
                    "{text}{name}:\n    name: {name}\n    defaultvalue: {}\n    presencevalue: {}\n    required: {}\n",
                    quoted(&variable.default),
                    quoted(&variable.alternate),
                    variable.required
                )
            }),
            (_, Format::Json) => {
                let object = |(name, variable): (&String, &Variable)| {
                    let value = json!({
                        "Name": name, "DefaultValue": variable.default, "PresenceValue": variable.alternate,
                        "Required": variable.required,
                    });
                    (name.clone(), value)
                };
                let all: serde_json::Map<String, serde_json::Value> = variables.iter().map(object).collect();
                indented(&serde_json::Value::Object(all))
            }
            (_, Format::Yaml) => {
                let mut table = Table::spaced(20, 3, &["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"]);
                for (name, variable) in variables {
                    table.row(vec![name, variable.required.to_string(), variable.default, variable.alternate]);
                }
                table.to_string()
            }
        }
    }
}

/// A value a line, in the order of the files; of a file that another one led to, also the place that did.
fn table_of_origins(model: &Model) -> String {
    let mut table = Table::spaced(0, 3, &["VALUE OF", "WRITTEN AT", "IS"]);
    for origin in model.origins() {
        let reasons = origin.at.reasons().filter_map(|reason| reason.at.as_ref().map(|at| (&reason.message, at)));
        let place = reasons.fold(origin.at.to_string(), |place, (why, at)| format!("{place} ({why}: {at})"));
        table.row(vec![origin.path.to_string(), place, origin.value]);
    }
    table.to_string()
}

/// With four blanks a level, as Docker Compose indents this list.
fn indented(value: &serde_json::Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    // Writing to memory does not fail, and such a value has no map with other keys than text.
    let _ = value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `web 01ab…` a line, for the services named (`*` is all).
fn hashes(model: &Model, services: &str) -> Result<String, Failure> {
    let project = model.project()?;
    let mut text = String::new();
    let wanted: Vec<&str> = services.split(',').filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = wanted.iter().find(|name| **name != "*" && !project.services.contains_key(**name)) {
        return Err(Kind::NoSuchService((*unknown).to_owned()).into());
    }
    for (name, hash) in planner::container_config::hashes(&project)? {
        if wanted.contains(&"*") || wanted.contains(&name.as_str()) {
            text.push_str(&format!("{name} {hash}\n"));
        }
    }
    Ok(text)
}
