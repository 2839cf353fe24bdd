//! Who depends on whom: order, closures, cycles. The only user of petgraph.
//!
//! Edges to services that are not part of the graph are left out: a dependency behind an inactive profile is refused by
//! the loader if it is required, and counts for nothing if it is not.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, EdgeRef, Reversed};

use crate::planner::error::PlanError;
use crate::spec::project::service::Condition;
use crate::values::names::ServiceName;

/// How a service depends on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// How far the other must be before this one starts.
    pub condition: Condition,
    /// This one is stopped and started with the other.
    pub restart: bool,
    /// It can't do without.
    pub required: bool,
}

/// Services and their dependencies; without cycles.
#[derive(Debug)]
pub struct ServiceGraph {
    graph: DiGraph<ServiceName, Edge>,
    nodes: BTreeMap<ServiceName, NodeIndex>,
    order: Vec<ServiceName>,
}

impl ServiceGraph {
    /// From each service with its dependencies.
    pub fn new<'a, D>(services: impl IntoIterator<Item = (&'a ServiceName, D)>) -> Result<ServiceGraph, PlanError>
    where
        D: IntoIterator<Item = (ServiceName, Edge)>,
    {
        let mut graph = DiGraph::new();
        let mut nodes = BTreeMap::new();
        let mut wanted = Vec::new();
        for (service, dependencies) in services {
            let node = graph.add_node(service.clone());
            nodes.insert(service.clone(), node);
            wanted.push((node, dependencies));
        }
        for (node, dependencies) in wanted {
            for (dependency, edge) in dependencies {
                if let Some(other) = nodes.get(&dependency) {
                    graph.update_edge(node, *other, edge);
                }
            }
        }
        let order = match petgraph::algo::toposort(&graph, None) {
            // An edge leads from a service to its dependency, so the last is the first to start.
            Ok(order) => order.into_iter().rev().map(|node| graph[node].clone()).collect(),
            Err(_) => return Err(PlanError::Cycle(cycle(&graph))),
        };
        Ok(ServiceGraph { graph, nodes, order })
    }

    /// Every service, each after its dependencies.
    pub fn order(&self) -> &[ServiceName] {
        &self.order
    }

    /// Whether it knows the service.
    pub fn contains(&self, service: &ServiceName) -> bool {
        self.nodes.contains_key(service)
    }

    /// These services and what they depend on, near and far.
    pub fn with_dependencies(&self, services: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
        self.reach(services, |start, found| {
            let mut walk = Dfs::new(&self.graph, start);
            while let Some(node) = walk.next(&self.graph) {
                found.insert(self.graph[node].clone());
            }
        })
    }

    /// These services and what depends on them, near and far.
    pub fn with_dependents(&self, services: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
        self.reach(services, |start, found| {
            let backward = Reversed(&self.graph);
            let mut walk = Dfs::new(backward, start);
            while let Some(node) = walk.next(backward) {
                found.insert(self.graph[node].clone());
            }
        })
    }

    fn reach(
        &self,
        services: &BTreeSet<ServiceName>,
        mut walk: impl FnMut(NodeIndex, &mut BTreeSet<ServiceName>),
    ) -> BTreeSet<ServiceName> {
        let mut found = BTreeSet::new();
        for service in services {
            if let Some(node) = self.nodes.get(service).filter(|_| !found.contains(service)) {
                walk(*node, &mut found);
            }
        }
        found
    }

    /// What a service depends on directly, by name.
    pub fn dependencies(&self, service: &ServiceName) -> Vec<(&ServiceName, Edge)> {
        self.neighbours(service, Direction::Outgoing)
    }

    /// What depends on a service directly, by name.
    pub fn dependents(&self, service: &ServiceName) -> Vec<(&ServiceName, Edge)> {
        self.neighbours(service, Direction::Incoming)
    }

    fn neighbours(&self, service: &ServiceName, direction: Direction) -> Vec<(&ServiceName, Edge)> {
        let Some(node) = self.nodes.get(service) else { return Vec::new() };
        let mut found: Vec<_> = self
            .graph
            .edges_directed(*node, direction)
            .map(|edge| {
                let other = if direction == Direction::Outgoing { edge.target() } else { edge.source() };
                (&self.graph[other], *edge.weight())
            })
            .collect();
        found.sort_by_key(|(name, _)| *name);
        found
    }
}

/// The shortest way round from the first service (by name) that depends on itself; empty if there is none.
fn cycle(graph: &DiGraph<ServiceName, Edge>) -> Vec<ServiceName> {
    let mut starts: Vec<_> = graph.node_indices().collect();
    starts.sort_by_key(|node| &graph[*node]);
    for start in starts {
        let mut came_from = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            let mut next: Vec<_> = graph.neighbors(node).collect();
            next.sort_by_key(|node| &graph[*node]);
            for other in next {
                if other == start {
                    let mut way = vec![start, node];
                    while let Some(before) = way.last().and_then(|last| came_from.get(last)) {
                        way.push(*before);
                    }
                    return way.into_iter().rev().map(|node| graph[node].clone()).collect();
                }
                if let Entry::Vacant(unseen) = came_from.entry(other) {
                    unseen.insert(node);
                    queue.push_back(other);
                }
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServiceName {
        text.parse().unwrap()
    }

    fn names(texts: &[&str]) -> BTreeSet<ServiceName> {
        texts.iter().map(|text| name(text)).collect()
    }

    /// From lines as `web: db cache`.
    fn graph(text: &str) -> Result<ServiceGraph, PlanError> {
        let edge = Edge { condition: Condition::Started, restart: false, required: true };
        let services: BTreeMap<ServiceName, Vec<(ServiceName, Edge)>> = text
            .split(';')
            .map(|line| {
                let (service, rest) = line.split_once(':').unwrap();
                (name(service.trim()), rest.split_whitespace().map(|other| (name(other), edge)).collect())
            })
            .collect();
        ServiceGraph::new(services.iter().map(|(service, edges)| (service, edges.clone())))
    }

    #[test]
    fn dependencies_come_first() {
        let graph = graph("web: api cache; api: db; cache:; db:").unwrap();
        let place = |service: &str| graph.order().iter().position(|other| *other == name(service)).unwrap();
        assert!(place("db") < place("api") && place("api") < place("web") && place("cache") < place("web"));
    }

    #[test]
    fn closures_reach_through_several_services() {
        let graph = graph("web: api cache; api: db; cache:; db:; other:").unwrap();
        assert_eq!(graph.with_dependencies(&names(&["api"])), names(&["api", "db"]));
        assert_eq!(graph.with_dependents(&names(&["db"])), names(&["db", "api", "web"]));
    }

    #[test]
    fn a_cycle_is_told_from_its_first_service_round_to_itself() {
        for (text, told) in
            [("a: b; b: a", "a -> b -> a"), ("x: a; a: b; b: c; c: a b", "a -> b -> c -> a"), ("z: z", "z -> z")]
        {
            assert_eq!(graph(text).unwrap_err().to_string(), format!("dependency cycle detected: {told}"));
        }
    }

    #[test]
    fn services_that_are_not_there_are_no_dependencies() {
        assert!(graph("web: gone").unwrap().dependencies(&name("web")).is_empty());
    }
}
