//! Networks as a compose file has them, from `up` to `down`.

use xcompose::runtime::layout::Layout;
use xcompose::runtime::network::Networks;

use crate::network::support::{apart, link_exists, run};
use crate::scenarios::leftovers;
use crate::support::{Machine, cannot_run, eventually};

/// The first three numbers of a subnet that no other test uses at the same time.
pub fn subnet() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = std::process::id() * 16 + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("10.{}.{}", 64 + number / 256 % 64, number % 256)
}

/// The keys of a service that only waits.
pub const WAITS: &str = "image: busybox, stop_signal: SIGKILL, command: [sleep, '100000']";

pub fn machine(file: &str) -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", file);
    machine
}

#[track_caller]
pub fn exec(machine: &Machine, project: &str, service: &str, command: &[&str]) -> String {
    let words = ["-p", project, "exec", "-T", service].into_iter().chain(command.iter().copied());
    machine.xcompose(words).ok().stdout()
}

#[track_caller]
fn up(machine: &Machine, project: &str) -> String {
    machine.xcompose(["-p", project, "up", "-d"]).ok().stderr()
}

fn ends(machine: &Machine, projects: &[&str]) {
    for project in projects {
        machine.xcompose(["-p", project, "down"]).ok();
    }
    leftovers::none(machine, &[], &Default::default());
}

/// The addresses that a name has in a service's eyes.
fn resolve(machine: &Machine, project: &str, service: &str, name: &str) -> Vec<String> {
    let words = ["-p", project, "exec", "-T", service, "nslookup", name];
    let answer = machine.xcompose(words).stdout();
    let found = answer.lines().skip_while(|line| !line.starts_with("Name:"));
    found.filter_map(|line| Some(line.strip_prefix("Address: ")?.to_owned())).collect()
}

#[test]
fn a_service_stands_in_its_networks_as_the_file_says() {
    if cannot_run() {
        return;
    }
    let (net, bridge) = (subnet(), format!("xb{}", std::process::id()));
    let machine = machine(&format!(
        "services:
  a:
    {{{WAITS}, mac_address: '02:42:ac:11:65:43', sysctls: {{net.ipv4.ip_default_ttl: 77}}, networks: {{
      front: {{ipv4_address: {net}.20, ipv6_address: 'fd77:1::20', interface_name: web0, priority: 100,
              aliases: [alpha], link_local_ips: [169.254.8.8]}},
      back: {{gw_priority: 5, mac_address: '02:42:ac:11:65:44',
             driver_opts: {{com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.log_martians=1}}}}}}}}
  b: {{{WAITS}, networks: [front], links: ['a:linked'], external_links: ['kit-a-1:ext']}}
  c: {{{WAITS}, networks: [inner, six]}}
  d: {{{WAITS}, network_mode: 'service:b'}}
  e: {{{WAITS}, network_mode: 'container:kit-b-1', depends_on: [b]}}
  f: {{{WAITS}, network_mode: none}}
networks:
  front:
    enable_ipv6: true
    driver_opts: {{com.docker.network.bridge.name: {bridge}, com.docker.network.driver.mtu: 1400}}
    ipam: {{config: [{{subnet: {net}.0/24, ip_range: {net}.128/25, gateway: {net}.254,
                      aux_addresses: {{router: {net}.128}}}}, {{subnet: 'fd77:1::/64'}}]}}
  back: {{attachable: true, labels: [some=label]}}
  inner: {{internal: true}}
  six: {{enable_ipv4: false, enable_ipv6: true}}
"
    ));
    let told = up(&machine, "kit");
    assert!(!told.contains("WARN"), "{told}");
    let a = exec(&machine, "kit", "a", &["ip", "addr"]);
    for part in [
        "web0@",
        "mtu 1400",
        "02:42:ac:11:65:43",
        &format!("{net}.20/24"),
        "fd77:1::20/64",
        "169.254.8.8/16",
        "eth0@",
        "mtu 1500",
        "02:42:ac:11:65:44",
    ] {
        assert!(a.contains(part), "{part:?} is not in:\n{a}");
    }
    let routes = exec(&machine, "kit", "a", &["ip", "route"]);
    assert!(routes.lines().any(|line| line.starts_with("default via 1") && line.contains("dev eth0")), "{routes}");
    assert!(exec(&machine, "kit", "a", &["ip", "-6", "route"]).contains("default via fd77:1::1 dev web0"));
    let sysctl = |name: &str| exec(&machine, "kit", "a", &["cat", &format!("/proc/sys/net/ipv4/{name}")]);
    assert_eq!((sysctl("conf/eth0/log_martians").trim(), sysctl("ip_default_ttl").trim()), ("1", "77"));
    // The gateway is where it was put, and dynamic addresses keep to their range and off auxiliary ones.
    let b = exec(&machine, "kit", "b", &["ip", "-4", "-o", "addr", "show", "eth0"]);
    assert!(b.contains(&format!("{net}.129/24")), "{b}");
    assert!(exec(&machine, "kit", "b", &["ip", "route"]).contains(&format!("default via {net}.254")));
    for name in ["a", "ALPHA", "linked", "ext", "kit-a-1", "a.kit_front"] {
        let found = resolve(&machine, "kit", "b", name);
        assert!(found.contains(&format!("{net}.20")) || found.contains(&"fd77:1::20".to_owned()), "{name}: {found:?}");
    }
    assert!(resolve(&machine, "kit", "a", "linked").is_empty(), "a link is its owner's alone");
    assert!(resolve(&machine, "kit", "c", "a").is_empty(), "no network in common");
    let c = exec(&machine, "kit", "c", &["ip", "route"]);
    assert!(!c.contains("default"), "an internal network has no way out: {c}");
    assert!(exec(&machine, "kit", "c", &["ip", "-6", "route"]).contains("default via fd"));
    let own = |service: &str| exec(&machine, "kit", service, &["ip", "-o", "addr"]);
    assert_eq!((own("d"), own("e")), (own("b"), own("b")));
    assert!(own("f").lines().all(|line| line.starts_with("1: lo")), "{}", own("f"));
    assert!(link_exists(&bridge));
    machine.xcompose(["-p", "kit", "down"]).ok();
    assert!(!link_exists(&bridge));
    leftovers::none(&machine, &[], &Default::default());
}

#[test]
fn the_engines_own_networks_need_nobody_to_make_them_and_nobody_to_remove_them() {
    if cannot_run() {
        return;
    }
    let machine = machine(&format!(
        "services:
  a: {{{WAITS}, network_mode: bridge}}
  b: {{{WAITS}, networks: [common], links: [a]}}
  h: {{{WAITS}, networks: [machines], ports: ['80:80']}}
  n: {{{WAITS}, networks: [nobodys]}}
networks:
  common: {{name: bridge, external: true}}
  machines: {{name: host, external: true}}
  nobodys: {{name: none, external: true}}
"
    ));
    let told = up(&machine, "one");
    assert!(told.contains("h Published ports are discarded when using host network mode"), "{told}");
    assert!(up(&machine, "one").contains("Container one-a-1 Running"), "nothing is made anew");
    up(&machine, "two");
    assert_eq!(resolve(&machine, "one", "b", "a").len(), 1, "links resolve on the common bridge");
    let links = std::fs::read_dir("/sys/class/net").unwrap().count();
    assert!(exec(&machine, "one", "h", &["ls", "/sys/class/net"]).lines().count() >= links.min(2));
    assert!(exec(&machine, "one", "n", &["ip", "-o", "addr"]).lines().all(|line| line.starts_with("1: lo")));
    machine.xcompose(["-p", "one", "down"]).ok();
    assert_eq!(resolve(&machine, "two", "b", "a").len(), 1, "the other project's bridge stays");
    ends(&machine, &["two"]);
    let both = "services: {a: {image: busybox, networks: [default, machines]}}\n\
                networks: {machines: {name: host, external: true}}";
    machine.write("compose.yaml", both);
    let refused = machine.xcompose(["up", "-d"]).fails(1).stderr();
    assert!(refused.contains("service a: cannot be on network host"), "{refused}");
}

#[test]
fn two_projects_share_a_network_and_what_one_leaves_there_is_gone_with_it() {
    if cannot_run() {
        return;
    }
    let machine = machine("");
    let owner = format!("services: {{web: {{{WAITS}, networks: [shared]}}}}\nnetworks: {{shared: {{name: shared}}}}");
    machine.write("compose.yaml", &owner);
    up(&machine, "owner");
    let guest = format!(
        "services: {{app: {{{WAITS}, networks: [shared]}}, own: {{{WAITS}}}}}\n\
         networks: {{shared: {{name: shared, external: true}}}}"
    );
    machine.write("compose.yaml", &guest);
    up(&machine, "guest");
    assert_eq!(resolve(&machine, "guest", "app", "web").len(), 1);
    assert_eq!(resolve(&machine, "owner", "web", "app").len(), 1);
    exec(&machine, "owner", "web", &["ping", "-c", "1", "-w", "20", "app"]);
    machine.xcompose(["-p", "guest", "run", "--rm", "app", "true"]).ok();
    // The owner's end leaves the network to the guest, and says so.
    let told = machine.xcompose(["-p", "owner", "down"]).ok().stderr();
    assert!(told.contains("Network shared Resource is still in use"), "{told}");
    let leases = || std::fs::read_to_string(machine.data().join("networks/shared.leases")).unwrap();
    assert!(leases().contains("guest/app/1") && !leases().contains("/run-"), "{}", leases());
    machine.xcompose(["-p", "guest", "down"]).ok();
    assert!(!leases().contains("guest"), "{}", leases());
    machine.write("compose.yaml", &owner);
    up(&machine, "owner");
    ends(&machine, &["owner"]);
}

#[test]
fn a_network_of_nobody_is_made_by_hand_for_projects_to_share() {
    if cannot_run() {
        return;
    }
    let net = subnet();
    let machine =
        machine(&format!("services: {{a: {{{WAITS}, networks: [proxy]}}}}\nnetworks: {{proxy: {{external: true}}}}"));
    let refused = machine.xcompose(["-p", "p", "up", "-d"]).fails(1).stderr();
    assert!(refused.contains("network proxy declared as external, but could not be found"), "{refused}");
    assert!(refused.contains("xcompose network create proxy"), "{refused}");
    let (range, gateway) = (format!("{net}.0/24"), format!("{net}.254"));
    machine.xcompose(["network", "create", "--subnet", &range, "--gateway", &gateway, "proxy"]).ok();
    let taken = machine.xcompose(["network", "create", "proxy"]).fails(1).stderr();
    assert!(taken.contains("network proxy already exists"), "{taken}");
    let outside = machine.xcompose(["network", "create", "--subnet", &range, "--gateway", "1.2.3.4", "x"]).fails(1);
    assert!(outside.stderr().contains("no matching subnet for gateway 1.2.3.4"), "{}", outside.stderr());
    up(&machine, "p");
    assert!(exec(&machine, "p", "a", &["ip", "route"]).contains(&format!("default via {gateway}")));
    let listed = machine.xcompose(["network", "ls"]).ok().stdout();
    assert!(listed.lines().any(|line| line.starts_with("proxy ") && line.contains(&range)), "{listed}");
    let busy = machine.xcompose(["network", "rm", "proxy"]).fails(1).stderr();
    assert!(busy.contains("in use by p-a-1"), "{busy}");
    machine.xcompose(["-p", "p", "down"]).ok();
    assert_eq!(machine.xcompose(["network", "ls", "-q"]).ok().stdout(), "proxy\n", "down leaves it");
    machine.xcompose(["network", "rm", "proxy"]).ok();
    machine.xcompose(["network", "rm", "proxy"]).fails(1);
    ends(&machine, &["p"]);
}

#[test]
fn a_network_that_changed_is_made_anew_under_containers_that_stay_the_same() {
    if cannot_run() {
        return;
    }
    let net = subnet();
    let file = |part: u8, rest: &str| {
        format!(
            "services: {{a: {{{WAITS}, networks: [n]}}, b: {{{WAITS}, networks: [n]}}}}\n\
             networks: {{n: {{{rest}ipam: {{config: [{{subnet: {net}.{part}/26}}]}}}}}}"
        )
    };
    let machine = machine(&file(0, ""));
    up(&machine, "p");
    let ids = || machine.xcompose(["-p", "p", "ps", "-q"]).ok().stdout();
    let before = ids();
    assert!(up(&machine, "p").contains("Running"));
    for (part, rest) in [(64, ""), (64, "labels: {new: label}, "), (64, "internal: true, ")] {
        machine.write("compose.yaml", &file(part, rest));
        let told = up(&machine, "p");
        for word in ["Network p_n Removed", "Network p_n Created", "Container p-a-1 Stopped", "Container p-a-1 Started"]
        {
            assert!(told.contains(word), "{word:?} is not in:\n{told}");
        }
        assert_eq!(ids(), before, "the same containers");
        let found = resolve(&machine, "p", "b", "a").concat();
        assert!([part + 2, part + 3].iter().any(|last| found == format!("{net}.{last}")), "{found}");
        assert!(!up(&machine, "p").contains("Removed"), "and once only");
    }
    // Another name: a new network, and the old one goes.
    machine.write("compose.yaml", &file(128, "name: other, "));
    let told = up(&machine, "p");
    assert!(told.contains("Network other Created") && told.contains("Network p_n Removed"), "{told}");
    // Somebody else's network of that name is used as it is.
    machine.write("compose.yaml", &file(192, "name: other, "));
    let told = up(&machine, "q");
    assert!(told.contains("network with name other exists but was not created for project \"q\""), "{told}");
    assert!(exec(&machine, "q", "a", &["ip", "-o", "addr"]).contains(&format!(" {net}.1")));
    machine.xcompose(["-p", "q", "down"]).ok();
    ends(&machine, &["p"]);
}

#[test]
fn several_subnets_of_one_network_reach_each_other_without_a_router() {
    if cannot_run() {
        return;
    }
    let net = subnet();
    let machine = machine(&format!(
        "services:
  a: {{{WAITS}, networks: {{n: {{ipv4_address: {net}.130}}}}}}
  b: {{{WAITS}, networks: [n]}}
networks: {{n: {{internal: true, ipam: {{config: [{{subnet: {net}.0/25}}, {{subnet: {net}.128/25}}]}}}}}}
"
    ));
    up(&machine, "p");
    assert_eq!(resolve(&machine, "p", "a", "b"), [format!("{net}.2")]);
    exec(&machine, "p", "a", &["ping", "-c", "1", "-w", "20", "b"]);
    exec(&machine, "p", "b", &["ping", "-c", "1", "-w", "20", "a"]);
    ends(&machine, &["p"]);
}

#[test]
fn a_one_off_gives_its_address_back() {
    if cannot_run() {
        return;
    }
    let net = subnet();
    // Room for the gateway, one service and one more.
    let machine = machine(&format!(
        "services: {{a: {{{WAITS}, networks: [n]}}}}\nnetworks: {{n: {{ipam: {{config: [{{subnet: {net}.0/29}}]}}}}}}"
    ));
    up(&machine, "p");
    for _ in 0..3 {
        let address = machine.xcompose(["-p", "p", "run", "--rm", "-T", "a", "ip", "-4", "-o", "addr"]).ok().stdout();
        assert!(address.contains(&format!(" {net}.3/29")), "{address}");
    }
    ends(&machine, &["p"]);
}

#[test]
fn what_the_machine_lacks_is_named_with_its_place_and_nothing_is_made() {
    if cannot_run() {
        return;
    }
    let machine = machine("services: {a: {image: busybox, networks: [m]}}\nnetworks:\n  m: {driver: macvlan}\n");
    let refused = machine.xcompose(["-p", "p", "up", "-d"]).fails(1).stderr();
    assert!(refused.contains("networks.m: driver \"macvlan\" is not supported"), "{refused}");
    assert!(refused.contains("compose.yaml:3:3"), "{refused}");
    machine.write(
        "compose.yaml",
        &format!(
            "services: {{a: {{{WAITS}, networks: {{m: {{driver_opts: {{odd: 1}}}}}}}}}}\nnetworks:\n  m: {{driver: overlay, ipam: {{driver: x}}}}\n"
        ),
    );
    let told = up(&machine, "p");
    assert!(told.contains("an overlay joins several machines; on this one the network is a bridge"), "{told}");
    assert!(told.contains("networks.m.ipam.driver: only `default` is supported"), "{told}");
    assert!(told.contains("services.a.networks.m.driver_opts: `odd` is not supported"), "{told}");
    ends(&machine, &["p"]);
    eventually("no bridge is left", || leftovers::processes(&machine).is_empty().then_some(()));
}

#[test]
fn address_pools_are_the_machines_own_and_say_who_has_them_when_they_run_out() {
    if cannot_run() {
        return;
    }
    let net = subnet();
    let file = format!("services: {{a: {{{WAITS}}}}}");
    let machine = machine(&file);
    let up = |project: &str, pools: &str| {
        let mut command = machine.command(["-p", project, "up", "-d"]);
        crate::support::finish(command.env("XCOMPOSE_ADDRESS_POOLS", pools))
    };
    let pools = format!("base={net}.0/24,size=25");
    up("one", &pools).ok();
    up("two", &pools).ok();
    let address = exec(&machine, "two", "a", &["ip", "-4", "-o", "addr", "show", "eth0"]);
    assert!(address.contains(&format!("{net}.130/25")), "{address}");
    let refused = up("three", &pools).fails(1).stderr();
    for part in [
        "could not find an available, non-overlapping IPv4 address pool among the 2 defaults",
        &format!("one_default ({net}.0/25), two_default ({net}.128/25)"),
        "XCOMPOSE_ADDRESS_POOLS",
    ] {
        assert!(refused.contains(part), "{part:?} is not in:\n{refused}");
    }
    let refused = up("three", "10.0.0.0/8").fails(1).stderr();
    assert!(refused.contains("XCOMPOSE_ADDRESS_POOLS: \"10.0.0.0/8\" is no address pool"), "{refused}");
    ends(&machine, &["one", "two", "three"]);
}

#[test]
fn a_network_gets_other_addresses_when_a_vpn_takes_some_unless_the_file_has_chosen_them() {
    if cannot_run() {
        return;
    }
    apart(|| {
        let net = subnet();
        let machine = machine(&format!(
            "services: {{a: {{{WAITS}, networks: [free, chosen]}}}}\n\
             networks: {{free: , chosen: {{ipam: {{config: [{{subnet: {net}.0/24}}]}}}}}}"
        ));
        // All traffic of the machine goes through a VPN already.
        run(&["ip", "link", "add", "vpn0", "type", "bridge"]);
        run(&["ip", "link", "set", "vpn0", "up"]);
        run(&["ip", "route", "add", "0.0.0.0/1", "dev", "vpn0"]);
        run(&["ip", "route", "add", "128.0.0.0/1", "dev", "vpn0"]);
        up(&machine, "p");
        let addresses = || exec(&machine, "p", "a", &["ip", "-4", "-o", "addr"]);
        assert!(addresses().contains(" 172.17.0.2/16"), "{}", addresses());
        assert!(up(&machine, "p").contains("Container p-a-1 Running"));
        run(&["ip", "route", "add", "172.17.9.0/24", "dev", "vpn0"]);
        run(&["ip", "route", "add", &format!("{net}.128/25"), "dev", "vpn0"]);
        let plan = machine.xcompose(["-p", "p", "plan"]).ok().stdout();
        assert!(plan.contains("a route of this machine to 172.17.9.0/24 takes its addresses away"), "{plan}");
        let told = up(&machine, "p");
        let warning = format!("a route of this machine to {net}.128/25 takes addresses of network p_chosen away");
        assert!(told.contains(&warning) && told.contains("Network p_free Created"), "{told}");
        assert!(!told.contains("p_chosen Removed"), "{told}");
        assert!(addresses().contains(" 172.18.0.2/16"), "{}", addresses());
        let told = up(&machine, "p");
        assert!(told.contains("Container p-a-1 Running"), "{told}");
        ends(&machine, &["p"]);
    });
}

#[test]
fn who_stays_in_the_network_of_an_ended_container_does_not_answer_for_its_next_run() {
    if cannot_run() {
        return;
    }
    let machine = machine(&format!(
        "services: {{a: {{{WAITS}}}, side: {{{WAITS}, network_mode: 'service:a'}}, ask: {{{WAITS}}}}}"
    ));
    up(&machine, "p");
    let addresses = |service| exec(&machine, "p", service, &["ip", "-4", "-o", "addr"]);
    let own = addresses("a");
    assert_eq!(addresses("side"), own);
    assert_eq!(resolve(&machine, "p", "ask", "host.docker.internal").len(), 1);
    machine.xcompose(["-p", "p", "up", "-d", "--no-deps", "--force-recreate", "a"]).ok();
    assert_eq!(addresses("a"), own);
    let left = addresses("side");
    assert!(left.lines().count() == 1 && left.contains(" lo "), "{left}");
    // The next one finds it cut off.
    assert!(up(&machine, "p").contains("Container p-side-1 Recreated"));
    assert_eq!(addresses("side"), own);
    ends(&machine, &["p"]);
}

#[test]
fn a_bridge_that_somebody_deleted_is_made_anew_under_containers_that_stay_the_same() {
    if cannot_run() {
        return;
    }
    apart(|| {
        let machine = machine(&format!(
            "services: {{a: {{{WAITS}}}, b: {{{WAITS}}}, c: {{{WAITS}, networks: [common]}}}}\n\
             networks: {{common: {{external: true}}}}"
        ));
        machine.xcompose(["network", "create", "common"]).ok();
        up(&machine, "p");
        let networks = Networks::new(Layout::new(machine.data(), machine.run()));
        let ids = || machine.xcompose(["-p", "p", "ps", "-q"]).ok().stdout();
        let containers = ids();
        for (network, what) in [("p_default", "del"), ("p_default", "set"), ("common", "del")] {
            let bridge = networks.find(&network.parse().unwrap()).unwrap().bridge;
            let state: &[&str] = if what == "set" { &["down"] } else { &[] };
            run(&[&["ip", "link", what, &bridge], state].concat());
            let told = up(&machine, "p");
            if network == "common" {
                assert!(told.contains("the bridge of network common is gone or down"), "{told}");
                assert!(told.contains("Container p-c-1 Running"), "{told}");
                machine.xcompose(["-p", "p", "restart", "c"]).ok();
            } else {
                assert!(
                    told.contains("Network p_default Created") && told.contains("Container p-a-1 Started"),
                    "{told}"
                );
                exec(&machine, "p", "a", &["ping", "-c", "1", "-W", "5", "b"]);
            }
            assert!(!up(&machine, "p").contains("gone or down"));
            assert_eq!(ids(), containers, "the same containers");
        }
        machine.xcompose(["-p", "p", "down"]).ok();
        machine.xcompose(["network", "rm", "common"]).ok();
        ends(&machine, &["p"]);
    });
}
