//! `xcompose port`

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::ui::container;
use crate::values::protocol::Protocol;

/// Print the public port for a port binding
#[derive(Debug, clap::Args)]
#[command(override_usage = "xcompose port [OPTIONS] SERVICE PRIVATE_PORT")]
pub struct Port {
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// tcp or udp
    #[arg(long, default_value = "tcp")]
    protocol: String,
    #[arg(hide = true)]
    words: Vec<String>,
}

impl Port {
    /// Prints the address on the host.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let [service, port] = self.words.as_slice() else {
            return Err(Failure::too_few_arguments(2, self.words.len()));
        };
        let target: u16 =
            port.parse().map_err(|_| Failure::usage(format!("invalid port {port:?}: not a number up to 65535")))?;
        let protocol: Protocol = self.protocol.parse().map_err(|error| Failure::usage(format!("{error}")))?;
        let stack = context.load(Need::Name, std::slice::from_ref(service))?;
        let observed = context.observe(&stack).await?;
        let found = context.target(&observed, service, self.index)?;
        if let Some(open) = container::published(found, target, protocol) {
            context.ui().line(&container::address(open.host_ip, &open.published.to_string()))?;
            return Ok(Exit::SUCCESS);
        }
        let name = found.config.name.as_str();
        let (port, others) = (format!("{target}/{protocol}"), container::ports(found));
        Err(Kind::NoPort { port, container: name.to_owned(), others }.into())
    }
}
