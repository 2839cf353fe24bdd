//! Registries that fail, lie or fall silent, disks that are full, and pulls that are killed: a clear message, nothing half-visible,
//! and what has come in is not fetched again.

use std::fs;
use std::process::Command;

use super::raw::Raw;
use super::registries::{Answer, MANIFEST, Scripted, Served, command, digest, settings};
use crate::support::{Finished, Machine, cannot_run, eventually, finish, free_port};

fn image() -> Served {
    // Not to be shrunk, so that half of it is half of it.
    let noise: String = (0_u64..20_000).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    Served::new(Raw::default().file("noise", &noise).end(), "amd64")
}

fn pull(machine: &Machine, name: &str) -> Finished {
    finish(command(machine, ["image", "pull", name]).env("XCOMPOSE_REGISTRY_TIMEOUT", "1"))
}

/// Nothing of an image is listed, and nothing lies about but what may be gone on with.
fn is_empty(machine: &Machine) {
    assert_eq!(machine.xcompose(["image", "ls", "-q"]).ok().stdout(), "");
    for folder in ["layers", "blobs/sha256", "tmp"] {
        assert_eq!(fs::read_dir(machine.data().join("images").join(folder)).unwrap().count(), 0, "{folder}");
    }
}

#[test]
fn every_refusal_is_told_with_the_registrys_words_and_leaves_nothing() {
    if cannot_run() {
        return;
    }
    let error = |code: &str, message: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    let cases = [
        ("404 Not Found", error("MANIFEST_UNKNOWN", "no such tag"), "manifest for NAME not found: no such tag"),
        ("404 Not Found", error("NAME_UNKNOWN", "who?"), "repository REPO not found: who?"),
        ("404 Not Found", "<html>".into(), "manifest for NAME not found\n"),
        (
            "401 Unauthorized",
            error("UNAUTHORIZED", "authentication required"),
            "pull access denied for NAME, repository does not exist",
        ),
        ("403 Forbidden", error("DENIED", "not you"), "not you"),
        (
            "429 Too Many Requests",
            error("TOOMANYREQUESTS", "slow down"),
            "no more requests for now (429, try again after 99s): slow down",
        ),
        (
            "501 Not Implemented",
            "\u{1b}[31mred".into(),
            "answers 501 Not Implemented to GET /v2/app/manifests/1: [31mred",
        ),
        ("200 OK", "{".into(), "its manifest is malformed"),
        ("200 OK", r#"{"schemaVersion":1}"#.into(), "schema 1"),
        (
            "200 OK",
            r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#.into(),
            "the manifest of an image and an index at once",
        ),
        ("200 OK", "x".repeat(5 << 20), "a manifest of more than 4194304 bytes"),
    ];
    for (status, body, words) in cases {
        let registry = Scripted::new(move |asked, _| match asked.path.as_str() {
            "/v2/" => Answer::new("200 OK", "{}"),
            _ => Answer::new(status, body.clone()).with("Retry-After", "99"),
        });
        let machine = Machine::new();
        let name = registry.name("app:1");
        let told = pull(&machine, &name).fails(1).stderr();
        let words = words.replace("NAME", &name).replace("REPO", &registry.name("app"));
        assert!(told.contains(&words), "{status}: {told}");
        is_empty(&machine);
    }
}

#[test]
fn what_is_not_what_its_digest_says_is_never_seen() {
    if cannot_run() {
        return;
    }
    let good = image();
    let (config, layer) = (digest(&good.config), digest(&good.layer));
    let spoilt = |part: &'static str| {
        let (good, config, layer) = (good.clone(), config.clone(), layer.clone());
        move |asked: &_, _| {
            let mut answer = good.answer(asked);
            let asked: &super::registries::Asked = asked;
            let hit = match part {
                "manifest" => asked.path.contains("/manifests/"),
                "config" => asked.path.ends_with(&config),
                _ => asked.path.ends_with(&layer),
            };
            if hit {
                let middle = answer.body.len() / 2;
                answer.body[middle] ^= 1;
            }
            answer
        }
    };
    for (part, words) in [
        ("manifest", format!("sent other content than was asked for: {} is", digest(&good.manifest))),
        ("layer", format!("layer {layer}: it does not have the digest it should have")),
    ] {
        let registry = Scripted::new(spoilt(part));
        let machine = Machine::new();
        let told = pull(&machine, &registry.name("app:1")).fails(1).stderr();
        assert!(told.contains(&words), "{part}: {told}");
        is_empty(&machine);
        assert_eq!(fs::read_dir(machine.data().join("images/partial")).map_or(0, Iterator::count), 0, "{part}");
    }
}

#[test]
fn a_blob_that_breaks_off_or_falls_silent_is_gone_on_with_where_it_stopped() {
    if cannot_run() {
        return;
    }
    for silent in [false, true] {
        let image = image();
        let (layer, half) = (digest(&image.layer), image.layer.len() / 2);
        let registry = Scripted::new(move |asked, before| {
            let mut answer = image.answer(asked);
            if asked.path.ends_with(&layer) && before == 0 {
                answer.promised = Some(answer.body.len());
                answer.body.truncate(half);
                answer.hangs = silent;
            }
            answer
        });
        let machine = Machine::new();
        pull(&machine, &registry.name("app:1")).ok();
        let asked = registry.asked_for("/blobs/sha256:");
        let ranges: Vec<_> = asked.iter().filter_map(|asked| asked.headers.get("range")).collect();
        assert_eq!(ranges, [&format!("bytes={half}-")], "silent: {silent}");
    }
}

#[test]
fn a_registry_that_stumbles_is_asked_again_and_one_that_never_gets_on_its_feet_is_named() {
    if cannot_run() {
        return;
    }
    let image = image();
    let layer = digest(&image.layer);
    let served = image.clone();
    let registry = Scripted::new(move |asked, before| match asked.path.as_str() {
        path if path.contains("/manifests/") && before == 0 => {
            Answer::new("429 Too Many Requests", "").with("Retry-After", "0")
        }
        path if path.contains("/blobs/") && before == 0 => Answer::new("503 Service Unavailable", "busy"),
        _ => served.answer(asked),
    });
    let machine = Machine::new();
    pull(&machine, &registry.name("app:1")).ok();

    let registry = Scripted::new(move |asked, _| {
        let mut answer = image.answer(asked);
        if asked.path.ends_with(&layer) {
            answer.promised = Some(answer.body.len());
            answer.body.clear();
        }
        answer
    });
    let machine = Machine::new();
    let told = pull(&machine, &registry.name("app:1")).fails(1).stderr();
    assert!(told.contains("broke off blob") && told.contains("after 0 of 3"), "{told}");
    is_empty(&machine);
    let gone = registry.asked_for("/blobs/").len();
    assert!(gone > 3, "{gone}");
}

#[test]
fn a_killed_pull_leaves_no_image_and_the_next_one_goes_on() {
    if cannot_run() {
        return;
    }
    let image = image();
    let (layer, half) = (digest(&image.layer), image.layer.len() / 2);
    let hex = layer.strip_prefix("sha256:").unwrap().to_owned();
    let registry = Scripted::new(move |asked, before| {
        let mut answer = image.answer(asked);
        if asked.path.ends_with(&layer) && before == 0 {
            answer.promised = Some(answer.body.len());
            answer.body.truncate(half);
            answer.hangs = true;
        }
        answer
    });
    let machine = Machine::new();
    let name = registry.name("app:1");
    let mut killed = command(&machine, ["image", "pull", "-q", &name]).spawn().unwrap();
    let partial = machine.data().join("images/partial").join(hex);
    eventually("half of the layer is there", || fs::metadata(&partial).ok().filter(|file| file.len() == half as u64));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(machine.xcompose(["image", "ls", "-q"]).ok().stdout(), "");
    pull(&machine, &name).ok();
    let ranges: Vec<_> =
        registry.asked_for("/blobs/").into_iter().filter_map(|asked| asked.headers.get("range").cloned()).collect();
    assert_eq!(ranges, [format!("bytes={half}-")]);
    assert!(!partial.exists());
    assert_eq!(fs::read_dir(machine.data().join("images/tmp")).unwrap().count(), 0);
}

#[test]
fn leavings_that_are_not_what_they_should_be_are_fetched_anew() {
    if cannot_run() {
        return;
    }
    let image = image();
    let hex = digest(&image.layer).strip_prefix("sha256:").unwrap().to_owned();
    let registry = Scripted::new(move |asked, _| image.answer(asked));
    let machine = Machine::new();
    let folder = machine.data().join("images/partial");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(hex), vec![7; 5000]).unwrap();
    pull(&machine, &registry.name("app:1")).ok();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn two_pulls_of_one_image_at_once_fetch_its_layer_once() {
    if cannot_run() {
        return;
    }
    let image = image();
    let layer = digest(&image.layer);
    let path = layer.clone();
    let registry = Scripted::new(move |asked, _| image.answer(asked));
    let machine = Machine::new();
    let name = registry.name("app:1");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| pull(&machine, &name).ok());
        }
    });
    assert_eq!(registry.asked_for(&path).len(), 1);
    assert_eq!(machine.xcompose(["image", "ls", "-q"]).ok().stdout().lines().count(), 1);
}

#[test]
fn a_full_disk_is_told_and_does_not_stay_full() {
    if cannot_run() {
        return;
    }
    let image = Served::new(Raw::default().file("big", &"x".repeat(6 << 20)).end(), "amd64");
    let registry = Scripted::new(move |asked, _| image.answer(asked));
    let machine = Machine::new();
    let name = registry.name("app:1");
    // A disk of its own, seen by these commands only.
    let script = "mount -t tmpfs -o size=4m none \"$XCOMPOSE_DATA\" && \"$0\" image pull \"$1\"; code=$?
        echo left $(find \"$XCOMPOSE_DATA/images/partial\" \"$XCOMPOSE_DATA/images/tmp\" -type f | wc -l); exit $code";
    let mut shell = Command::new("unshare");
    shell.args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_xcompose"), &name]);
    for (name, value) in command(&machine, [""]).get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let told = finish(&mut shell).fails(1);
    assert!(told.stderr().contains(&format!("cannot pull image {name}: ")), "{}", told.stderr());
    assert!(told.stderr().contains("No space left on device"), "{}", told.stderr());
    assert!(told.stdout().contains("left 0\n"), "{}", told.stdout());
}

#[test]
fn tokens_are_fetched_shown_to_the_registry_alone_and_renewed_when_old() {
    if cannot_run() {
        return;
    }
    let image = image();
    let registry = Scripted::new(move |asked, before| {
        let own = asked.headers.get("host").cloned().unwrap_or_default();
        let ask = || {
            let challenge = format!(r#"Bearer realm="http://{own}/token",service="reg",scope="repository:app:pull""#);
            Answer::new("401 Unauthorized", "").with("WWW-Authenticate", challenge)
        };
        let token = asked.headers.get("authorization").map(String::as_str);
        match asked.path.as_str() {
            "/v2/" => ask(),
            path if path.starts_with("/token") => {
                assert_eq!(token, Some("Basic bWU6c2VjcmV0"), "me:secret");
                Answer::new("200 OK", format!(r#"{{"token":"t{before}"}}"#))
            }
            // The first token is old by the time the blobs are fetched.
            path if path.contains("/blobs/") && token == Some("Bearer t0") => ask(),
            _ if token.is_some() => image.answer(asked),
            _ => ask(),
        }
    });
    let machine = Machine::new();
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#, registry.address);
    fs::write(settings(&machine).join("config.json"), config).unwrap();
    pull(&machine, &registry.name("app:1")).ok();
    let asked = registry.asked_for("/token");
    assert!(
        asked
            .iter()
            .all(|asked| asked.path.contains("scope=repository%3Aapp%3Apull") && asked.path.contains("service=reg"))
    );

    let liar = Scripted::new(|asked, _| match asked.path.as_str() {
        path if path.starts_with("/token") => Answer::new("200 OK", "{\"token\":\"a\\nb\"}"),
        _ => Answer::new("401 Unauthorized", "")
            .with("WWW-Authenticate", format!("Bearer realm=\"http://{}/token\"", asked.headers["host"])),
    });
    let told = pull(&Machine::new(), &liar.name("app:1")).fails(1).stderr();
    assert!(told.contains("a token that cannot be sent"), "{told}");
}

#[test]
fn a_service_that_gives_an_identity_token_is_never_shown_the_password_again() {
    if cannot_run() {
        return;
    }
    let image = image();
    let registry = Scripted::new(move |asked, _| {
        let challenge = format!(r#"Bearer realm="http://{}/token",service="reg""#, asked.headers["host"]);
        let token = asked.headers.get("authorization").map(String::as_str);
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", path) if path.starts_with("/token") => {
                assert!(path.contains("offline_token=true") && path.contains("client_id=") && !path.contains("scope"));
                match token {
                    Some("Basic bWU6c2VjcmV0") => {
                        Answer::new("200 OK", r#"{"access_token":"in","refresh_token":"kept"}"#)
                    }
                    _ => Answer::new("401 Unauthorized", ""),
                }
            }
            ("POST", "/token") => {
                let form = String::from_utf8_lossy(&asked.body).into_owned();
                assert!(form.contains("grant_type=refresh_token") && form.contains("refresh_token=kept"), "{form}");
                Answer::new("200 OK", r#"{"access_token":"in"}"#)
            }
            _ if token == Some("Bearer in") => image.answer(asked),
            _ => Answer::new("401 Unauthorized", "").with("WWW-Authenticate", challenge),
        }
    });
    let machine = Machine::new();
    let mut login = command(&machine, ["login", "-u", "me", "-p", "secret", &registry.address]);
    let told = finish(&mut login).ok();
    assert_eq!(told.stdout(), "Login Succeeded\n");
    assert!(!told.stderr().contains("unencrypted"), "{}", told.stderr());
    let kept = fs::read_to_string(settings(&machine).join("config.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    // The name without a password, as Docker has it.
    let expected = serde_json::json!({ "auth": "bWU6", "identitytoken": "kept" });
    assert_eq!(kept["auths"][&registry.address], expected);
    pull(&machine, &registry.name("app:1")).ok();
    assert!(registry.asked_for("/token").iter().any(|asked| asked.method == "POST"));
    let wrong = finish(&mut command(&machine, ["login", "-u", "me", "-p", "guess", &registry.address]));
    assert!(wrong.fails(1).stderr().contains("incorrect username or password"));
}

#[test]
fn what_is_no_image_and_what_names_missing_blobs_is_told() {
    if cannot_run() {
        return;
    }
    let good = image();
    let missing = good.clone();
    let registry = Scripted::new(move |asked, _| match asked.path.as_str() {
        path if path.contains("/blobs/") => Answer::new("404 Not Found", ""),
        _ => missing.answer(asked),
    });
    let told = pull(&Machine::new(), &registry.name("app:1")).fails(1).stderr();
    assert!(told.contains("does not have blob sha256:") && told.contains("which its manifest names"), "{told}");

    let text = String::from_utf8(good.manifest).unwrap().replace("vnd.oci.image.config.v1+json", "vnd.helm.config");
    let registry = Scripted::new(move |asked, _| match asked.path.as_str() {
        "/v2/" => Answer::new("200 OK", ""),
        _ => Answer::new("200 OK", text.clone()).with("Content-Type", MANIFEST),
    });
    let name = registry.name("chart:1");
    let told = pull(&Machine::new(), &name).fails(1).stderr();
    assert!(
        told.contains(&format!(
            "{name} is no container image: its configuration is of type application/vnd.helm.config"
        )),
        "{told}"
    );
}

#[test]
fn a_proxy_is_the_way_to_registries_elsewhere_and_named_when_it_is_none() {
    let machine = Machine::new();
    let proxy = Scripted::new(|_, _| Answer::new("403 Forbidden", ""));
    let dead = format!("127.0.0.1:{}", free_port());
    let pull = |variable: &str, value: &str| {
        let mut command = command(&machine, ["image", "pull", "reg.invalid/app:1"]);
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        finish(command.env(variable, value)).fails(1).stderr()
    };
    let told = pull("https_proxy", &format!("http://u:secret@{}", proxy.address));
    assert!(told.contains(&format!("by the proxy {} (https_proxy): ", proxy.address)), "{told}");
    assert_eq!((proxy.asked()[0].method.as_str(), proxy.asked()[0].path.as_str()), ("CONNECT", "reg.invalid:443"));
    let told = pull("ALL_PROXY", &dead);
    assert!(told.contains(&format!("by the proxy {dead} (ALL_PROXY): Connection refused")), "{told}");
    assert!(told.contains("NO_PROXY"), "{told}");
    let told = pull("HTTP_PROXY", "nonsense://u:secret@x");
    assert!(told.contains("HTTP_PROXY: it names no proxy: nonsense:// is none of http, https"), "{told}");
    assert!(!told.contains("secret"), "{told}");
}

#[test]
fn dockers_own_registry_out_of_reach_is_told_with_ways_out_and_a_mirror_is_one() {
    if cannot_run() {
        return;
    }
    let image = image();
    let mirror = Scripted::new(move |asked, _| image.answer(asked));
    let machine = Machine::new();
    let text = format!(r#"{{"registry-mirrors": ["http://{}"]}}"#, mirror.address);
    fs::write(settings(&machine).join("daemon.json"), text).unwrap();
    pull(&machine, "redis:7").ok();
    assert_eq!(mirror.asked_for("/v2/library/redis/manifests/7").len(), 1);
    assert_eq!(
        machine.xcompose(["image", "ls", "redis", "--format", "{{.Repository}}:{{.Tag}}"]).ok().stdout(),
        "redis:7\n"
    );

    // No network at all: nobody outside is asked.
    let mut alone = Command::new("unshare");
    alone.args(["-n", env!("CARGO_BIN_EXE_xcompose"), "image", "pull", "redis"]);
    alone.env("XCOMPOSE_DATA", Machine::new().data()).env("XCOMPOSE_CONFIG", "/nonexistent");
    let told = finish(&mut alone).fails(1).stderr();
    assert!(told.contains("cannot reach registry docker.io"), "{told}");
    assert!(
        told.contains("HTTPS_PROXY") && told.contains("registry-mirrors") && told.contains("xcompose image load"),
        "{told}"
    );
}
