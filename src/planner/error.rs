//! Why there is no plan. Every one of them is for the user, before anything has been done; texts are Docker Compose's.

use crate::spec::diagnostic::Location;
use crate::spec::project::keys::NetworkKey;
use crate::values::image_ref::ImageRef;
use crate::values::names::{ContainerName, InvalidName, NetworkName, ServiceName, VolumeName};
use crate::values::platform::InvalidPlatform;

/// Why a request cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A service was named that the project does not have.
    #[error("no such service: {0}")]
    NoSuchService(ServiceName),
    /// Services depend on each other in a circle; the first is repeated at the end.
    #[error("dependency cycle detected: {}", .0.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(" -> "))]
    Cycle(Vec<ServiceName>),
    /// The project has no active service.
    #[error("no service selected")]
    NoServiceSelected,
    /// The request makes things, for which a name alone is not enough.
    #[error("no configuration file provided: not found")]
    NeedsFiles,
    /// Two services, or a service and a foreign container, want one name.
    #[error("container name {:?} is already in use by service {} and service {}", .name.as_str(), .first, .second)]
    ContainerNameTaken {
        /// The name.
        name: ContainerName,
        /// Who has it.
        first: ServiceName,
        /// Who wants it too.
        second: ServiceName,
    },
    /// Several containers can't have one name.
    #[error("WARNING: The {:?} service is using the custom container name {:?}. Docker requires each container to have \
             a unique name. Remove the custom name to scale the service", .service.as_str(), .name.as_str())]
    CustomNameScaled {
        /// Whose.
        service: ServiceName,
        /// The name.
        name: ContainerName,
    },
    /// The project's names do not make a name for the engine.
    #[error("{0}")]
    Name(InvalidName),
    /// An external network does not exist.
    #[error("network {0} declared as external, but could not be found")]
    ExternalNetwork(NetworkName),
    /// A network wants a driver that there is not.
    #[error("networks.{network}: driver {driver:?} is not supported: only bridge is ({location})")]
    NetworkDriver {
        /// Its key.
        network: NetworkKey,
        /// The driver.
        driver: String,
        /// Where it stands.
        location: Location,
    },
    /// An external volume does not exist.
    #[error("external volume {:?} not found", .0.as_str())]
    ExternalVolume(VolumeName),
    /// An image is not in the store, and the service does not say how to build it.
    #[error("No such image: {image} (service {service})")]
    NoSuchImage {
        /// The image.
        image: ImageRef,
        /// Who wants it.
        service: ServiceName,
    },
    /// The platform that everything is to be for is none.
    #[error("DOCKER_DEFAULT_PLATFORM: {0}")]
    DefaultPlatform(InvalidPlatform),
    /// A service runs on a platform that its image is not built for.
    #[error("service {:?} build configuration does not support platform: {platform}", .service.as_str())]
    BuildPlatform {
        /// Whose.
        service: ServiceName,
        /// The platform.
        platform: String,
    },
    /// The platform that everything is to be for is none that an image is built for.
    #[error("service {:?} build.platforms does not support value set by DOCKER_DEFAULT_PLATFORM: {platform}", .service.as_str())]
    BuildDefaultPlatform {
        /// Whose.
        service: ServiceName,
        /// The platform.
        platform: String,
    },
    /// The image that is there is for another platform, and may not be fetched.
    #[error(
        "image {image} was found but does not match the specified platform of service {service}: wanted {wanted}, actual: {found}"
    )]
    Platform {
        /// Who wants it.
        service: ServiceName,
        /// Which.
        image: String,
        /// For what.
        wanted: String,
        /// What it is for.
        found: String,
    },
    /// A container shares something with a service that has no container.
    #[error("cannot share {what} with service {donor}: container missing")]
    DonorMissing {
        /// `network namespace`, `volume`, …
        what: &'static str,
        /// The service without container.
        donor: ServiceName,
    },
    /// A paused container has to be thawed by the user.
    #[error("container {0}: cannot start a paused container, try unpause instead")]
    Paused(ContainerName),
    /// `start` never makes containers.
    #[error("service {:?} has no container to start", .0.as_str())]
    NothingToStart(ServiceName),
    /// A dependency that is needed has no container.
    #[error("{service} is missing dependency {dependency}")]
    MissingDependency {
        /// The dependent.
        service: ServiceName,
        /// What it lacks.
        dependency: ServiceName,
    },
    /// A config or secret would have to be written into a container that can't be written to.
    #[error("cannot create {kind} {object:?} in read-only service {service}: `file` is the sole supported option")]
    FileInReadOnly {
        /// `config` or `secret`.
        kind: &'static str,
        /// Its name.
        object: String,
        /// Which service.
        service: ServiceName,
    },
    /// A service has an attribute that can't be given to a container.
    #[error("service {service}: {reason}")]
    Invalid {
        /// Which.
        service: ServiceName,
        /// What, and why not.
        reason: String,
    },
}
