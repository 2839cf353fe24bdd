//! How things stand: what is on record, put right by whoever watches over what runs.

use std::collections::BTreeMap;

use crate::engine::{EngineError, Observed, ObservedContainer, ObservedNetwork, ObservedProject, Subject};
use crate::runtime::client::Client;
use crate::runtime::container::find;
use crate::runtime::image::remove::InUse;
use crate::runtime::image::store::Store;
use crate::runtime::layout::Layout;
use crate::runtime::network::Networks;
use crate::runtime::network::record::NetworkRecord;
use crate::runtime::supervisor::control::Request;
use crate::runtime::volume::Volumes;
use crate::runtime::{Runtime, client};
use crate::values::image_ref::ImageRef;
use crate::values::names::ProjectName;

/// A project's containers, and what the whole machine has of the rest; of the images only these.
pub(super) async fn observe(
    runtime: &Runtime,
    project: &ProjectName,
    images: &[ImageRef],
) -> Result<Observed, EngineError> {
    let store = Store::open(&runtime.layout)?;
    let mut present = BTreeMap::new();
    for name in images {
        if let Some(image) = store.resolve(name)? {
            present.insert(name.clone(), image.observed());
        }
    }
    Ok(Observed {
        containers: settled(&runtime.client, project).await?,
        networks: networks(&runtime.layout)?,
        volumes: Volumes::open(&runtime.layout).list()?,
        images: present,
    })
}

/// Every project that has containers.
pub(super) async fn projects(client: &Client) -> Result<Vec<ObservedProject>, EngineError> {
    let mut projects = Vec::new();
    for name in find::projects(&client.layout)? {
        let containers = settled(client, &name).await?;
        if !containers.is_empty() {
            projects.push(ObservedProject { name, containers });
        }
    }
    Ok(projects)
}

/// Every container of a project as it is now. Who is active has a supervisor, or gets one; it first puts the records
/// right, should they tell of something that is over.
async fn settled(client: &Client, project: &ProjectName) -> Result<Vec<ObservedContainer>, EngineError> {
    let mut containers = find::of_project(&client.layout, project)?;
    if containers.iter().any(|(_, standing)| standing.state.is_active()) {
        client::ask(client, project, &Request::Settle, &[]).await?;
        containers = find::of_project(&client.layout, project)?;
    }
    let mut observed: Vec<_> =
        containers.into_iter().map(|(container, standing)| container.observed(standing)).collect();
    observed.sort_by(|one, other| one.config.name.cmp(&other.config.name));
    Ok(observed)
}

/// Every network of the machine.
pub(super) fn networks(layout: &Layout) -> Result<Vec<ObservedNetwork>, EngineError> {
    let networks = Networks::new(layout.clone());
    let failed = |error| EngineError::Failed { verb: "read", subject: Subject::Machine, source: Box::new(error) };
    let all = networks.list().map_err(failed)?;
    let mut troubles = networks.troubles(&all).map_err(failed)?;
    let observed = |network: NetworkRecord| {
        let trouble = troubles.remove(&network.id);
        network.observed(trouble)
    };
    Ok(all.into_iter().map(observed).collect())
}

/// The images of all containers of the machine.
pub(super) fn images_in_use(layout: &Layout) -> Result<Vec<InUse>, EngineError> {
    let containers = find::of_machine(layout)?.into_iter();
    let used = containers
        .map(|(container, _)| InUse { image: container.image, holder: format!("container {}", container.config.name) });
    let mut used: Vec<InUse> = used.collect();
    // By name, so that the same holder is told every time.
    used.sort_by(|one, other| one.holder.cmp(&other.holder));
    Ok(used)
}
