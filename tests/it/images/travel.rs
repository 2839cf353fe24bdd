//! Pulling and pushing with real registries, and with what others have pushed.

use std::fs;
use std::process::Command;

use super::raw::Raw;
use super::registries::{Answer, Door, MANIFEST, Registry, Scripted, Served, command, digest, settings};
use crate::support::{Machine, busybox_archive, cannot_run, finish};

/// What is at every path of an image's layers: kind, mode, owner, time, attributes, content.
fn tree(machine: &Machine) -> String {
    let script = "cd \"$0\" && find . -mindepth 3 -printf '%P %y %m %U:%G %s %Ts %l\\n' | grep -v 'layer.json\\|gzip.json' | sort";
    let layers = machine.data().join("images/layers");
    finish(Command::new("sh").args(["-c", script]).arg(layers)).ok().stdout()
}

#[test]
fn what_is_pushed_is_pulled_elsewhere_as_the_same_image_by_tag_and_by_digest() {
    if cannot_run() {
        return;
    }
    let registry = Registry::new(Door::Open);
    let (one, two) = (Machine::new(), Machine::new());
    one.import_busybox();
    let name = registry.name("team/app:1");
    one.xcompose(["image", "tag", "busybox", &name]).ok();
    let told = finish(&mut command(&one, ["image", "push", &name])).ok();
    assert!(told.stderr().contains(" Pushing\n") && told.stderr().contains(" Pushed\n"), "{}", told.stderr());
    let pushed = told.stdout().split_whitespace().nth(2).unwrap().to_owned();
    assert!(told.stdout().starts_with("1: digest: sha256:"), "{}", told.stdout());

    let pulled = finish(&mut command(&two, ["image", "pull", &name])).ok();
    assert!(pulled.stderr().contains("Pull complete"), "{}", pulled.stderr());
    assert!(pulled.stdout().contains(&format!("Digest: {pushed}\nStatus: Downloaded newer image for {name}\n")));
    let id = |machine: &Machine, name: &str| {
        finish(&mut command(machine, ["image", "inspect", "-f", "{{.Id}}", name])).ok().stdout()
    };
    assert_eq!(id(&one, &name), id(&two, &name));
    assert_eq!(tree(&one), tree(&two));
    let again = finish(&mut command(&two, ["image", "pull", &name])).ok();
    assert!(again.stdout().contains("Status: Image is up to date for"), "{}", again.stdout());

    let three = Machine::new();
    let pinned = registry.name(&format!("team/app@{pushed}"));
    finish(&mut command(&three, ["image", "pull", "-q", &pinned])).ok();
    assert_eq!(id(&three, &pinned), id(&one, &name));
    assert_eq!(id(&two, &pinned), id(&one, &name), "a pull by tag makes the digest known too");

    // What the registry has is not sent again, and another repository takes it over.
    let again = finish(&mut command(&one, ["image", "push", &name])).ok();
    assert!(again.stderr().contains("Layer already exists"), "{}", again.stderr());
    let other = registry.name("other:2");
    one.xcompose(["image", "tag", "busybox", &other]).ok();
    let mounted = finish(&mut command(&one, ["image", "push", &other])).ok();
    assert!(mounted.stderr().contains("Mounted from team/app"), "{}", mounted.stderr());
}

#[test]
fn images_of_others_are_pulled_in_every_form_and_ours_are_read_by_others() {
    if cannot_run() {
        return;
    }
    let registry = Registry::new(Door::Open);
    let machine = Machine::new();
    machine.import_busybox();
    let name = registry.name("ours:1");
    machine.xcompose(["image", "tag", "busybox", &name]).ok();
    finish(&mut command(&machine, ["image", "push", "-q", &name])).ok();
    let skopeo = |arguments: &[&str]| {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]);
        finish(skopeo.args(arguments).current_dir(machine.project())).ok();
    };
    let from = format!("docker://{name}");
    skopeo(&["--dest-decompress", &from, "dir:plain"]);
    for (form, from, arguments) in [
        ("schema2", from.as_str(), &["--format", "v2s2"][..]),
        ("oci", &from, &["--format", "oci"]),
        ("zstd", "dir:plain", &["--format", "oci", "--dest-compress-format", "zstd"]),
    ] {
        let copy = registry.name(&format!("theirs:{form}"));
        skopeo(&[arguments, &[from, &format!("docker://{copy}")]].concat());
        let reader = Machine::new();
        finish(&mut command(&reader, ["image", "pull", &copy])).ok();
        assert_eq!(tree(&machine), tree(&reader), "{form}");
        // And back: what we pulled and push again is what skopeo reads.
        let back = registry.name(&format!("back:{form}"));
        reader.xcompose(["image", "tag", &copy, &back]).ok();
        finish(&mut command(&reader, ["image", "push", "-q", &back])).ok();
        skopeo(&[&format!("docker://{back}"), &format!("docker-archive:{form}.tar:docker.io/library/{form}:1")]);
        let archive = machine.project().join(format!("{form}.tar"));
        machine.xcompose(["image", "load", "-i", archive.to_str().unwrap()]).ok();
    }
}

#[test]
fn a_locked_registry_opens_to_those_who_log_in_and_is_known_by_its_authority() {
    if cannot_run() {
        return;
    }
    let registry = Registry::new(Door::Locked);
    let machine = Machine::new();
    machine.import_busybox();
    let name = registry.name("app:1");
    machine.xcompose(["image", "tag", "busybox", &name]).ok();
    let certificates = settings(&machine).join("certs.d").join(&registry.address);
    fs::create_dir_all(&certificates).unwrap();
    fs::copy(registry.authority(), certificates.join("ca.crt")).unwrap();

    let refused = finish(&mut command(&machine, ["image", "push", &name])).fails(1);
    let words = format!(
        "push access denied for {name}, repository does not exist or may require 'xcompose login {}'",
        registry.address
    );
    assert!(refused.stderr().contains(&words), "{}", refused.stderr());
    let wrong = finish(&mut command(&machine, ["login", "-u", "someone", "-p", "guess", &registry.address])).fails(1);
    assert!(wrong.stderr().contains(&format!("registry {}: ", registry.address)), "{}", wrong.stderr());
    assert!(!settings(&machine).join("config.json").exists());

    let script = "printf secret | \"$0\" login -u someone --password-stdin \"$1\"";
    let mut login = Command::new("sh");
    login.args(["-c", script, env!("CARGO_BIN_EXE_xcompose"), &registry.address]);
    for (name, value) in command(&machine, [""]).get_envs() {
        if let Some(value) = value {
            login.env(name, value);
        }
    }
    let told = finish(&mut login).ok();
    assert_eq!(told.stdout(), "Login Succeeded\n");
    assert!(told.stderr().contains("stored unencrypted"), "{}", told.stderr());
    finish(&mut command(&machine, ["image", "push", &name])).ok();
    machine.xcompose(["image", "rm", &name]).ok();
    finish(&mut command(&machine, ["image", "pull", &name])).ok();
    let bye = finish(&mut command(&machine, ["logout", &registry.address])).ok();
    assert_eq!(bye.stdout(), format!("Removing login credentials for {}\n", registry.address));
    let refused = finish(&mut command(&machine, ["image", "pull", &name])).fails(1);
    assert!(refused.stderr().contains("pull access denied"), "{}", refused.stderr());

    // Another authority than the one that is trusted here.
    finish(Command::new("openssl").current_dir(&certificates).args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "other.pem",
        "-out",
        "ca.crt",
        "-subj",
        "/CN=other",
    ]))
    .ok();
    let strange = finish(&mut command(&machine, ["image", "pull", &name])).fails(1);
    assert!(
        strange.stderr().contains("cannot reach registry") && strange.stderr().contains("certificate"),
        "{}",
        strange.stderr()
    );
    assert!(strange.stderr().contains("certs.d/"), "{}", strange.stderr());
}

#[test]
fn of_several_platforms_the_machines_own_or_the_one_asked_for_is_taken() {
    if cannot_run() {
        return;
    }
    let image = |architecture: &str| Served::new(Raw::default().file("who", architecture).end(), architecture);
    let (intel, arm) = (image("amd64"), image("arm64"));
    let entry = |image: &Served, platform: &str| {
        format!(
            r#"{{"mediaType":"{MANIFEST}","digest":"{}","size":{},"platform":{platform}}}"#,
            digest(&image.manifest),
            image.manifest.len()
        )
    };
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{},{}]}}"#,
        entry(&intel, r#"{"architecture":"unknown","os":"unknown"}"#),
        entry(&arm, r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#),
        entry(&intel, r#"{"architecture":"amd64","os":"linux"}"#),
    );
    let (one, other) = (intel.clone(), arm.clone());
    let registry = Scripted::new(move |asked, _| match asked.path.as_str() {
        path if path.ends_with("/manifests/1") => {
            Answer::new("200 OK", index.clone()).with("Content-Type", "application/vnd.oci.image.index.v1+json")
        }
        path if [&other.manifest, &other.config, &other.layer].iter().any(|part| path.ends_with(&digest(part))) => {
            other.answer(asked)
        }
        _ => one.answer(asked),
    });
    let machine = Machine::new();
    let name = registry.name("app:1");
    let who = |arguments: &[&str]| {
        finish(command(&machine, ["image", "pull", "-q"]).args(arguments).arg(&name)).ok();
        finish(&mut command(&machine, ["image", "inspect", "-f", "{{.Architecture}}", &name])).ok().stdout()
    };
    assert_eq!(who(&["--platform", "linux/arm64"]), "arm64\n");
    assert_eq!(who(&[]), if cfg!(target_arch = "x86_64") { "amd64\n" } else { "arm64\n" });
    let none = finish(&mut command(&machine, ["image", "pull", "--platform", "linux/s390x", &name])).fails(1);
    let words = "no matching manifest for linux/s390x in the manifest list entries; there is one for linux/amd64, linux/arm64/v8";
    assert!(none.stderr().contains(words), "{}", none.stderr());
    // For services, the environment may say it.
    machine.write("compose.yaml", &format!("name: p\nservices: {{s: {{image: \"{name}\"}}}}\n"));
    finish(command(&machine, ["pull", "-q"]).env("DOCKER_DEFAULT_PLATFORM", "linux/arm64")).ok();
    let found = finish(&mut command(&machine, ["image", "inspect", "-f", "{{.Architecture}}", &name])).ok().stdout();
    assert_eq!(found, "arm64\n");
}

#[test]
fn services_have_their_images_pulled_as_their_policies_say() {
    if cannot_run() {
        return;
    }
    let registry = Registry::new(Door::Open);
    let machine = Machine::new();
    let archive = busybox_archive(&machine.project());
    machine.xcompose(["image", "import", archive.to_str().unwrap(), &registry.name("app:1")]).ok();
    finish(&mut command(&machine, ["image", "push", "-q", &registry.name("app:1")])).ok();
    machine.xcompose(["image", "rm", &registry.name("app:1")]).ok();
    let address = &registry.address;
    machine.write(
        "compose.yaml",
        &format!(
            "services:
  web: {{image: '{address}/app:1', command: [sleep, '100'], depends_on: [db]}}
  db: {{image: '{address}/app:1', command: [sleep, '100'], pull_policy: missing}}
  own: {{build: {{dockerfile_inline: FROM scratch}}, profiles: [more]}}
  gone: {{image: '{address}/nothing:1', profiles: [more]}}
  made: {{image: '{address}/made:1', command: [x], build: {{dockerfile_inline: FROM scratch}}, profiles: [more]}}
"
        ),
    );
    let run = |arguments: &[&str]| finish(command(&machine, ["--progress", "plain"]).args(arguments));
    let web = format!("Image {address}/app:1");
    let told = run(&["up", "-d"]).ok().stderr();
    assert_eq!(told.matches(&format!(" {web} Pulled\n")).count(), 1, "one pull for two services: {told}");
    assert!(told.contains("Container project-web-1 Started"), "{told}");
    assert!(!run(&["up", "-d"]).ok().stderr().contains("Pull"), "it is there");
    let told = run(&["up", "-d", "--pull", "always", "--quiet-pull"]).ok().stderr();
    assert!(told.contains(&format!(" {web} Pulled\n")) && !told.contains("layer"), "{told}");

    assert!(run(&["pull", "web"]).ok().stderr().contains(&format!(" {web} Pulled\n")), "even if present");
    let told = run(&["pull", "db"]).ok().stderr();
    assert!(told.contains(&format!(" {web} Skipped Image is already present locally\n")), "{told}");
    assert_eq!(run(&["pull", "-q", "web"]).ok().stderr(), "");
    assert!(run(&["pull", "own"]).ok().stderr().contains(" Service own Skipped No image to be pulled\n"));
    let told = run(&["pull", "gone"]).fails(1).stderr();
    assert!(told.contains(&format!("manifest for {address}/nothing:1 not found")), "{told}");
    let told = run(&["pull", "gone", "made", "--ignore-pull-failures"]).ok().stderr();
    assert!(told.contains("must be built from source by running:\n    xcompose build made\n"), "{told}");
    assert!(run(&["pull", "made", "--ignore-buildable"]).ok().stderr().contains("Skipped Image can be built"));
    assert!(run(&["pull", "--policy", "bogus"]).fails(1).stderr().contains("invalid --policy option \"bogus\""));

    // What is built and has a name is sent; the rest is not.
    let told = run(&["--profile", "more", "push"]).fails(1).stderr();
    assert!(told.contains(" Service web Skipped No image to be pushed\n"), "{told}");
    run(&["build", "made"]).ok();
    assert!(run(&["push", "made"]).ok().stderr().contains(&format!(" Image {address}/made:1 Pushed\n")));
    machine.xcompose(["image", "rm", &format!("{address}/made:1")]).ok();
    let told = run(&["create", "made"]).ok().stderr();
    assert!(told.contains(&format!(" Image {address}/made:1 Pulled\n")) && !told.contains("Built"), "{told}");

    let dry = run(&["--dry-run", "up", "-d", "gone"]).ok().stderr();
    assert!(dry.contains("DRY-RUN MODE -  pull image"), "{dry}");
    let never = run(&["up", "-d", "--pull", "never", "gone"]).fails(1).stderr();
    assert!(never.contains("No such image"), "{never}");
}

#[test]
fn progress_as_objects_tells_of_every_layer_with_its_bytes() {
    if cannot_run() {
        return;
    }
    let layer = Raw::default().file("big", &"x".repeat(300_000)).end();
    let image = Served::new(layer.clone(), "amd64");
    let registry = Scripted::new(move |asked, _| image.answer(asked));
    let machine = Machine::new();
    let name = registry.name("app:1");
    let told = finish(&mut command(&machine, ["--progress", "json", "image", "pull", &name])).ok().stderr();
    let objects: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let whole = objects.iter().find(|object| object["percent"] == 100).unwrap();
    assert_eq!((&whole["parent_id"], &whole["total"]), (&format!("Image {name}").into(), &layer.len().into()));
    assert_eq!(objects.last().unwrap()["text"], "Pulled");
}
