//! Networks on the real kernel: namespaces, bridges, firewall, ports. Each test has a data folder, and so an nftables table
//! and bridges, of its own, and checks that nothing of them is left.

mod connect;
mod docker;
mod firewalls;
mod loopback;
mod names;
mod publish;
mod replicas;
mod resolving;
mod stacks;
mod support;
