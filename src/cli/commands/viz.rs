//! `xcompose viz`: who depends on whom, as a graph for Graphviz.

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::spec::project::Project;
use crate::spec::project::network::{NetworkMode, Port};
use crate::spec::project::service::Service;

/// Generate a graphviz graph from your compose file
#[derive(Debug, clap::Args)]
pub struct Viz {
    /// Include service's image name in output graph
    #[arg(long)]
    image: bool,
    /// Number of tabs or spaces to use for indentation
    #[arg(long, value_name = "N", default_value_t = 1)]
    indentation_size: u8,
    /// Include service's attached networks in output graph
    #[arg(long)]
    networks: bool,
    /// Include service's exposed ports in output graph
    #[arg(long)]
    ports: bool,
    /// Indent with spaces instead of tabs
    #[arg(long)]
    spaces: bool,
}

/// Experimental commands
#[derive(Debug, clap::Args)]
pub struct Alpha {
    #[command(subcommand)]
    command: AlphaCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AlphaCommand {
    Viz(Viz),
}

impl Alpha {
    /// Runs the one that is meant.
    pub fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let AlphaCommand::Viz(viz) = self.command;
        context.ui().say("viz command is EXPERIMENTAL");
        viz.run(context)
    }
}

impl Viz {
    /// Prints the graph.
    pub fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let stack = context.load(Need::Files, &[])?;
        if let Some(project) = &stack.project {
            context.ui().line(&self.graph(project))?;
        }
        Ok(Exit::SUCCESS)
    }

    fn graph(&self, project: &Project) -> String {
        let indent = if self.spaces { " " } else { "\t" }.repeat(usize::from(self.indentation_size));
        let mut text = format!("digraph {:?} {{\n{indent}layout=dot;\n", project.name.as_str());
        for service in project.services.values() {
            let label = self.label(service);
            text += &format!("{indent}{:?} [style=\"filled\" label=<{label}>];\n", service.name.as_str());
        }
        text.push('\n');
        for service in project.services.values() {
            for dependency in service.depends_on.keys() {
                text += &format!("{indent}{:?} -> {:?};\n", service.name.as_str(), dependency.as_str());
            }
        }
        text + "}\n"
    }

    fn label(&self, service: &Service) -> String {
        let mut label = format!("<font point-size=\"15\">{}</font>", service.name);
        let mut part = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                let lines: String = lines.iter().map(|line| format!("<br/>{line}")).collect();
                label += &format!("<font point-size=\"10\"><br/><br/><b>{title}:</b>{lines}</font>");
            }
        };
        if self.networks
            && let NetworkMode::Networks(networks) = &service.network
        {
            let mut names: Vec<String> = networks.iter().map(|(key, _)| key.to_string()).collect();
            names.sort();
            part("Networks", names);
        }
        if self.ports {
            part("Ports", service.ports.iter().map(port).collect());
        }
        if self.image {
            part("Image", vec![service.image.to_string()]);
        }
        label
    }
}

/// `127.0.0.1:8080:80 (tcp, ingress)`
fn port(port: &Port) -> String {
    let host = port.host_ip.map_or(String::new(), |host| format!("{host}:"));
    let published = match port.published {
        None => String::new(),
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
    };
    format!("{host}{published}:{} ({}, ingress)", port.target, port.protocol)
}
