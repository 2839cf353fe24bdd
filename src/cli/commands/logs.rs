//! `xcompose logs`

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::follow::{Follower, Interest};
use crate::cli::members;
use crate::cli::ui::logs::Form;
use crate::cli::ui::time;
use crate::engine::LogQuery;

/// View output from containers
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// Services whose output to show (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// Produce monochrome output
    #[arg(long)]
    no_color: bool,
    /// Don't print prefix in logs
    #[arg(long)]
    no_log_prefix: bool,
    /// Show only what one run of each container wrote: 0 is the present or last run, -1 the one before
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    run: Option<i64>,
    /// Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Number of lines to show from the end of the logs for each container
    #[arg(short = 'n', long, value_name = "N", default_value = "all")]
    tail: String,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
}

impl Logs {
    /// Prints what containers wrote; with `--follow` also what they will write, until none is left.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let query = self.query()?;
        if self.index > 0 && self.services.len() != 1 {
            return Err(Failure::usage("--index requires one service to be selected"));
        }
        let stack = context.load(Need::FilesOrName, &self.services)?;
        let form = Form {
            prefix: !self.no_log_prefix,
            colour: !self.no_color && context.ui().colour_on_stdout(),
            timestamps: self.timestamps,
            split: false,
        };
        let mut follower = Follower::new(context.engine(), &stack.name, context.ui().log_printer(form));
        // Without names, services that do not want to be shown are left out.
        let services = self.services.clone();
        let shown = |service: &str| {
            if services.is_empty() { stack.attaches(service) } else { services.iter().any(|name| name == service) }
        };
        let wanted = |labels: &crate::engine::Labels| {
            let number = self.index == 0 || members::number(labels) == Some(self.index);
            number && !members::one_off(labels) && shown(members::service(labels))
        };
        let interest = Interest { shown: &wanted, counts: &wanted, query: query.clone() };
        if self.follow {
            follower.subscribe().await?;
        }
        let observed = context.observe(&stack).await?;
        let mut containers: Vec<_> = observed.containers.iter().filter(|found| wanted(&found.config.labels)).collect();
        if containers.is_empty()
            && let (true, Some(service)) = (self.index > 0, self.services.first())
        {
            return Err(Kind::NotRunning { service: service.clone(), index: self.index }.into());
        }
        containers.sort_by(|a, b| a.config.name.cmp(&b.config.name));
        for container in &containers {
            follower.register(&container.id, container.config.name.as_str());
        }
        for container in containers {
            if container.config.logging.is_none() {
                context.ui().warn(&format!(
                    "Can't retrieve logs for {:?}: configured logging driver does not support reading",
                    container.config.name.as_str()
                ));
            } else if self.follow {
                follower.open(container, &interest).await?;
            } else {
                follower.print(&container.id, &query).await?;
            }
        }
        if self.follow {
            follower.run(&interest).await?;
        }
        Ok(Exit::SUCCESS)
    }

    fn query(&self) -> Result<LogQuery, Failure> {
        let now = time::now();
        let moment = |text: &Option<String>| {
            text.as_ref()
                .map(|text| time::moment(text, now))
                .transpose()
                .map_err(|error| Failure::usage(error.to_string()))
        };
        let tail = match self.tail.as_str() {
            "all" | "" => None,
            text if text.starts_with('-') => None,
            text => Some(text.parse().map_err(|_| Failure::usage(format!("invalid value for \"tail\": {text}")))?),
        };
        let run = match self.run {
            None => None,
            Some(back @ ..=0) => Some(back.unsigned_abs()),
            Some(other) => {
                let text = format!("invalid value for \"run\": {other} (0 is the last run, -1 the one before)");
                return Err(Failure::usage(text));
            }
        };
        if self.follow && run.is_some_and(|back| back > 0) {
            return Err(Failure::usage("--follow and a run that is over (--run) are incompatible"));
        }
        Ok(LogQuery { follow: self.follow, tail, since: moment(&self.since)?, until: moment(&self.until)?, run })
    }
}
