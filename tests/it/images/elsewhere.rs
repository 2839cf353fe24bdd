//! Compose files that lie elsewhere: in git repositories, and published to registries.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::registries::{Answer, Door, MANIFEST, Registry, Scripted, Served, command, digest};
use crate::support::git::Repositories;
use crate::support::{Finished, Machine, cannot_run, finish};

/// The program with a cache of its own.
fn with_cache<const N: usize>(machine: &Machine, arguments: [&str; N]) -> Command {
    let mut command = command(machine, arguments);
    command.env("XDG_CACHE_HOME", cache(machine));
    command
}

fn cache(machine: &Machine) -> PathBuf {
    machine.data().join("../cache")
}

fn run<const N: usize>(machine: &Machine, arguments: [&str; N]) -> Finished {
    finish(&mut with_cache(machine, arguments))
}

/// The same with an answer to what it asks.
fn answered<const N: usize>(machine: &Machine, answer: &str, arguments: [&str; N]) -> Finished {
    let mut command = with_cache(machine, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    Finished::of(child.wait_with_output().unwrap())
}

#[test]
fn a_repository_gives_the_files_of_a_project_those_it_includes_and_those_it_extends() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    let repositories = Repositories::serve(&machine.data().join("../git"));
    let main = "services: {web: {image: 'web:${TAG:-1}', volumes: ['./d:/d'], env_file: v.env}}\n";
    let files = [
        ("compose.yaml", main),
        ("v.env", "A=b\n"),
        (".env", "TAG=unread\n"),
        ("sub/other.yaml", "services: {db: {image: db}}\n"),
    ];
    let commit = repositories.commit("one.git", &files);
    let url = repositories.url("one.git");
    let place = cache(&machine).join("xcompose").join(&commit);
    let config = run(&machine, ["-f", &url, "config"]).ok().stdout();
    assert!(config.starts_with("name: project\n"), "named after where it was asked for: {config}");
    assert!(config.contains("image: web:1") && config.contains("A: b"), "{config}");
    let folder = std::fs::canonicalize(&place).unwrap();
    assert!(config.contains("/d\n") && config.contains(&commit), "paths belong to {}: {config}", folder.display());

    let file = format!("{url}#main:sub/other.yaml");
    assert_eq!(run(&machine, ["-f", &file, "config", "--services"]).ok().stdout(), "db\n");
    machine.write("inc.yaml", &format!("include: ['{file}']\nservices: {{a: {{image: x}}}}\n"));
    assert_eq!(run(&machine, ["-f", "inc.yaml", "config", "--services"]).ok().stdout(), "a\ndb\n");
    machine.write("ext.yaml", &format!("services: {{a: {{extends: {{file: '{url}', service: web}}}}}}\n"));
    assert!(run(&machine, ["-f", "ext.yaml", "config"]).ok().stdout().contains("image: web:1"));

    for (address, words) in [
        (format!("{url}#nosuch"), "has no branch or tag nosuch"),
        (format!("{url}#main:nosuch"), "the repository has no nosuch"),
        (format!("{url}#main:sub"), "no compose file there"),
        (repositories.url("none.git"), "git ls-remote"),
    ] {
        let told = run(&machine, ["-f", &address, "config"]).fails(1).stderr();
        assert!(told.contains(&address) && told.contains(words), "{told}");
    }
    machine.write("bad.yaml", &format!("include:\n  - '{url}#nosuch'\n"));
    let told = run(&machine, ["-f", "bad.yaml", "config"]).fails(1).stderr();
    assert!(told.starts_with("bad.yaml:2:5: error: git://"), "{told}");
    let mut off = with_cache(&machine, ["-f", &url, "config"]);
    let told = finish(off.env("COMPOSE_EXPERIMENTAL_GIT_REMOTE", "false")).fails(1).stderr();
    assert!(told.contains("switched off by COMPOSE_EXPERIMENTAL_GIT_REMOTE"), "{told}");

    // A link of the repository leads nowhere else.
    std::os::unix::fs::symlink("/etc", machine.data().join("../git/one.git/out")).unwrap();
    repositories.commit("one.git", &[]);
    let told = run(&machine, ["-f", &format!("{url}#main:out/passwd"), "config"]).fails(1).stderr();
    assert!(told.contains("leads out of the repository"), "{told}");
}

#[test]
fn what_is_published_runs_elsewhere_once_the_user_agrees() {
    if cannot_run() {
        return;
    }
    let registry = Registry::new(Door::Open);
    let (here, there) = (Machine::new(), Machine::new());
    here.import_busybox();
    let image = registry.name("busybox:1");
    here.xcompose(["image", "tag", "busybox", &image]).ok();
    run(&here, ["image", "push", &image]).ok();
    let main = format!(
        "services:\n  a:\n    extends: {{file: sub/base.yaml, service: b}}\n    image: '{image}'\n    env_file: [a.env]\n    \
         command: sh -c 'echo $$A ${{WHO:-nobody}}'\n    environment: {{DB_PASSWORD: x}}\n"
    );
    here.write("compose.yaml", &main);
    here.write("over.yaml", "services: {a: {labels: {over: 'yes'}}}\n");
    here.write("sub/base.yaml", "services: {b: {user: '0', env_file: [{path: b.env, required: false}]}}\n");
    here.write("a.env", "A=hello\n");
    let name = registry.name("stack:1");
    let files = ["-f", "compose.yaml", "-f", "over.yaml", "publish"];
    let [a, b, c, d, e] = files;
    let asked = answered(&here, "n\n", [a, b, c, d, e, &name]).fails(130);
    assert!(asked.stdout().contains("a: env_file a.env, DB_PASSWORD"), "{}", asked.stdout());
    run(&there, ["-f", &format!("oci://{name}"), "config"]).fails(1);
    let told = run(&here, [a, b, c, d, e, "--with-env", "-y", &name]).ok().stderr();
    assert!(told.contains(&format!("{name} published")), "{told}");

    let address = format!("oci://{name}");
    let config = run(&there, ["-f", &address, "config"]).ok().stdout();
    assert!(
        config.contains("over: \"yes\"") && config.contains("A: hello") && config.contains("user: \"0\""),
        "{config}"
    );
    let declined = answered(&there, "n\n", ["-f", &address, "up"]).fails(1);
    assert!(declined.stderr().contains("operation cancelled by user"), "{}", declined.stderr());
    let shown = declined.stdout();
    assert!(shown.contains(&format!("Your compose stack \"{address}\" is stored in ")), "{shown}");
    assert!(shown.contains("WHO") && shown.contains("nobody"), "{shown}");
    let up = run(&there, ["-f", &address, "up", "-y", "--no-color"]).ok().stdout();
    assert!(up.contains("a-1  | hello nobody"), "{up}");
    run(&there, ["-f", &address, "down"]).ok();

    // By tag or by digest, in the old form too; and `config` can ask for digests.
    run(&here, ["publish", "-y", "--with-env", "--oci-version", "1.0", &registry.name("stack:old")]).ok();
    run(&there, ["-f", &format!("oci://{}", registry.name("stack:old")), "config", "-q"]).ok();
    let pinned = run(&here, ["config", "--resolve-image-digests"]).ok().stdout();
    assert!(pinned.contains("/busybox:1@sha256:"), "{pinned}");
    run(&here, ["publish", "-y", "--resolve-image-digests", "--with-env", &registry.name("stack:pinned")]).ok();
    let config = run(&there, ["-f", &format!("oci://{}", registry.name("stack:pinned")), "config"]).ok().stdout();
    assert!(config.contains("/busybox:1@sha256:"), "{config}");
}

#[test]
fn only_a_registry_that_refuses_the_kind_is_offered_the_old_form() {
    let machine = Machine::new();
    machine.write("compose.yaml", "services: {a: {image: 'localhost:1/x'}}\n");
    for (refusal, offers) in [
        ("400 Bad Request", 2),
        ("404 Not Found", 2),
        ("415 Unsupported Media Type", 2),
        ("403 Forbidden", 1),
        ("500 Internal Server Error", 1),
    ] {
        let registry = Scripted::new(move |asked, _| match asked.method.as_str() {
            "PUT" if String::from_utf8_lossy(&asked.body).contains("artifactType") => Answer::new(refusal, ""),
            "PUT" => Answer::new("201 Created", ""),
            _ => Answer::new("200 OK", ""),
        });
        let finished = run(&machine, ["publish", "-y", &registry.name("stack:1")]);
        assert_eq!(finished.code() == 0, offers == 2, "{refusal}: {}", finished.stderr());
        let offered = registry.asked().into_iter().filter(|asked| asked.method == "PUT").count();
        assert_eq!(offered, offers, "{refusal}");
    }
}

#[test]
fn what_can_not_be_published_is_named() {
    let machine = Machine::new();
    machine.write("build.yaml", "services: {a: {build: .}, b: {image: x}}\n");
    let told = run(&machine, ["-f", "build.yaml", "publish", "-y", "127.0.0.1:1/x"]).fails(1).stderr();
    assert!(told.contains("only contains a build section for service(s):\n- a\n"), "{told}");
    machine.write("inc.yaml", "include: [b.yaml]\nservices: {b: {image: x}}\n");
    machine.write("b.yaml", "services: {c: {image: x}}\n");
    let told = run(&machine, ["-f", "inc.yaml", "publish", "-y", "127.0.0.1:1/x"]).fails(1).stderr();
    assert!(told.starts_with("inc.yaml:1:11: error: cannot publish compose file with local includes"), "{told}");
}

#[test]
fn an_artifact_that_is_something_else_or_leads_elsewhere_is_refused() {
    let served = |kind: &str, named: &str| {
        let (layer, config) = (b"services: {a: {image: x}}\n".to_vec(), b"{}".to_vec());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","artifactType":"{kind}",
                "config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{}","size":2}},
                "layers":[{{"mediaType":"application/vnd.docker.compose.envfile","digest":"{}","size":{},
                "annotations":{{"com.docker.compose.envfile":"{named}"}}}}]}}"#,
            digest(&config),
            digest(&layer),
            layer.len()
        );
        Served { layer, config, manifest: manifest.into_bytes() }
    };
    let project = "application/vnd.docker.compose.project";
    for (kind, named, words) in [
        (project, "../../x", "invalid OCI artifact"),
        (project, "..", "invalid OCI artifact"),
        (project, "a\\\\b", "invalid OCI artifact"),
        ("text/other", "a", "is not a compose project OCI artifact, but text/other"),
    ] {
        let machine = Machine::new();
        let artifact = served(kind, named);
        let registry = Scripted::new(move |asked, _| artifact.answer(asked));
        let told = run(&machine, ["-f", &format!("oci://{}", registry.name("app:1")), "config"]).fails(1).stderr();
        assert!(told.contains(words), "{named}: {told}");
        let left: Vec<_> = std::fs::read_dir(cache(&machine).join("xcompose")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
