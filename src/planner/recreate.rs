//! One wanted container × one that is there → the reason for making it anew, if there is one.

use crate::engine::{ContainerConfig, ContainerState, MountSource, NetworkMode, Observed, ObservedContainer};
use crate::planner::container_config::Template;
use crate::planner::diff;
use crate::planner::error::PlanError;
use crate::planner::labels;
use crate::planner::plan::Cause;

/// Why a container is not as the file says; in Compose's order (behaviours §1.3), donors apart. `replica` makes what it
/// should be made from; it is asked only where fields have to be told.
pub(super) fn cause(
    template: &Template<'_>,
    there: &ObservedContainer,
    observed: &Observed,
    replica: impl FnOnce() -> Result<ContainerConfig, PlanError>,
) -> Result<Option<Cause>, PlanError> {
    let labels = &there.config.labels;
    let wanted = template.config();
    if labels.get(labels::CONFIG_HASH) != Some(&template.hash) {
        let mut fields = diff::container_fields(&there.config, &replica()?);
        if template.service().container_name.as_ref().is_some_and(|name| *name != there.config.name) {
            fields.push("container_name".to_owned());
        }
        return Ok(Some(Cause::ConfigChanged(fields)));
    }
    let image = observed.images.get(&wanted.image);
    if image.is_some_and(|image| image.id != there.image)
        || labels.get(labels::IMAGE_VOLUMES) != template.image_volumes(&observed.images).as_ref()
    {
        return Ok(Some(Cause::ImageChanged));
    }
    if let (NetworkMode::Networks(attachments), ContainerState::Running { .. }) = (&wanted.network, &there.state) {
        for attachment in attachments {
            let expected = observed.networks.iter().find(|network| network.config.name == attachment.network);
            let connected = there.endpoints.iter().any(|endpoint| {
                endpoint.network == attachment.network
                    && expected.is_none_or(|network| network.id == endpoint.network_id)
            });
            if !connected {
                return Ok(Some(Cause::NotConnected(attachment.network.clone())));
            }
        }
    }
    for mount in &wanted.mounts {
        if let MountSource::Volume { name, .. } = &mount.source
            && there.volumes.get(&mount.target) != Some(name)
        {
            return Ok(Some(Cause::NotMounted(name.clone())));
        }
    }
    Ok(None)
}
